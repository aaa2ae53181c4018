"""Counts of words by category, as LIWC's (Pennebaker, 2001): a person's dictionary, or one induced from the train rows.

x_k = (words of the text in category k) / (words of the text), and ln(1 + words). Induced for classes: the words that are
most over-represented in each (log-odds with a Dirichlet prior, Monroe et al., 2008, z > 1.96); for numbers: those whose
presence goes with high and with low ones (Welch's t, as far from 0).
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from afina.data.lexicons import Lexicon, read_lexicon
from afina.data.plain_words import plain_words
from afina.errors import UsageError
from afina.methods.learners.base import Vectors
from afina.methods.representations.base import OfTexts, as_array, of_array, representation

__all__ = ["LexiconWords", "induced"]

_TELLING = 1.96
_NAMED = 5
_MOST = 200
"""Words that an induced category has at most: more are noise in a thousand rows, and nobody reads them."""


@representation("words")
class LexiconWords(OfTexts):
    """Counts the words of categories that a person can read, and edit."""

    takes_lexicon = True

    def learn(self, texts: Sequence[str], labels: np.ndarray, classes: int, seed: int) -> dict[str, np.ndarray]:
        given = self.settings["lexicon"]
        entries = induced(texts, labels, classes) if given is None else _there(read_lexicon(Path(given)), texts, given)
        if given is not None:
            self.notes = _silent(Lexicon(entries), texts, given)
        if not any(entries.values()):
            raise UsageError(
                "words: no word of the train rows tells one label from another; give a lexicon, or more rows."
            )
        return {"lexicon": as_array(entries)}

    def open(self) -> None:
        self.lexicon = Lexicon(of_array(self.arrays["lexicon"]))

    def of_texts(self, texts: Sequence[str]) -> Vectors:
        rows = []
        for words in map(plain_words, texts):
            shares: list[Any] = [count / max(1, len(words)) for count in self.lexicon.counts(words)]
            rows.append([*shares, np.log1p(len(words))])
        return np.array(rows, dtype=np.float32)


def _there(lexicon: Lexicon, texts: Sequence[str], path: str) -> dict[str, list[str]]:
    """Return a dictionary's entries; raises `UsageError` where no text has a word of it, as of another language's."""
    if not any(any(lexicon.counts(plain_words(text))) for text in texts):
        raise UsageError(
            f"{path}: none of its words stands in the {len(texts):,} train texts, so that it tells nothing of them; is it of "
            "their language?"
        )
    return lexicon.entries


def _silent(lexicon: Lexicon, texts: Sequence[str], path: str) -> list[str]:
    """Name the categories that say nothing of the texts, as none of their words stands there."""
    counts = np.array([lexicon.counts(plain_words(text)) for text in texts]).sum(axis=0)
    silent = [name for name, count in zip(lexicon.categories, counts, strict=True) if not count]
    if not silent:
        return []
    more = f" and {len(silent) - _NAMED} more" if len(silent) > _NAMED else ""
    return [
        f"{path}: no word of {len(silent)} of its {len(counts)} categories stands in the train texts: "
        f"{', '.join(silent[:_NAMED])}{more}"
    ]


def induced(texts: Sequence[str], labels: np.ndarray, classes: int) -> dict[str, list[str]]:
    """Return categories of words that tell the labels of texts apart, the most telling first."""
    rows = [plain_words(text) for text in texts]
    if classes == 1:
        return _by_number([set(row) for row in rows], np.asarray(labels, dtype=np.float64))
    counts = [Counter[str]() for _ in range(classes)]
    for row, label in zip(rows, labels, strict=True):
        counts[int(label)].update(row)
    return {f"class {number}": _over(chosen, counts) for number, chosen in enumerate(counts)}


def _over(chosen: Counter[str], counts: Sequence[Counter[str]]) -> list[str]:
    """Return the words that one class has more of than the others together."""
    whole = Counter[str]()
    for each in counts:
        whole.update(each)
    prior, total, mine = sum(whole.values()), sum(whole.values()), sum(chosen.values())
    ranked: list[tuple[float, str]] = []
    for word, count in chosen.items():
        # The prior is the word's own count over all classes, scaled to one word in ten of the text.
        weight, size = 0.1 * whole[word], 0.1 * prior
        other = whole[word] - count
        here, there = count + weight, other + weight
        odds = np.log(here / max(mine + size - here, 1e-9)) - np.log(there / max(total - mine + size - there, 1e-9))
        z = odds / np.sqrt(1 / here + 1 / there)
        if z > _TELLING:
            ranked.append((-float(z), word))
    return [word for _, word in sorted(ranked)[:_MOST]]


def _by_number(rows: Sequence[set[str]], labels: np.ndarray) -> dict[str, list[str]]:
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        for word in row:
            places.setdefault(word, []).append(place)
    count, mean, spread = len(labels), float(labels.mean()), float(labels.std()) or 1.0
    ranked: list[tuple[float, str]] = []
    for word, chosen in places.items():
        # A word of nearly no row, or of nearly all, is compared with nothing.
        if 3 <= len(chosen) <= count - 3:
            here = float(labels[chosen].mean())
            there = (mean * count - here * len(chosen)) / (count - len(chosen))
            ranked.append(((here - there) / (spread * np.sqrt(1 / len(chosen) + 1 / (count - len(chosen)))), word))
    high = [word for t, word in sorted(ranked, key=lambda each: (-each[0], each[1])) if t > _TELLING]
    low = [word for t, word in sorted(ranked) if t < -_TELLING]
    return {"high": high[:_MOST], "low": low[:_MOST]}
