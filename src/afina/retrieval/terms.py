"""Make terms of texts: words without case, accents, endings and stop words, in the documents' language.

A word that was typed without its accents ("educacao") has the term that the documents' accented word has ("educação"), so
that questions and documents may be typed either way. Stems are Snowball's (Porter, 2001).
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from afina.data.plain_words import folded
from afina.retrieval.extra import needed

__all__ = ["STEMMERS", "Terms", "language_among"]

_WORDS = re.compile(r"[^\W_]+(?:[.,]\d+)*")
STEMMERS = {
    "da": "danish", "de": "german", "en": "english", "es": "spanish", "fr": "french", "it": "italian", "nl": "dutch",
    "pt": "portuguese", "ro": "romanian", "ru": "russian", "sv": "swedish", "tr": "turkish",
}  # fmt: skip
"""Snowball's stemmers by the languages' two letters."""
_ENOUGH = 2_000
"""Texts that are looked at to tell a collection's language."""


class Terms:
    """Makes terms; what it knows of a collection is in `accents`."""

    def __init__(self, language: str, accents: dict[str, str] | None = None) -> None:
        """Take a language of two letters, or `none`, and the terms of words that the collection writes with accents."""
        self.language, self.accents = language, accents or {}
        self._stemmer: Any = None
        self._stop: frozenset[str] = frozenset()
        self._known: dict[str, str] = {}
        if language in STEMMERS:
            self._stemmer = needed("snowballstemmer", "Stemming words").stemmer(STEMMERS[language])
            names = needed("bm25s.stopwords", "Leaving stop words out")
            # bm25s has a longer list for English under a name of its own.
            english = {"en": "EN_PLUS"}.get(language)
            words = getattr(names, f"STOPWORDS_{english or STEMMERS[language].upper()}", ())
            self._stop = frozenset(map(folded, words))

    def of(self, text: str) -> list[str]:
        """Return a text's terms in their order."""
        known = self._known
        terms = []
        for word in _WORDS.findall(text):
            # Words come again and again: a stem is computed once.
            term = known.get(word)
            if term is None:
                term = known[word] = self._term(word)
            if term:
                terms.append(term)
        return terms

    def _term(self, word: str) -> str:
        plain = folded(word)
        if plain in self._stop:
            return ""
        # The term of the accented word where the collection writes one.
        return self.accents.get(plain) or self._stemmed(word)

    def _stemmed(self, word: str) -> str:
        if self._stemmer is None:
            return folded(word)
        return folded(self._stemmer.stemWord(word.casefold())) or folded(word)

    def learn(self, texts: Iterable[str]) -> None:
        """Learn which words a collection writes with accents; of those that differ in them alone the most frequent's term."""
        counts: Counter[str] = Counter()
        for text in texts:
            if not text.isascii():
                counts.update(word.casefold() for word in _WORDS.findall(text) if not word.isascii())
        accents: dict[str, str] = {}
        # The most frequent first, and the alphabet between equals: the same documents give the same terms.
        for word, _ in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])):
            if folded(word) != word:
                accents.setdefault(folded(word), self._stemmed(word))
        self.accents = accents
        # What was remembered without the accents is no longer true.
        self._known.clear()

    def save(self, path: Path) -> None:
        """Write what was learned."""
        path.write_text(json.dumps([self.language, self.accents], ensure_ascii=False), "utf-8")

    @classmethod
    def load(cls, path: Path) -> "Terms":
        """Read what `save` wrote."""
        return cls(*json.loads(path.read_text("utf-8")))


def language_among(texts: Iterable[str], count: int) -> tuple[str, str]:
    """Return the language of most of a collection's text (`none` where it is told of too little), and a note on it.

    `count` is how many texts there are; of many a sample is looked at, taken evenly.
    """
    from afina.corpus.languages import UNKNOWN, language_of

    # Evenly through the collection, as documents of one language lie together.
    step = max(1, count // _ENOUGH)
    sizes: Counter[str] = Counter()
    for number, text in enumerate(texts):
        if number % step == 0:
            sizes[language_of(text)] += len(text)
    total = max(1, sum(sizes.values()))
    ranked = [(code, size) for code, size in sizes.most_common() if code != UNKNOWN]
    # Less than a third of the text in one language is no language of the documents.
    if not ranked or ranked[0][1] < 0.3 * total:
        return "none", "the documents' language could not be told: words are compared as they stand, without stemming"
    shares = ", ".join(f"{code} {100 * size / total:.0f}%" for code, size in ranked[:3] if size >= 0.02 * total)
    code = ranked[0][0]
    if code not in STEMMERS:
        return "none", f"the documents are in a language without a stemmer ({shares}): words are compared as they stand"
    return code, f"the documents' language: {shares}; words are stemmed as {code}"
