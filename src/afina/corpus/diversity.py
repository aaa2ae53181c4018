"""Measure how much texts differ, in figures that fall when a model that writes data collapses onto few phrases."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Diversity", "collapse_warnings", "distinct", "diversity", "embedding_spread", "self_bleu"]

_WORDS = 5_000
_TEXTS = 300
_SHORT = 60


@dataclass(frozen=True)
class Diversity:
    """Figures over a sample of texts that does not grow with their number, so that files of any size compare."""

    texts: int
    distinct_1: float
    distinct_2: float
    distinct_3: float
    self_bleu: float
    spread: float | None
    """Mean cosine distance of the texts' embeddings; None where nothing embeds them."""


def diversity(
    texts: Sequence[str], embed: Callable[[list[str]], np.ndarray] | None = None, *, seed: int = 0
) -> Diversity:
    """Measure texts, at least two; `embed` gives one vector a text, (N, D)."""
    order = np.random.default_rng(seed).permutation(len(texts))
    sample = [texts[place] for place in order[:_TEXTS]]
    # A fixed number of words from the front of each text in a random order: the share of different ones falls with
    # length.
    words = [word for text in (texts[place] for place in order) for word in text.lower().split()[:_WORDS]][:_WORDS]
    one, two, three = (distinct(words, n) for n in (1, 2, 3))
    spread = embedding_spread(embed(sample)) if embed is not None else None
    return Diversity(len(texts), one, two, three, self_bleu(sample), spread)


def distinct(words: Sequence[str], n: int) -> float:
    """Return the share of n-grams that are different ones (Li et al., 2016, arXiv:1510.03055)."""
    grams = list(zip(*(words[start:] for start in range(n)), strict=False))
    # Too short to have any: nothing is repeated.
    return len(set(grams)) / len(grams) if grams else 1.0


def self_bleu(texts: Sequence[str]) -> float:
    """Return the mean BLEU-4 of each text against all the others, 0 to 1 (Zhu et al., 2018, arXiv:1802.01886).

    Precisions of which none match count half a match, as in sacrebleu's `floor` smoothing; texts are cut after 60 words.
    """
    words = [text.lower().split()[:_SHORT] for text in texts]
    words = [each for each in words if each]
    if len(words) < 2:
        return 0.0
    grams = [[_grams(each, n) for n in (1, 2, 3, 4)] for each in words]

    # The highest count of an n-gram in any other text is its highest, or where this text has that, its second highest:
    # no text is compared with all others one by one.
    tops = [_two_highest([own[n] for own in grams]) for n in range(4)]
    lengths = np.array([len(each) for each in words])
    scores = []
    for row, of_text in enumerate(grams):
        logs = []
        for n, counts in enumerate(of_text):
            if total := sum(counts.values()):
                hits = sum(min(count, _most_elsewhere(tops[n][gram], row)) for gram, count in counts.items())
                # Half a match, as the logarithm of none would make every other precision meaningless.
                logs.append(math.log((hits or 0.5) / total))
        others = np.delete(lengths, row)

        # BLEU's brevity: the reference of the nearest length, the shorter of two.
        closest = int(others[np.lexsort((others, abs(others - lengths[row])))[0]])
        brevity = min(0.0, 1 - closest / lengths[row])
        scores.append(math.exp(brevity + sum(logs) / len(logs)))
    return float(np.mean(scores))


def _grams(words: Sequence[str], n: int) -> "Counter[tuple[str, ...]]":
    """Count the runs of `n` words."""
    return Counter(zip(*(words[k:] for k in range(n)), strict=False))


def _two_highest(counters: Sequence[Counter[tuple[str, ...]]]) -> dict[tuple[str, ...], tuple[int, int, int]]:
    """Return for each n-gram its highest count in a text, that text's number, and its highest in any other."""
    highest: dict[tuple[str, ...], tuple[int, int, int]] = {}
    for row, counts in enumerate(counters):
        for gram, count in counts.items():
            most, where, next_most = highest.get(gram, (0, -1, 0))
            highest[gram] = (count, row, most) if count > most else (most, where, max(next_most, count))
    return highest


def _most_elsewhere(top: tuple[int, int, int], row: int) -> int:
    return top[2] if top[1] == row else top[0]


def embedding_spread(vectors: np.ndarray) -> float:
    """Return the mean cosine distance (0 to 2) of all pairs of vectors, (N, D)."""
    count = len(vectors)
    if count < 2:
        return 0.0
    # A vector of zeros has no direction, and is as far from all others.
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    # The sum of all pairs' products is the squared length of the sum, less each vector's with itself.
    alike = (np.square(units.sum(axis=0)).sum() - np.square(units).sum()) / (count * (count - 1))
    return float(1 - alike)


def collapse_warnings(now: Diversity, before: Diversity | None = None) -> list[str]:
    """Say what in the figures speaks for a collapse; `before` are those of the rows written first."""
    warnings = []
    if now.distinct_2 < 0.35:
        warnings.append(f"only {100 * now.distinct_2:.0f}% of the word pairs differ (varied text: above 60%)")
    if now.self_bleu > 0.7:
        warnings.append(
            f"texts are made of one another's phrases: self-BLEU {now.self_bleu:.2f} (varied text: below 0.4)"
        )
    if now.spread is not None and now.spread < 0.3:
        warnings.append(f"texts mean nearly the same: embedding spread {now.spread:.2f} (varied text: above 0.6)")
    # Against the first rows of the same model: what is varied for one prompt is little for another.
    if before is not None and now.distinct_2 < 0.75 * before.distinct_2:
        warnings.append(
            f"it falls: {100 * before.distinct_2:.0f}% of the word pairs differed at first, {100 * now.distinct_2:.0f}% now"
        )
    return warnings
