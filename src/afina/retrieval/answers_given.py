"""Read a cell of answers: what a table of questions holds in a row, in every form that tables have."""

from collections.abc import Iterator, Mapping
from typing import Any

from afina.data.files.literals import parsed_text

__all__ = ["answers_in"]


def answers_in(value: Any) -> tuple[str, ...]:
    """Return the answers that a cell holds, each once: of a text, a list of texts, SQuAD's object, or one written out.

    None for an empty cell, an empty list and a number that is none.
    """
    if isinstance(value, str):
        parsed = parsed_text(value)[0]
        # A text that begins with a bracket and is no list is an answer like others.
        value = value if parsed is None else parsed
    if isinstance(value, Mapping):
        return answers_in(value.get("text"))
    return tuple(dict.fromkeys(_texts(value)))


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts of a value; those inside a list are read as they stand."""
    if isinstance(value, Mapping):
        value = value.get("text")
    if isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
    elif (
        value is not None and value == value and (text := str(value).strip())
    ):  # an empty cell is a number that is none
        yield text
