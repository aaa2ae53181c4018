"""Rehearse a run: its own code takes a step and evaluates, on a model of its shape whose tensors have no numbers.

What comes out is the memory of each part of a run, to the byte of what torch allocates, and what is computed in it. No
weights are loaded. It is the code that trains which runs here, so that whatever changes it changes the plan.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from afina.adapters.adapter import Adapter
from afina.backbone.attachment import Attachment
from afina.backbone.lending import Loan
from afina.backbone.load import Backbone
from afina.data.tokens.batching import padded_width
from afina.data.tokens.tokens import Tokens
from afina.measure.storages import BACKWARD, Storages, Work
from afina.ops.dropout import DropoutSource
from afina.ops.kind import pretended
from afina.study.stand_ins import AnyTask, FakeDropout, Keeping, fake_to_transformers, unlaid_products, without_numbers
from afina.tasks.base import Task
from afina.train.loop import Member, gradients
from afina.train.optimiser import Optimiser
from afina.train.passes import Passes

__all__ = ["BACKWARD", "BELOW", "EVALUATION", "FORWARD", "LAST", "Passed", "Rehearsed", "Scene", "rehearse"]

FORWARD, LAST, EVALUATION = "the forward pass", "the optimiser's step", "an evaluation"
BELOW = "the pass of all rows before the first step"


@dataclass(frozen=True)
class Scene:
    """Says what is rehearsed."""

    backbone: Backbone
    """The model's shape, plain, in the precision that it computes in and on `meta`; it is changed in place."""
    adapter: Adapter
    """It is changed in place too."""
    task: Task | AnyTask
    train: Sequence[Tokens]
    """The rows of some batches, as an epoch has them: the longest first."""
    test: Sequence[Tokens]
    """The rows of some batches of evaluations, in their order."""
    widths: int = 1
    """Widths of all batches of an epoch."""
    evaluated_shapes: int = 1
    """Shapes of all batches of the evaluations."""
    epochs: int = 1
    below: Tokens | None = None
    """The longest batch of all train rows' pass through the layers below the lowest branch, where that comes first."""
    micro_batch_size: int | None = None
    checkpointing: bool = False
    packing: bool = False
    trains: bool = True
    """False where nothing is trained by steps."""
    kind: str = "cpu"
    """The kind of device that it is to be on."""
    copied: Sequence[nn.Module] = ()
    """The models whose frozen weights are copied for their products."""
    moments: int = 0
    """Bytes that the optimiser keeps from the first step on."""
    step: int = 0
    """Bytes of its step while it computes."""
    kept_inputs: Sequence[str] = ()
    """Layers, by path, that keep their input for the backward pass where autograd does not see it."""


@dataclass(frozen=True)
class Passed:
    """Holds what a batch took."""

    rows: int
    width: int
    """Tokens of its longest sequence, as it was padded."""
    work: Mapping[str, Work]
    """The products and other operations, by part."""

    @property
    def tokens(self) -> int:
        return self.rows * self.width


@dataclass(frozen=True)
class Rehearsed:
    """Holds what a run's parts take beyond weights, the adapter's values, and what its optimiser keeps."""

    peaks: Mapping[str, int]
    """Bytes at the worst instant of each part: `FORWARD`, `BACKWARD`, `LAST`, `EVALUATION`."""
    resident: Mapping[str, int] = field(default_factory=dict)
    """The same with the gaps that glibc's allocator leaves between blocks."""
    work: Mapping[str, Work] = field(default_factory=dict)
    """The products and other operations of each: of a step, and of the longest batch of an evaluation."""
    steps: Sequence[Passed] = ()
    evaluations: Sequence[Passed] = ()

    def peak(self, *parts: str) -> int:
        """Return the bytes at the worst instant of these parts."""
        return max((self.peaks.get(part, 0) for part in parts), default=0)


def rehearse(scene: Scene, observer: Callable[[int, int], None] = lambda name, size: None) -> Rehearsed:
    """Take one step and evaluate, without numbers; the scene's model and adapter, on `meta`, have none afterwards either.

    `observer` hears of every storage that comes, and goes (`Storages`).
    """
    storages = Storages(observer=observer)
    with pretended(scene.kind), fake_to_transformers(), storages:
        scene.backbone.linears = unlaid_products(scene.copied)
        language = scene.backbone.language
        modules = [scene.backbone.model, scene.adapter, *([] if language is None else [language.linear])]
        return play(scene, storages, list(without_numbers(modules)), FakeDropout(0))


def play(scene: Scene, storages: Storages, standing: Sequence[Tensor], source: DropoutSource) -> Rehearsed:
    """Take one step and evaluate under a count of storages, on tensors of whatever kind; `standing` are there before."""
    for tensor in standing:
        storages.hold(tensor)
    storages.begin()
    before = storages.bytes
    with ExitStack() as stack:
        for handle in _keeping_inputs(scene):
            stack.callback(handle.remove)
        passes = stack.enter_context(
            Passes(scene.backbone, source, checkpointing=scene.checkpointing, packing=scene.packing)
        )
        moments: list[Tensor] = []

        def step(tokens: Tokens) -> Passed:
            trained = _gradients(scene, tokens, passes, storages)
            with storages.part(LAST):
                # In numbers of four bytes, as whole ones would be real.
                moments.extend(() if moments else [torch.empty(scene.moments // 4)])
                torch.empty(scene.step // 4)
            for value in trained:
                value.grad = None
            return _passed(tokens, storages)

        steps, evaluations = [], []
        if scene.trains and scene.below is not None:
            with storages.part(BELOW):
                passes.prepare([_member(scene, scene.below)], lambda own: own.tokens)
        storages.taken_work()
        longest_step: Sequence[tuple[int, int | None, str]] = ()
        for tokens in scene.train if scene.trains else ():
            with _standing_for_others(storages, scene.widths / len(scene.train)), storages.noted() as log:
                steps.append(step(tokens))
            longest_step = longest_step or log
        storages.give_back()
        for tokens in scene.test:
            with _standing_for_others(storages, scene.evaluated_shapes / len(scene.test)), storages.part(EVALUATION):
                _evaluate(scene, tokens, passes)
            evaluations.append(_passed(tokens, storages))
        storages.give_back()
        # The next epoch begins with the longest batch, beside what an evaluation has left.
        if scene.epochs > 1:
            storages.again(longest_step)
    longest = max(evaluations, key=lambda own: own.tokens)
    return Rehearsed(
        {part: max(0, peak - before) for part, peak in storages.peaks.items() if part}, dict(storages.resident),
        {**(steps[0].work if steps else {}), **longest.work}, steps, evaluations,
    )  # fmt: skip


def _passed(tokens: Tokens, storages: Storages) -> Passed:
    sequences = tokens.sequences(np.arange(len(tokens)))
    return Passed(len(sequences), padded_width(int(tokens.lengths.max()), 1 << 30), storages.taken_work())


def _gradients(scene: Scene, tokens: Tokens, passes: Passes, storages: Storages) -> list[nn.Parameter]:
    """Add the gradients of a batch, and return the parameters that have them."""
    member, adapter = _member(scene, tokens), scene.adapter
    with storages.part(BELOW):
        passes.prepare([member], lambda own: own.tokens)
    with storages.part(FORWARD):
        gradients(passes, [member], scene.micro_batch_size)
        if (penalty := adapter.penalty()) is not None:
            penalty.backward()  # type: ignore[no-untyped-call]
    return list(adapter.trainable(scene.backbone).values())


def _member(scene: Scene, tokens: Tokens) -> Member:
    adapter = scene.adapter
    task: Any = scene.task  # a stand-in for one has what the loop asks of it
    beside = {name: nn.Parameter(value) for name, value in task.trained_beside().items()}
    loss = torch.zeros((), dtype=torch.float64)
    # Its steps are counted by what it says of itself: some look at numbers.
    optimiser = Optimiser(adapter.trainable(scene.backbone), learning_rate=0.0, total_steps=1)
    return Member(adapter, task, tokens, 0, 1, len(tokens), optimiser, None, loss, beside=beside)


def _evaluate(scene: Scene, tokens: Tokens, passes: Passes) -> None:
    """Send a batch of an evaluation through the model."""
    pieces = [(tokens, np.arange(len(tokens)))]
    with torch.no_grad():
        if scene.trains:
            attached = passes.attached([scene.adapter], training=False)
            attached.outputs(attached.batch(pieces))
        else:
            with Attachment(scene.backbone, []) as bare:
                bare.hidden(bare.batch(pieces).inputs)


@contextmanager
def _standing_for_others(storages: Storages, times: float) -> Iterator[None]:
    """Prepare code for products of so many batches in all, as for those that are computed within."""
    before = set(storages.prepared)
    yield
    met = [product for product in storages.prepared if product not in before]
    for other in range(1, max(1, round(times))):
        for product in met:
            storages.prepare(replace(product, batch=-other))


def _keeping_inputs(scene: Scene) -> list[Any]:
    """Let the layers that keep their inputs do so."""

    def keeping(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda x: forward(Keeping.apply(x) if x.requires_grad else x)  # type: ignore[no-untyped-call]

    layers = [scene.backbone.model.get_submodule(path) for path in scene.kept_inputs]
    return [Loan(layer, keeping(layer.forward)) for layer in layers]
