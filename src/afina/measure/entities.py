"""Count entities in rows of tags the way conlleval does, with tags read by seqeval.

Tjong Kim Sang and De Meulder, 2003 (CoNLL): an entity is right when its type, first word and last word are all right. An
I- tag without a beginning begins an entity; a tag of another type ends one. seqeval calls this its default mode (its
strict modes, which drop such entities, are not used here).
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from afina.errors import UsageError

__all__ = ["count_entities", "entities", "entity_types", "is_entity_tag", "share", "tag_metrics", "tag_shares"]

_SHARES = ("f1", "precision", "recall")


def is_entity_tag(tag: str) -> bool:
    """Say whether a tag is one of BIO, IO or BIOES: O, or B, I, E or S with a type behind it or alone."""
    return tag in ("O", "B", "I", "E", "S") or (tag[:2] in ("B-", "I-", "E-", "S-") and len(tag) > 2)


def entity_types(tags: Iterable[str]) -> list[str]:
    """Return the entity types in a set of tags, sorted; `_` stands for a tag without a type, as in seqeval."""
    return sorted({tag[2:] or "_" for tag in tags if tag != "O"})


@lru_cache(maxsize=1 << 16)
def entities(tags: tuple[str, ...]) -> frozenset[tuple[str, int, int]]:
    """Return the type, first and last word of each entity; raises `UsageError` when seqeval is not installed."""
    if all(tag == "O" for tag in tags):
        return frozenset()
    return frozenset(_seqeval().get_entities(list(tags)))


def _seqeval() -> Any:
    try:
        from seqeval.metrics import sequence_labeling
    except ImportError:
        raise UsageError(
            "Entities are counted by seqeval, which is not installed: pip install 'afina[tagging]'."
        ) from None
    return sequence_labeling


def count_entities(gold: Sequence[str], predicted: Sequence[str], kind: str | None = None) -> tuple[int, int, int]:
    """Count one row's entities (of one type): found rightly, predicted, and truly there."""
    mine, theirs = (
        {entity for entity in entities(tuple(tags)) if kind in (None, entity[0])} for tags in (predicted, gold)
    )
    return len(mine & theirs), len(mine), len(theirs)


def tag_shares(metric: str, gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> np.ndarray:
    """Return (N, 2) what each row adds to a metric's numerator and denominator.

    `f1`, `precision` and `recall` count all entities, `f1_TYPE` those of one type; `word_accuracy` counts words.
    """
    rows = zip(gold, predicted, strict=True)
    if metric == "word_accuracy":
        return np.array([[sum(a == b for a, b in zip(*row, strict=True)), len(row[0])] for row in rows], dtype=float)
    name, _, kind = metric.partition("_")
    assert name in _SHARES, metric
    counts = np.array([count_entities(*row, kind or None) for row in rows], dtype=float).reshape(-1, 3)
    right, mine, theirs = counts.T
    parts = {"f1": (2 * right, mine + theirs), "precision": (right, mine), "recall": (right, theirs)}
    return np.stack(parts[name], axis=1)


def tag_metrics(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], types: Sequence[str]
) -> dict[str, float]:
    """Return F1, precision and recall of entities, the share of words with the right tag, and the F1 of each type."""
    names = [*_SHARES, "word_accuracy", *(f"f1_{kind}" for kind in types)]
    return {name: share(tag_shares(name, gold, predicted)) for name in names if types or name == "word_accuracy"}


def share(parts: np.ndarray) -> float:
    """Return the metric that the rows' parts (N, 2) add up to; 0 where the denominator is 0."""
    numerator, denominator = parts.sum(axis=0)
    return float(numerator / denominator) if denominator else 0.0
