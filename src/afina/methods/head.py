"""Head only: the backbone as it is, a new last layer on top.

Some architectures' heads have layers before the last one (RoBERTa's dense layer, a pooler that the model's files lack); these
are new too, and are trained with it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from afina.backbone.anatomy import Anatomy
from afina.errors import UsageError
from afina.methods.base import Method, method
from afina.methods.rates import RateRule

__all__ = ["HeadOnly"]


@method("head")
@dataclass(frozen=True, kw_only=True)
class HeadOnly(Method):
    """Nothing but the head is trained."""

    portuguese = "Treina só a cabeça."

    mergeable = True
    head_alone = True
    rates = RateRule(8e-2, by_steps=0.0, by_width=1)
    """One layer on fixed inputs is a convex problem, which bears the same rate in a run of any length; a step moves a logit
    by about the rate times the width."""

    hidden_rate: float = 0.004
    """Rate of the head's layers before the last over that of the last: these are whole matrices, which at the last one's rate
    saturate in the first steps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden_rate <= 0:
            raise UsageError(f"head: hidden_rate should be above 0, not {self.hidden_rate:g}.")

    def rate_factors(self, names: Iterable[str], anatomy: Anatomy) -> dict[str, float]:
        layer_of = {name: name.rpartition(".")[0] for name in names}
        last = [*layer_of.values()][-1]  # in every head the layer of the outputs stands last (`backbone/heads.py`)
        return {name: self.hidden_rate for name, layer in layer_of.items() if layer != last}
