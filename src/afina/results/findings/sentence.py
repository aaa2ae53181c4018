"""Keep a sentence as its English pattern and what is filled in, so that it can be said in any language, also later.

verdict = Sentence("{group}: {share}% of its rows are wrong.", {"group": "women", "share": Figure(100 * wrong, 1)})
verdict.told(Words("pt"))
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Union

from afina.measure.bootstrap import Estimate
from afina.words.language import Words

__all__ = ["Figure", "Filled", "Sentence", "first_of", "interval"]


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


def first_of(names: Sequence[Filled], *, most: int = 5, between: str = ", ") -> Sentence:
    """Return a list as a phrase that names the first of them and counts the rest, so that nobody reads two hundred names."""
    shown = names[:most]
    # Marks between names are the same in every language; a phrase that has no row stays as it is.
    listed = Sentence(
        between.join(f"{{name{place}}}" for place in range(len(shown))),
        {f"name{place}": name for place, name in enumerate(shown)},
    )
    if len(names) <= most:
        return listed
    return Sentence("{listed} and {count} more", {"listed": listed, "count": len(names) - most})


_WITH_INTERVAL = {
    "": ("{value} (one row: no interval)", "{value} (95% interval {low} to {high})"),
    "%": ("{value}% (one row: no interval)", "{value}% (95% interval {low} to {high})"),
    "points": ("{value} points (one row: no interval)", "{value} points (95% interval {low} to {high})"),
}
"""Phrases of a value without an interval and with one, by its unit."""


def interval(
    estimate: Estimate, *, digits: int = 3, signed: bool = True, unit: Literal["", "%", "points"] = ""
) -> Sentence:
    """Return a value with its interval as a phrase; a share is told in percent, a difference of shares in points."""
    times, (alone, whole) = 100 if unit else 1, _WITH_INTERVAL[unit]
    value = Figure(times * estimate.value, digits, signed)
    if estimate.low is None or estimate.high is None:
        return Sentence(alone, {"value": value})
    low, high = (Figure(times * bound, digits, signed) for bound in (estimate.low, estimate.high))
    return Sentence(whole, {"value": value, "low": low, "high": high})


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
