"""Measure what rounding an exported graph's weights to eight bits gains and what it loses, on the same rows.

How a graph is rounded is its target's (`int8_target.py`), what it takes is measured by `costs.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from afina.data.rows import Rows
from afina.data.tokens.batching import collate
from afina.data.tokens.tokens import Tokens
from afina.errors import AfinaError, UsageError
from afina.export.costs import Cost, cost_of, timed_rows
from afina.export.opened import OpenedExport, arrays
from afina.export.runtime import RUNTIMES
from afina.measure.bootstrap import Estimate, Figure, Measure, estimates, interval_of, mean_of, redrawn
from afina.measure.metrics.base import Answers
from afina.predictor.predictor import Predictor
from afina.tasks.base import Task

__all__ = ["Narrowed", "Rounded", "inputs_of", "judged", "loss_of", "narrow", "open_again"]


@dataclass(frozen=True)
class Rounded:
    """Says which layers were rounded and which were not."""

    layers: int
    left: tuple[str, ...]
    """The layers that were not rounded, in words."""


@dataclass(frozen=True)
class Narrowed:
    """Holds what rounding gained and lost."""

    rounded: Rounded
    before: Cost
    after: Cost
    metric: str
    rows: int
    values: tuple[float, float]
    loss: Estimate
    """The metric's loss, with its paired interval over the rows."""


def inputs_of(opened: OpenedExport, rows: Rows | None) -> list[dict[str, np.ndarray]]:
    """Return rows as an export's graph takes them, each alone and so without padding; none for no rows."""
    if rows is None:
        return []
    tokens = opened.images(rows) if rows.pixels is not None else opened.tokens(rows)
    return [_batch(opened, tokens, np.array([row])) for row in range(len(tokens))]


def _batch(opened: OpenedExport, tokens: Tokens, rows: np.ndarray) -> dict[str, np.ndarray]:
    return arrays(collate([(tokens, rows)], opened.pad, most=opened.manifest.max_length).inputs, opened.manifest.inputs)


def narrow(
    tested: Predictor, opened: OpenedExport, rows: Rows | None, at_most: float, rounding: Callable[[Path], Rounded]
) -> Narrowed:
    """Have the graph of an opened folder rounded, in place, and return what that gained and lost on these rows.

    Raises `UsageError` where the rows do not say how good an answer is, and `AfinaError` where the metric is surely worse by
    more than `at_most`: where the whole interval of its loss is.
    """
    tokens = judged(tested, rows)
    graph = RUNTIMES[opened.manifest.runtime].file
    before = _outputs(opened, tokens)

    assert rows is not None, "judged without rows"
    batch = timed_rows(tested, rows)
    costs = [cost_of(opened, graph, batch)]
    layers = rounding(opened.folder)
    rounded = open_again(opened)
    costs.append(cost_of(rounded, graph, batch))
    after = _outputs(rounded, tokens)
    metric, values, loss = loss_of(opened.task, tokens, before, after)

    # The lower end of the interval: refused only where even the mildest reading is too much.
    if loss.low is not None and loss.low > at_most:
        turns = "falls" if values[1] < values[0] else "rises"
        raise AfinaError(
            f"Rounded to eight bits, {metric} {turns} from {values[0]:.4f} to {values[1]:.4f} on {len(tokens):,} rows, by "
            f"{loss.low:.4f} at least (95%), and --at-most is {at_most:g}; nothing was written: leave --int8 out, "
            "or allow more."
        )
    return Narrowed(layers, costs[0], costs[1], metric, len(tokens), values, loss)


def _outputs(opened: OpenedExport, tokens: Tokens) -> np.ndarray:
    """Return what a graph gives for rows (N, K); of what writes the nats that each row's targets cost together (N, 1)."""
    outputs = opened.logits(tokens)
    return -outputs[:, 0, 1:2] if opened.task.writes else outputs


def judged(tested: Predictor, rows: Rows | None) -> Tokens:
    """Return the rows as tokens; raises `UsageError` where they do not say how good an answer is."""
    if rows is not None and len(rows) > 1:
        tokens = tested.images(rows.pixels) if rows.pixels is not None else tested.tokens(rows)
        if tested.task.embeds:
            return tokens
        if rows.pixels is not None:
            tokens = replace(tokens, labels=rows.label)
        if (tokens.output_labels() >= 0).all():
            return tokens
    raise UsageError(
        "What rounding to eight bits costs is measured on rows with labels, and none are here; give --data."
    )


def open_again(opened: OpenedExport) -> OpenedExport:
    """Open a folder's graph anew, which was changed since."""
    return replace(opened, session=RUNTIMES[opened.manifest.runtime].open(opened.folder, opened.manifest))


def loss_of(
    task: Task, tokens: Tokens, before: np.ndarray, after: np.ndarray
) -> tuple[str, tuple[float, float], Estimate]:
    """Return the metric's name, its values by two models' outputs for the same rows, and how much worse the second's is.

    The interval is of rows that are drawn again, the same for both. Of vectors it is how far the two point from each other,
    of what writes the nats a token that a text costs.
    """
    if task.embeds:
        lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
        near = mean_of("cosine", (before * after).sum(axis=1) / lengths)

        # A vector points exactly where it points itself: the loss is measured from one.
        alike = mean_of("cosine", np.ones(len(before)))
        _, (_, gap) = estimates([alike, near])
        return "cosine", (1.0, near.overall), Estimate(-gap.value, _negative(gap.high), _negative(gap.low))
    # Perplexity is the exponential of it: the same share more for every value, where a difference of it is none.
    metric = task.metrics()["loss" if task.writes else task.metric]
    decoded = [task.decode_compared(tokens, own) for own in (before, after)]
    answers = [Answers(task.shown(tokens.labels), task.shown(own.predictions), own.scores) for own in decoded]
    values = [metric.value(own) for own in answers]
    figures: list[Measure | Figure] = [metric.over(own) for own in answers]
    drawn = redrawn(figures, len(tokens), resamples=1000, random=np.random.default_rng(0))
    sign = 1.0 if metric.higher_is_better else -1.0
    low, high = interval_of(sign * (drawn[0] - drawn[1]))
    return metric.name, (values[0], values[1]), Estimate(sign * (values[0] - values[1]), low, high)


def _negative(value: float | None) -> float | None:
    return None if value is None else -value
