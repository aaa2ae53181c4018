"""How many examples hypothesis draws for a test: a few in `make test`, which runs often, more in `make conformance`."""

from typing import Any

from hypothesis import settings

__all__ = ["examples", "take_every"]

_every = False


def take_every() -> None:
    """Have the tests that are imported from now on draw all their examples."""
    global _every
    _every = True


def examples(some: int, every: int, **more: Any) -> settings:
    """Return hypothesis's settings of a test that draws `some` examples, or `every` where that was asked for."""
    return settings(max_examples=every if _every else some, deadline=None, **more)
