"""Keep a sentence as its English pattern and what is filled in, so that it can be said in any language, also later.

verdict = Sentence("{group}: {share}% of its rows are wrong.", {"group": "women", "share": Figure(100 * wrong, 1)})
verdict.told(Words("pt"))
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Union

from afina.measure.bootstrap import Estimate
from afina.words.language import Words

__all__ = ["Figure", "Filled", "Sentence", "interval"]


@dataclass(frozen=True)
class Figure:
    """A number with the digits that are shown of it."""

    number: float
    digits: int = 2
    signed: bool = False

    def told(self, words: Words) -> str:
        """Return the number as a language writes it."""
        return words.signed(self.number, self.digits) if self.signed else words.number(self.number, self.digits)


Filled = Union[str, int, Figure, "Sentence"]
"""Values of a sentence: names, which stay as they are, counts, numbers, and phrases with a translation of their own."""


@dataclass(frozen=True)
class Sentence:
    """A sentence that is said in the language of whoever reads it."""

    phrase: str
    """The English, with `{names}` for what is filled in; its Portuguese is a row in `afina/words/`."""
    values: Mapping[str, Filled] = field(default_factory=dict)

    def told(self, words: Words) -> str:
        """Return the sentence in a language."""
        return words(self.phrase, **{name: _told(value, words) for name, value in self.values.items()})

    def as_dict(self) -> dict[str, Any]:
        """Return it as values that JSON can hold."""
        return {"phrase": self.phrase, "values": {name: _plain(value) for name, value in self.values.items()}}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Sentence":
        """Return the sentence that `as_dict` gave; raises `KeyError` or `TypeError` for anything else."""
        return cls(values["phrase"], {name: _read(value) for name, value in values["values"].items()})


def interval(estimate: Estimate, *, digits: int = 3, times: float = 1, signed: bool = True) -> Sentence:
    """Return a value with its interval as a phrase; `times` 100 makes a share percent."""
    value = Figure(times * estimate.value, digits, signed)
    if estimate.low is None or estimate.high is None:
        return Sentence("{value} (one row: no interval)", {"value": value})
    low, high = (Figure(times * bound, digits, signed) for bound in (estimate.low, estimate.high))
    return Sentence("{value} (95% interval {low} to {high})", {"value": value, "low": low, "high": high})


def _told(value: Filled, words: Words) -> str:
    if isinstance(value, Sentence | Figure):
        return value.told(words)
    return words.number(value) if isinstance(value, int) else value


def _plain(value: Filled) -> Any:
    if isinstance(value, Figure):
        return vars(value)
    return value.as_dict() if isinstance(value, Sentence) else value


def _read(value: Any) -> Filled:
    if isinstance(value, Mapping):
        return Sentence.of(value) if "phrase" in value else Figure(**value)
    if isinstance(value, str | int):
        return value
    raise TypeError("a sentence is filled with names, counts, numbers and phrases")
