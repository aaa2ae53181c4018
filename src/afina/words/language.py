"""Phrases and numbers in the language of whoever reads them.

The English sentence is the key, with `{names}` for what is filled in; its Portuguese is a row of `PORTUGUESE` in one of this
folder's files, which are called after what speaks. To add a phrase is to say `words("The {thing} is gone.", thing=name)` and
to add that row; tests/words/test_words.py finds a phrase that has none, and a row that nobody says.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache

import afina.words
from afina.errors import UsageError, nearest
from afina.words.notes import said_note

__all__ = ["LANGUAGES", "Words", "check_language", "phrases"]

LANGUAGES = ("en", "pt")


@cache
def phrases() -> Mapping[str, str]:
    """Return the Portuguese of every phrase, by the English sentence."""
    known: dict[str, str] = {}
    # Found, not listed: a new file of phrases is known as soon as it is there.
    for info in pkgutil.iter_modules(afina.words.__path__, "afina.words."):
        known |= getattr(importlib.import_module(info.name), "PORTUGUESE", {})
    return known


def check_language(language: str) -> None:
    """Raise `UsageError` for a language that Afina does not speak."""
    if language not in LANGUAGES:
        raise UsageError(f"--language is {' or '.join(LANGUAGES)}, not '{language}'{nearest(language, LANGUAGES)}")


class Words:
    """Says phrases and numbers in one language."""

    def __init__(self, language: str = "en") -> None:
        check_language(language)
        self.language = language

    def __call__(self, text: str, **values: object) -> str:
        # A phrase without a row stays English, which is better than none.
        phrase = phrases().get(text, text) if self.language == "pt" else text
        # Numbers are written here too, so that none stands with another language's point in a sentence.
        filled = {name: self.shortest(value) if isinstance(value, float) else value for name, value in values.items()}
        return phrase.format(**filled) if values else phrase

    def counted(self, count: int, one: str, many: str) -> str:
        """Say how many there are, in the phrase for one or in that for several, both with `{count}`."""
        return self(one if count == 1 else many, count=self.number(count))

    @property
    def between(self) -> str:
        """Return what stands between figures in a row: no comma where the decimals have one."""
        return "; " if self.language == "pt" else ", "

    def note(self, note: str) -> str:
        """Say a note of what was assumed, which is kept as an English sentence."""
        return said_note(note, self.language)

    def sentence(self, note: str) -> str:
        """Say a note as a sentence that stands by itself."""
        # A note may end with a full stop or not.
        text = self.note(note)
        return f"{text[:1].upper()}{text[1:].rstrip('.')}."

    def number(self, value: float | None, digits: int = 0) -> str:
        """Write a number with grouped thousands, and a decimal comma where the language has one; — for None."""
        if value is None:
            return "—"
        return self.written(f"{_no_less_than_nothing(value, digits):,.{digits}f}")

    def signed(self, value: float, digits: int = 0) -> str:
        """Write a number with its sign."""
        return self.written(f"{_no_less_than_nothing(value, digits):+,.{digits}f}")

    def shortest(self, value: float) -> str:
        """Write a number with as many digits as it needs, ten at most."""
        return self.written(f"{value:,.10g}")

    def p_value(self, p: float) -> str:
        """Write a p-value with three decimals, or that it is smaller than they show."""
        return self.written("< 0.001" if p < 0.001 else f"{p:.3f}")

    def written(self, text: str) -> str:
        """Return a number that is written in English with this language's marks."""
        # Both at once: one after the other would turn commas back.
        return text.translate(str.maketrans(",.", ".,")) if self.language == "pt" else text

    def compact(self, value: float | None) -> str:
        """Write a number with three digits that count."""
        if value is None:
            return "—"
        # Zero has two decimals, as a small number would have many.
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 or value == 0 else 3
        return self.number(value, digits)


def _no_less_than_nothing(value: float, digits: int) -> float:
    """Return a number, and 0 for one that is rounded to it: Python would write -0.00 of what lies a little below."""
    return value if round(value, digits) else 0
