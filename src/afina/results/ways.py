"""Name the ways of answering from documents that `afina rag compare` sets beside one another."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

__all__ = ["CONTRASTS", "USUAL", "WAYS", "AnswerWay"]


@dataclass(frozen=True)
class AnswerWay:
    """Says who answers, and with which passages before it."""

    who: Literal["base", "tuned", "reading"]
    """The model as it is, tuned on questions and answers, or tuned on prompts with passages (`afina rag rows`)."""
    given: Literal["none", "found", "right"]
    """Passages before the question: none, those that a search finds, or those that tell, which nobody has when asking."""
    phrase: str
    """Its name in tables and sentences."""

    @property
    def is_open(self) -> bool:
        """Return whether it is a way that can be gone: the right passage is known in a test alone."""
        return self.given != "right"


WAYS: Mapping[str, AnswerWay] = MappingProxyType(
    {
        "base": AnswerWay("base", "none", "base from memory"),
        "tuned": AnswerWay("tuned", "none", "tuned, from memory"),
        "base_retrieval": AnswerWay("base", "found", "base with retrieval"),
        "tuned_retrieval": AnswerWay("tuned", "found", "tuned, with retrieval"),
        "reading_retrieval": AnswerWay("reading", "found", "tuned for reading, with retrieval"),
        "base_oracle": AnswerWay("base", "right", "base with the right passage"),
        "tuned_oracle": AnswerWay("tuned", "right", "tuned, with the right passage"),
        "reading_oracle": AnswerWay("reading", "right", "tuned for reading, with the right passage"),
    }
)
USUAL = ("base", "tuned", "base_retrieval", "tuned_retrieval", "reading_retrieval", "base_oracle")
"""Those that are compared unless others are named."""
CONTRASTS = (
    ("base_retrieval", "base", "retrieval beside answering from memory"),
    ("tuned", "base", "tuning on the questions beside no tuning"),
    ("base_retrieval", "tuned", "retrieval beside tuning on the questions"),
    ("tuned_retrieval", "base_retrieval", "tuning on the questions with retrieval, beside retrieval alone"),
    ("reading_retrieval", "base_retrieval", "tuning for reading with retrieval, beside retrieval alone"),
    ("reading_retrieval", "tuned", "tuning for reading with retrieval, beside tuning on the questions"),
    ("reading_retrieval", "tuned_retrieval", "tuning for reading beside tuning on the questions, both with retrieval"),
    ("base_oracle", "base_retrieval", "the right passage beside those that are found"),
    ("reading_oracle", "reading_retrieval", "the right passage beside those that are found, to who was tuned for reading"),
)  # fmt: skip
"""Pairs of ways whose difference answers a question, and which one."""
