"""Change a text as people who type do: typos, accents dropped, other casing, punctuation left out; the meaning stays."""

import re
import unicodedata
from collections.abc import Callable, Mapping

import numpy as np

__all__ = ["CHANGES", "changed"]

_WORD = re.compile(r"\w{4,}")
_TYPOS = 0.15
"""Share of the words of four letters or more that get a typo."""


def _typos(text: str, random: np.random.Generator) -> str:
    """Turn round two letters in the middle of some words."""

    def slip(match: re.Match[str]) -> str:
        word = match[0]
        if random.random() >= _TYPOS:
            return word
        place = int(random.integers(1, len(word) - 2))
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]

    return _WORD.sub(slip, text)


def _no_accents(text: str, random: np.random.Generator) -> str:
    apart = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", "".join(letter for letter in apart if unicodedata.category(letter) != "Mn"))


def _no_punctuation(text: str, random: np.random.Generator) -> str:
    spaced = "".join(" " if unicodedata.category(letter).startswith("P") else letter for letter in text)
    return " ".join(spaced.split()) or text


CHANGES: Mapping[str, Callable[[str, np.random.Generator], str]] = {
    "typos": _typos,
    "accents": _no_accents,
    "lower_case": lambda text, random: text.lower(),
    "upper_case": lambda text, random: text.upper(),
    "punctuation": _no_punctuation,
}
"""Changes of a text, by the check's name."""


def changed(texts: list[str], change: str, seed: int) -> list[str]:
    """Return texts with a change of `CHANGES`; one that has nothing to change stays as it is."""
    random = np.random.default_rng(seed)
    return [CHANGES[change](text, random) for text in texts]
