"""Measure answers to questions of documents: a group's scores are sums over its questions, two columns a metric.

Items are groups of questions that ask the same (a fact in several wordings), which are drawn together: two wordings of one
fact are no two facts. Column 2k is what the group adds to the numerator of metric k, column 2k + 1 to its denominator.
"""

from typing import ClassVar

import numpy as np

from afina.measure.metrics.base import Answered, Share, metric

__all__ = [
    "OF_ANSWERS", "AnswerContains", "AnswerExact", "AnswerF1", "HeldCitations", "Refusals", "RightAnswers", "WrongRefusals",
]  # fmt: skip

OF_ANSWERS = (
    "right_answers",
    "answer_contains",
    "answer_exact",
    "answer_f1",
    "refusals",
    "wrong_refusals",
    "held_citations",
)
"""The metrics in the order of their columns."""


class _OfAnswers(Share):
    """Divides the sum of one column by that of the next."""

    of = ("documents",)
    of_scores = True
    place: ClassVar[int]

    def parts(self, answers: Answered) -> np.ndarray:
        return answers.scores[:, [2 * self.place, 2 * self.place + 1]].astype(float)


@metric("right_answers")
class RightAnswers(_OfAnswers):
    """Share of all questions: those that documents tell hold the answer's words, the others are refused."""

    place = 0
    portuguese = "respostas certas"


@metric("answer_contains")
class AnswerContains(_OfAnswers):
    """Share of the told questions whose answer holds the words that a right one holds."""

    place = 1
    portuguese = "contém as palavras"


@metric("answer_exact")
class AnswerExact(_OfAnswers):
    """Share of the told questions whose answer is a good one word for word, in SQuAD's normal form."""

    place = 2
    portuguese = "resposta exata"


@metric("answer_f1")
class AnswerF1(_OfAnswers):
    """Mean over the told questions of the words' F1 with the nearest good answer, in SQuAD's normal form."""

    place = 3
    portuguese = "F1 das palavras"


@metric("refusals")
class Refusals(_OfAnswers):
    """Share of the questions that documents do not tell which are refused."""

    place = 4
    portuguese = "recusas certas"


@metric("wrong_refusals")
class WrongRefusals(_OfAnswers):
    """Share of the told questions that are refused."""

    place = 5
    higher_is_better = False
    portuguese = "recusas erradas"


@metric("held_citations")
class HeldCitations(_OfAnswers):
    """Share of the answers with passages before them that cite one which was given and has the words it is cited for."""

    place = 6
    portuguese = "citações que se sustentam"
