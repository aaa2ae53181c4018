"""How often the test of groups finds a planted bias, and how often one that was not planted."""

import numpy as np
import pytest

from afina.audit.bias.drafts import detectable, paired
from afina.measure.gaps import RATES, gap_measure, gap_of, permuted_ps, rates_of

ROWS, BASE, TESTS = 400, 0.15, len(RATES)


def drawn(seed: int, gap: float) -> tuple[bool, float]:
    """Return whether a gap in wrong answers is found among as many tests as an audit makes, and which is to be in 80%."""
    random = np.random.default_rng(seed)
    label, group = random.integers(0, 2, ROWS), np.repeat([0, 1], ROWS // 2)
    wrong = random.random(ROWS) < np.where(group == 1, BASE + gap, BASE)
    (rate,) = (each for each in rates_of(label, np.where(wrong, 1 - label, label), np.ones(ROWS), ("no", "yes"))
               if each.name == "accuracy")  # fmt: skip
    own = gap_of(rate, group, 2)
    assert own is not None
    (p,) = permuted_ps([rate], group, 2, label, seed=seed, permutations=599)
    _, _, deviation = paired(gap_measure(rate, group, own), [], groups=group, seed=seed)
    return p * TESTS < 0.05, detectable(deviation, TESTS)


@pytest.fixture(scope="module")
def told() -> float:
    """The gap that is said to be found 80 times in 100, where there is one of about that size."""
    return float(np.mean([drawn(1000 + seed, 0.15)[1] for seed in range(10)]))


def test_a_bias_of_the_size_that_is_told_is_found_as_often_as_is_told(told: float) -> None:
    """Of 60 draws at a power of 0.8 fewer than 38, or all 60, come about once in a thousand times."""
    found = sum(drawn(seed, told)[0] for seed in range(60))
    assert 38 <= found < 60


def test_no_bias_is_found_in_random_splits_more_often_than_was_set() -> None:
    """One test of six at 5% together is below 1%: of 100 draws more than 4 come about once in three hundred times."""
    assert sum(drawn(seed, 0.0)[0] for seed in range(100)) <= 4
