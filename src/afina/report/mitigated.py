"""Show what mitigations of bias cost: each beside the same method without, by the metric and by the gaps between groups."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import ValidationError

from afina.adapters.record import read_record
from afina.data.groups.grouping import NONE, Grouping, by_column, by_words
from afina.data.groups.word_lists import read_word_lists
from afina.errors import AfinaError
from afina.measure.bootstrap import estimates
from afina.measure.gaps import gap_measure, gap_of, rates_of
from afina.report.tables import Table
from afina.results.certainty import wilson
from afina.results.material import Group
from afina.results.predictions import Predictions, read_predictions
from afina.results.result import Result
from afina.results.shown import with_interval
from afina.results.statistics import Cell
from afina.results.test_groups import read_test_groups
from afina.results.test_rows import read_test_rows
from afina.tasks.group_rule import GroupRule
from afina.words.language import Words

__all__ = ["mitigation_tables"]

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


def mitigation_tables(group: Group, directory: Any, words: Words) -> list[Table]:
    """Return what mitigations cost, and the thresholds that some of them chose, where there are any."""
    both = (_price(group, directory, words), _thresholds(group, directory, words))
    return [table for table in both if table is not None]


def _price(group: Group, directory: Any, words: Words) -> Table | None:
    """Return a row for each method with a mitigation and one for the same method without; None where there is none."""
    cells = {cell.method: cell for cell in group.cells if cell.runs}
    pairs = [(plain, cell) for cell in cells.values() if (plain := _without(cell, list(cells.values()))) is not None]
    if not pairs:
        return None
    rows, shown = [], set()
    for plain, cell in pairs:
        by = _settings(cell)
        for each in (plain, cell):
            key = each.method, str(by.get("column") or (by.get("by"), by.get("words")))
            if key not in shown:
                shown.add(key)
                gaps = _gaps(each.runs[0], by, directory, words)
                rows.append(
                    [
                        each.method,
                        str(by.get("column") or by.get("by", "gender")),
                        with_interval(each.test, group.metric, words),
                        *gaps,
                    ]
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
        digest = "" if run.fingerprint is None else str(run.fingerprint.data)
        grouping = _grouping(settings, directory, digest, len(answers.item))
    except AfinaError:  # predictions, or a person's list of words, are gone since
        return None
    if grouping is None:
        return None
    rows = np.flatnonzero(grouping.of != NONE)
    return _Looked(answers, rows, grouping) if len(rows) else None


def _grouping(settings: Mapping[str, Any], directory: Any, digest: str, rows: int) -> Grouping | None:
    """Return the groups of the test rows, as the mitigation found those of the train rows; None where they are gone."""
    if (column := settings.get("column")) is not None:
        values = read_test_groups(directory, digest, str(column), rows)
        return None if values is None else by_column(str(column), values)
    axis = read_word_lists(settings.get("words")).named([settings.get("by", "gender")])[0]
    texts = read_test_rows(directory, digest, rows)
    return None if texts is None else by_words([texts.shown(row) for row in range(rows)], axis)


def _thresholds(group: Group, directory: Any, words: Words) -> Table | None:
    """Return a row for each group's threshold, of the first seed of each method that decides by groups; None of none."""
    rows: list[list[str]] = []
    for cell in group.cells:
        if not cell.runs or (rule := _rule_of(cell.runs[0], directory)) is None:
            continue
        for name, cut in zip(rule.groups, rule.cuts or (), strict=False):
            rate = words("not found") if rule.equal == "false_negatives" else words("answered")
            if cut is None:
                rows.append(
                    [cell.method, rule.column or str(rule.axis), name, "—", words.number(0.5, 2), rate, "—", "—"]
                )
                continue
            # What is shown is the audit's rate: of what is not found, where that is made equal.
            before, after = ((own if rule.equal == "selection" else 1 - own) for own in (cut.before, cut.after))
            low, value, high = (words.number(1 / (1 + float(np.exp(-own))), 2) for own in (cut.low, cut.cut, cut.high))
            rows.append([
                cell.method, rule.column or str(rule.axis), name, words.number(cut.rows),
                f"{value} [{low}{words.between}{high}]", rate,
                *(_share(own, cut.rows, words) for own in (before, after)),
            ])  # fmt: skip
    if not rows:
        return None
    columns = [
        words("method"), words("groups"), words("group"), words("rows"), words("threshold"), words("rate"),
        words("before, %"), words("after, %"),
    ]  # fmt: skip
    note = words(
        "From this probability of the second class on it is answered; rates are of the development rows that the thresholds "
        "were chosen on, so that test rows differ by more. A text's group has to be known when it is answered, and texts of "
        "two groups that say the same may be answered unequally, which not every law allows."
    )
    return Table(
        f"group-thresholds-{group.slug}", f"{words('Thresholds by group')}: {group.title}", columns, rows, note, words=3
    )


def _share(share: float, rows: int, words: Words) -> str:
    low, high = wilson(share * rows, rows)
    return f"{words.number(100 * share, 1)} [{words.number(100 * low, 1)}{words.between}{words.number(100 * high, 1)}]"


def _rule_of(run: Result, directory: Any) -> GroupRule | None:
    """Return the rule by which a run's adapter decides; None where it has none, or is gone."""
    if run.adapter is None or "mitigate" not in run.method_config:
        return None
    try:
        state = read_record(directory / str(run.adapter), check_method=False).task.get("by_group")
        return None if state is None else GroupRule.model_validate(state)
    except (AfinaError, ValidationError):
        return None
