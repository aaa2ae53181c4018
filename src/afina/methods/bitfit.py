"""BitFit: train the biases only, y + db.  Ben Zaken et al., 2022, arXiv:2106.10199.

db has one number per output feature and starts at zero, so that nothing changes at the start.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from afina.backbone.anatomy import Anatomy, Site
from afina.backbone.branch import Branch, shares
from afina.errors import AfinaError
from afina.methods.base import Method, method
from afina.methods.peft_form import Place, filled
from afina.methods.rates import RateRule

__all__ = ["AddBias", "BitFit", "own_biases"]


class AddBias(Branch):
    """Adds a bias: y + db."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))

    def stack_key(self) -> Hashable:
        return type(self), self.bias.shape

    def after(self, x: Tensor, y: Tensor) -> Tensor:
        return y + self.bias.to(y.dtype)

    def together(self, branches: Sequence[Any]) -> Tensor:
        # (branches, 1, out): the axis of one is for each branch's rows.
        return torch.stack([branch.bias for branch in branches])[:, None]

    def after_stacked(self, together: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return (shares(y, len(together)) + together.to(y.dtype)).view_as(y)

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        change = self.bias.to(weight.dtype)
        # Equal to what it adds, as a base without a bias has one of zero.
        return weight, change if bias is None else bias + change


@method("bitfit")
@dataclass(frozen=True, kw_only=True)
class BitFit(Method):
    """Trains the biases of linear layers and norms."""

    portuguese = "Treina os vieses das camadas lineares e das normas."

    mergeable = True
    rates = RateRule(1.8e-3, by_steps=0.5, by_width=0.5)
    """The largest of the four that the paper searches, 1e-3 (section 4), is for thousands of steps."""

    def sites(self, anatomy: Anatomy) -> list[Site]:
        # Models without any bias (Llama) get one at every linear layer: the same formula, with b = 0 to start from.
        places = anatomy.of_kind("linear", "norm")
        return [site for site in places if site.biased] or anatomy.of_kind("linear")

    def branch(self, site: Site) -> Branch:
        return AddBias(site.width)


def own_biases(place: Place, values: dict[str, Tensor]) -> list[Branch]:
    """Take a module's bias out of a file of PEFT's, where its methods keep biases of their own beside what they add."""
    # PEFT's methods that wrap a layer keep its bias inside, others beside.
    name = "base_layer.bias" if "base_layer.bias" in values else "bias"
    if name not in values or (name == "bias" and set(values) != {"bias"}):
        return []
    base: Tensor | None = getattr(place.module, "bias", None)
    if base is None:
        raise AfinaError(f"{place.folder} has a bias for '{place.path}', which has none in {place.model}.")
    bias = place.take(values, name, tuple(base.shape))
    # Saved whole, kept as a difference: the base's own is added to it in the pass.
    return [filled(AddBias(len(base)), bias=bias.float() - base.detach().float().to(bias.device))]
