"""Hold what is explained: tokens as the model reads them, and the words that they are of."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["ScoredQuestion", "TextWord", "words_in", "words_of_spans"]

_WORDS = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff]"  # written without spaces: a sign is the smallest that has a meaning
    r"|\d+(?:[.,]\d+)*|[^\W\d_][^\W_]*(?:['’-][^\W_]+)*|[^\s]"
)


@dataclass(frozen=True)
class TextWord:
    """Holds a word, or a mark, and where in the texts it stands."""

    text: str
    part: int
    """The text of a pair, from 0."""
    start: int
    end: int


@dataclass(frozen=True, eq=False)
class ScoredQuestion:
    """Holds one row as a model reads it, and the answer that is to be explained."""

    texts: tuple[str, ...]
    """The text, or the two of a pair."""
    words: tuple[TextWord, ...]
    """Those that the model read; what was cut off is none of them."""
    ids: np.ndarray
    """(T,) tokens."""
    word_of: np.ndarray
    """(T,) the word that each token is of; -1 for marks and whatever else is never taken away."""
    segments: np.ndarray | None = None
    targets: np.ndarray | None = None
    """(T,) what is to be said at each token, where the model speaks."""
    place: int = 0
    """The token that the answer is about, where each word has one."""
    answer: int = 0
    """Number of the answer among the outputs."""
    told: str = ""
    """The answer in words."""
    about: str = ""
    """The word that is tagged, where words are."""
    probability: float | None = None
    cut: bool = False
    """True where the text is longer than the model reads."""


def words_in(text: str) -> list[tuple[int, int]]:
    """Return the places (start, end) of a text's words and marks."""
    return [match.span() for match in _WORDS.finditer(text)]


def words_of_spans(
    texts: Sequence[str], parts: Sequence[int | None], spans: Sequence[tuple[int, int]]
) -> tuple[tuple[TextWord, ...], np.ndarray]:
    """Return the words of texts, and the word that each token is of (-1 for none), by the tokens' places.

    `parts` are the text that each token is of (None for marks), `spans` (start, end) where in it. A token that reaches over
    several words is of the first, and words without a token are left out.
    """
    places = [words_in(text) for text in texts]
    numbers: dict[tuple[int, int], int] = {}
    word_of = np.full(len(spans), -1, dtype=np.int64)
    words: list[TextWord] = []
    for token, (part, (start, end)) in enumerate(zip(parts, spans, strict=True)):
        if part is None or end <= start:
            continue
        # The first word that ends behind the token's beginning: a space that is a token by itself is the next word's.
        number = next((n for n, (_, last) in enumerate(places[part]) if last > start), None)
        if number is None:
            continue
        if (part, number) not in numbers:
            numbers[part, number] = len(words)
            first, last = places[part][number]
            words.append(TextWord(texts[part][first:last], part, first, last))
        word_of[token] = numbers[part, number]
    return tuple(words), word_of
