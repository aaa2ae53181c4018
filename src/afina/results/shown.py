"""Write a study's figures and verdicts for people: percents, digits that count, intervals, and which method is best."""

from afina.measure.metrics.base import higher_is_better, is_percent
from afina.results.material import Group
from afina.results.statistics import Comparison, Interval
from afina.words.language import Words

__all__ = ["answer", "difference_row", "metric_digits", "scaled", "shown_interval", "with_interval"]


def scaled(metric: str) -> float:
    """Return what a metric is multiplied by: accuracies are shown in percent, correlations and errors as they are."""
    return 100.0 if is_percent(metric) else 1.0


def metric_digits(metric: str, size: float = 0.0) -> int:
    """Return a metric's decimals, fewer where figures of this size have many digits before the point."""
    return 1 if is_percent(metric) else max(0, 3 - sum(abs(size) >= bound for bound in (10, 100, 1000)))


def with_interval(interval: Interval | None, metric: str, words: Words) -> str:
    """Write `88.8 [88.1, 89.5]`, or the mean alone."""
    if interval is None:
        return "—"
    digits = metric_digits(metric, interval.mean)
    shown = [words.number(value, digits) for value in shown_interval(interval, metric)]
    if len(shown) == 1:
        return shown[0]
    low, mean, high = shown
    return f"{mean} [{low}{words.between}{high}]"


def shown_interval(interval: Interval, metric: str) -> list[float]:
    """Return (low, mean, high) as tables show them, or the mean alone; no share ends below 0 or above 1."""
    scale = scaled(metric)
    if interval.low is None or interval.high is None:
        return [scale * interval.mean]
    # Student's interval knows nothing of a share's bounds.
    low, high = (interval.low, interval.high) if scale == 1 else (max(0.0, interval.low), min(1.0, interval.high))
    return [scale * low, scale * interval.mean, scale * high]


def difference_row(entry: Comparison, metric: str, words: Words) -> list[str]:
    """Write a comparison as tables have it: first, second, difference, interval, corrected p, verdict."""
    # One digit more in percent: differences are often smaller than what figures themselves are rounded to.
    scale, digits = scaled(metric), metric_digits(metric) + (scaled(metric) == 100)
    better = (entry.difference > 0) == higher_is_better(metric)
    outcome = words("tie") if entry.tie else words("better" if better else "worse")
    low, high = words.number(entry.low * scale, digits), words.number(entry.high * scale, digits)
    # Below a thousandth the figure is of the bootstrap's draws rather than of the methods.
    p = f"< {words.number(0.001, 3)}" if entry.p_holm < 0.001 else words.number(entry.p_holm, 3)
    gap = words.number(entry.difference * scale, digits)
    return [entry.first, entry.second, gap, f"[{low}{words.between}{high}]", p, outcome]


def answer(group: Group, words: Words) -> str:
    """Say in one or two sentences which method is best and whether that could be chance."""
    if group.verdict is None:
        return words("Nothing finished here.")
    best = next(cell for cell in group.cells if cell.method == group.verdict.best)
    assert best.test is not None
    unit = "%" if scaled(best.metric) == 100 else ""
    number = words.number(best.test.mean * scaled(best.metric), metric_digits(best.metric, best.test.mean))
    value = f"{words(best.metric)} {number}{unit}"
    if not group.comparable:
        return words(
            "{best} has the highest value ({value}); its results were made under different conditions and are not tested.",
            best=best.method, value=value,
        )  # fmt: skip
    tied = ", ".join(group.verdict.tied)
    theirs = {cell.test.mean for cell in group.cells if cell.method in group.verdict.tied and cell.test is not None}
    # Equal to the last digit is said as what it is, not as a lead by chance.
    if theirs == {best.test.mean}:
        sentence = words("{best} and {tied} have the same value ({value}).", best=best.method, tied=tied, value=value)
    elif tied:
        sentence = words(
            "{best} is best by a difference that could be chance ({value}): it ties with {tied}.",
            best=best.method, value=value, tied=tied,
        )  # fmt: skip
    else:
        sentence = words("{best} is best ({value}).", best=best.method, value=value)
    once = words("One seed only: training's own chance is not in the intervals.") if group.verdict.single_seed else ""
    return " ".join(filter(None, (sentence, _by_rows(group, words), once, _taught(group, words))))


def _taught(group: Group, words: Words) -> str:
    """Say what taught these runs, and how that does itself on the same test rows."""
    taught = next((run.taught_by for cell in group.cells for run in cell.runs if run.taught_by is not None), None)
    if taught is None:
        return ""
    signals = ", ".join(map(words.note, taught.signals))
    sentence = words(
        "Taught by {teacher}: {signals}, {share}% of the loss.",
        teacher=taught.teacher, signals=signals, share=words.number(100 * taught.weight),
    )  # fmt: skip
    if (value := taught.test_metrics.get(group.metric)) is None:
        return sentence
    number = words.number(value * scaled(group.metric), metric_digits(group.metric, value))
    unit = "%" if scaled(group.metric) == 100 else ""
    itself = words("On the same test rows it has {value} itself.", value=f"{words(group.metric)} {number}{unit}")
    return f"{sentence} {itself}"


def _by_rows(group: Group, words: Words) -> str:
    """Say how far the best value could be off because of the test rows that there happen to be."""
    interval = group.by_rows
    if interval is None or interval.low is None or interval.high is None:
        return ""
    low, _, high = shown_interval(interval, group.metric)
    digits = metric_digits(group.metric, interval.mean)
    return words(
        "By its {rows} test rows alone it could lie anywhere from {low} to {high}{unit}.",
        rows=words.number(group.test_rows), low=words.number(low, digits), high=words.number(high, digits),
        unit="%" if scaled(group.metric) == 100 else "",
    )  # fmt: skip
