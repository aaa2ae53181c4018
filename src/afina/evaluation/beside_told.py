"""Tell in words and tables what models lost and saved beside the first, and whether each is worth it."""

from pathlib import Path

from afina.evaluation.beside import BesideCompared, BesideRow, BesideVerdict
from afina.measure.bootstrap import Estimate
from afina.words.language import Words

__all__ = ["costs_table", "measures_table", "verdicts"]

Rows = tuple[list[str], list[list[str]]]
"""The columns of a table and its rows."""


def measures_table(compared: BesideCompared, words: Words) -> Rows:
    """Return the value of every model on each source, those but the first with their paired difference."""
    columns = [words("on"), words("measure"), words("items"), *(_called(model.name) for model in compared.models)]
    rows = []
    for row in compared.rows:
        cells = [_value(row.values[0], words)]
        for place in range(1, len(compared.models)):
            gap = row.differences[place]
            verdict = words(row.verdict(place))
            cells.append(f"{_number(row.values[place].value, words)}: {_value(gap, words, '+')} {verdict}")
        rows.append([Path(row.source).name, words(row.measure), words.number(row.items), *cells])
    return columns, rows


def costs_table(compared: BesideCompared, words: Words) -> Rows:
    """Return what every model takes."""
    columns = [
        words("model"), words("weights on disk (MB)"), words("peak memory (MB)"), words("rows/s"), words("tokens/s"),
    ]  # fmt: skip
    rows = [
        [
            _called(model.name), words.number(model.bytes_on_disk / 1e6, 1),
            words.number(None if model.peak_memory_bytes is None else model.peak_memory_bytes / 1e6),
            words.compact(model.rows_per_second), words.compact(model.tokens_per_second),
        ]
        for model in compared.models
    ]  # fmt: skip
    return columns, rows


def verdicts(compared: BesideCompared, words: Words) -> list[str]:
    """Return a sentence or two of each model but the first."""
    return [_verdict(model, compared.at_most, words) for model in compared.judged]


def _verdict(model: BesideVerdict, at_most: float, words: Words) -> str:
    row, loss = model.worst, model.worst.losses[model.place]
    size = {"percent": words.number(100 * abs(model.smaller), 1), "times": words.number(model.faster, 2)}
    if model.smaller < 0:
        saved = words("It is {percent}% larger and {times} times as fast.", **size)
    else:
        saved = words("It is {percent}% smaller and {times} times as fast.", **size)
    values = {
        "source": Path(row.source).name, "measure": words(row.measure), "loss": words.number(100 * loss.value, 1),
        "interval": _percents(loss, words), "limit": words.shortest(100 * at_most),
    }  # fmt: skip
    return " ".join((_lead(model, words), saved, _why(model, row, at_most, values, words)))


def _lead(model: BesideVerdict, words: Words) -> str:
    name = _called(model.name)
    if model.verdict == "worth it":
        return words("{name}: worth it.", name=name)
    if model.verdict == "not worth it":
        return words("{name}: not worth it.", name=name)
    return words("{name}: it cannot be told yet whether it is worth it.", name=name)


def _why(model: BesideVerdict, row: BesideRow, at_most: float, values: dict[str, str], words: Words) -> str:
    """Say what it loses most of, beside what may be lost."""
    loss = row.losses[model.place]
    if loss.value > at_most:
        return words("On {source} it loses {loss}%{interval} of {measure}, more than the {limit}% allowed.", **values)
    if model.verdict == "not worth it":
        return words("It is neither smaller nor faster.")
    if model.verdict == "unclear":
        return words(
            "On {source} it loses {loss}%{interval} of {measure} as measured, within the {limit}% allowed, but so few items "
            "cannot rule out more: measure on more.", **values,
        )  # fmt: skip
    if loss.value < 0:
        gain = Estimate(-loss.value, *(None if end is None else -end for end in (loss.high, loss.low)))
        values = {**values, "gain": words.number(100 * gain.value, 1), "interval": _percents(gain, words)}
        return words("On {source}, where it may lose most, it gains {gain}%{interval} of {measure}.", **values)
    return words(
        "On {source}, where it may lose most, it loses {loss}%{interval} of {measure}, within the {limit}% allowed.",
        **values,
    )


def _called(name: str) -> str:
    """Return what to call a model: its folder's name, or its run's where it is an adapter that a study left."""
    place = Path(name)
    return place.parent.name if place.name == "adapter" and place.parent.name else place.name


def _percents(loss: Estimate, words: Words) -> str:
    if loss.low is None or loss.high is None:
        return ""
    low, high = words.number(100 * loss.low, 1), words.number(100 * loss.high, 1)
    return f" [{low}{words.between}{high}]"


def _value(estimate: Estimate, words: Words, sign: str = "") -> str:
    value = _number(estimate.value, words, sign)
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} [{_number(estimate.low, words, sign)}{words.between}{_number(estimate.high, words, sign)}]"


def _number(value: float, words: Words, sign: str = "") -> str:
    return words.written(f"{value:{sign}.4g}")
