"""Decide which members go through the backbone together, and keep the attachment that carries them."""

import math
from collections.abc import Callable, Hashable, Sequence
from itertools import pairwise
from types import TracebackType
from typing import Protocol, TypeVar

import numpy as np

from afina.adapters.adapter import Adapter
from afina.backbone.attachment import Attachment
from afina.backbone.branch import Branch, PromptBranch
from afina.backbone.load import Backbone
from afina.backbone.packing import unpackable
from afina.backbone.trunk import Trunks
from afina.data.tokens.tokens import Tokens
from afina.ops.dropout import DropoutSource

__all__ = ["Passes", "lowest_layer", "packing_of", "pass_kind"]


class _Carries(Protocol):
    @property
    def adapter(self) -> Adapter: ...


_M = TypeVar("_M", bound=_Carries)


class Passes:
    """Groups members and attaches one group at a time; the attachment stays until another group's turn, or the block ends."""

    def __init__(
        self, backbone: Backbone, source: DropoutSource | None = None, *, most: int | None = None,
        most_tokens: int | None = None, alike: bool = False, checkpointing: bool = False, packing: bool = False,
    ) -> None:  # fmt: skip
        """Let at most `most` members go together, and in training no more than `most_tokens` tokens.

        With `alike`, members whose branches can be computed as one stack have passes of their own, which saves cutting and
        joining the rows at every branch; the others share passes. With `packing`, short texts share rows of a batch where
        that changes nothing for its members.
        """
        self.backbone, self.most, self.most_tokens = backbone, most, most_tokens
        self.alike, self.packing = alike, packing
        self._source, self._checkpointing = source, checkpointing
        self._now: Attachment | None = None
        self._trunks = Trunks()
        self._found: dict[Adapter, tuple[tuple[int, int, bool], str]] = {}

    def __enter__(self) -> "Passes":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def _release(self) -> None:
        if self._now is not None:
            self._now.__exit__(None, None, None)
            self._now = None

    def groups(self, members: Sequence[_M], tokens: Callable[[_M], int] | None = None) -> list[list[_M]]:
        """Divide members into groups that lose nothing by going together, none too large; `tokens` tells a member's batch's.

        Members of one method stand side by side, and of them those whose branches are computed at once: where others have no
        branch, they are one piece. Batches of less than half as many tokens as others' go apart: they would be padded.
        """
        counts = {id(member): 1 if tokens is None else max(1, tokens(member)) for member in members}
        largest = max(counts.values(), default=1)
        kinds: dict[Hashable, dict[str, list[_M]]] = {}
        for member in sorted(members, key=lambda member: self._known(member.adapter)[1]):
            kind, like = self._known(member.adapter)

            # Batches within a factor of two of each other's size share a kind: they are padded to the widest.
            halvings = int(math.log2(largest / counts[id(member)]))
            kinds.setdefault((kind, halvings), {}).setdefault(like, []).append(member)
        divided: list[list[_M]] = []
        for units in kinds.values():
            size = self.most or max(1, len(members))
            if tokens is not None and self.most_tokens is not None:
                widest = max(counts[id(member)] for own in units.values() for member in own)
                size = max(1, min(size, self.most_tokens // widest))

            # A method with several members gets passes of its own, where its branches are one stack and no row is cut
            # out; single members share what is left.
            apart = [own for own in units.values() if self.alike and len(own) > 1]
            rest = [member for own in units.values() if not (self.alike and len(own) > 1) for member in own]
            divided += [group for own in (*apart, rest) for group in _parts(own, size)]
        return divided

    def prepare(self, members: Sequence[_M], tokens: Callable[[_M], Tokens], rows: np.ndarray | None = None) -> None:
        """Compute the hidden states of members' rows (all by default) below the lowest branch, once, before training."""
        for group in self.groups(members):
            attached = self.attached([member.adapter for member in group], training=True)
            for batch in {id(own): own for own in map(tokens, group)}.values():
                attached.fill_trunk(batch, rows)

    def _known(self, adapter: Adapter) -> tuple[tuple[int, int, bool], str]:
        """Return what decides about an adapter's group, and what sorts it within the group; computed once an adapter."""
        if adapter not in self._found:
            # Sorted by method and stack: neighbours with one key become one leg of the batch.
            stacks = [branch.stack_key() for _, branch in adapter.placed() if isinstance(branch, Branch)]
            self._found[adapter] = pass_kind(adapter), f"{adapter.method.name} {stacks}"
        return self._found[adapter]

    def attached(self, adapters: Sequence[Adapter], *, training: bool) -> Attachment:
        """Return the backbone with these adapters on it."""
        now = self._now
        same = now is not None and len(now.adapters) == len(adapters)
        if now is None or not same or any(a is not b for a, b in zip(now.adapters, adapters, strict=True)):
            self._release()

            # The lowest branch of any of them ends what all can skip.
            layers = min(self._known(adapter)[0][0] for adapter in adapters)
            now = Attachment(
                self.backbone, adapters, self._source, training=training, checkpointing=self._checkpointing,
                trunks=self._trunks, trunk_layers=min(layers, self.backbone.trunk_layers),
            )  # fmt: skip
            now.__enter__()
            self._now = now
        if now.training != training:
            now.train(training)
        return now


def _parts(members: list[_M], size: int) -> list[list[_M]]:
    """Cut members into the fewest parts of at most `size`, of nearly equal length."""
    # Nearly equal parts: with eight members and room for five, twice four are faster than five and three.
    count = -(-len(members) // size)
    bounds = [place * len(members) // count for place in range(count + 1)] if count else []
    return [members[start:stop] for start, stop in pairwise(bounds)]


def pass_kind(adapter: Adapter) -> tuple[int, int, bool]:
    """Return what adapters must have in common to share a pass, so that none pays for another's needs.

    That is the lowest layer with a branch (below it no gradient is needed), the length of the prompt, and whether the head
    reads only the first token of the last layer.
    """
    placed = adapter.placed()
    prompt = max((branch.length for _, branch in placed if isinstance(branch, PromptBranch)), default=0)
    # A branch that mixes tokens would need the others of the last layer, even if the head does not.
    narrow = adapter.head.first_token_only and all(branch.per_token for _, branch in placed)
    return lowest_layer(adapter), prompt, narrow


def lowest_layer(adapter: Adapter) -> int:
    """Return the lowest layer that an adapter changes; a number beyond all layers where it changes none."""
    # Where the backbone itself is trained, gradients reach its lowest layer.
    none = 0 if adapter.method.owns_backbone else 1 << 30
    layers = (site.layer if site.layer is not None else -1 for site, _ in adapter.placed())
    return max(0, min(layers, default=none))


def packing_of(wanted: str, backbone: Backbone, adapter: Adapter) -> str | None:
    """Return how an adapter's texts are packed: as `wanted`, or `off` with the reason; None where nothing is written."""
    if not adapter.head.per_token or wanted == "off":
        return wanted if adapter.head.per_token else None
    why = unpackable(backbone.anatomy, adapter.head, (branch for _, branch in adapter.placed()))
    return wanted if why is None else f"off: {why}"
