"""Know the words of train rows without holding one: a filter of which words there were, and how often words came.

The filter is Bloom's (1970): a word sets three bits of many, so that it is never called new where it is not, and one new
word in some hundred is taken for known. Counts are of the words' hashes, in buckets that many words share.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

__all__ = ["BUCKETS", "WordSketch", "words_of"]

BUCKETS = 4096
"""Buckets of counts; a language's words are ten times as many, so that no count is one word's."""
_BITS = 12
"""Bits of the filter for each different word, at least."""
_WORDS = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


def words_of(text: str) -> list[str]:
    """Return a text's words in small letters; a script without spaces has long ones."""
    return _WORDS.findall(text.lower())


@lru_cache(maxsize=1 << 17)
def _hash(word: str) -> int:
    # Half of a surrogate pair can stand in a text, and is no UTF-8.
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=16).digest(), "little")


@dataclass(frozen=True)
class WordSketch:
    """Holds the words of train rows as bits and counts of hashes."""

    bits: np.ndarray
    """(B,) uint8, eight bits each."""
    counts: np.ndarray
    """(BUCKETS,) uint32."""

    @classmethod
    def of(cls, texts: Iterable[str]) -> "WordSketch":
        """Take in the words of texts."""
        counts = np.zeros(BUCKETS, dtype=np.uint32)
        hashes: set[int] = set()
        for text in texts:
            numbers = [_hash(word) for word in words_of(text)]
            hashes.update(numbers)
            np.add.at(counts, [each % BUCKETS for each in numbers], 1)
        size = max(1 << 12, 1 << (_BITS * len(hashes)).bit_length())
        filled = np.zeros(size, dtype=bool)
        for each in hashes:
            filled[_places(each, size)] = True
        return cls(np.packbits(filled), counts)

    def measured(self, texts: Iterable[str]) -> Mapping[str, np.ndarray]:
        """Return of each text how many words it has, which share of them is new, and its bits a word (`Seen`)."""
        bits = np.unpackbits(self.bits).view(bool)
        rare = -np.log2((self.counts + 1.0) / (float(self.counts.sum()) + BUCKETS))
        rows: list[tuple[int, float, float]] = []
        for text in texts:
            numbers = [_hash(word) for word in words_of(text)]
            new = sum(not bits[_places(each, len(bits))].all() for each in numbers)
            surprise = float(rare[[each % BUCKETS for each in numbers]].mean()) if numbers else float(np.log2(BUCKETS))
            rows.append((len(numbers), new / max(1, len(numbers)), surprise))
        table = np.array(rows, dtype=np.float64).reshape(-1, 3)
        return {
            "length": table[:, 0].astype(np.int32), "unseen": table[:, 1].astype(np.float32),
            "surprise": table[:, 2].astype(np.float32),
        }  # fmt: skip

    def arrays(self) -> dict[str, Any]:
        """Return what a file keeps."""
        return {"bits": self.bits, "counts": self.counts}


def _places(number: int, size: int) -> list[int]:
    """Return a word's three bits, of 32 bits of its hash each; the lowest 12 are the bucket's."""
    return [(number >> shift & 0xFFFFFFFF) % size for shift in (16, 48, 80)]
