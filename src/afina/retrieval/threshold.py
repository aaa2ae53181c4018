"""Set the score below which an index's documents do not tell, on questions of which it is known whether they do.

Half of each kind, drawn by a seed, chooses: the part of the index whose best score tells the two kinds apart best, and the
score that errs least. The other half, which chose nothing, says how often that errs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from afina.errors import UsageError
from afina.results.certainty import wilson
from afina.retrieval.index import Index
from afina.retrieval.judged import JudgedQuestion

__all__ = ["ErrorRate", "Limit", "Threshold", "chosen_threshold", "limit_of", "threshold_in"]

_FEWEST = 10
"""Fewest questions of a kind: of five that choose and five that tell nothing less can be said."""
_NONE = 3.0
"""More than any threshold errs in sum."""


@dataclass(frozen=True)
class ErrorRate:
    """Counts how often something held among so many questions."""

    count: int
    of: int

    @property
    def share(self) -> float:
        """Return the share."""
        return self.count / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """Return the share's 95% interval (Wilson's)."""
        return wilson(self.count, self.of)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        low, high = self.interval
        return {"count": self.count, "of": self.of, "share": round(self.share, 4),
                "low": round(low, 4), "high": round(high, 4)}  # fmt: skip


@dataclass(frozen=True)
class Threshold:
    """Holds a threshold as an index keeps it, and how often it errs on questions that did not choose it."""

    value: float
    by: str
    """The part of the index whose best score is held against it."""
    refused: ErrorRate
    """Questions with an answer in the documents that it refuses."""
    answered: ErrorRate
    """Questions without one that it lets through to the model, which may still refuse."""
    apart: float
    """Share of pairs, one question of each kind, of which the one with an answer scores higher (on the choosing half)."""
    refuse_at_most: float | None
    seed: int
    edition: str
    """The index's edition that it was set on."""

    @property
    def tells_apart(self) -> bool:
        """Return whether it surely refuses more of the questions without an answer than of those with one."""
        # By intervals, and not by shares: with few questions chance tells kinds apart too.
        passed_low = 1 - self.answered.interval[1]
        return passed_low > self.refused.interval[1]

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return {**asdict(self), "refused": self.refused.as_dict(), "answered": self.answered.as_dict()}

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "Threshold":
        """Return what `as_dict` gave."""
        rates = {name: ErrorRate(values[name]["count"], values[name]["of"]) for name in ("refused", "answered")}
        return cls(**{**values, **rates})


@dataclass(frozen=True)
class Limit:
    """Says by which part's score questions are refused, and below which; None refuses those alone that find nothing."""

    by: str
    value: float | None

    def tells(self, best: Mapping[str, float]) -> bool:
        """Return whether the documents tell, by the best scores of the parts."""
        score = best.get(self.by)
        return score is not None and (self.value is None or score >= self.value)


def limit_of(index: Index, threshold: float | str | None) -> Limit:
    """Return what a threshold means: a number, None for none, or `index` for the index's own where it has one.

    A number is held against the index's vectors where it has some. Raises `UsageError` for what is none of these.
    """
    if threshold == "index":
        kept_in = threshold_in(index)
        return Limit(index.likens_by, None) if kept_in is None else Limit(kept_in.by, kept_in.value)
    if isinstance(threshold, str) or (threshold is not None and not math.isfinite(threshold)):
        raise UsageError(f"The threshold should be a number with an end, not {threshold}.")
    return Limit(index.likens_by, threshold)


def threshold_in(index: Index) -> Threshold | None:
    """Return the threshold that an index keeps, if it has one."""
    values = index.values.get("threshold")
    return None if values is None else Threshold.read(values)


def chosen_threshold(
    index: Index, questions: Sequence[JudgedQuestion], *, refuse_at_most: float | None = None, seed: int = 0
) -> Threshold:
    """Return the threshold that questions choose; it errs least in sum, or refuses at most a share of what has an answer.

    Raises `UsageError` for fewer than ten questions of a kind, and a share that is none.
    """
    if refuse_at_most is not None and not 0 <= refuse_at_most < 1:
        raise UsageError(f"The share of questions that may be refused is from 0 to below 1, not {refuse_at_most:g}.")
    kinds = {tells: [each.text for each in questions if each.answerable == tells] for tells in (True, False)}
    for tells, what in ((True, "with"), (False, "without")):
        if len(kinds[tells]) < _FEWEST:
            raise UsageError(
                f"A threshold is set on {_FEWEST} or more questions {what} an answer in the documents, and there are "
                f"{len(kinds[tells])}."
            )
    # Halves are drawn once for all parts, so that these are compared on the same questions.
    random = np.random.default_rng(seed)
    choosing, held = {}, {}
    for tells, texts in kinds.items():
        best = index.best(texts)
        order = random.permutation(len(texts))
        half = len(texts) // 2
        choosing[tells], held[tells] = ([best[place] for place in part] for part in (order[:half], order[half:]))
    candidates = [
        (*_threshold(_scores(choosing[True], name), _scores(choosing[False], name), refuse_at_most), name)
        for name in index.rankers
    ]
    # The one that errs least; of equals the one that tells the kinds apart best.
    (errs, _), value, apart, by = min(candidates, key=lambda each: each[0])
    if errs >= _NONE:
        raise UsageError(
            f"No threshold refuses at most {refuse_at_most or 0:.0%} of the questions with an answer; more find nothing."
        )
    passes, slips = (_scores(held[tells], by) >= value for tells in (True, False))
    return Threshold(
        value, by, ErrorRate(int((~passes).sum()), len(passes)), ErrorRate(int(slips.sum()), len(slips)), apart,
        refuse_at_most, seed, str(index.values["edition"]),
    )  # fmt: skip


def _scores(best: Sequence[Mapping[str, float]], name: str) -> np.ndarray:
    # What finds nothing is less like than anything that is found.
    return np.array([each.get(name, -math.inf) for each in best])


def _threshold(right: np.ndarray, wrong: np.ndarray, at_most: float | None) -> tuple[tuple[float, float], float, float]:
    """Return how much the best threshold of a part errs, the threshold, and how well scores tell the kinds apart.

    `right` (N,) are the scores of questions with an answer, `wrong` (M,) of those without.
    """
    values = np.unique(np.concatenate([right, wrong]))
    low, high = values[:-1], values[1:]
    scores = values[np.isfinite(values)]
    if not len(scores):  # a part that finds nothing for any question
        return (_NONE, 0.0), 0.0, 0.5
    # Between two scores that there are, as far from both; below all of them nothing is refused, and above all everything.
    between = np.where(np.isfinite(low), (low + high) / 2, high)
    candidates = np.concatenate([scores[:1], between, [np.nextafter(scores[-1], np.inf)]])
    refused = (right[:, None] < candidates).mean(axis=0)
    answered = (wrong[:, None] >= candidates).mean(axis=0)
    # Equal scores tell nothing apart and count half, as in the area under a ROC curve.
    apart = float((right[:, None] > wrong).mean() + (right[:, None] == wrong).mean() / 2)
    errs = refused + answered if at_most is None else np.where(refused <= at_most, answered, _NONE)
    place = int(np.argmin(errs))
    return (float(errs[place]), -apart), float(candidates[place]), apart
