"""Read right answers of a file as names of labels that an adapter has learned: by name, or numbered from 0 throughout."""

from collections.abc import Sequence
from typing import Any

from afina.data.cell_text import cell_text
from afina.data.labels.label_texts import visible

__all__ = ["NUMBERED", "as_names", "plain_label"]

NUMBERED = "labels are numbers and none of the adapter's names: they are read as places, 0 being '{first}'"
"""A note on what is assumed of labels that are places."""


def plain_label(value: Any) -> str:
    """Return a label as text, as it is seen; empty where it is missing."""
    return visible(cell_text(value)) or ""


def as_names(values: Sequence[Any], names: Sequence[str]) -> tuple[list[str], bool]:
    """Return labels as texts, empty where missing, and whether they were places that now have their `names`.

    They are places where none of them is a name and all are numbers from 0 to the last name's: one that is beyond says that
    they are counted otherwise, or are something else.
    """
    texts = [plain_label(value) for value in values]
    there = set(texts) - {""}
    places = {str(place): name for place, name in enumerate(names)}
    if not there or there & set(names) or not there <= places.keys():
        return texts, False
    return [places[text] if text else "" for text in texts], True
