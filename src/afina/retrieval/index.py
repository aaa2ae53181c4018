"""Search an index: `Index(folder).search(question)` gives passages, each with its place and its scores."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from afina.errors import UsageError, nearest, shown
from afina.given_texts import given_texts
from afina.retrieval.edition import Chunk
from afina.retrieval.folder import TERMS, IndexFolder
from afina.retrieval.representations.base import NOTHING, REPRESENTATIONS, Ranker
from afina.retrieval.representations.dense import Dense
from afina.retrieval.representations.hybrid import Fused, fused
from afina.retrieval.settings import IndexSettings
from afina.retrieval.terms import Terms

__all__ = ["FoundPassages", "Hit", "Index"]


@dataclass(frozen=True)
class Hit:
    """A passage that was found, with its place, and why it was."""

    rank: int
    row: int
    score: float
    chunk: Chunk
    parts: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Rank and score by each part of a hybrid that found the passage."""
    places: tuple[Chunk, ...] = ()
    """Where else the same words stand, or nearly the same."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        chunk = self.chunk
        return {
            "rank": self.rank, "score": round(self.score, 6), "file": chunk.file, "page": chunk.page,
            "heading": chunk.heading,
            "start": chunk.start, "stop": chunk.stop, "text": chunk.text,
            "parts": {name: {"rank": rank, "score": round(score, 6)} for name, (rank, score) in self.parts.items()},
            "places": [{key: vars(each)[key] for key in ("file", "page", "start", "stop")} for each in self.places],
        }  # fmt: skip


@dataclass(frozen=True)
class FoundPassages:
    """Holds what was found for a question: the passages, and how like it the best is by each part of the index."""

    hits: list[Hit]
    best: dict[str, float]
    """The highest score of any passage by each part; nothing of a part that found none."""


class Index:
    """An index that is open to be searched; it stays as it was when it was opened."""

    def __init__(self, folder: str | Path, *, device: str = "auto") -> None:
        """Open an index; raises `UsageError` where there is none, or its encoder is another or gone."""
        self.folder = IndexFolder(Path(folder))
        try:
            self.values, self.edition = self.folder.opened()
            self._open(device)
        except FileNotFoundError:  # another process put a new edition in its place just now
            self.values, self.edition = self.folder.opened()
            self._open(device)

    def _open(self, device: str) -> None:
        self.settings = IndexSettings.read(self.values["settings"])
        made = REPRESENTATIONS[self.settings.representation](self.settings)
        # Before questions are read: vectors of other weights would not be comparable.
        self.folder.check_weights(self.values, self.settings)
        self.terms = Terms.load(self.edition.folder / TERMS)
        ranker = made.open(self.edition.folder / self.settings.representation, self.terms, device)
        self.ranker: Ranker = ranker
        self.rankers = ranker.rankers if isinstance(ranker, Fused) else {self.settings.representation: ranker}

    def __len__(self) -> int:
        """Return how many passages there are."""
        return int(self.values["counts"]["chunks"])

    @property
    def likens_by(self) -> str:
        """Return the part whose score says how like a question a passage is, unless a threshold names another.

        It is the first that compares vectors, whose similarities have a scale; where there is none, the first.
        """
        return next(
            (name for name in self.rankers if issubclass(REPRESENTATIONS[name], Dense)), next(iter(self.rankers))
        )

    @property
    def threshold_is_stale(self) -> bool:
        """Return whether the documents have changed since the index's threshold was set; False where it has none."""
        threshold = self.values.get("threshold")
        return threshold is not None and threshold["edition"] != self.values["edition"]

    def search(self, question: str, most: int = 10, *, by: str | None = None) -> list[Hit]:
        """Return the passages that answer a question best, the best first; `by` is one of a hybrid's parts alone.

        Raises `UsageError` for an empty question, and for a part that the index has not.
        """
        (hits,) = self.search_several([question], most, by=by)
        return hits

    def search_several(self, questions: Sequence[str], most: int = 10, *, by: str | None = None) -> list[list[Hit]]:
        """Return the passages for each of several questions."""
        return [found.hits for found in self.found(questions, most, by=by)]

    def found(self, questions: Sequence[str], most: int = 10, *, by: str | None = None) -> list[FoundPassages]:
        """Return the passages for each of several questions, with the best score by each part."""
        ranked = self.rank(questions, most, by=by)
        return [FoundPassages(self._hits(parts, scores, rows), best) for parts, scores, rows, best in ranked]

    def best(self, questions: Sequence[str]) -> list[dict[str, float]]:
        """Return for each question the highest score of any passage by each part of the index."""
        return [best for *_, best in self.rank(questions, 1)]

    def rank(
        self, questions: Sequence[str], most: int, *, by: str | None = None
    ) -> list[tuple[dict[str, dict[int, tuple[int, float]]], list[float], list[int], dict[str, float]]]:
        """Return by question: of each part ranks and scores by row, the best scores, their rows, each part's best score."""
        questions = given_texts(questions, "question", caller="search_several")
        # An empty question is near to nothing, and a model would be asked for it.
        if blank := [number for number, question in enumerate(questions, start=1) if not question.strip()]:
            raise UsageError(f"Question {blank[0]} is empty." if len(questions) > 1 else "The question is empty.")
        if most < 1:
            raise UsageError(f"At least one passage is searched for, not {most}.")
        rankers = self.rankers
        if by is not None:
            if by not in rankers and by != self.settings.representation:
                raise UsageError(f"{self.folder.path} has no {shown(by)}{nearest(by, rankers)}")
            rankers = {by: rankers[by]} if by in rankers else rankers
        several = len(rankers) > 1
        # Deeper than what is asked for, as in what a hybrid does by itself.
        depth = max(100, 5 * most) if several else most
        ranked = {name: ranker.rank(questions, depth) for name, ranker in rankers.items()}
        answers = []
        for number in range(len(questions)):
            parts = {
                name: {
                    row: (place, float(score))
                    for place, (row, score) in enumerate(
                        zip(rows[number].tolist(), scores[number].tolist(), strict=True), 1
                    )
                    if row != NOTHING
                }
                for name, (scores, rows) in ranked.items()
            }
            if several:
                best, rows = fused([rows[number] for _, rows in ranked.values()], most)
            else:
                ((values, numbers),) = ranked.values()
                best, rows = values[number], numbers[number]
            ranking = [
                (float(score), row) for score, row in zip(best.tolist(), rows.tolist(), strict=True) if row != NOTHING
            ]
            # Thresholds are held against parts: their scores have a scale, ranks have none.
            highest = {name: max(score for _, score in found.values()) for name, found in parts.items() if found}
            answers.append(
                (parts if several else {}, [score for score, _ in ranking], [row for _, row in ranking], highest)
            )
        return answers

    def _hits(self, parts: dict[str, dict[int, tuple[int, float]]], scores: list[float], rows: list[int]) -> list[Hit]:
        return [
            Hit(
                rank, row, score, self.edition.chunk(row),
                {name: places[row] for name, places in parts.items() if row in places}, tuple(self.edition.places(row)),
            )
            for rank, (score, row) in enumerate(zip(scores, rows, strict=True), start=1)
        ]  # fmt: skip

    def close(self) -> None:
        """Close its files."""
        self.edition.close()
