"""Texts with their words tagged: what an adapter for tagging predicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from afina.data.batching import Tokens
from afina.data.tags import spans
from afina.errors import UsageError
from afina.measure.entities import entities
from afina.tasks.tagging import Tagging

__all__ = ["Embedded", "Entity", "Prediction", "Tagged", "tagged", "words_of"]


@dataclass(frozen=True)
class Prediction:
    """A label with its probabilities in label order, or for regression a number alone."""

    label: str | float
    probabilities: dict[str, float] | None

    def __repr__(self) -> str:
        if self.probabilities is None:
            return f"Prediction({self.label if isinstance(self.label, str) else format(self.label, '.6g')})"
        return f"Prediction({self.label!r}, {max(self.probabilities.values(), default=0.0):.4f})"

    def as_dict(self) -> dict[str, Any]:
        return {"label": self.label} if self.probabilities is None else vars(self)


@dataclass(frozen=True)
class Entity:
    """A found entity: `text[start:end]` of the text, and the mean probability of its words' tags."""

    type: str
    text: str
    start: int
    end: int
    probability: float


@dataclass(frozen=True)
class Tagged(Prediction):
    """The words of a text, each with a tag, and the entities that the tags mark; the label is all tags, spaced."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    entities: tuple[Entity, ...]

    def __repr__(self) -> str:
        found = ", ".join(f"{entity.type}: {entity.text!r}" for entity in self.entities)
        return f"Tagged({len(self.words)} words; {found or 'no entity'})"

    def as_dict(self) -> dict[str, Any]:
        found = [vars(entity) for entity in self.entities]
        return {"tokens": list(self.words), "tags": list(self.tags), "entities": found}


@dataclass(frozen=True)
class Embedded(Prediction):
    """A text's vector, from an adapter without a head; `label` shows how it begins."""

    vector: tuple[float, ...] = ()

    @classmethod
    def of(cls, vector: np.ndarray) -> "Embedded":
        numbers = tuple(map(float, vector))
        begin = ", ".join(f"{number:.3f}" for number in numbers[:4])
        return cls(f"[{begin}, ...] ({len(numbers)} numbers)", None, numbers)

    def as_dict(self) -> dict[str, Any]:
        return {"embedding": list(self.vector)}


def words_of(texts: Sequence[str] | Sequence[Sequence[str]]) -> list[list[str]]:
    """Return each text's words: what stands between spaces, or as given; raises `UsageError` for a text without one."""
    words = [text.split() if isinstance(text, str) else list(text) for text in texts]
    if empty := [index for index, own in enumerate(words) if not own]:
        raise UsageError(f"Text {empty[0] + 1} of {len(words)} has no word.")
    return words


def tagged(
    task: Tagging, texts: Sequence[str] | Sequence[Sequence[str]], tokens: Tokens, logits: np.ndarray
) -> list[Tagged]:
    """Return what the logits (words, K) say of these texts, which `tokens` are of."""
    rows = task.named(task.decode_rows(tokens, logits).predictions)
    sure = np.zeros(tokens.labels.shape)  # of a word that was cut off, nobody is
    sure[np.arange(tokens.labels.shape[1]) < tokens.trained[:, None]] = task.decode(logits).scores.max(axis=1)
    return [_tagged(task, text, tags, own) for text, tags, own in zip(texts, rows, sure, strict=True)]


def _tagged(task: Tagging, given: str | Sequence[str], tags: tuple[str, ...], sure: np.ndarray) -> Tagged:
    text = given if isinstance(given, str) else " ".join(given)
    if isinstance(given, str):
        places = spans(text)
    else:
        starts = np.cumsum([0, *(len(word) + 1 for word in given)]).tolist()
        places = [(start, start + len(word)) for start, word in zip(starts, given, strict=False)]
    found = sorted(entities(tags), key=lambda entity: entity[1]) if task.marks_entities else []
    return Tagged(
        label=" ".join(tags), probabilities=None, words=tuple(text[start:end] for start, end in places), tags=tags,
        entities=tuple(
            Entity(kind, text[places[first][0] : places[last][1]], places[first][0], places[last][1],
                   float(sure[first : last + 1].mean()))
            for kind, first, last in found
        ),
    )  # fmt: skip
