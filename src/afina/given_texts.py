"""Take the texts that a Python program gives: a list, a column of a table, whatever yields them, and nothing but texts.

What is no text would become one without a word: None the text "None", a mapping its names, one text its letters.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from afina.errors import UsageError

__all__ = ["check_pairs", "given_choices", "given_texts", "texts_or_images"]


def texts_or_images(given: Any, *, lists: bool = False) -> "list[Any] | np.ndarray":
    """Return texts as `given_texts` does, and an array of anything else, which is images, as it is."""
    if isinstance(given, np.ndarray) and not (given.ndim == 1 and given.dtype.kind in "OUT"):
        return given
    return given_texts(given, lists=lists)


def given_texts(given: Any, name: str = "text", *, caller: str = "predict", lists: bool = False) -> list[Any]:
    """Return a list of the texts that were given; with `lists` each may be a list, of words or messages.

    `name` is what each is called. Raises `UsageError` for what is no list of texts, or has something else in it.
    """
    if isinstance(given, str | bytes):
        raise UsageError(f"{caller} takes a list of {name}s, not one {name}.")
    if isinstance(given, Mapping):
        raise UsageError(f"{caller} takes a list of {name}s, not a mapping, of which only the names would be read.")
    if isinstance(given, set | frozenset):
        raise UsageError(f"{caller} takes a list of {name}s, not a set, which has no order to answer in.")
    if hasattr(given, "columns") or hasattr(given, "column_names"):
        raise UsageError(f"{caller} takes a list of {name}s, not a table; give one of its columns.")
    if not isinstance(given, Iterable):
        raise UsageError(f"{caller} takes a list of {name}s, not a {type(given).__name__}.")
    # Arrow's columns have values of their own kind.
    texts = given.to_pylist() if hasattr(given, "to_pylist") else list(given)
    # numpy has a kind of text of its own, which shows in what is printed.
    texts = [str(text) if isinstance(text, str) else text for text in texts]
    for place, text in enumerate(texts, start=1):
        if isinstance(text, str) or (lists and isinstance(text, list | tuple)):
            continue
        each = f"{name[0].upper()}{name[1:]} {place} of {len(texts)}"
        # NaN, in which tables keep what is missing, is no number that equals itself.
        if text is None or (isinstance(text, float) and text != text) or type(text).__name__ in ("NAType", "NaTType"):
            raise UsageError(f"{each} is missing ({text}); leave it out, or give it.")
        raise UsageError(f"{each} is of type {type(text).__name__}, not a text; write it as one.")
    return texts


def check_pairs(learned: bool | None, given: bool, who: str) -> None:
    """Raise `UsageError` for single texts where `who` learned from pairs, and the other way round; None knows neither."""
    if learned and not given:
        raise UsageError(
            f"{who} learned from pairs of texts, and these are single ones; give each its second text (--pair, --text-pair "
            "for a file's column, text_pairs in Python)."
        )
    if learned is False and given:
        raise UsageError(f"{who} learned from single texts, and these are pairs; leave the second texts out.")


def given_choices(given: Any, texts: int) -> list[list[str]]:
    """Return the answers that each text chooses among; raises `UsageError` for what is no list of answers for each."""
    if isinstance(given, str | Mapping | set | frozenset) or not isinstance(given, Iterable):
        raise UsageError("choices is a list with a list of answers for each text.")
    choices = list(given)
    if len(choices) != texts:
        raise UsageError(f"{len(choices)} choices for {texts} texts; give a list of answers for each.")
    return [given_texts(own, "choice", caller="each text") for own in choices]
