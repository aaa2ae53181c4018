"""Tell whether two samples of rows are of one kind: tests with their p-values, none of which assumes a normal law.

Maximum mean discrepancy: Gretton et al., 2012, A Kernel Two-Sample Test, JMLR 13, lemma 6 (unbiased), by permutation.
Population stability index: Siddiqi, 2006, Credit Risk Scorecards, the symmetric Kullback-Leibler divergence of shares.
"""

from dataclasses import dataclass

import numpy as np

__all__ = [
    "Discrepancy", "counts_of", "discrepancy", "further", "greater", "interval", "same_law", "same_shares", "stability",
    "stability_of",
]  # fmt: skip

_FEW = 499
"""Permutations that are enough where the samples look alike."""
_AT_ONCE = 2000
_EXPECTED = 5.0
"""Expected count from which the chi-square law is near enough (Cochran, 1954)."""
_Z = 1.959964


@dataclass(frozen=True)
class Discrepancy:
    """Holds the squared maximum mean discrepancy of two samples, its 95% interval and p-value."""

    value: float
    low: float
    high: float
    p: float


def discrepancy(first: np.ndarray, second: np.ndarray, random: np.random.Generator, *, smallest: float) -> Discrepancy:
    """Compare vectors (N, D) and (M, D) by a Gaussian kernel as wide as their median distance.

    As many permutations as let p be half of `smallest`, where some hundred show that the samples may differ.
    """
    kernel = _kernel(np.concatenate([first, second]).astype(np.float32))
    m, n = len(first), len(second)
    given = np.zeros((1, m + n), dtype=np.float32)
    given[0, :m] = 1
    value = float(_unbiased(kernel, given, m)[0])

    p = _permuted(kernel, m, value, _FEW, random)
    # Afresh, so that a first look which was lucky does not count in the second.
    if p <= 0.1:
        p = _permuted(kernel, m, value, max(_FEW, int(np.ceil(2 / smallest))), random)

    # Of each row what it adds, by which the variance of a U-statistic is told (Gretton, section 5).
    within, across = kernel[:m, :m], kernel[:m, m:]
    a = within.sum(axis=1) / (m - 1) - across.mean(axis=1)
    b = kernel[m:, m:].sum(axis=1) / (n - 1) - across.mean(axis=0)
    error = float(np.sqrt(4 * a.var() / m + 4 * b.var() / n))
    return Discrepancy(value, value - _Z * error, value + _Z * error, p)


def _kernel(rows: np.ndarray) -> np.ndarray:
    """Return the kernel of all pairs of rows, with zeros on the diagonal, as no row is compared with itself."""
    squares = (rows**2).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares[None] - 2 * rows @ rows.T, 0)
    apart = distances[np.triu_indices(len(rows), 1)]
    # Of all rows together, so that it is the same for every permutation.
    width = float(np.median(apart)) or float(apart.mean()) or 1.0
    kernel: np.ndarray = np.exp(-distances / width)
    np.fill_diagonal(kernel, 0)
    return kernel


def _unbiased(kernel: np.ndarray, chosen: np.ndarray, m: int) -> np.ndarray:
    """Return the discrepancy of each choice (C, N) of `m` rows as the first sample."""
    n = len(kernel) - m
    sums = chosen @ kernel
    within = (sums * chosen).sum(axis=1, dtype=np.float64)
    beside = sums.sum(axis=1, dtype=np.float64) - within
    rest = float(kernel.sum(dtype=np.float64)) - within - 2 * beside
    value: np.ndarray = within / (m * (m - 1)) + rest / (n * (n - 1)) - 2 * beside / (m * n)
    return value


def _permuted(kernel: np.ndarray, m: int, value: float, times: int, random: np.random.Generator) -> float:
    size, above = len(kernel), 0
    for start in range(0, times, _AT_ONCE):
        rows = min(_AT_ONCE, times - start)
        places = random.permuted(np.broadcast_to(np.arange(size), (rows, size)), axis=1)[:, :m]
        chosen = np.zeros((rows, size), dtype=np.float32)
        np.put_along_axis(chosen, places, 1, axis=1)
        # A hair below, as a permutation that gives the same samples is summed in another order.
        above += int((_unbiased(kernel, chosen, m) >= value - 1e-9).sum())
    return (above + 1) / (times + 1)


def counts_of(first: np.ndarray, second: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Return the names in two samples, the first sample's most frequent first, and how often (2, K) each stands in both."""
    names, which = np.unique(np.concatenate([first, second]), return_inverse=True)
    counts = np.stack([np.bincount(part, minlength=len(names)) for part in np.split(which, [len(first)])])
    order = np.argsort(-counts[0], kind="stable")
    return [str(names[place]) for place in order], counts[:, order]


def same_shares(counts: np.ndarray, random: np.random.Generator, *, smallest: float) -> float:
    """Return the p-value of counts (2, K) if both rows are drawn with the same shares: Pearson's chi-square.

    Where too few of a kind are expected for its law, p is told by drawing (with the same margins), and can be half of
    `smallest`.
    """
    from scipy.stats import chi2_contingency

    counts = counts[:, counts.sum(axis=0) > 0]
    if counts.shape[1] < 2 or not counts.sum(axis=1).all():
        return 1.0
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    if expected.min() >= _EXPECTED:
        return float(chi2_contingency(counts, correction=False).pvalue)
    value = float(((counts - expected) ** 2 / expected).sum())
    times, above = max(1999, int(np.ceil(2 / smallest))), 0
    for start in range(0, times, 10 * _AT_ONCE):
        drawn = random.multivariate_hypergeometric(
            counts.sum(axis=0), int(counts[1].sum()), size=min(10 * _AT_ONCE, times - start), method="marginals"
        )
        first = counts.sum(axis=0) - drawn
        values = ((first - expected[0]) ** 2 / expected[0] + (drawn - expected[1]) ** 2 / expected[1]).sum(axis=1)
        above += int((values >= value - 1e-9).sum())
    return (above + 1) / (times + 1)


def same_law(first: np.ndarray, second: np.ndarray) -> float:
    """Return the p-value of values (N,) and (M,) if both are of one law: Kolmogorov and Smirnov's, cautious at ties."""
    from scipy.stats import ks_2samp

    return float(ks_2samp(first, second, method="auto" if max(len(first), len(second)) <= 1000 else "asymp").pvalue)


def greater(first: np.ndarray, second: np.ndarray) -> float:
    """Return the p-value of the second sample's not being greater as a rule: Mann and Whitney's, with ties."""
    from scipy.stats import mannwhitneyu

    if np.ptp(np.concatenate([first, second])) == 0:
        return 1.0
    return float(mannwhitneyu(second, first, alternative="greater", method="asymptotic").pvalue)


def further(first: np.ndarray, second: np.ndarray) -> float:
    """Return the two-sided p-value of equal means, variances apart: Welch's."""
    from scipy.stats import ttest_ind_from_stats

    if not first.std() and not second.std():
        return 1.0 if first.mean() == second.mean() else 0.0
    # Of means and deviations: given values, scipy warns whoever watches where one row came many times.
    stats = [value for each in (first, second) for value in (each.mean(), each.std(ddof=1), len(each))]
    return float(ttest_ind_from_stats(*stats, equal_var=False).pvalue)


def stability(first: np.ndarray, second: np.ndarray) -> float:
    """Return the population stability index of values, over the tenths of the first sample."""
    edges = np.unique(np.quantile(first, np.linspace(0, 1, 11))[1:-1])
    counts = np.stack([np.bincount(np.searchsorted(edges, each), minlength=len(edges) + 1) for each in (first, second)])
    return stability_of(counts)


def stability_of(counts: np.ndarray) -> float:
    """Return the population stability index of counts (2, K)."""
    # Half a row more of each kind: a kind that one sample lacks would make it infinite.
    shares = (counts + 0.5) / (counts + 0.5).sum(axis=1, keepdims=True)
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 95% interval of a mean, by its standard error."""
    if len(values) < 2:
        return float(values.mean()), float(values.mean())
    error = _Z * float(values.std(ddof=1)) / np.sqrt(len(values))
    return float(values.mean() - error), float(values.mean() + error)
