"""Rehearse a run: its own code takes a step and evaluates, on a model of its shape whose tensors have no numbers.

What comes out is the memory of each part of a run, to the byte of what torch allocates, and what is computed in it. No
weights are loaded. It is the code that trains which runs here, so that whatever changes it changes the plan.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from afina.adapters.adapter import Adapter
from afina.backbone.attachment import Attachment
from afina.backbone.lending import Loan
from afina.backbone.load import Backbone
from afina.data.tokens.batching import evaluation_batches
from afina.data.tokens.tokens import Tokens
from afina.measure.storages import BACKWARD, Storages, Work, fake_mode
from afina.ops.dropout import DropoutSource
from afina.ops.kind import pretended
from afina.study.stand_ins import AnyTask, FakeDropout, Keeping, without_numbers
from afina.tasks.base import Task
from afina.train.loop import Member, gradients
from afina.train.optimiser import Optimiser
from afina.train.passes import Passes

__all__ = ["BACKWARD", "EVALUATION", "FORWARD", "Rehearsed", "Scene", "rehearse"]

FORWARD, EVALUATION = "the forward pass", "an evaluation"


@dataclass(frozen=True)
class Scene:
    """Says what is rehearsed."""

    backbone: Backbone
    """The model's shape, plain, in the precision that it computes in and on `meta`; it is changed in place."""
    adapter: Adapter
    """It is changed in place too."""
    task: Task | AnyTask
    train: Tokens
    """The rows of one batch."""
    test: Tokens
    """Rows to evaluate, of which the longest batch is."""
    evaluated_at_once: int
    micro_batch_size: int | None = None
    checkpointing: bool = False
    packing: bool = False
    trains: bool = True
    """False where nothing is trained by steps."""
    kind: str = "cpu"
    """The kind of device that it is to be on."""
    kept_inputs: Sequence[str] = ()
    """Layers, by path, that keep their input for the backward pass where autograd does not see it."""


@dataclass(frozen=True)
class Rehearsed:
    """Holds what a run's parts take beyond weights, the adapter's values, and what its optimiser keeps."""

    peaks: Mapping[str, int]
    """Bytes at the worst instant of each part: `FORWARD`, `BACKWARD`, `EVALUATION`."""
    work: Mapping[str, Work] = field(default_factory=dict)
    """The products and other operations of each: of a step, and of the longest batch of an evaluation."""

    def peak(self, *parts: str) -> int:
        """Return the bytes at the worst instant of these parts."""
        return max((self.peaks.get(part, 0) for part in parts), default=0)

    def sizes(self, *parts: str) -> int:
        """Return how many sizes of products these parts have."""
        return sum(len(self.work[part].products) for part in parts if part in self.work)


def rehearse(scene: Scene, observer: Callable[[int, int], None] = lambda name, size: None) -> Rehearsed:
    """Take one step and evaluate, without numbers; the scene's model and adapter, on `meta`, have none afterwards either.

    `observer` hears of every storage that comes, and goes (`Storages`).
    """
    storages = Storages(fake := fake_mode(), observer=observer)
    with pretended(scene.kind), fake, storages:
        # Copies of frozen weights are counted apart, as nothing but a real weight can be laid out anew.
        scene.backbone.linears = {}
        language = scene.backbone.language
        modules = [scene.backbone.model, scene.adapter, *([] if language is None else [language.linear])]
        return play(scene, storages, list(without_numbers(modules, fake)), FakeDropout(0))


def play(scene: Scene, storages: Storages, standing: Sequence[Tensor], source: DropoutSource) -> Rehearsed:
    """Take one step and evaluate under a count of storages, on tensors of whatever kind; `standing` are there before."""
    for tensor in standing:
        storages.hold(tensor)
    before = storages.bytes
    with ExitStack() as stack:
        for handle in _keeping_inputs(scene):
            stack.callback(handle.remove)
        passes = stack.enter_context(
            Passes(scene.backbone, source, checkpointing=scene.checkpointing, packing=scene.packing)
        )
        if scene.trains:
            with storages.part(FORWARD):
                _gradients(scene, passes)
        with storages.part(EVALUATION):
            _evaluate(scene, passes)
    return Rehearsed({part: max(0, peak - before) for part, peak in storages.peaks.items() if part}, storages.work)


def _gradients(scene: Scene, passes: Passes) -> None:
    adapter, rows = scene.adapter, len(scene.train)
    task: Any = scene.task  # a stand-in for one has what the loop asks of it
    beside = {name: nn.Parameter(value) for name, value in task.trained_beside().items()}
    trainable = adapter.trainable(scene.backbone)
    loss = torch.zeros((), dtype=torch.float64)
    # Its steps are counted by what it says of itself: some look at numbers.
    optimiser = Optimiser(trainable, learning_rate=0.0, total_steps=1)
    member = Member(adapter, task, scene.train, 0, 1, rows, optimiser, None, loss, beside=beside)
    passes.prepare([member], lambda own: own.tokens)
    gradients(passes, [member], scene.micro_batch_size)
    if (penalty := adapter.penalty()) is not None:
        penalty.backward()  # type: ignore[no-untyped-call]
    for value in trainable.values():
        value.grad = None


def _evaluate(scene: Scene, passes: Passes) -> None:
    """Send the longest batch of an evaluation through the model."""
    tokens = scene.test.evaluated()
    batches = list(evaluation_batches(tokens.lengths * tokens.choices, scene.evaluated_at_once))
    with torch.no_grad():
        if scene.trains:
            attached = passes.attached([scene.adapter], training=False)
            attached.outputs(attached.batch([(tokens, batches[-1])]))
        else:
            with Attachment(scene.backbone, []) as bare:
                bare.hidden(bare.batch([(tokens, batches[-1])]).inputs)


def _keeping_inputs(scene: Scene) -> list[Any]:
    """Let the layers that keep their inputs do so."""

    def keeping(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda x: forward(Keeping.apply(x) if x.requires_grad else x)  # type: ignore[no-untyped-call]

    layers = [scene.backbone.model.get_submodule(path) for path in scene.kept_inputs]
    return [Loan(layer, keeping(layer.forward)) for layer in layers]
