"""Set single weights to zero, by three measures: baselines, which make nothing smaller and nothing faster.

Magnitude: |W_ij|. Wanda: |W_ij| sqrt(mean of x_j^2), within each row (Sun et al., 2023, arXiv:2306.11695). Random: drawn.
A checkpoint with zeros has as many numbers as before; that is said with each.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from afina.compress.way import CompressingWay, Opened, WayResult, way

__all__ = ["Magnitude", "Random", "Wanda"]


@dataclass(frozen=True, kw_only=True)
class _Zeros(CompressingWay):
    """Sets a share of each linear layer's weights to zero."""

    shrinks = False

    def scores(self, weight: Tensor, square: Tensor | None, draw: torch.Generator) -> Tensor:
        """Return how much each of the weights (out, in) matters."""
        raise NotImplementedError

    def apply(self, opened: Opened) -> WayResult:
        sites = opened.linears()
        modules = [opened.module(site) for site in sites]
        squares: list[Tensor] | list[None] = [None] * len(sites)
        if self.judges:
            squares = opened.judged.squares(opened.reader, modules)
        draw = torch.Generator().manual_seed(self.seed)
        zeros = numbers = 0
        for site, module, square in zip(sites, modules, squares, strict=True):
            weight = module.get_parameter("weight")
            plain = weight.T if site.transposed else weight
            scores = self.scores(plain, square, draw)
            flat = scores if self.judges else scores.flatten()[None]  # within each row, or the whole matrix
            gone = flat.topk(round(self.amount * flat.shape[1]), dim=1, largest=False).indices
            mask = torch.zeros_like(flat, dtype=torch.bool).scatter_(1, gone, True).reshape(plain.shape)
            with torch.no_grad():
                weight.masked_fill_(mask.T if site.transposed else mask, 0.0)
            zeros, numbers = zeros + int(mask.sum()), numbers + mask.numel()
        sentence = (
            f"{zeros:,} of {numbers:,} weights in {len(sites)} linear layers are zero now. A baseline: the checkpoint is as "
            "large and as slow as before, since zeros are stored and multiplied like any number."
        )
        return WayResult(sentence)


@way("magnitude")
@dataclass(frozen=True, kw_only=True)
class Magnitude(_Zeros):
    """Sets the smallest weights to zero."""

    told = "A baseline: set this share of each linear layer's weights to zero, the smallest."
    judges = False

    def scores(self, weight: Tensor, square: Tensor | None, draw: torch.Generator) -> Tensor:
        return weight.abs()


@way("random")
@dataclass(frozen=True, kw_only=True)
class Random(_Zeros):
    """Sets weights that are drawn to zero."""

    told = "A baseline: set this share of each linear layer's weights to zero, drawn by --seed."
    judges = False

    def scores(self, weight: Tensor, square: Tensor | None, draw: torch.Generator) -> Tensor:
        return torch.rand(weight.shape, generator=draw)


@way("wanda")
@dataclass(frozen=True, kw_only=True)
class Wanda(_Zeros):
    """Sets the weights to zero that matter least to a layer's output."""

    told = "A baseline: set this share of each row's weights to zero, those that matter least on the texts."

    def scores(self, weight: Tensor, square: Tensor | None, draw: torch.Generator) -> Tensor:
        assert square is not None, "it is judged by texts"
        return weight.abs() * square.sqrt()
