"""Trace an attached adapter with `torch.export` into one graph, for any number of rows of any length.

What has an equal layer is folded into the weights first; of the rest the graph holds the branches, as the hooks run them.
What does not depend on the input (LoReFT's rotation, a prefix's network) is computed once and stands in it as a tensor.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from afina.adapters.merged import Merged
from afina.backbone.anatomy import Site
from afina.backbone.attachable import Attachable
from afina.backbone.attachment import Attachment
from afina.backbone.branch import Branch, Placed
from afina.backbone.head import Head, mean_pool
from afina.errors import AfinaError
from afina.export.known import known_ahead
from afina.predictor.predictor import Predictor

__all__ = ["AttachedParts", "Traced", "folded", "headless", "program_of", "traced", "with_names"]


@dataclass
class AttachedParts:
    """Stands for an adapter of which only some is to be attached: a head without its branches, branches without a head."""

    head: Head
    branches: Sequence[tuple[Site, Placed]] = ()

    def placed(self) -> Sequence[tuple[Site, Placed]]:
        return self.branches


@dataclass(frozen=True)
class Traced:
    """Holds a graph of an attached adapter."""

    program: torch.export.ExportedProgram
    inputs: tuple[str, ...]
    """Their names, in order."""
    outputs: tuple[str, ...]
    """Theirs, likewise."""
    merged: bool
    """True if the branches are merged into the weights."""
    sizes: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    """Names of the axes of any size, by input or output; by default the first is the rows, the second a text's length."""


@contextmanager
def folded(loaded: Predictor) -> Iterator[Attachable]:
    """Give what is to be attached: the head alone, with the branches in the backbone's weights, or else the adapter.

    The backbone is as it was when the block ends.
    """
    with ExitStack() as stack:
        attachable: Attachable = loaded.adapter

        # Merged where it can be: a graph without branches is smaller and faster, and the same function.
        if not any(_at_words(loaded, *put) for put in loaded.adapter.placed()):
            # Where there is no equal layer, or none with a weight at all, they stay branches.
            with suppress(AfinaError, AttributeError):
                stack.enter_context(Merged(loaded.backbone, loaded.adapter))
                attachable = AttachedParts(loaded.adapter.head)
        yield attachable


def _at_words(loaded: Predictor, site: Site, branch: Placed) -> bool:
    """Return whether a branch is at the embedding and no weight of it: of new words, or not meant for a language head."""
    if not isinstance(branch, Branch):
        return False
    embedding = isinstance(loaded.backbone.model.get_submodule(site.module), nn.Embedding)
    return bool(branch.words) or (embedding and loaded.task.speaks)


class _Attached(nn.Module):
    """Gives an adapter's answers for a batch, in its task's own unit, as one module with plain inputs."""

    def __init__(self, loaded: Predictor, attachable: Attachable, inputs: Sequence[str]) -> None:
        super().__init__()
        self.backbone, self.head, self.task = loaded.backbone.model, attachable.head, loaded.task
        self.branches = nn.ModuleList(branch for _, branch in attachable.placed())
        embeds = loaded.task.embeds
        self.attached = Attachment(loaded.backbone, [headless(loaded, attachable) if embeds else attachable])

        self.forward = with_names(inputs, self.outputs)

    def outputs(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return logits (B, K), of tags (B, T, K), vectors (B, D) of what embeds."""
        if self.task.embeds:
            return mean_pool(self.attached.hidden(inputs)).float()
        return self.task.compared(self.attached(inputs)[0])


def with_names(inputs: Sequence[str], outputs: Callable[[Mapping[str, Tensor]], Any]) -> Callable[..., Any]:
    """Return a forward with inputs of these names, which `torch.export` reads from its signature."""

    def forward(**given: Tensor) -> Any:
        return outputs(given)

    names = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in inputs]
    forward.__signature__ = inspect.Signature(names)  # type: ignore[attr-defined]
    return forward


def headless(loaded: Predictor, attachable: Attachable) -> AttachedParts:
    """Return what is attached of an adapter where every token's state is wanted."""
    return AttachedParts(Head(loaded.backbone.config, 0), attachable.placed())


@contextmanager
def traced(loaded: Predictor, example: Mapping[str, Tensor], most: tuple[int, int] | None = None) -> Iterator[Traced]:
    """Give the graph of an adapter, traced on an example of its inputs: several rows, of texts several tokens, some padding.

    It takes any number of rows of any length, or `most` rows and tokens. Its weights are the backbone's own, which have the
    branches in them until the block ends. Raises `AfinaError` where torch cannot trace it.
    """
    names = tuple(example)

    # Rows and length stay free in the graph; of images and sound only the rows do.
    free = [torch.export.Dim.DYNAMIC] * 2 if most is None else [torch.export.Dim.DYNAMIC(max=size) for size in most]
    sizes = {name: dict(enumerate(free[: 2 if value.ndim == 2 else 1])) for name, value in example.items()}
    with folded(loaded) as attachable:
        module = _Attached(loaded, attachable, names).eval()
        with module.attached, torch.no_grad():
            program = program_of(loaded, module, example, sizes)
        output = "embedding" if loaded.task.embeds else "logits"
        yield Traced(program, names, (output,), merged=isinstance(attachable, AttachedParts))


def program_of(
    loaded: Predictor, module: nn.Module, example: Mapping[str, Tensor], sizes: Mapping[str, Any]
) -> torch.export.ExportedProgram:
    """Return the graph of an attached module, with what depends on no input computed; `sizes` says which axes are free.

    Raises `AfinaError` where torch cannot trace it.
    """

    with _experts_apart(loaded.backbone.model):
        try:
            program = torch.export.export(module, (), dict(example), dynamic_shapes=dict(sizes), strict=False)
        except Exception as error:  # of many kinds, which torch does not name
            raise AfinaError(
                f"torch.export cannot trace {loaded.record.method} on {loaded.backbone.anatomy.model_type} "
                f"({str(error).splitlines()[0][:300]}). Please report this."
            ) from error
    known_ahead(program)
    return program


@contextmanager
def _experts_apart(model: Any) -> Iterator[None]:
    """Have a mixture of experts take each token's own experts: of products in groups other programs have no word."""
    if not (hasattr(model, "_can_set_experts_implementation") and model._can_set_experts_implementation()):
        yield
        return
    before = model.get_experts_implementation()
    model.set_experts_implementation("batched_mm")
    try:
        yield
    finally:
        model.set_experts_implementation(before)
