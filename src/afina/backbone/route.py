"""Rows of a batch given to the branches of their adapters, and put together again."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from afina.backbone.branch import Branch
from afina.backbone.flight import Flight, Pass, Put
from afina.backbone.lending import Loan

__all__ = ["cut", "hook", "join"]

_P = TypeVar("_P")


def cut(
    rows: Sequence[slice],
    placed: Mapping[int, list[_P]],
    *tensors: Tensor,
    stacks: Mapping[int, Hashable] | None = None,
) -> list[tuple[list[list[_P]], tuple[Tensor, ...]]]:
    """Return pieces of the batch, each with what is placed for its adapters, one adapter's after another's.

    Neighbours that have nothing placed stay together, as a piece without adapters; so do neighbours with as many rows and
    one value in `stacks`. What is one piece is not cut at all, and what is, by `split`: a slice for each adapter would cost
    the backward pass a whole tensor of zeros each. Tensors that all rows share (1, ...) are given to each.
    """
    own: list[list[list[_P]]] = []
    counts: list[int] = []
    last: tuple[Hashable, int] | None = None
    for index, part in enumerate(rows):
        count = part.stop - part.start
        if count == 0:
            continue  # an adapter whose rows are all written
        here = placed.get(index, [])
        key = None if stacks is None else stacks.get(index)
        stack = None if key is None else (key, count)
        if counts and not here and not own[-1]:
            counts[-1] += count
        elif stack is not None and stack == last:
            own[-1].append(here)
            counts[-1] += count
        else:
            own.append([here] if here else [])
            counts.append(count)
        last = stack
    if len(counts) == 1:
        return [(own[0], tensors)]
    total = sum(counts)

    def split(x: Tensor) -> Sequence[Tensor]:
        each, rest = divmod(x.shape[0], total)  # OPT lays the tokens of all rows end to end
        shared = rest or not each
        return [x] * len(counts) if shared else torch.split(x, [count * each for count in counts])

    return list(zip(own, zip(*map(split, tensors), strict=True), strict=True))


def join(pieces: list[Tensor]) -> Tensor:
    """Put pieces of a batch one after another."""
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def hook(module: nn.Module, branches: Mapping[int, list[Put]], flight: Flight) -> list[Any]:
    """Put each adapter's branches around a module; the pass in flight tells which rows are whose. Return the handles."""
    every = [put.branch for placed in branches.values() for put in placed]
    stacks = {index: key for index, placed in branches.items() if (key := _stack_key(placed)) is not None}
    handles: list[Any] = []
    if isinstance(module, nn.Embedding) and any(branch.words > module.num_embeddings for branch in every):
        handles.append(_wider(module))

    if any(type(branch).before is not Branch.before for branch in every):

        def before(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            pieces = cut(flight.rows, branches, args[0], stacks=stacks)
            return (join([_before_module(placed, x) for placed, (x,) in pieces]), *args[1:])

        handles.append(module.register_forward_pre_hook(before))

    if any(_changes_output(branch) for branch in every):

        def after(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            y = output[0] if isinstance(output, tuple) else output
            now = flight.now
            pieces = cut(now.rows, branches, args[0], y, stacks=stacks)
            joined = join([_after_module(now, placed, *own) for placed, own in pieces])
            return (joined, *output[1:]) if isinstance(output, tuple) else joined

        handles.append(module.register_forward_hook(after))
    return handles


def _changes_output(branch: Branch) -> bool:
    return type(branch).after is not Branch.after or type(branch).after_here is not Branch.after_here


def _wider(module: nn.Embedding) -> Loan:
    """Let an embedding for a while take words beyond its own, whose vectors a branch puts in their places."""
    forward = module.forward

    def clamped(x: Tensor) -> Tensor:
        found: Tensor = forward(x.clamp(max=module.num_embeddings - 1))
        return found

    return Loan(module, clamped)


def _stack_key(placed: Sequence[Put]) -> Hashable:
    keys = tuple((put.site.part, put.branch.stack_key()) for put in placed)
    return None if any(key is None for _, key in keys) else keys


def _before_module(adapters: Sequence[Sequence[Put]], x: Tensor) -> Tensor:
    """Return what goes into a module in place of `x`."""
    for placed in zip(*adapters, strict=True):
        branches = [put.branch for put in placed]
        x = branches[0].before(x) if len(branches) == 1 else branches[0].before_stacked(branches, x)
    return x


def _after_module(now: Pass, adapters: Sequence[Sequence[Put]], x: Tensor, y: Tensor) -> Tensor:
    """Return what comes out of a module in place of `y`, a branch of a slice changing that slice alone."""

    def changed(placed: Sequence[Put], y: Tensor) -> Tensor:
        first = placed[0].branch
        if len(placed) > 1:
            return first.after_stacked([put.branch for put in placed], x, y)
        if type(first).after_here is Branch.after_here:
            return first.after(x, y)
        return first.after_here(now.here(placed[0]), x, y)

    for placed in zip(*adapters, strict=True):
        if (part := placed[0].site.part) is None:
            y = changed(placed, y)
        else:
            start, stop = part
            y = torch.cat([y[..., :start], changed(placed, y[..., start:stop]), y[..., stop:]], dim=-1)
    return y
