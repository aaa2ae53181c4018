"""Trace several adapters of one base into one graph; an input `adapter` (rows,) says by number whose each row is.

A graph cannot cut a batch into parts of unknown sizes, as a cohort does. Here every adapter's branches see all rows and each
row takes what its own made; the base runs once. Where adapters put keys before a text's, all of them stand there and each
row sees its own.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from afina.backbone.anatomy import Site
from afina.backbone.attachment import Attachment
from afina.backbone.branch import AttentionBranch, Branch, Here, Placed, PromptBranch
from afina.backbone.head import Head, mean_pool
from afina.errors import UsageError
from afina.export.chosen import CHOICE
from afina.export.graph import AttachedParts, Traced, program_of, with_names
from afina.predictor.predictor import Predictor

__all__ = ["check_several", "traced_several"]


class _Chosen:
    """Holds the number (B,) of each row's adapter in the pass that is on its way."""

    def __init__(self) -> None:
        self.now: Tensor | None = None

    def of(self, values: Sequence[Tensor]) -> Tensor:
        """Return of each row what its own adapter made, of tensors (B or 1, ...)."""
        assert self.now is not None, "the model was called without its adapters' numbers"
        # Chosen by comparisons, not by indexing: a graph has no branches by row, and every adapter computes all rows.
        mixed = values[0]
        for number, value in enumerate(values[1:], start=1):
            if value is not values[0] or len(values) > 2:
                mixed = torch.where(self.row(number, value), value, mixed)
        return mixed

    def row(self, number: int, like: Tensor) -> Tensor:
        """Return (B, 1, ...): whether a row is this adapter's."""
        assert self.now is not None, "the model was called without its adapters' numbers"
        return (self.now == number).view(-1, *[1] * (like.ndim - 1))


class _Branches(Branch):
    """Holds the branches of several adapters at one site, maybe none of some."""

    def __init__(self, each: Sequence[Sequence[Branch]], chosen: _Chosen) -> None:
        super().__init__()
        self.held = nn.ModuleList(branch for own in each for branch in own)
        self._each, self._chosen = [list(own) for own in each], chosen
        self.per_token = all(branch.per_token for own in each for branch in own)  # type: ignore[misc]

    def before(self, x: Tensor) -> Tensor:
        return self._chosen.of([_through(own, x) for own in self._each])

    def after_here(self, here: Here, x: Tensor, y: Tensor) -> Tensor:
        outputs = []
        for branches in self._each:
            before, after = x, y
            for branch in branches:
                before = branch.before(before)
                after = branch.after_here(here, before, after)
            outputs.append(after)
        return self._chosen.of(outputs)


def _through(branches: Any, x: Tensor) -> Tensor:
    for branch in branches:
        x = branch.before(x)
    return x


class _AttentionBranches(AttentionBranch):
    """Does the same around an attention."""

    def __init__(self, each: Sequence[Sequence[AttentionBranch]], chosen: _Chosen) -> None:
        super().__init__()
        self.held = nn.ModuleList(branch for own in each for branch in own)
        self._each, self._chosen = [list(own) for own in each], chosen

    def before(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        rows = query.shape[0]
        if mask is None:
            mask = query.new_zeros(1, 1, 1, key.shape[2])
        mask = mask.expand(rows, *mask.shape[1:])
        keys, values, masks = [key], [value], [mask]
        for number, branches in enumerate(self._each):
            given: Any = (query, key, value, mask)
            for branch in branches:
                given = branch.before(*given)
            count = given[1].shape[2] - key.shape[2]
            assert given[0] is query, "a branch that changes what is asked has no form here"
            if not count:
                continue

            # An adapter's virtual keys stand before every row and are masked in those of the others.
            theirs = given[3][..., :count]
            none = torch.finfo(theirs.dtype).min if theirs.is_floating_point() else False
            keys.insert(0, given[1][:, :, :count])
            values.insert(0, given[2][:, :, :count])
            masks.insert(0, theirs.masked_fill(~self._chosen.row(number, theirs), none))
        return query, torch.cat(keys, dim=2), torch.cat(values, dim=2), torch.cat(masks, dim=3)

    def after(self, query: Tensor, output: Tensor) -> Tensor:
        outputs = []
        for branches in self._each:
            y = output
            for branch in reversed(branches):
                y = branch.after(query, y)
            outputs.append(y)
        return self._chosen.of(outputs)


class _Prompts(PromptBranch):
    """Holds the virtual tokens of several adapters, as many of each."""

    def __init__(self, each: Sequence[PromptBranch], chosen: _Chosen) -> None:
        super().__init__()
        self.held = nn.ModuleList(each)
        self._each, self._chosen = list(each), chosen
        self.length, self.seen = each[0].length, each[0].seen

    def vectors(self) -> Tensor:
        """Return each row's, (B, length, D)."""
        return self._chosen.of([branch.vectors()[None] for branch in self._each])


class _SeveralAttached(nn.Module):
    """Gives of each row what its own adapter answers, in its task's unit, with zeros behind where others have more labels."""

    def __init__(self, each: Sequence[Predictor], inputs: Sequence[str]) -> None:
        super().__init__()
        first, self._chosen = each[0], _Chosen()
        parts = AttachedParts(
            Head(first.backbone.config, 0), _joined([loaded.adapter.placed() for loaded in each], self._chosen)
        )
        self.backbone = first.backbone.model
        self.branches = nn.ModuleList(branch for _, branch in parts.branches)
        self.heads = nn.ModuleList(loaded.adapter.head for loaded in each)
        self.attached, self._tasks = Attachment(first.backbone, [parts]), [loaded.task for loaded in each]
        self.forward = with_names(inputs, self.outputs)

    def outputs(self, inputs: Mapping[str, Tensor]) -> Tensor:
        given = dict(inputs)
        self._chosen.now = given.pop(CHOICE)
        hidden = self.attached.hidden(given)
        if self._tasks[0].embeds:
            return mean_pool(hidden).float()
        values = [task.compared(head(hidden, None)) for task, head in zip(self._tasks, self.heads, strict=True)]
        most = max(value.shape[-1] for value in values)
        wide = [nn.functional.pad(value, (0, most - value.shape[-1])) for value in values]
        logits = self._chosen.of(wide)
        self._chosen.now = None
        return logits


def _joined(each: Sequence[Sequence[tuple[Site, Placed]]], chosen: _Chosen) -> list[tuple[Site, Placed]]:
    """Return for each site one branch that has all adapters' in it."""
    placed: dict[tuple[Site, type], list[list[Any]]] = defaultdict(lambda: [[] for _ in each])
    for number, adapter in enumerate(each):
        # Branches of all adapters at one site become one branch, which chooses by row.
        for site, branch in adapter:
            kind: type = next(kind for kind in (AttentionBranch, PromptBranch, Branch) if isinstance(branch, kind))
            placed[site, kind][number].append(branch)
    parts: list[tuple[Site, Placed]] = []
    for (site, kind), branches in placed.items():
        if kind is PromptBranch:
            parts.append((site, _Prompts([own[0] for own in branches], chosen)))
        else:
            joined = _AttentionBranches if kind is AttentionBranch else _Branches
            parts.append((site, joined(branches, chosen)))
    return parts


def check_several(each: Sequence[Predictor]) -> None:
    """Raise `UsageError` for adapters that have no graph in common; all stand on one backbone."""
    first = each[0]
    for other in each:
        named = f"{other.folder} ({other.record.method}, {other.task.name})"
        if other.method.owns_backbone:
            raise UsageError(f"{named} has weights of the whole model, and shares its base with no other in one graph.")
        if other.task.speaks or other.task.tags or other.backbone.anatomy.row.inputs != "text":
            raise UsageError(
                f"{named} gives no labels, numbers or vectors of texts, as adapters in one graph do: export it alone."
            )
        if other.task.embeds != first.task.embeds:
            raise UsageError(f"{named} answers otherwise than {first.folder} ({first.task.name}): export them apart.")
        if other.adapter.words:
            raise UsageError(
                f"{named} has words of its own, which the others' tokenizer does not know: export it alone."
            )
    lengths = [
        next((branch.length for _, branch in own.adapter.placed() if isinstance(branch, PromptBranch)), 0)
        for own in each
    ]
    if len({*lengths}) > 1:
        raise UsageError(
            f"Adapters in one graph have as many virtual tokens each, and these have {', '.join(map(str, lengths))}: export "
            "those with others apart."
        )


@contextmanager
def traced_several(each: Sequence[Predictor], example: Mapping[str, Tensor]) -> Iterator[Traced]:
    """Give the graph of adapters on one backbone, traced on an example of its inputs without their numbers.

    Raises `AfinaError` where torch cannot trace it.
    """
    first = next(iter(example.values()))
    given = {**example, CHOICE: torch.arange(len(first)).remainder(len(each))}
    free = torch.export.Dim.DYNAMIC
    sizes = {name: dict.fromkeys(range(2 if value.ndim == 2 else 1), free) for name, value in given.items()}
    module = _SeveralAttached(each, tuple(given)).eval()
    with module.attached, torch.no_grad():
        program = program_of(each[0], module, given, sizes)
    output = "embedding" if each[0].task.embeds else "logits"
    yield Traced(program, tuple(given), (output,), merged=False)
