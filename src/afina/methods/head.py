"""Head only: the backbone as it is, a new last layer on top."""

from dataclasses import dataclass

from afina.methods.base import Method, method
from afina.methods.rates import RateRule

__all__ = ["HeadOnly"]


@method("head")
@dataclass(frozen=True, kw_only=True)
class HeadOnly(Method):
    """Nothing but the head is trained."""

    mergeable = True
    head_alone = True
    rates = RateRule(3e-2, by_steps=0.5, by_width=1)
    """One layer on fixed inputs is a convex problem, and a step moves a logit by about the rate times the width."""
