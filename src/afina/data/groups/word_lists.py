"""Read the lists of words by which groups of people are found in texts, ours or a person's own."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from afina.errors import UsageError, nearest, shown
from afina.yaml_file import read_yaml

__all__ = ["GroupAxis", "NamedGroup", "WordLists", "read_word_lists"]

LANGUAGES = ("en", "pt")
_OURS = Path(__file__).with_name("words.yaml")


@dataclass(frozen=True)
class NamedGroup:
    """Holds the words of one group, lower-case, and ways to name a person of it, by language."""

    name: str
    words: frozenset[str]
    person: Mapping[str, tuple[str, ...]]
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The words by language, lower-case, in their order."""


@dataclass(frozen=True)
class GroupAxis:
    """Holds the groups that are told apart in one respect: gender, age."""

    name: str
    groups: tuple[NamedGroup, ...]

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Return what finds any of its words as whole words, the longest first."""
        words = sorted({word for group in self.groups for word in group.words}, key=lambda word: (-len(word), word))
        return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?!\w)")

    @cached_property
    def places(self) -> Mapping[str, tuple[int, ...]]:
        """Return the numbers of the groups that have a word, by word."""
        words = {word for group in self.groups for word in group.words}
        return {word: tuple(i for i, group in enumerate(self.groups) if word in group.words) for word in words}

    def framed_in(self, language: str) -> tuple[NamedGroup, ...]:
        """Return the groups of whom a person can be named in a language, in two ways at least."""
        return tuple(group for group in self.groups if len(group.person.get(language, ())) > 1)


@dataclass(frozen=True)
class WordLists:
    """Holds all axes, and where they were read."""

    axes: Mapping[str, GroupAxis]
    path: str

    def named(self, names: Iterable[str]) -> list[GroupAxis]:
        """Return axes by name; raises `UsageError` for one that there is not."""
        for name in names:
            if name not in self.axes:
                raise UsageError(f"{self.path} has no words for '{name}'{nearest(name, self.axes)}")
        return [self.axes[name] for name in names]


def read_word_lists(path: str | Path | None = None) -> WordLists:
    """Read lists of words, ours unless a file is given; raises `UsageError` for a file of another form."""
    # Our own are checked once; a person's may change between two calls.
    return _ours() if path is None else _read(Path(path))


@cache
def _ours() -> WordLists:
    return _read(_OURS)


def _read(path: Path) -> WordLists:
    values = read_yaml(path)
    if not isinstance(values, dict) or not values:
        raise UsageError(f"{path} should have axes (gender, age) with groups of words, as Afina's own words.yaml has.")
    return WordLists({str(name): _axis(str(name), groups, path) for name, groups in values.items()}, str(path))


def _axis(name: str, groups: Any, path: Path) -> GroupAxis:
    if not isinstance(groups, dict) or len(groups) < 2:
        raise UsageError(f"{path}: '{name}' should have two groups at least, each with words by language.")
    return GroupAxis(name, tuple(_group(name, str(group), lists, path) for group, lists in groups.items()))


def _group(axis: str, name: str, lists: Any, path: Path) -> NamedGroup:
    where = f"{path}: '{name}' of '{axis}'"
    if not isinstance(lists, dict):
        raise UsageError(f"{where} should have lists of words under en or pt, not {shown(lists)}.")
    for key in lists:
        if key not in (*LANGUAGES, "person"):
            raise UsageError(f"{where} has an unknown key '{key}'{nearest(str(key), (*LANGUAGES, 'person'))}")
    listed = {key: tuple(word.casefold() for word in _texts(lists.get(key), f"{where}, {key}")) for key in LANGUAGES}
    words = {word for each in listed.values() for word in each}
    if not words:
        raise UsageError(f"{where} has no words; give some under en or pt.")
    person = lists.get("person") or {}
    if not isinstance(person, dict) or set(person) - set(LANGUAGES):
        raise UsageError(f"{where}: 'person' should have names by language, en and pt.")
    people = {key: tuple(_texts(value, f"{where}, person")) for key, value in person.items()}
    return NamedGroup(name, frozenset(words), people, listed)


def _texts(values: Any, where: str) -> list[str]:
    # YAML reads no, on and yes as truths, which are words too.
    if values is not None and not (isinstance(values, list) and all(isinstance(v, str) and v.strip() for v in values)):
        raise UsageError(f"{where} should be a list of words, not {shown(values)}; quote words such as 'no' and 'on'.")
    return values or []
