"""Rows of a batch given to the branches of their adapters, and put together again."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from afina.backbone.anatomy import Site
from afina.backbone.branch import Branch

__all__ = ["after_module", "before_module", "cut", "join"]

_P = TypeVar("_P")


def cut(
    rows: Sequence[slice], placed: Mapping[int, list[_P]], *tensors: Tensor
) -> list[tuple[list[_P], tuple[Tensor, ...]]]:
    """Return what is placed for each adapter with its rows; neighbours that have nothing placed stay together.

    What is one piece is not cut at all, and what is, by `split`: a slice for each adapter would cost the backward pass a
    whole tensor of zeros each. Tensors that all rows share (1, ...) are given to each.
    """
    own: list[list[_P]] = []
    counts: list[int] = []
    for index, part in enumerate(rows):
        if part.start == part.stop:
            continue  # an adapter whose rows are all written
        here = placed.get(index, [])
        if counts and not here and not own[-1]:
            counts[-1] += part.stop - part.start
        else:
            own.append(here)
            counts.append(part.stop - part.start)
    if len(counts) == 1:
        return [(own[0], tensors)]
    total = sum(counts)

    def split(x: Tensor) -> Sequence[Tensor]:
        each, rest = divmod(len(x), total)  # OPT lays the tokens of all rows end to end
        shared = rest or not each
        return [x] * len(counts) if shared else torch.split(x, [count * each for count in counts])

    return list(zip(own, zip(*map(split, tensors), strict=True), strict=True))


def join(pieces: list[Tensor]) -> Tensor:
    """Put pieces of a batch one after another."""
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def before_module(placed: Sequence[tuple[Site, Branch]], x: Tensor) -> Tensor:
    """Return what goes into a module in place of `x`."""
    for _, branch in placed:
        x = branch.before(x)
    return x


def after_module(placed: Sequence[tuple[Site, Branch]], x: Tensor, y: Tensor) -> Tensor:
    """Return what comes out of a module in place of `y`, a branch of a slice changing that slice alone."""
    for site, branch in placed:
        if site.part is None:
            y = branch.after(x, y)
        else:
            start, stop = site.part
            y = torch.cat([y[..., :start], branch.after(x, y[..., start:stop]), y[..., stop:]], dim=-1)
    return y
