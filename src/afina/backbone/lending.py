"""Forward passes lent to modules for a while, each of which gets back exactly what it had.

A module's `forward` may be another's already: accelerate's `dispatch_model` puts one there that moves its inputs to the
module's device, a tensor-parallel plan one that gathers. So what is lent is built around what was there, and on leaving
that is there again.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from torch import nn

__all__ = ["Loan", "has_own_forward", "lent_within"]


class Loan:
    """A forward pass lent to a module, in place, until `remove`; loans to one module go back in reverse order."""

    def __init__(self, module: nn.Module, forward: Callable[..., Any]) -> None:
        # What its class has is not kept: it is found again when nothing stands in front of it.
        self._module, self._before = module, module.__dict__.get("forward")
        module.__dict__["forward"] = forward

    def remove(self) -> None:
        """Give the module back what it had."""
        if self._before is None:
            self._module.__dict__.pop("forward", None)
        else:
            self._module.__dict__["forward"] = self._before


def has_own_forward(module: nn.Module) -> bool:
    """Return whether a module's forward pass was put there by somebody, and is not the one of its class."""
    forward = module.__dict__.get("forward")
    # A bound method of the class itself is the class's own, even where it was set on the module.
    return forward is not None and getattr(forward, "__func__", None) is not type(module).forward


def lent_within(
    block: Callable[[nn.Module], AbstractContextManager[Any]] | None, modules: Sequence[nn.Module]
) -> list[Loan]:
    """Lend modules, each once, their own forward pass within a block, which is given the module; without one nothing."""

    def within(module: nn.Module, forward: Callable[..., Any], *args: Any, **settings: Any) -> Any:
        assert block is not None
        with block(module):
            return forward(*args, **settings)

    each = dict.fromkeys(modules if block is not None else ())
    return [Loan(module, partial(within, module, module.forward)) for module in each]
