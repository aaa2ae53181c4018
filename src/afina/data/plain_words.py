"""Take a text's words without case and accents: what can be compared whoever typed it, and whatever tokenizer read it."""

import re
import unicodedata

__all__ = ["as_said", "folded", "plain_words"]

_WORDS = re.compile(r"[^\W_]+")


def folded(word: str) -> str:
    """Return a word without case and accents."""
    # Most words, for which normalising would take ten times as long.
    if word.isascii():
        return word.lower()
    parts = unicodedata.normalize("NFKD", word.casefold())
    return "".join(letter for letter in parts if not unicodedata.combining(letter))


def as_said(text: str) -> str:
    """Return a text without case and with single spaces: what is alike then says the same, typed otherwise."""
    return " ".join(text.casefold().split())


def plain_words(text: str) -> list[str]:
    """Return a text's words, folded, in their order."""
    return _WORDS.findall(folded(text))
