"""Join adapters of slices of a fused projection into one of the whole, which PEFT's files can say, and take it apart again.

A query alone has no name in GPT-2's `c_attn`. But low-rank changes of k slices are together one change of rank k * r,
[B_1 0; 0 B_2] [A_1; A_2], and scales are ones everywhere else: so they are saved, and taken apart again when loaded.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from afina.backbone.anatomy import Site
from afina.backbone.quantise import full_weight
from afina.methods.peft_form import Kind

__all__ = ["join", "split"]


def join(kind: Kind, values: Sequence[Tensor], sites: Sequence[Site], module: nn.Module) -> Tensor:
    """Return the tensor of the whole projection from those of its slices."""
    if kind == "rank":
        return torch.cat(list(values))
    weight = full_weight(module)
    # GPT-2 keeps weights as (in, out); slices are of the outputs.
    weight = weight.T if sites[0].transposed else weight
    if kind == "block":
        # Zeros where one slice's ranks meet another's rows: they do not act on each other.
        whole = values[0].new_zeros(len(weight), sum(value.shape[1] for value in values))
        column = 0
        for value, site in zip(values, sites, strict=True):
            assert site.part is not None
            whole[slice(*site.part), column : column + value.shape[1]] = value
            column += value.shape[1]
        return whole

    # What changes nothing in the rows of no slice: a scale of one, or a magnitude that is the weight's own.
    if kind == "lengths":
        whole = weight.float().norm(dim=1).to(values[0].dtype)
    else:
        whole = values[0].new_ones(len(weight), *values[0].shape[1:])
    for value, site in zip(values, sites, strict=True):
        assert site.part is not None
        whole[slice(*site.part)] = value
    return whole


def split(kind: Kind, whole: Tensor, sites: Sequence[Site], ranks: Sequence[int]) -> list[Tensor]:
    """Return the slices' tensors from the whole projection's; `ranks` has that of each slice."""
    pieces: list[Tensor] = []
    column = 0
    for site, rank in zip(sites, ranks, strict=True):
        assert site.part is not None
        rows, columns = slice(*site.part), slice(column, column + rank)
        column += rank
        # A is by ranks, B by rows and ranks, and all else by rows alone.
        pieces.append(whole[columns] if kind == "rank" else whole[rows, columns] if kind == "block" else whole[rows])
    return pieces
