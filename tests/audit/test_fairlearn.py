"""Rates of groups and their gaps are those of fairlearn, where it is installed."""

import numpy as np
import pytest

from afina.measure.gaps import gap_of, rates_of

metrics = pytest.importorskip("fairlearn.metrics", reason="fairlearn is not installed (pip install fairlearn)")


@pytest.mark.parametrize("seed", range(3))
def test_rates_and_gaps_are_fairlearns(seed: int) -> None:
    random = np.random.default_rng(seed)
    label, group = random.integers(0, 2, 500), random.integers(0, 3, 500)
    answer = np.where(random.random(500) < 0.1 + 0.1 * group, 1 - label, label)
    gaps = {rate.name: gap_of(rate, group, 3) for rate in rates_of(label, answer, np.full(500, 0.9), ("no", "yes"))}
    of_groups = {"sensitive_features": group}
    theirs = metrics.MetricFrame(
        metrics={"selection": metrics.selection_rate, "false_positives": metrics.false_positive_rate,
                 "false_negatives": metrics.false_negative_rate}, y_true=label, y_pred=answer, **of_groups,
    )  # fmt: skip
    for name in ("selection", "false_positives", "false_negatives"):
        ours = gaps[name]
        assert ours is not None
        assert ours.rates[:, 0].tolist() == pytest.approx(theirs.by_group[name].tolist())
        assert ours.value == pytest.approx(theirs.difference(method="between_groups")[name])
    assert gaps["selection"] is not None
    assert gaps["selection"].value == pytest.approx(metrics.demographic_parity_difference(label, answer, **of_groups))
    odds = max(each.value for name, each in gaps.items() if name in ("false_positives", "false_negatives") and each)
    assert odds == pytest.approx(metrics.equalized_odds_difference(label, answer, **of_groups))
