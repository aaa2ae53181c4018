"""Tag tokens (token classification): softmax cross-entropy over K tags at each word's first token.

The loss of a step is the sum over its tagged words over their number, so that a long text counts by its words. Entities
are counted as conlleval counts them (measure/entities.py); tags that mark no entities are scored word by word.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from afina.data.labelled import Labelled, single_split
from afina.data.labels.tags import find_tagged, is_tagged, read_tagged, spans, tables_of_lists
from afina.data.rows import Rows, TextDataset, finished
from afina.data.sources.finding import Parts
from afina.data.tokens.tokens import IGNORED, Tokens
from afina.data.tokens.words import tokenize_words
from afina.measure.entities import count_entities, entities, entity_types, is_entity_tag
from afina.tasks.base import task
from afina.tasks.classification import Classification, ClassState
from afina.tasks.predictions import Decoded, Prediction, Shown, short
from afina.tasks.source import Source

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Entity", "Tagged", "Tagging"]


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
        listed = ", ".join(f"{entity.type}: {entity.text!r}" for entity in self.entities)
        return f"Tagged({len(self.words)} words; {listed or 'no entity'})"

    def as_dict(self) -> dict[str, Any]:
        listed = [vars(entity) for entity in self.entities]
        return {"tokens": list(self.words), "tags": list(self.tags), "entities": listed}

    def shown(self, at_least: float | None) -> Shown:
        answer = self.as_dict()
        answer["entities"] = [{**own, "probability": short(own["probability"])} for own in answer["entities"]]
        listed = "; ".join(f"{own.type}: {own.text}" for own in self.entities)
        return Shown(answer, {"prediction": self.label, "entities": listed})


@task("tagging", "token_classification", "token-classification", "ner")
class Tagging(Classification):
    """One of K tags a word; labels and predictions are (N, W), `IGNORED` behind a row's words."""

    pipeline_tag = "token-classification"
    does = "It gives each word one of {count} tags: {labels}."
    metric = "f1"
    turn = 1
    tags = True
    reads = ()
    predictor = "tagger"
    judged = ""
    images = False
    problem_type = "token_classification"
    State = ClassState
    answers_with = "a tag for each word"

    @classmethod
    def auto_class(cls, inputs: str, *, reads_apart: bool) -> str:
        return "AutoModelForTokenClassification"

    def __init__(
        self, label_names: Sequence[str], *, smoothing: float = 0.0, weights: Sequence[float] | None = None
    ) -> None:
        super().__init__(label_names, smoothing=smoothing, weights=weights)
        self.marks_entities = all(map(is_entity_tag, self.label_names))
        self.answers = "entities" if self.marks_entities else "words"
        if not self.marks_entities:
            self.metric = "word_accuracy"  # type: ignore[misc]
        self._fallback = self.label_names.index("O") if "O" in self.label_names else 0

    @classmethod
    def is_meant(cls, parts: Parts) -> bool:
        return is_tagged(parts.tables)

    @classmethod
    def claims(cls, labelled: Labelled) -> bool:
        return False

    @classmethod
    def read(cls, source: Source) -> TextDataset:
        parts, notes = source.parts, list(source.parts.notes)
        tables, spec = tables_of_lists(parts.tables, parts.spec, parts.place, notes)
        parts = replace(parts, tables=tables, spec=spec)
        columns = find_tagged(parts.tables, parts.spec, parts.where)
        parts = single_split(parts, *columns, notes, apart=False)
        places = {split: parts.place(split) for split in parts.tables}
        names, splits = read_tagged(parts.tables, columns, places, notes, parts.label_names)
        return finished(source.spec, cls.name, names, splits, notes, source.train_limit, source.test_limit)

    def tokenize(self, tokenizer: Any, rows: Rows, max_length: int, *, apart: bool = False) -> Tokens:
        return tokenize_words(tokenizer, rows, max_length)

    def loss(self, logits: "Tensor", labels: "Tensor", weights: Mapping[str, float] | None = None) -> "Tensor":
        """Return the loss summed over the tagged tokens of logits (B, T, K)."""
        return super().loss(logits.flatten(0, 1), labels.flatten())

    def labelled_outputs(self, outputs: "Tensor", labels: "Sequence[Tensor]") -> "Tensor":
        """Return the outputs (words, K) at the tagged tokens of (B, T, K); places of a prompt before them have none."""
        (tags,) = labels
        return outputs[:, -tags.shape[1] :][tags != IGNORED]

    def decode_rows(self, tokens: Tokens, logits: np.ndarray) -> Decoded:
        """Return tags (N, W) for logits of words in order, and of each row its entities: right, predicted and there.

        A word that was cut off is taken for no entity's.
        """
        labels = tokens.labels
        # Words that were cut off have no logits, and keep the tag of no entity.
        predictions = np.where(labels == IGNORED, IGNORED, self._fallback).astype(labels.dtype)
        predictions[np.arange(labels.shape[1]) < tokens.trained[:, None]] = logits.argmax(axis=1)
        counts = [(0, 0, 0)] * len(labels)
        if self.marks_entities:
            counts = [count_entities(*row) for row in zip(self.named(labels), self.named(predictions), strict=True)]
        return Decoded(predictions, np.array(counts, dtype=np.float32))

    def predictions(
        self, texts: Sequence[Any], tokens: Tokens, logits: np.ndarray, choices: Sequence[Sequence[str]] | None = None
    ) -> Sequence[Prediction]:
        """Return what the logits (words, K) say of these texts, which `tokens` are of."""
        rows = self.named(self.decode_rows(tokens, logits).predictions)
        sure = np.zeros(tokens.labels.shape)  # of a word that was cut off, nobody is
        sure[np.arange(tokens.labels.shape[1]) < tokens.trained[:, None]] = self.decode(logits).scores.max(axis=1)
        return [self._tagged(text, tags, own) for text, tags, own in zip(texts, rows, sure, strict=True)]

    def _tagged(self, given: str | Sequence[str], tags: tuple[str, ...], sure: np.ndarray) -> Tagged:
        text = given if isinstance(given, str) else " ".join(given)
        if isinstance(given, str):
            places = spans(text)
        else:
            # Words that came as a list are joined by one space each, which gives entities their places in that text.
            starts = np.cumsum([0, *(len(word) + 1 for word in given)]).tolist()
            places = [(start, start + len(word)) for start, word in zip(starts, given, strict=False)]
        marked = sorted(entities(tags), key=lambda entity: entity[1]) if self.marks_entities else []
        return Tagged(
            label=" ".join(tags), probabilities=None, words=tuple(text[start:end] for start, end in places), tags=tags,
            entities=tuple(
                Entity(kind, text[places[first][0] : places[last][1]], places[first][0], places[last][1],
                       float(sure[first : last + 1].mean()))
                for kind, first, last in marked
            ),
        )  # fmt: skip

    def fields(self, choices: Sequence[str] | None, *, unsure: bool) -> tuple[str, ...]:
        return ("prediction", "entities")

    def nothing(self, *, unsure: bool) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"tokens": [], "tags": [], "entities": []}, {}

    def named(self, tags: np.ndarray) -> list[tuple[str, ...]]:
        """Return the names of tags (N, W), row by row."""
        names = (*self.label_names, "O")  # of words whose tag nobody knows, -1
        return [tuple(names[tag] for tag in row[row != IGNORED]) for row in tags]

    def shown(self, values: np.ndarray) -> np.ndarray:
        return np.fromiter(self.named(values), dtype=object, count=len(values))

    def parts(self) -> Sequence[str]:
        return entity_types(self.label_names) if self.marks_entities else ()
