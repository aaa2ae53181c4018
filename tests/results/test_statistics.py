"""Differences that are real are found, those that are not are ties, and the arithmetic is that of the textbooks."""

from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

from afina.errors import UsageError
from afina.measure.bootstrap import interval_of, mean_of, redrawn
from afina.measure.metrics.base import Answers, metric_named
from afina.results.predictions import Predictions
from afina.results.recommend import parse_memory, recommend
from afina.results.results_jsonl import append_result, read_results
from afina.results.statistics import cells, compare, holm, mean_interval, verdict
from result_folders import answers, write_study


def test_holm_is_the_textbooks() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_intervals_are_students() -> None:
    interval = mean_interval([1.0, 2.0, 3.0])
    assert (interval.low, interval.high) == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-3)
    assert mean_interval([1.0]).low is None


def test_mcnemar_for_single_seeds() -> None:
    from scipy.stats import binomtest

    first, second = answers(0.8, seed=1), answers(0.7, seed=2)
    a, b = first.prediction == first.label, second.prediction == second.label
    (entry,) = compare({"x": {0: first}, "y": {0: second}}, "accuracy")
    assert entry.test == "McNemar"
    assert entry.p_value == pytest.approx(binomtest(int((a & ~b).sum()), int((a ^ b).sum())).pvalue)
    assert entry.difference == pytest.approx(a.mean() - b.mean())
    assert entry.low < entry.difference < entry.high


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "mcc"])
def test_a_clear_difference_is_found_and_signed(metric: str) -> None:
    runs = {
        name: {seed: answers(level, seed=10 * seed + int(100 * level)) for seed in range(3)}
        for name, level in (("good", 0.9), ("bad", 0.7), ("twin", 0.9))
    }
    found = {(e.first, e.second): e for e in compare(runs, metric, resamples=300)}
    assert not found["good", "bad"].tie
    assert found["good", "bad"].difference > 0
    assert found["bad", "twin"].difference < 0
    assert found["good", "twin"].tie
    assert all(entry.p_holm >= entry.p_value > 0 for entry in found.values())


def test_many_methods_do_not_hide_a_clear_difference() -> None:
    """Nineteen methods are 171 pairs: the correction asks for p-values that no count of 2,000 draws could show."""
    levels = {f"good {index}": 0.89 for index in range(18)} | {"bad": 0.80}
    runs = {
        name: {seed: answers(level, seed=crc32(f"{name} {seed}".encode()), items=800) for seed in range(3)}
        for name, level in levels.items()
    }
    found = compare(runs, "accuracy")
    assert len(found) == 171
    assert not any(entry.tie for entry in found if "bad" in (entry.first, entry.second))
    assert sum(not entry.tie for entry in found if "bad" not in (entry.first, entry.second)) <= 1


def test_true_nulls_are_seldom_called_differences() -> None:
    """Methods of equal skill whose seeds differ: a corrected p below 0.05 should come in about one study of twenty."""
    wrong = 0
    for trial in range(120):
        random = np.random.default_rng(trial)
        runs = {
            name: {s: answers(0.8 + random.normal() * 0.01, seed=int(random.integers(1 << 30))) for s in range(5)}
            for name in "ab"
        }
        wrong += not compare(runs, "accuracy", resamples=200, seed=trial)[0].tie
    assert wrong / 120 < 0.13


def test_pairing_by_item_helps() -> None:
    """Two methods that fail on nearly the same items: a small difference is seen that independent answers would hide."""
    random = np.random.default_rng(0)
    base = random.random(2000) < 0.8
    better = base | (random.random(2000) < 0.06)
    pair = {"a": {0: answers(0, seed=0, items=2000, like=better)}, "b": {0: answers(0, seed=0, items=2000, like=base)}}
    assert not compare(pair, "accuracy")[0].tie
    shuffled = {"a": pair["a"], "b": {0: answers(0, seed=0, items=2000, like=random.permutation(base))}}
    assert compare(shuffled, "accuracy")[0].p_value > 10 * compare(pair, "accuracy")[0].p_value


def test_regression_metrics_are_compared() -> None:
    random = np.random.default_rng(0)
    label = random.normal(size=300)

    def near(noise: float, seed: int) -> Predictions:
        value = label + noise * np.random.default_rng(seed).normal(size=300)
        return Predictions(np.arange(300), label, value, value[:, None])

    runs = {"a": {s: near(0.2, s) for s in range(3)}, "b": {s: near(1.0, 9 + s) for s in range(3)}}
    assert compare(runs, "pearson", resamples=200)[0].difference > 0.1
    assert compare(runs, "mse", resamples=200)[0].difference < 0


# -- results and recommendations -------------------------------------------------------------------------------------


def test_a_torn_line_costs_itself_alone(tmp_path: Path) -> None:
    write_study(tmp_path, {"a": (0.5, 1.0, 1.0)}, seeds=1)
    (line,) = read_results(tmp_path)
    (tmp_path / "results.jsonl").unlink()  # a result has more than is looked at here, and is checked as it is read
    append_result(tmp_path, {**line, "run": "a", "status": "ok"})
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('{"run": "b", "sta')
    append_result(tmp_path, {**line, "run": "c", "status": "failed"})
    append_result(tmp_path, {**line, "run": "c", "status": "ok"})
    assert [(r["run"], r["status"]) for r in read_results(tmp_path)] == [("a", "ok"), ("c", "ok")]


def test_the_best_within_the_limits_is_recommended(tmp_path: Path) -> None:
    folder = write_study(tmp_path, {"big": (0.95, 8, 50), "small": (0.85, 1, 5), "poor": (0.6, 0.5, 2)})
    free = recommend(folder)
    assert free.choice is not None
    assert free.runner_up is not None
    assert (free.choice.method, free.runner_up.method, free.decided) == ("big", "small", True)
    limited = recommend(folder, memory_bytes=4e9)
    assert limited.choice is not None
    assert limited.choice.method == "small"
    assert dict(limited.excluded)["big on m"].startswith("it needs 8.00 GB")
    nothing = recommend(folder, minutes=1)
    assert nothing.choice is None
    assert "poor on m comes nearest" in nothing.reason
    assert recommend(folder, minimum=0.9).choice == free.choice


def test_a_tie_goes_to_the_cheaper_and_says_so(tmp_path: Path) -> None:
    folder = write_study(tmp_path, {"dear": (0.9, 8, 50), "cheap": (0.9, 1, 50)})
    answer = recommend(folder)
    assert answer.choice is not None
    assert answer.choice.method == "cheap"
    assert not answer.decided
    assert "the data cannot decide" in answer.reason


def test_a_metric_that_the_study_lacks_is_refused_with_those_it_has(tmp_path: Path) -> None:
    folder = write_study(tmp_path, {"big": (0.95, 8, 50), "small": (0.85, 1, 5)})
    with pytest.raises(UsageError, match=r"no metric 'token_accuracy'; there are accuracy, macro_f1, mcc\.$"):
        recommend(folder, metric="token_accuracy")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_limits_that_are_none_are_refused(tmp_path: Path, bad: float) -> None:
    folder = write_study(tmp_path, {"big": (0.95, 8, 50)}, seeds=1)
    for limit in ("memory_bytes", "minutes", "minimum"):
        with pytest.raises(UsageError, match=f"^{limit.removesuffix('_bytes')}: "):
            recommend(folder, **{limit: bad})  # type: ignore[arg-type]
    for limit in ("memory_bytes", "minutes"):
        with pytest.raises(UsageError, match="above 0, not 0"):
            recommend(folder, **{limit: 0.0})  # type: ignore[arg-type]


def test_the_share_of_tokens_that_were_likeliest_is_compared_row_by_row() -> None:
    """A row counts by its tokens: the share is of all tokens, not the mean of the rows' shares."""
    random = np.random.default_rng(0)
    tokens = random.integers(5, 60, 300)

    def written(level: float) -> Predictions:
        hits = random.binomial(tokens, level)
        scores = np.stack([tokens * 2.0, tokens, hits], axis=1)
        return Predictions(np.arange(300), tokens, scores[:, 0], scores)

    runs = {"good": {0: written(0.6)}, "poor": {0: written(0.5)}}
    (found,) = compare(runs, "token_accuracy", resamples=300)
    shares = [one[0].scores[:, 2].sum() / tokens.sum() for one in runs.values()]
    assert found.difference == pytest.approx(shares[0] - shares[1])
    assert found.low < found.difference < found.high
    assert not found.tie


def test_the_second_classs_f1_needs_no_row_of_it() -> None:
    labels = np.zeros(6, dtype=np.int64)
    assert metric_named("binary_f1").value(Answers(labels, labels, np.zeros((6, 2)))) == 0.0


def test_verdicts_name_the_ties() -> None:
    runs = {name: {0: answers(level, seed=int(level * 100))} for name, level in (("a", 0.9), ("b", 0.89), ("c", 0.4))}
    results = [
        {"run": n, "status": "ok", "model": "m", "dataset": "d", "method_label": n, "metric": "accuracy",
         "test_metric": float((r[0].label == r[0].prediction).mean()), "seed": 0}
        for n, r in runs.items()
    ]  # fmt: skip
    found = verdict(cells(results), compare(runs, "accuracy"))
    assert found is not None
    assert {found.best, *found.tied} == {"a", "b"}
    assert not found.certain
    assert found.single_seed


@pytest.mark.parametrize(("text", "value"), [("4GB", 4e9), ("2 GiB", 2 * 2**30), ("800mb", 8e8)])
def test_amounts_of_memory(text: str, value: float) -> None:
    assert parse_memory(text) == value


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "four", "4XB", "nanGB", "9" * 400])
def test_no_amounts_of_memory(text: str) -> None:
    with pytest.raises(UsageError, match="no amount of memory"):
        parse_memory(text)


def test_all_figures_are_of_the_same_redrawn_items_whether_by_sums_or_by_rows() -> None:
    values, groups = np.random.default_rng(5).normal(size=230), np.arange(230) % 3
    by_sums, by_rows = mean_of("mean", values), lambda rows: float(values[rows].mean())

    def counted(rows: np.ndarray) -> float:
        return float((groups[rows] == 0).sum())

    for own in (None, groups):
        random = np.random.default_rng(1)
        drawn = redrawn([by_sums, by_rows, counted], 230, resamples=250, random=random, groups=own)
        assert np.allclose(drawn[0], drawn[1], rtol=1e-12)
        assert drawn[0].std() == pytest.approx(values.std() / 230**0.5, rel=0.15)
        # Of groups as many items are drawn as there are; without them, about as many.
        assert (drawn[2].std() == 0) == (own is not None)
    low, high = interval_of(drawn[0])
    assert (drawn[0] < low).mean() == pytest.approx(0.025, abs=0.01) and low < values.mean() < high
