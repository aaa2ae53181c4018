"""Count entities in rows of tags the way conlleval does, with tags read by seqeval.

Tjong Kim Sang and De Meulder, 2003 (CoNLL): an entity is right when its type, first word and last word are all right. An
I- tag without a beginning begins an entity; a tag of another type ends one. seqeval calls this its default mode (its
strict modes, which drop such entities, are not used here).
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from afina.errors import UsageError

__all__ = ["count_entities", "entities", "entity_types", "is_entity_tag"]


def is_entity_tag(tag: str) -> bool:
    """Say whether a tag is one of BIO, IO or BIOES: O, or B, I, E or S with a type behind it or alone."""
    return tag in ("O", "B", "I", "E", "S") or (tag[:2] in ("B-", "I-", "E-", "S-") and len(tag) > 2)


def entity_types(tags: Iterable[str]) -> list[str]:
    """Return the entity types in a set of tags, sorted; `_` stands for a tag without a type, as in seqeval."""
    return sorted({tag[2:] or "_" for tag in tags if tag != "O"})


@lru_cache(maxsize=1 << 16)
def entities(tags: tuple[str, ...]) -> frozenset[tuple[str, int, int]]:
    """Return the type, first and last word of each entity; raises `UsageError` when seqeval is not installed."""
    # Most rows have no entity: for them the library need not even be there.
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
