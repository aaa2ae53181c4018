"""Read a person's dictionary of words by category: LIWC's .dic form, YAML or JSON, or a table of words and categories.

    %                          emotion: [happy*, sad]         word,category
    1 emotion                  work: [office, deadline*]      happy*,emotion
    %
    happy* 1

A star at the end stands for any letters; an entry may be of several words. Case and accents do not count.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from afina.data.plain_words import plain_words
from afina.errors import UsageError

__all__ = ["Lexicon", "read_lexicon"]

_FORMS = (
    "a LIWC .dic file, .yaml or .json of categories with their words, or .csv or .tsv with a word and a category a line"
)
_LARGEST = 50_000_000
_LONGEST = 6
"""Words of an entry: what is longer is no entry of a dictionary."""


class Lexicon:
    """Knows which words are in which categories."""

    def __init__(self, entries: Mapping[str, Sequence[str]]) -> None:
        """Take the entries of each category as they are written."""
        self.entries = {name: list(words) for name, words in entries.items()}
        self.categories = list(self.entries)
        self._exact: dict[tuple[str, ...], set[int]] = {}
        self._starts: dict[str, set[int]] = {}
        self._phrases: list[tuple[tuple[str, ...], int]] = []
        for number, name in enumerate(self.categories):
            for entry in self.entries[name]:
                words = tuple(plain_words(entry))
                if entry.rstrip().endswith("*") and len(words) == 1:
                    self._starts.setdefault(words[0], set()).add(number)
                elif entry.rstrip().endswith("*") and words:
                    self._phrases.append((words, number))
                elif words:
                    self._exact.setdefault(words, set()).add(number)
        self._most = max(map(len, self._exact), default=1)
        self._lengths = sorted({len(start) for start in self._starts})

    def __len__(self) -> int:
        return len(self._exact) + len(self._starts) + len(self._phrases)

    def counts(self, words: Sequence[str]) -> list[int]:
        """Return of folded words how many, or how many runs of them, are in each category."""
        counts = [0] * len(self.categories)
        for place, word in enumerate(words):
            matched = {number for length in self._lengths for number in self._starts.get(word[:length], ())}
            for more in range(1, self._most + 1):
                matched |= self._exact.get(tuple(words[place : place + more]), set())
            for phrase, number in self._phrases:
                run = tuple(words[place : place + len(phrase)])
                if len(run) == len(phrase) and run[:-1] == phrase[:-1] and run[-1].startswith(phrase[-1]):
                    matched.add(number)
            for number in matched:
                counts[number] += 1
        return counts


def read_lexicon(path: Path) -> Lexicon:
    """Read a dictionary; raises `UsageError` in one sentence for a file that is none."""
    try:
        if path.stat().st_size > _LARGEST:
            raise UsageError(f"{path} has more than {_LARGEST // 1_000_000} MB; a dictionary is {_FORMS}.")
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text; save it as UTF-8.") from None
    except OSError as error:
        raise UsageError(f"The dictionary {path} cannot be read ({error.strerror or error}).") from None
    readers = {".dic": _liwc, ".json": _mapping, ".yaml": _mapping, ".yml": _mapping, ".csv": _table, ".tsv": _table}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UsageError(f"{path}: a dictionary is {_FORMS}.")
    entries: dict[str, list[str]] = {}
    for category, word in reader(path, text):
        if "*" in word.strip()[:-1] or word.strip() == "*":
            raise UsageError(f"{path}: the entry {word[:60]!r} has a star elsewhere than behind a word's beginning.")
        entries.setdefault(category, [])
        if plain_words(word):
            if len(plain_words(word)) > _LONGEST:
                raise UsageError(f"{path}: the entry {word[:60]!r} has more than {_LONGEST} words.")
            entries[category].append(word)
    if not any(entries.values()):
        raise UsageError(f"{path} has no word in any category; a dictionary is {_FORMS}.")
    if without := [category for category, words in entries.items() if not words]:
        raise UsageError(f"{path}: the category '{without[0]}' has no word.")
    return Lexicon(entries)


def _mapping(path: Path, text: str) -> Iterator[tuple[str, str]]:
    values: Any
    if path.suffix.lower() == ".json":
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path} is no JSON ({error}).") from None
    else:
        from afina.yaml_file import read_yaml

        values = read_yaml(path)
    if not isinstance(values, Mapping):
        raise UsageError(f"{path} should be a mapping of categories to lists of words.")
    for category, words in values.items():
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise UsageError(
                f"{path}: '{category}' should be a list of words; YAML reads yes, no, on and off as truths unless they "
                "stand in quotation marks."
            )
        yield from ((str(category), word) for word in words or [""])


def _table(path: Path, text: str) -> Iterator[tuple[str, str]]:
    mark = "\t" if path.suffix.lower() == ".tsv" else ","
    # Spreadsheets whose decimals have a comma part columns by semicolons, or by tabs.
    first = next((line for line in text.splitlines() if line.strip()), "")
    mark = mark if mark in first else next((other for other in ";\t," if other in first), mark)
    for number, row in enumerate(csv.reader(text.splitlines(), delimiter=mark), start=1):
        if not row or [cell.strip().lower() for cell in row[:2]] in (["word", "category"], ["palavra", "categoria"]):
            continue
        if len(row) != 2 or not row[1].strip():
            raise UsageError(
                f"{path}, line {number}: it should have a word and a category, and has {len(row)} columns."
            )
        yield row[1].strip(), row[0]


def _liwc(path: Path, text: str) -> Iterator[tuple[str, str]]:
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    marks = [place for place, (_, line) in enumerate(lines) if line == "%"]
    if len(marks) != 2 or marks[0] != 0:
        raise UsageError(f"{path}: a .dic file has its categories between two lines of %, and the words behind them.")
    names: dict[str, str] = {}
    for number, line in lines[1 : marks[1]]:
        parts = line.split(None, 1)
        if len(parts) != 2 or parts[0] in names:
            raise UsageError(f"{path}, line {number}: it should have a new number and a category's name.")
        names[parts[0]] = parts[1].strip()
        yield names[parts[0]], ""  # one that no word has is told as that
    for number, line in lines[marks[1] + 1 :]:
        # An entry of several words has its numbers behind a tab, or as all that ends the line.
        matched = re.fullmatch(r"(.+?)((?:\s+\S*\d\S*)+)", line)
        numbers = [] if matched is None else matched[2].split()
        wrong = "none" if matched is None else next((each for each in numbers if each not in names), None)
        if matched is None or wrong is not None:
            raise UsageError(f"{path}, line {number}: a word should have numbers of categories behind it, not {wrong}.")
        yield from ((names[each], matched[1]) for each in numbers)
