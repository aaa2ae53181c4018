"""Head only: the backbone as it is, a new last layer on top."""

from dataclasses import dataclass

from afina.methods.base import Method, method

__all__ = ["HeadOnly"]


@method("head")
@dataclass(frozen=True, kw_only=True)
class HeadOnly(Method):
    """Nothing but the head is trained."""

    mergeable = True

    learning_rate: float = 5e-3
    """Five times AdamW's own default: one layer on fixed inputs is a convex problem (measured: docs/methods.md)."""
