"""Show what mitigations of bias cost: each beside the same method without, by the metric and by the gaps between groups."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from afina.data.groups.grouping import NONE, Grouping, by_words
from afina.data.groups.word_lists import read_word_lists
from afina.errors import AfinaError
from afina.measure.bootstrap import estimates
from afina.measure.gaps import gap_measure, gap_of, rates_of
from afina.report.tables import Table
from afina.results.material import Group
from afina.results.predictions import Predictions, read_predictions
from afina.results.result import Result
from afina.results.shown import with_interval
from afina.results.statistics import Cell
from afina.results.test_rows import read_test_rows
from afina.words.language import Words

__all__ = ["mitigation_table"]

_FEWEST = 30
"""Rows that a group, or a rate in it, needs."""
_CHECKS = ("accuracy", "selection", "false_positives", "false_negatives")
"""The gaps that are shown, of those that `afina audit bias` tests."""


@dataclass(frozen=True)
class _Looked:
    """Holds the answers of a run's test rows that are in a group."""

    answers: Predictions
    rows: np.ndarray
    grouping: Grouping


def mitigation_table(group: Group, directory: Any, words: Words) -> Table | None:
    """Return a row for each method with a mitigation and one for the same method without; None where there is none."""
    cells = {cell.method: cell for cell in group.cells if cell.runs}
    pairs = [(plain, cell) for cell in cells.values() if (plain := _without(cell, list(cells.values()))) is not None]
    if not pairs:
        return None
    rows, shown = [], set()
    for plain, cell in pairs:
        by = _settings(cell)
        for each in (plain, cell):
            key = each.method, str(by)
            if key not in shown:
                shown.add(key)
                gaps = _gaps(each.runs[0], by, directory, words)
                rows.append(
                    [each.method, str(by.get("by", "gender")), with_interval(each.test, group.metric, words), *gaps]
                )
    columns = [
        words("method"), words("groups"), words(group.metric), words("gap in the share of wrong answers"),
        words("gap in how often a class is answered"), words("gap in false positives"), words("gap in false negatives"),
    ]  # fmt: skip
    note = words(
        "Gaps in points, of the first seed, between the groups that are furthest apart among those with {count} test rows; a "
        "gap is above 0 by chance alone. afina audit bias tests them, and asks the same texts said by others.", count=_FEWEST,
    )  # fmt: skip
    return Table(
        f"mitigated-{group.slug}", f"{words('What mitigations cost')}: {group.title}", columns, rows, note, words=2
    )


def _settings(cell: Cell) -> Mapping[str, Any]:
    """Return the settings of a cell's mitigation; of one that is named alone none."""
    given = cell.runs[0].method_config.get("mitigate")
    return next(iter(given.values())) or {} if isinstance(given, Mapping) else {}


def _without(cell: Cell, cells: list[Cell]) -> Cell | None:
    """Return the cell of the same method and settings that has no mitigation; None of a cell that has none itself."""
    if "mitigate" not in cell.runs[0].method_config:
        return None

    def kept(each: Cell) -> tuple[str, dict[str, Any]]:
        # Rates of auto follow from the steps, of which added rows make more.
        left_out = ("mitigate", "learning_rate")
        config = each.runs[0].method_config
        return each.runs[0].method, {key: value for key, value in config.items() if key not in left_out}

    return next((own for own in cells if "mitigate" not in own.runs[0].method_config and kept(own) == kept(cell)), None)


def _gaps(run: Result, settings: Mapping[str, Any], directory: Any, words: Words) -> list[str]:
    """Return each gap with its interval; a dash where two groups have not enough rows."""
    nothing = ["—"] * len(_CHECKS)
    looked = _looked(run, settings, directory)
    if looked is None:
        return nothing
    answers, rows, group = looked.answers, looked.rows, looked.grouping.of[looked.rows]
    names = [str(k) for k in range(answers.scores.shape[1])]
    sure = answers.scores.max(axis=1)[rows]
    rates = {rate.name: rate for rate in rates_of(answers.label[rows], answers.prediction[rows], sure, names)}
    cells = []
    for check in _CHECKS:
        gap = gap_of(rates[check], group, len(looked.grouping.groups), _FEWEST)
        if gap is None:
            cells.append("—")
            continue
        ((estimate,), _) = estimates([gap_measure(rates[check], group, gap)], groups=group)
        bounds = words.between.join(words.number(100 * (end or 0.0), 1) for end in (estimate.low, estimate.high))
        cells.append(f"{words.number(100 * estimate.value, 1)} [{bounds}]")
    return cells


def _looked(run: Result, settings: Mapping[str, Any], directory: Any) -> _Looked | None:
    try:
        answers = read_predictions(directory, run)
        axis = read_word_lists(settings.get("words")).named([settings.get("by", "gender")])[0]
    except AfinaError:  # predictions, or a person's list of words, are gone since
        return None
    digest = "" if run.fingerprint is None else run.fingerprint.data
    texts = read_test_rows(directory, str(digest), len(answers.item))
    if texts is None:
        return None
    grouping = by_words([texts.shown(row) for row in range(len(answers.item))], axis)
    rows = np.flatnonzero(grouping.of != NONE)
    return _Looked(answers, rows, grouping) if len(rows) else None
