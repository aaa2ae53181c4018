"""Write with two graphs, one that reads a text and one that goes on from it, in whatever runtime runs them.

Of a batch's texts the padding is behind, and all rows of what is written begin together.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from afina.export.manifest import Manifest
from afina.export.runtime import Session
from afina.export.writing.names import APART, READS, kept_names
from afina.export.writing.session import Call, Going, WritingSession, padded

__all__ = ["ApartSession", "opened_graphs"]

_Graph = TypeVar("_Graph")


class _GoingApart(Going):
    """The rows of one batch: what the graph that reads gave of their texts, and what is kept of what they write."""

    def __init__(
        self, call: Call, reads: Call, prompts: Sequence[Sequence[int]], shapes: Sequence[tuple[int, int]], pad: int
    ) -> None:
        self._reads = reads
        super().__init__(call, prompts, shapes, pad)

    def _begun(self, prompts: Sequence[Sequence[int]], pad: int) -> dict[str, np.ndarray]:
        ids, mask = padded(prompts, pad, before=False)
        start, self._seen, *text = self._reads({"input_ids": ids, "attention_mask": mask})
        names = [kept_names(len(self._shapes), side)[0] for side in ("decoder", "encoder")]
        self._names, self._text = names[0], dict(zip(names[1], text, strict=True))
        self._kept = self._nothing(len(prompts))
        return self.step(start)

    def step(self, tokens: np.ndarray | Sequence[int]) -> dict[str, np.ndarray]:
        added = np.asarray(tokens, np.int64).reshape(len(self._seen), -1)
        written = dict(zip(self._names, self._kept, strict=True))
        return {**dict(zip(APART, (added, self._seen), strict=True)), **written, **self._text}

    def _run(self, given: Mapping[str, np.ndarray]) -> None:
        self.every, *self._kept = self._call(given)
        self.logits = self.every[:, -1]


class ApartSession(WritingSession):
    """Writes in a runtime that reads by `reads` and goes on by `call`; what is written stands apart from its prompt."""

    def __init__(self, call: Call, reads: Call, manifest: Manifest) -> None:
        super().__init__(call, manifest)
        self._reads = reads
        self._asked: tuple[list[int], list[int], Going] | None = None
        """The prompt that was asked last, what was written behind it, and what is kept of both."""

    def _going(self, prompts: Sequence[Sequence[int]]) -> Going:
        return _GoingApart(self._call, self._reads, prompts, self._shapes, self._pad)

    def room(self, prompt: Sequence[int]) -> int:
        return self.context

    def next_logits(self, tokens: Sequence[int], read: int | None = None) -> np.ndarray:
        raise NotImplementedError("what is read has nothing that follows each of its tokens; ask `answered`")

    def answered(self, prompt: Sequence[int], answer: Sequence[int]) -> np.ndarray:
        going = self.begin([prompt])
        parts = [going.every[0]]
        if len(answer):
            going.go_on(np.array(answer))
            parts.append(going.every[0])
        return np.concatenate(parts)

    def following(self, tokens: Sequence[int], written: Sequence[int] = ()) -> np.ndarray:
        prompt, behind = list(tokens), list(written)
        if self._asked is not None and behind and (prompt, behind[:-1]) == self._asked[:2]:
            going = self._asked[2]
            going.go_on(behind[-1:])
        else:
            going = self.begin([prompt])
            if behind:
                going.go_on(behind)
        self._asked = prompt, behind, going
        logits: np.ndarray = going.logits[0]
        return logits


def opened_graphs(
    place: Path,
    manifest: Manifest,
    load: Callable[[Path, Sequence[str]], _Graph],
    *,
    whole: Callable[[_Graph], Session],
    call: Callable[[_Graph], Call],
) -> Session:
    """Open an export's graphs by a runtime's `load`, which is given a file and its inputs, and return their session.

    What labels or makes vectors is one graph, for which `whole` makes the session; what writes has one that is called with
    what is kept, and for an encoder-decoder another beside it that reads.
    """
    graph = load(place, manifest.inputs)
    if "kept" not in manifest.reading:
        return whole(graph)
    inputs = manifest.reading.get(READS)
    if inputs is None:
        return WritingSession(call(graph), manifest)
    return ApartSession(call(graph), call(load(place.with_name(f"{READS}{place.suffix}"), inputs)), manifest)
