"""BERT: one vector a text, the mean of its tokens' last states or its first token's.  Reimers and Gurevych, 2019.

Any encoder that Afina loads, with any of its adapters on it. Vectors that the index had before are not computed anew.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from afina.retrieval.encoder import Encoder
from afina.retrieval.representations.base import Corpus, representation
from afina.retrieval.representations.dense import VECTORS, Dense
from afina.retrieval.terms import Terms

__all__ = ["Bert"]

_GROUP = 512
"""Texts after which vectors are kept: what a kill may cost."""


@representation("bert")
class Bert(Dense):
    """Compares meanings, as a pretrained encoder tells them."""

    embeds = True

    def write_vectors(self, corpus: Corpus, folder: Path) -> dict[str, Any]:
        digests = corpus.edition.digests()
        earlier, before = _earlier(corpus.before, folder.relative_to(corpus.edition.folder))
        missing = [row for row, digest in enumerate(digests) if digest not in earlier]
        computed = corpus.journal.has_vectors()
        pending = [row for row in missing if digests[row] not in computed]
        width = self._compute(corpus, digests, pending) if pending else None
        if width is None:
            width = before.shape[1] if len(earlier) else len(next(corpus.journal.vectors([digests[missing[0]]])))
        vectors = reserved(folder / VECTORS, (len(digests), width))
        for row, digest in enumerate(digests):
            if (place := earlier.get(digest)) is not None:
                vectors[row] = before[place]
        for row, vector in zip(missing, corpus.journal.vectors(digests[row] for row in missing), strict=True):
            vectors[row] = vector
        vectors.flush()
        return {"computed": len(missing), "reused": len(digests) - len(missing), "width": width}

    def _compute(self, corpus: Corpus, digests: Sequence[bytes], pending: list[int]) -> int:
        """Compute the vectors of some rows and put them into the journal; return how wide they are."""
        encoder = Encoder(self.settings, corpus.device)
        done = 0
        wanted, texts = set(pending), {}
        for row, text in enumerate(corpus.texts()):
            if row in wanted:
                texts[row] = text
        # Texts of like length together, the longest first: what memory takes shows at once.
        order = sorted(pending, key=lambda row: -len(texts[row]))
        for start in range(0, len(order), _GROUP):
            rows = order[start : start + _GROUP]
            corpus.tell("computing vectors", done, len(order))
            made = encoder.vectors(
                [texts[row] for row in rows],
                tick=lambda count, before=done: corpus.tell("computing vectors", before + count, len(order)),  # type: ignore[misc]
            )
            corpus.journal.keep_vectors([digests[row] for row in rows], self.finished(made))
            done += len(rows)
        corpus.tell("computing vectors", done, len(order))
        return encoder.width

    def reader(self, folder: Path, terms: Terms, device: str) -> Callable[[Sequence[str]], np.ndarray]:
        loaded: list[Encoder] = []

        def read(questions: Sequence[str]) -> np.ndarray:
            if not loaded:  # with the first question: an index that is only looked at loads no model
                loaded.append(Encoder(self.settings, device))
            return loaded[0].vectors(questions)

        return read


def reserved(path: Path, shape: tuple[int, int]) -> "np.memmap[Any, Any]":
    """Return a mapped file of float32 whose room on the disk is taken now: a full disk is an error, not the process's end."""
    made: np.memmap[Any, Any] = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return made


def _earlier(before: Path | None, name: Path) -> tuple[dict[bytes, int], np.ndarray]:
    """Return the rows of an earlier edition by their texts' digests, and its vectors."""
    from afina.retrieval.edition import Edition

    if before is None or not (before / name / VECTORS).is_file():
        return {}, np.zeros((0, 0), np.float32)
    edition = Edition(before)
    digests = edition.digests()
    edition.close()
    return {digest: row for row, digest in enumerate(digests)}, np.load(before / name / VECTORS, mmap_mode="r")
