"""Near-duplicates by MinHash: texts whose five-character pieces are mostly the same.  Broder, 1997.

For sets A and B of pieces, P[min h(A) = min h(B)] = |A & B| / |A u B|, so that the share of equal minima over many hash
functions h estimates their similarity; cut into bands of a few minima each, texts that share a whole band are candidates.
Signatures take 256 bytes a text, whatever its length.
"""

import hashlib
import re

import numpy as np

__all__ = ["PERMUTATIONS", "digest", "first_of_each", "most_alike", "signature", "similar"]

PERMUTATIONS = 128
_PIECE = 5
_ROWS = 4
"""Minima a band: with 32 bands, two texts of similarity 0.6 are candidates in 99 of 100 cases, of 0.8 always."""
# A seed that stays: signatures of different runs compare.
_random = np.random.default_rng(20_260_101)
_MULTIPLIERS = _random.integers(1, 1 << 63, PERMUTATIONS, dtype=np.uint64) | np.uint64(1)
_OFFSETS = _random.integers(0, 1 << 63, PERMUTATIONS, dtype=np.uint64)
_POWERS = np.uint64(0x9E3779B97F4A7C15) ** np.arange(_PIECE, dtype=np.uint64)
_NOT_WORD = re.compile(r"[\W_]+")
_BLOCK = 4_096
_MET = 64
"""Texts of one band that another text is compared with."""


def _normal(text: str) -> str:
    # What is typed otherwise is the same text.
    return _NOT_WORD.sub(" ", text.casefold()).strip()


def digest(text: str) -> int:
    """Return 64 bits that tell texts apart, whatever their case, spaces and punctuation."""
    return int.from_bytes(hashlib.blake2b((_normal(text) or text).encode("utf-8", "replace"), digest_size=8).digest())


def signature(text: str) -> np.ndarray:
    """Return a text's minima, (PERMUTATIONS,) uint16."""
    codes = np.frombuffer((_normal(text) or text).encode("utf-32-le", "replace"), dtype=np.uint32).astype(np.uint64)
    # A text of a few letters has one piece, filled up.
    if len(codes) < _PIECE:
        codes = np.pad(codes, (0, _PIECE - len(codes)))

    # Pieces are runs of letters, not of words: a changed word then changes a few pieces and not a whole sentence's.
    windows = np.lib.stride_tricks.sliding_window_view(codes, _PIECE)
    pieces = np.unique(_mixed((windows * _POWERS).sum(axis=1, dtype=np.uint64)))
    least = np.full(PERMUTATIONS, np.iinfo(np.uint64).max, dtype=np.uint64)
    for start in range(0, len(pieces), _BLOCK):  # (PERMUTATIONS, pieces), a few megabytes at a time
        hashed = pieces[start : start + _BLOCK] * _MULTIPLIERS[:, None] + _OFFSETS[:, None]
        least = np.minimum(least, hashed.min(axis=1))

    # The low bits of least values are as good as random: two different ones agree once in 65,536.
    minima: np.ndarray = _mixed(least).astype(np.uint16)
    return minima


def _mixed(values: np.ndarray) -> np.ndarray:
    """Spread bits (the finaliser of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    spread: np.ndarray = values ^ (values >> np.uint64(31))
    return spread


def similar(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Estimate the similarity, 0 to 1, of a signature and each of others, (N, PERMUTATIONS) -> (N,)."""
    agreeing: np.ndarray = (others == one).mean(axis=1)
    return agreeing


def first_of_each(signatures: np.ndarray, threshold: float) -> np.ndarray:
    """Return for each of N signatures the number of the first kept text that it is similar to, or its own.

    A text is kept if no kept text before it is similar; `signatures` may be a memory map, and is read in order.
    """
    candidates = _candidates(signatures)
    first = np.arange(len(signatures))
    start = 0
    while start < len(candidates):
        later = candidates[start, 0]
        # All of one row's candidates stand together, as pairs are sorted.
        end = start + int(np.searchsorted(candidates[start:, 0], later, side="right"))
        earlier = candidates[start:end, 1]

        # Only texts that are kept: one that was dropped itself drops nobody.
        earlier = earlier[first[earlier] == earlier]
        if len(earlier):
            alike = similar(signatures[later], signatures[earlier])
            if (alike >= threshold).any():
                first[later] = earlier[int((alike >= threshold).argmax())]
        start = end
    return first


def most_alike(signatures: np.ndarray, others: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return for each of N signatures the number of the one among M others that it is most like, and how alike they are.

    The number is -1 where none is similar from `threshold` on. Both may be memory maps; what is alike is found by bands, as
    in `first_of_each`.
    """
    best, alike = np.full(len(signatures), -1), np.zeros(len(signatures))
    if not len(others):
        return best, alike
    for band in range(0, PERMUTATIONS, _ROWS):
        ours, theirs = (_keys(each, band) for each in (signatures, others))
        order = np.argsort(theirs, kind="stable")
        begins, ends = (np.searchsorted(theirs[order], ours, side=side) for side in ("left", "right"))
        for row in np.flatnonzero(ends > begins):
            # A few of those that share a band: of thousands that are equal each is as good as the first.
            near = order[begins[row] : min(ends[row], begins[row] + _MET)]
            similarity = similar(signatures[row], others[near])
            place = int(similarity.argmax())
            # The first of equals, whichever band it was met in: the answer does not depend on the order of bands.
            if (similarity[place], -near[place]) > (alike[row], -best[row]) and similarity[place] >= threshold:
                best[row], alike[row] = near[place], similarity[place]
    return best, alike


def _keys(signatures: np.ndarray, band: int) -> np.ndarray:
    """Return a number for each signature's minima of a band."""
    keys: np.ndarray = np.ascontiguousarray(signatures[:, band : band + _ROWS]).view(np.uint64)[:, 0]
    return keys


def _candidates(signatures: np.ndarray) -> np.ndarray:
    """Return pairs (later, earlier) of rows that share a band, sorted and each once."""
    candidates = np.zeros((0, 2), dtype=np.int64)
    for band in range(0, PERMUTATIONS, _ROWS):
        # Texts that agree in all minima of a band are likely similar; only such pairs are compared, and never all with
        # all.
        keys = _keys(signatures, band)
        order = np.argsort(keys, kind="stable")
        # A row's key and the next one's differ at the end of a group.
        ends = np.flatnonzero(np.diff(keys[order], append=keys[order[-1:]] + np.uint64(1))) + 1
        begins = np.concatenate([[0], ends[:-1]])
        several = ends - begins > 1
        pairs = [candidates, *(_pairs(order[i:j]) for i, j in zip(begins[several], ends[several], strict=True))]
        candidates = np.unique(np.concatenate(pairs), axis=0)
    return candidates


def _pairs(group: np.ndarray) -> np.ndarray:
    """Pair each row of a group with rows before it: all of a small one; of a large one the first few and the one before."""
    # A group of thousands of equal rows would have millions of pairs; each has to meet a kept one, which is among the
    # first.
    few = 16
    later, earlier = np.tril_indices(len(group), -1) if len(group) <= few else (None, None)
    if later is None:
        steps = np.arange(1, len(group))
        later = np.concatenate([steps, *(steps[steps > k] for k in range(few))])
        earlier = np.concatenate([steps - 1, *(np.full(int((steps > k).sum()), k) for k in range(few))])
    return np.stack([group[later], group[earlier]], axis=1)
