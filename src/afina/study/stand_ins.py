"""Stand-ins for what a rehearsal has no numbers for: a model's tensors, dropout's factors, rows that nobody has read."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from afina.data.tokens.tokens import IGNORED, LabelledTokens, Pixels, TaggedTokens, Tokens, WrittenTokens
from afina.measure.numberless import Extent, Numberless
from afina.ops.dropout import DropoutSource, Pool
from afina.ops.frozen_linear import FrozenProduct
from afina.ops.linear import is_plain_linear

__all__ = [
    "AnyTask",
    "FakeDropout",
    "Keeping",
    "fake_to_transformers",
    "stand_in_rows",
    "unlaid_products",
    "without_numbers",
]


class FakeDropout(DropoutSource):
    """Gives factors of dropout that are as large as real ones, and takes the same memory to make them."""

    def _draw(self, count: int, probability: float, dtype: torch.dtype) -> Pool:
        draws = torch.empty((count + 3) // 4, dtype=torch.float64).view(torch.int16)[:count]
        lane = {2: torch.int16, 4: torch.int32, 8: torch.int64}[dtype.itemsize]
        return Pool([0, 0, 0, 0], draws.to(lane).view(dtype))


class Keeping(torch.autograd.Function):
    """Keeps its input until the backward pass has come by, as a layer of some storages does by itself."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class UnlaidProduct(FrozenProduct):
    """Multiplies by a copy of a frozen weight that has a size and no numbers, made when a real one is."""

    def weight(self, *, back: bool) -> Tensor:
        if back not in self._made:
            weight: Tensor = self._module.weight.detach()
            wanted = (weight.t() if back != self._transposed else weight).contiguous()
            self._made[back] = torch.empty_like(wanted)
        return self._made[back]

    @cached_property
    def _made(self) -> dict[bool, Tensor]:
        return {}


def unlaid_products(models: Iterable[nn.Module]) -> dict[nn.Module, FrozenProduct]:
    """Return the products that stand for these models' frozen linear layers in a rehearsal."""
    modules = {id(own): own for model in models for own in model.modules() if is_plain_linear(own)}
    return {module: UnlaidProduct(module, copies=True) for module in modules.values()}


class AnyTask:
    """Stands for a task whose rows nobody has read: what a loss takes goes by the outputs' size, whatever it says."""

    compares = False

    def __init__(self, *, tags: bool, chooses: bool, writes: bool) -> None:
        self._tags, self._chooses, self._writes = tags, chooses, writes

    def trained_beside(self) -> dict[str, Tensor]:
        return {}

    def loss(self, logits: Tensor, labels: Tensor, weights: Any = None) -> Tensor:
        if self._writes:  # it is a loss already
            return logits[:, 0].sum()
        if self._tags:
            logits, labels = logits.flatten(0, 1), labels.flatten()
        elif self._chooses:
            logits = logits[..., 0]
        labels = labels[: len(logits)]
        return torch.nn.functional.cross_entropy(logits[: len(labels)], labels, reduction="sum")


@contextmanager
def fake_to_transformers() -> Iterator[None]:
    """Have transformers take tensors without numbers for torch's fake ones within, whose numbers it does not ask for."""
    from transformers.utils import import_utils

    before: Any = import_utils.is_fake_tensor
    vars(import_utils)["is_fake_tensor"] = lambda value: isinstance(value, Numberless) or before(value)
    try:
        yield
    finally:
        vars(import_utils)["is_fake_tensor"] = before


def without_numbers(modules: Iterable[nn.Module]) -> Iterator[Tensor]:
    """Put tensors without numbers in the place of these modules' on `meta`, and yield each once; shared ones stay shared."""
    made: dict[int, tuple[Tensor, Tensor]] = {}
    blocks: dict[int, Extent] = {}

    def of(value: Tensor) -> Any:
        if id(value) not in made:
            storage = value.untyped_storage()
            block = blocks.setdefault(storage._cdata, Extent(storage.nbytes()))
            tensor: Tensor = Numberless.like(value, block)
            if isinstance(value, nn.Parameter):
                tensor = nn.Parameter(tensor, requires_grad=value.requires_grad)
            # The old one is kept as long as others may be looked up by its number.
            made[id(value)] = value, tensor
        return made[id(value)][1]

    for module in {id(own): own for root in modules for own in root.modules()}.values():
        # Beside parameters and buffers there are tensors that a branch keeps by itself.
        for held in (module._parameters, module._buffers, vars(module)):
            for name, value in held.items():
                if isinstance(value, Tensor) and value.is_meta:
                    held[name] = of(value)
    yield from (tensor for _, tensor in made.values())


def stand_in_rows(
    rows: int, length: int, *, choices: int = 0, tagged: bool = False, trained: float = 0.0, image: tuple[int, ...] = ()
) -> Tokens:  # fmt: skip
    """Return rows that nobody has read: texts of `length` tokens with one a little shorter, so that there is padding.

    Of a text that is written the share `trained` is, at its end; of a question with `choices` each is a text. With `image`,
    a size (C, H, W), they are images.
    """
    labels = np.zeros(rows, dtype=np.int64)
    if image:
        return Pixels(np.zeros((rows, *image), dtype=np.float32), np.arange(rows + 1) * length, labels)
    lengths = np.full(rows * max(1, choices), length)
    lengths[-1] = max(1, length - 1)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.zeros(offsets[-1], dtype=np.int64)
    if trained:
        targets = np.full_like(ids, IGNORED)
        for start, stop in pairwise(offsets):
            targets[stop - max(1, round(trained * (stop - start))) : stop] = 0
        return WrittenTokens(ids, offsets, np.diff(offsets), targets=targets)
    if tagged:
        words = np.zeros((rows, length), dtype=np.int64)
        return TaggedTokens(ids, offsets, words, targets=np.zeros_like(ids))
    if choices:
        from afina.data.tokens.tokens import AnswerTokens

        return AnswerTokens(ids, offsets, labels, answers=np.ones(len(lengths), dtype=np.int64), most=choices)
    return LabelledTokens(ids, offsets, labels)
