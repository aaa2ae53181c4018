"""Swap the words of one group in a text for another's: those of `swaps.yaml`, or of a person's own lists."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from afina.yaml_file import read_yaml

__all__ = ["SWAP_AXES", "SwappedWords", "other_words", "paired_groups", "sides_of"]

_AGREES = dict(pair.split() for pair in (
    "a o", "uma um", "da do", "na no", "à ao", "pela pelo", "esta este", "essa esse", "aquela aquele", "minha meu", "sua seu",
    "nossa nosso", "as os", "umas uns", "das dos", "nas nos", "às aos", "pelas pelos", "minhas meus", "suas seus",
))  # fmt: skip
"""Articles and possessives that take the gender of a Portuguese noun right behind them."""
SWAP_AXES = ("gender", "race", "religion", "age")
"""The axes that have words to swap."""


@dataclass(frozen=True)
class SwappedWords:
    """Holds the words of one group, with what stands for each in the other, by lower-case word."""

    other: Mapping[str, str]
    before: Mapping[str, str]
    """Words that change with one of these right behind them."""
    pattern: re.Pattern[str]

    @classmethod
    def of(cls, other: Mapping[str, str], before: Mapping[str, str]) -> "SwappedWords":
        """Make one of words by word; `before` are those that change with what follows them."""
        words, agreeing = ("|".join(map(re.escape, sorted(each, key=len, reverse=True))) for each in (other, before))
        start = rf"(?:(?P<before>{agreeing})(?P<gap>\s+))?" if before else ""
        return cls(other, before, re.compile(rf"(?<!\w){start}(?P<word>{words})(?!\w)", re.IGNORECASE))

    def swapped(self, text: str) -> str:
        """Return a text with the other group's words, in the case of those that stood there."""
        return self.pattern.sub(self._other, text)

    def _other(self, match: re.Match[str]) -> str:
        """Return the other group's word for the one that was found, with what agrees right before it."""
        word = match["word"]
        other, goes_on = self.other[word.lower()], re.match(r"\s+\w", match.string[match.end() :]) is not None
        # Before a word `her` and `his` say whose it is; elsewhere who is meant, or whose.
        if word.lower() in ("her", "his"):
            other = {"her": ("him", "his"), "his": ("hers", "her")}[word.lower()][goes_on]
        start = match.groupdict().get("before") or ""
        before = _cased(self.before[start.lower()], start) + match["gap"] if start else ""
        return before + _cased(other, word)


def _cased(other: str, like: str) -> str:
    if like.isupper() and len(like) > 1:
        return other.upper()
    return other[:1].upper() + other[1:] if like[:1].isupper() else other


def other_words(text: str, sides: Sequence[SwappedWords]) -> tuple[int, str] | None:
    """Return the one of two groups whose words alone stand in a text, and the text with the other's; else None."""
    has_words = [side.pattern.search(text) is not None for side in sides]
    if has_words[0] == has_words[1]:  # none, or both: then it is of neither group
        return None
    group = has_words.index(True)
    return group, sides[group].swapped(text)


@cache
def sides_of(axis: str, language: str) -> tuple[SwappedWords, SwappedWords]:
    """Return the words of both groups of an axis, in English or Portuguese."""
    # Of a word that has two others the first counts: `his` is her, and hers where nothing follows (`SwappedWords.swapped`).
    pairs = _lists()[axis][language]
    there, back = ({pair[place]: pair[1 - place] for pair in reversed(pairs)} for place in (0, 1))
    if (axis, language) == ("gender", "en"):
        back |= {"his": "her", "him": "her"}
    # Only gender changes what agrees with a noun: `a mulher negra` and `a mulher branca` have one article.
    agrees = _AGREES if (axis, language) == ("gender", "pt") else {}
    return SwappedWords.of(there, agrees), SwappedWords.of(back, {other: own for own, other in agrees.items()})


def paired_groups(axis: str) -> tuple[str, str]:
    """Return the names of the two groups of an axis that have words to swap."""
    first, second = map(str, _lists()[axis]["groups"])
    return first, second


@cache
def _lists() -> dict[str, dict[str, list[list[str]]]]:
    lists: dict[str, dict[str, list[list[str]]]] = read_yaml(Path(__file__).with_name("swaps.yaml"))
    return lists
