"""Rows of a batch given to the branches of their adapters, and put together again."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from afina.backbone.flight import Flight, Put
from afina.backbone.lending import Loan
from afina.backbone.ways import Crossing, Ways, after_module, before_module, changes_input, changes_output
from afina.ops.linear import is_plain_linear

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
    # The rows are in the adapters' order, so pieces are found by one walk from left to right.
    pieces: list[list[list[_P]]] = []
    counts: list[int] = []
    last: tuple[Hashable, int] | None = None
    for index, part in enumerate(rows):
        count = part.stop - part.start
        if count == 0:
            continue  # an adapter whose rows are all written
        here = placed.get(index, [])
        key = None if stacks is None else stacks.get(index)
        # Only pieces of as many rows can be computed as one batch.
        stack = None if key is None else (key, count)

        # Neither this adapter nor the piece before has anything here: one piece, which is passed on as it is.
        if counts and not here and not pieces[-1]:
            counts[-1] += count
        elif stack is not None and stack == last:
            pieces[-1].append(here)
            counts[-1] += count
        else:
            pieces.append([here] if here else [])
            counts.append(count)
        last = stack
    if len(counts) == 1:
        return [(pieces[0], tensors)]
    total = sum(counts)

    def split(x: Tensor) -> Sequence[Tensor]:
        each, rest = divmod(x.shape[0], total)  # OPT lays the tokens of all rows end to end
        # What all rows share has one row, or a number that rows do not divide.
        shared = rest or not each
        return [x] * len(counts) if shared else torch.split(x, [count * each for count in counts])

    return list(zip(pieces, zip(*map(split, tensors), strict=True), strict=True))


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

    # Ways are remembered by step while texts are written (`Ways`); in training and reading every batch is cut anew.
    coming, going = Crossing(branches, stacks, changes_input), Crossing(branches, stacks, changes_output)

    def before(x: Tensor) -> Tensor:
        now = flight.now
        ways: Ways | None = now.ways
        # Looked up before it is made: this runs at every module of every step.
        if ways is not None and (way := ways.found.get(id(coming)) or ways.through(coming, x)) is not None:
            return way.before(x) if way.acts else x
        return join([before_module(placed, own) for placed, (own,) in cut(now.rows, branches, x, stacks=stacks)])

    def after(x: Tensor, y: Tensor) -> Tensor:
        now = flight.now
        ways: Ways | None = now.ways
        if ways is not None and (way := ways.found.get(id(going)) or ways.through(going, y)) is not None:
            # One stacked formula for all rows, without the walk over legs.
            if way.stacked is not None:
                return way.stacked(x, y)
            return way.after(now, x, y) if way.acts else y
        pieces = cut(now.rows, branches, x, y, stacks=stacks)
        return join([after_module(now, placed, *own) for placed, own in pieces])

    changes = any(map(changes_input, every)), any(map(changes_output, every))
    # A plain linear layer takes one tensor, for which a short way pays: there are hundreds of them.
    if is_plain_linear(module):
        return [*handles, _around(module, before if changes[0] else None, after if changes[1] else None)]
    if changes[0]:
        handles.append(module.register_forward_pre_hook(lambda _, args: (before(args[0]), *args[1:])))
    if changes[1]:

        def follow(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            # Layers of some architectures give (states, ...) and of others the states alone.
            if isinstance(output, tuple):
                return (after(args[0], output[0]), *output[1:])
            return after(args[0], output)

        handles.append(module.register_forward_hook(follow))
    return handles


def _around(
    module: nn.Module, before: Callable[[Tensor], Tensor] | None, after: Callable[[Tensor, Tensor], Tensor] | None
) -> Loan:
    """Put formulas around a linear layer's own forward pass: with hooks torch takes a longer way to every module."""
    forward = module.forward

    def around(x: Tensor) -> Tensor:
        if before is not None:
            x = before(x)
        y: Tensor = forward(x)
        return y if after is None else after(x, y)

    return Loan(module, around)


def _wider(module: nn.Embedding) -> Loan:
    """Let an embedding for a while take words beyond its own, whose vectors a branch puts in their places."""
    forward = module.forward

    def clamped(x: Tensor) -> Tensor:
        # Any word that there is will do: the branch writes over its vector.
        vectors: Tensor = forward(x.clamp(max=module.num_embeddings - 1))
        return vectors

    return Loan(module, clamped)


def _stack_key(placed: Sequence[Put]) -> Hashable:
    # By slices too: two branches of unlike slices change different features.
    keys = tuple((put.site.part, put.branch.stack_key()) for put in placed)
    return None if any(key is None for _, key in keys) else keys
