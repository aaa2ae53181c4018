"""Drop the block of layers whose input and output are closest in angle.  Gromov et al., 2024, arXiv:2403.17887.

    d(l, n) = arccos(x_l . x_{l+n} / |x_l| |x_{l+n}|) / pi,   x_l what goes into layer l (n layers on: what comes out)

the mean over texts: over the last token of each for a decoder, as in the paper, and over all tokens for an encoder. Layers l
to l + n - 1 of the smallest go.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from afina.backbone.anatomy import Anatomy
from afina.compress.way import CompressingWay, Opened, WayResult, way
from afina.errors import UsageError

__all__ = ["DropLayers"]


@way("drop-layers")
@dataclass(frozen=True, kw_only=True)
class DropLayers(CompressingWay):
    """Drops layers that follow one another."""

    kind = "count"
    told = "Drop so many layers that follow one another: the block that changes its input's direction least."

    def check(self, anatomy: Anatomy, config: Any) -> None:
        layers = anatomy.of_kind("layer")
        if anatomy.row.further:
            raise UsageError(
                f"--drop-layers is for models of one stack of layers, and {anatomy.model_type} has two, an encoder and a "
                "decoder; choose another way."
            )
        if len(layers) != anatomy.layer_count:
            raise UsageError(
                f"--drop-layers: {anatomy.model_type} goes through one layer {anatomy.layer_count} times, and none can be "
                "dropped; choose another way."
            )
        if self.amount >= len(layers):
            raise UsageError(
                f"--drop-layers {self.amount:g}: {anatomy.model_type} has {len(layers)} layers here; drop at most "
                f"{len(layers) - 1}."
            )

    def apply(self, opened: Opened) -> WayResult:
        sites, count = opened.anatomy.of_kind("layer"), int(self.amount)
        layers = [opened.module(site) for site in sites]
        angles = _angles(opened, layers, count)
        # A layer that is made otherwise than those after it (without a norm, with a table of positions) has to stay first.
        first = 1 if _names(layers[0]) != _names(layers[1]) else 0
        if first + count > len(layers):
            raise UsageError(
                f"--drop-layers {count}: the first layer of {opened.anatomy.model_type} is unlike the others and stays; "
                f"drop at most {len(layers) - 1 - first}."
            )
        start = min(range(first, len(angles)), key=lambda place: angles[place])
        gone = list(range(start, start + count))
        staying = [place for place in range(len(layers)) if place not in gone]
        path = sites[0].module.rpartition(".")[0]
        parent, _, name = path.rpartition(".")
        setattr(opened.bare.get_submodule(parent), name, nn.ModuleList(layers[place] for place in staying))
        turned = f"{180 * angles[start]:.0f}"
        sentence = f"Dropped layer {start + 1} of {len(layers)}, which turns its input by {turned} degrees, the least."
        if count > 1:
            which = f"{start + 1}-{start + count}"
            sentence = (
                f"Dropped layers {which} of {len(layers)}, which turn their input by {turned} degrees, the least."
            )
        record = {"dropped": gone, "angle_by_start": [round(value, 6) for value in angles]}
        return WayResult(sentence, record, {"layers": len(staying), "layer_places": staying})


def _names(layer: nn.Module) -> set[tuple[str, tuple[int, ...]]]:
    return {(name, tuple(value.shape)) for name, value in layer.state_dict().items()}


def _angles(opened: Opened, layers: list[nn.Module], count: int) -> list[float]:
    """Return the mean angle, in half turns, between what goes into layer l and what comes out `count` layers on."""
    states: dict[int, Tensor] = {}
    sums, texts = [0.0] * (len(layers) - count + 1), 0

    def seen(place: int) -> Callable[[Tensor, Tensor], None]:
        def see(inside: Tensor, outside: Tensor) -> None:
            states[place], states[place + 1] = inside, outside

        return see

    def after(mask: Tensor) -> None:
        nonlocal texts
        for start in range(len(sums)):
            pair = (states[start].double(), states[start + count].double())
            cosines = nn.functional.cosine_similarity(*pair, dim=-1).clamp(-1, 1)
            sums[start] += float((torch.arccos(cosines)[_counted(opened, mask)] / math.pi).sum())
        texts += len(mask) if opened.anatomy.row.causal else int(mask.sum())
        states.clear()

    opened.judged.through(opened.reader, {layer: seen(place) for place, layer in enumerate(layers)}, after)
    return [value / texts for value in sums]


def _counted(opened: Opened, mask: Tensor) -> Tensor:
    """Return the places, among the real tokens of a batch, that count: a decoder's last of each text, else all."""
    if not opened.anatomy.row.causal:
        return torch.arange(int(mask.sum()))
    return mask.sum(dim=1).cumsum(dim=0) - 1
