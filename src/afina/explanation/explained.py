"""Explain texts by one adapter or several, and hold what was found."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from afina.explanation.asker import Asker
from afina.explanation.faithful import Faithfulness, check
from afina.explanation.kinds.base import Kind, WantedAnswer, kind_of
from afina.explanation.question import ScoredQuestion, TextWord
from afina.explanation.ways.base import Attributed, AttributionWay
from afina.predictor.predictor import Predictor

__all__ = ["Explained", "ExplainedText", "explained", "of_questions"]

_UNSURE = 0.1
"""Share of a score that may be missing before it is said that the steps were too few."""


@dataclass(frozen=True)
class ExplainedText:
    """Holds one answer and what each word added to it."""

    texts: tuple[str, ...]
    words: tuple[TextWord, ...]
    answer: str
    about: str
    """The word that was tagged, where words are."""
    probability: float | None
    score: float
    """The answer's score, in nats of log-odds; the number itself where it is one."""
    baseline: float
    """The same with all words taken away."""
    values: tuple[float, ...]
    missing: float | None
    """The part of the score, less the baseline's, that the values do not add up to."""
    error: float | None
    """Largest standard error of a value, where orders were drawn."""
    points: int | None = None
    """Points on the way from the baseline at which gradients were taken."""
    moved: float | None = None
    """Largest move of a value since half as many points."""
    base_values: tuple[float, ...] | None = None
    """The values under the bare base, the same head on it."""
    base_score: float | None = None

    @property
    def converged(self) -> bool:
        """Return whether the values add up to what they should."""
        return self.missing is None or abs(self.missing) <= _UNSURE * max(0.1, abs(self.score - self.baseline))


@dataclass(frozen=True)
class Explained:
    """Holds what was found for one adapter."""

    adapter: str
    model: str
    method: str
    way: str
    told: str
    baseline: str
    """The token that stands for a word that is taken away."""
    texts: list[ExplainedText]
    faithfulness: Faithfulness | None
    passes: int
    """Rows that the model read for it."""
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it as values that JSON can hold."""
        values = asdict(self)
        for entry, text in zip(values["texts"], self.texts, strict=True):
            entry["converged"] = text.converged
        if self.faithfulness is not None:
            values["faithfulness"]["holds"] = self.faithfulness.holds
        return values


def explained(
    predictor: Predictor, texts: Sequence[str], pairs: Sequence[str] | None, way: AttributionWay, wanted: WantedAnswer, *,
    contrast: bool = False, seed: int = 0, tell: Callable[[str], None] = lambda status: None,
) -> Explained:  # fmt: skip
    """Explain texts, or pairs; raises `UsageError` for an empty text, and for what has no answer that could be explained."""
    kind = kind_of(predictor, wanted)
    return of_questions(predictor, kind, kind.questions(texts, pairs), way, contrast=contrast, seed=seed, tell=tell)


def of_questions(
    predictor: Predictor, kind: Kind, questions: Sequence[ScoredQuestion], way: AttributionWay, *,
    contrast: bool = False, seed: int = 0, tell: Callable[[str], None] = lambda status: None,
) -> Explained:  # fmt: skip
    """Explain questions that are there already."""
    with Asker(predictor, kind, questions) as asker:
        tell("asking for the words' part")
        attributed, ends = way.attribute(asker), _ends(asker)
        tell("checking whether it is so")
        faithful, passes = check(asker, attributed, seed), asker.passes
    base: list[Attributed] = []
    base_scores: np.ndarray | None = None
    if contrast:
        tell("asking the base")
        with Asker(predictor, kind, questions, bare=True) as bare:
            base, base_scores = way.attribute(bare), _ends(bare)[0]
    made = []
    for number, (question, entry) in enumerate(zip(questions, attributed, strict=True)):
        made.append(ExplainedText(
            question.texts, question.words, question.told, question.about, question.probability,
            float(ends[0][number]), float(ends[1][number]), tuple(map(float, entry.values)), entry.missing, entry.error,
            entry.points, entry.moved, tuple(map(float, base[number].values)) if base else None,
            None if base_scores is None else float(base_scores[number]),
        ))  # fmt: skip
    return Explained(
        str(predictor.folder), predictor.record.model, predictor.record.method, way.name, way.told,
        predictor.tokenizer.convert_ids_to_tokens(asker.baseline), made, faithful, passes,
        _notes(questions, made, predictor, contrast=contrast),
    )  # fmt: skip


def _ends(asker: Asker) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores with all words, and with none."""
    count = len(asker.questions)
    rows = [(n, np.full(len(each.words), there)) for there in (True, False) for n, each in enumerate(asker.questions)]
    scores = asker.scores(rows)
    return scores[:count], scores[count:]


def _notes(
    questions: Sequence[ScoredQuestion], made: Sequence[ExplainedText], predictor: Predictor, *, contrast: bool
) -> list[str]:
    notes = list(predictor.notes)
    if cut := sum(question.cut for question in questions):
        notes.append(f"texts longer than the model reads: {cut} of {len(questions)}; what was cut off is not explained")
    if short := sum(len(question.words) < 2 for question in questions):
        notes.append(f"texts of one word or none, beside which nothing can be compared: {short} of {len(questions)}")
    if wrong := sum(not text.converged for text in made):
        notes.append(
            f"in {wrong} of {len(made)} answers the words' values lack more than a tenth of what they should add up to; "
            "take more --steps"
        )
    if contrast and not predictor.adapter.placed() and not predictor.method.owns_backbone:
        notes.append(
            "the adapter is a head alone: the base beneath it is what it was, and there is nothing to contrast"
        )
    return notes
