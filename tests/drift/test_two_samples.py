"""The tests of two samples are what their papers say, and their p-values hold where nothing has changed."""

import itertools

import numpy as np
import pytest
from scipy import stats

from afina.drift.two_samples import (
    counts_of,
    discrepancy,
    further,
    greater,
    same_law,
    same_shares,
    stability,
    stability_of,
)


def plain_discrepancy(first: np.ndarray, second: np.ndarray) -> float:
    """The unbiased estimate of Gretton et al. (2012), lemma 6, in loops; the kernel is as wide as the median distance."""
    rows = np.concatenate([first, second])
    apart = [((a - b) ** 2).sum() for a, b in itertools.combinations(rows, 2)]
    width = float(np.median(apart))

    def mean(left: np.ndarray, right: np.ndarray, *, same: bool) -> float:
        values = [
            np.exp(-((a - b) ** 2).sum() / width)
            for i, a in enumerate(left)
            for j, b in enumerate(right)
            if not (same and i == j)
        ]
        return float(np.mean(values))

    return mean(first, first, same=True) + mean(second, second, same=True) - 2 * mean(first, second, same=False)


def test_the_discrepancy_is_the_plain_one() -> None:
    random = np.random.default_rng(3)
    first, second = random.standard_normal((7, 3)), random.standard_normal((5, 3)) + 0.7
    found = discrepancy(first, second, random, smallest=0.01)
    assert found.value == pytest.approx(plain_discrepancy(first, second), rel=1e-4)
    assert found.low < found.value < found.high


def test_its_p_value_is_that_of_all_divisions() -> None:
    """Of 3 and 4 rows there are 35 divisions: the share of those that are as far apart is told by drawing."""
    random = np.random.default_rng(0)
    rows = random.standard_normal((7, 2)) + np.array([[0.8, 0]] * 3 + [[0, 0]] * 4)
    value = plain_discrepancy(rows[:3], rows[3:])
    others = [
        plain_discrepancy(rows[list(chosen)], np.delete(rows, chosen, axis=0))
        for chosen in itertools.combinations(range(7), 3)
    ]
    exact = float(np.mean([other >= value - 1e-9 for other in others]))
    assert discrepancy(rows[:3], rows[3:], random, smallest=1e-3).p == pytest.approx(exact, abs=0.06)


def test_p_values_of_vectors_and_of_rare_names_hold_where_nothing_has_changed() -> None:
    random = np.random.default_rng(1)
    of_vectors, of_names = [], []
    for _ in range(200):
        first, second = random.standard_exponential((30, 4)), random.standard_exponential((20, 4))
        of_vectors.append(discrepancy(first, second, random, smallest=0.02).p)
        names = random.choice(["a", "b", "c", "d"], 80, p=[0.9, 0.05, 0.03, 0.02])
        of_names.append(same_shares(counts_of(names[:50], names[50:])[1], random, smallest=0.02))
    for values in (of_vectors, of_names):
        # As often below a level as the level says, or less: within three standard deviations of 200 draws.
        for level in (0.05, 0.2):
            assert np.mean(np.array(values) <= level) <= level + 3 * np.sqrt(level * (1 - level) / 200)
    # Not by never being small.
    assert min(of_vectors) < 0.05 and min(of_names) < 0.1


def test_shares_with_enough_rows_are_tested_by_the_chi_square_law_and_others_by_drawing() -> None:
    random = np.random.default_rng(2)
    many, few = np.array([[60, 40, 30], [40, 50, 30]]), np.array([[30, 1, 2], [20, 4, 0]])
    assert same_shares(many, random, smallest=0.01) == pytest.approx(
        stats.chi2_contingency(many, correction=False).pvalue
    )
    method = stats.PermutationMethod(n_resamples=20_000, rng=np.random.default_rng(0))
    assert same_shares(few, random, smallest=1e-4) == pytest.approx(
        stats.chi2_contingency(few, correction=False, method=method).pvalue, abs=0.02
    )
    # What nobody has, or all have, tells nothing.
    assert same_shares(np.array([[5, 0], [7, 0]]), random, smallest=0.01) == 1.0


def test_values_are_tested_as_scipy_tests_them() -> None:
    random = np.random.default_rng(4)
    first, second = random.poisson(4, 300), random.poisson(5, 90)
    assert same_law(first, second) == pytest.approx(stats.ks_2samp(first, second).pvalue)
    assert greater(first, second) == pytest.approx(
        stats.mannwhitneyu(second, first, alternative="greater", method="asymptotic").pvalue
    )
    assert greater(second, first) > 0.9
    assert greater(np.zeros(20), np.zeros(30)) == 1.0


def test_stability_is_the_divergence_of_shares_both_ways() -> None:
    counts = np.array([[500, 300, 200], [200, 300, 500]])
    shares = (counts + 0.5) / (counts + 0.5).sum(axis=1, keepdims=True)
    both = stats.entropy(shares[0], shares[1]) + stats.entropy(shares[1], shares[0])
    assert stability_of(counts) == pytest.approx(both)
    values = np.arange(1000.0)
    assert stability(values, values) == pytest.approx(0, abs=1e-9)
    assert stability(values, values + 300) > 0.25


def test_means_are_compared_as_scipy_does_and_one_row_many_times_warns_nobody() -> None:
    from scipy.stats import ttest_ind

    random = np.random.default_rng(0)
    first, second = random.normal(0, 1, 40), random.normal(0.6, 3, 25)
    assert further(first, second) == pytest.approx(ttest_ind(first, second, equal_var=False).pvalue)
    # Of numbers that are one but for rounding scipy warns, and warnings are errors here.
    same = np.full(50, 0.1) * 3 - 0.2
    assert further(first, same + random.normal(0, 1e-17, 50)) < 1
    assert further(same, same) == 1
    assert further(same, same + 1) == 0
