"""Occlusion: how much the score falls where a word is taken away.  Zeiler and Fergus, 2014; Li et al., 2016."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from afina.explanation.asker import Asker
from afina.explanation.ways.base import Attributed, AttributionWay, all_words, way

__all__ = ["Occlusion"]


@way("occlusion")
@dataclass(frozen=True, kw_only=True)
class Occlusion(AttributionWay):
    """Takes each word away by itself; needs no gradients."""

    told: ClassVar[str] = "how far the score falls without the word"

    def attribute(self, asker: Asker) -> list[Attributed]:
        asked = all_words(asker, there=True)
        for number, question in enumerate(asker.questions):
            asked += [(number, np.arange(len(question.words)) != word) for word in range(len(question.words))]
        scores = asker.scores(asked)
        done, made = len(asker.questions), []
        for number, question in enumerate(asker.questions):
            made.append(Attributed(scores[number] - scores[done : done + len(question.words)]))
            done += len(question.words)
        return made
