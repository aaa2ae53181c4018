"""Define what is explained of a kind of predictor, and keep the registry: one more is one file in this folder.

A score is the log-odds of an answer, ln p / (1 - p), in nats: it has no end, so that a sure answer still has words that made
it surer; of numbers it is the number, in the deviations that the head gives; of next words their log-probability.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from afina.errors import UsageError
from afina.explanation.question import ScoredQuestion
from afina.predictor.predictor import Predictor
from afina.registry import Registry

__all__ = ["KINDS", "Kind", "WantedAnswer", "kind", "kind_of", "log_odds"]


@dataclass(frozen=True, kw_only=True)
class WantedAnswer:
    """Says which answer a person wants explained; left out, it is the one that the model gives."""

    label: str | None = None
    """A label, or a tag."""
    word: str | None = None
    """The word whose tag is explained; left out, the words that have one."""
    following: str | None = None
    """The words that are to follow a prompt."""


class Kind(ABC):
    """Makes questions of texts, and scores the answers."""

    name: ClassVar[str] = ""
    by_head: ClassVar[bool] = True
    """True if a head answers, and no vocabulary."""

    def __init__(self, predictor: Predictor, wanted: WantedAnswer) -> None:
        """Take a predictor; raises `UsageError` for an answer that it has not."""
        self.predictor, self.wanted = predictor, wanted

    @abstractmethod
    def questions(self, texts: Sequence[str], pairs: Sequence[str] | None) -> list[ScoredQuestion]:
        """Return a question for each text, or several; raises `UsageError` for an empty text."""

    @abstractmethod
    def score(self, outputs: Tensor, questions: Sequence[ScoredQuestion]) -> Tensor:
        """Return each row's score (B,) from a model's outputs."""


KINDS: Registry[type[Kind]] = Registry("kind of explanation", "afina.explanation.kinds", "kind")
"""All of them, by the name of the predictor whose answers they explain."""
kind = KINDS.register


def kind_of(predictor: Predictor, wanted: WantedAnswer) -> Kind:
    """Return what explains a predictor's answers; raises `UsageError` where nothing does."""
    inputs = predictor.backbone.anatomy.row.inputs
    if predictor.name not in KINDS or inputs != "text":
        raise UsageError(
            f"{predictor.folder} was trained to {predictor.trained_to} (task: {predictor.task.name}); afina explain tells "
            "which words of a text decided a label, a number, a tag or the next words."
        )
    return KINDS[predictor.name](predictor, wanted)


def log_odds(logits: Tensor, answers: Tensor) -> Tensor:
    """Return ln p / (1 - p) (B,) of the answers' classes, of logits (B, K)."""
    chosen = torch.nn.functional.one_hot(answers, logits.shape[1]).bool()
    others = logits.masked_fill(chosen, -torch.inf).logsumexp(1)
    return logits.gather(1, answers[:, None])[:, 0] - others
