"""LoReFT: change h at chosen positions of a layer's output to h + R^T (W h + b - R h).  Wu et al., 2024, arXiv:2404.03592.

R is (rank, width) with orthonormal rows, W (rank, width), b (rank,). The authors draw W afresh; here it starts at R and b
at zero, so that nothing changes at the start.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from afina.backbone.anatomy import Anatomy, Site
from afina.backbone.branch import Branch, Frozen, Here
from afina.errors import UsageError
from afina.methods.base import Method, method
from afina.methods.rates import RateRule

__all__ = ["Intervention", "LoReFT"]


class Intervention(Branch):
    """Edits the states at the first and last positions of each text."""

    per_token = answers = False

    def __init__(self, site: Site, *, rank: int, first: int, last: int) -> None:
        super().__init__()
        self.first, self.last = first, last
        self.basis = nn.Parameter(torch.randn(rank, site.width))
        self.weight = nn.Parameter(torch.empty(rank, site.width))
        self.bias = nn.Parameter(torch.zeros(rank))

    def rotation(self) -> Tensor:
        """Return R (rank, width): orthonormal rows that span those of the free parameter `basis`."""
        # In float32: there is no QR decomposition in half precision.
        orthonormal: Tensor = torch.linalg.qr(self.basis.float().T).Q
        return orthonormal.T

    def start(self, frozen: Frozen) -> None:
        self.weight.copy_(self.rotation())

    def after_here(self, here: Here, x: Tensor, y: Tensor) -> Tensor:
        rotation = self.rotation()
        # (W - R) y + b, not W y + b - R y: at the start it is zero however a machine rounds its products.
        edit = nn.functional.linear(y, (self.weight - rotation).to(y.dtype), self.bias.to(y.dtype))
        # One factor of zero or one, so that all rows and places are one product.
        return y + (edit @ rotation.to(y.dtype)) * self._chosen(here)

    def _chosen(self, here: Here) -> Tensor:
        """Return (rows, length of the part, 1): whether a place is one of a text's first or last."""
        if here.mask is None:
            text = torch.ones(here.rows, here.length, dtype=torch.long, device=self.bias.device)
        else:
            text = here.mask.long()
        place = text.cumsum(dim=1)  # 1 at a text's first token, its length at the last, wherever the padding is
        chosen = (place <= self.first) | (place > place[:, -1:] - self.last)
        # Padding counts for nothing, though its cumulated place is the last token's.
        return (chosen & (text == 1))[:, slice(*here.part), None]


@method("loreft")
@dataclass(frozen=True, kw_only=True)
class LoReFT(Method):
    """Low-rank edits of hidden states at a text's ends."""

    portuguese = "Edita com posto baixo os estados ocultos nas pontas de um texto."

    rates = RateRule(7e-3, by_steps=0.5, by_width=0.5)
    """The example of the authors' library has 4e-3."""

    rank: int = 4
    """Rank of the edit; the example's of the authors' library, pyreft."""
    first: int = 4
    """Positions from the text's start, at each layer; fewer where a text is shorter."""
    last: int = 4
    """Positions from its end."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank < 1:
            raise UsageError(f"loreft: rank should be at least 1, not {self.rank}.")
        if self.first < 0 or self.last < 0 or self.first + self.last == 0:
            raise UsageError(
                f"loreft: first and last should be at least 0 and one of them above, not {self.first}, {self.last}."
            )

    def sites(self, anatomy: Anatomy) -> list[Site]:
        # More rows than the width cannot be orthonormal.
        if not 1 <= self.rank <= anatomy.width:
            raise UsageError(f"loreft: rank should be from 1 to the model's width {anatomy.width}, not {self.rank}.")
        return anatomy.of_kind("layer")

    def branch(self, site: Site) -> Branch:
        return Intervention(site, rank=self.rank, first=self.first, last=self.last)
