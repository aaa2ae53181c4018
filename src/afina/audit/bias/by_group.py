"""Compare rates between groups: one finding for each rate and grouping, and a table with each group's own rates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from afina.audit.bias.answers import BiasRows, ClassAnswers
from afina.audit.bias.drafts import Draft, chance_of, paired
from afina.data.groups.grouping import NONE, Grouping
from afina.measure.bootstrap import Estimate
from afina.measure.gaps import Gap, Rate, gap_measure, gap_of, permuted_ps, rates_of
from afina.results.certainty import wilson
from afina.results.findings.audited import Cells
from afina.results.findings.finding import Evidence, Finding, Subject
from afina.results.findings.sentence import Figure, Sentence, first_of, interval
from afina.words.language import Words

__all__ = ["GroupRates", "Looked", "group_drafts", "left_out_notes", "rates_table"]

_MEASURED = {
    "accuracy": Sentence("gap in the share of wrong answers"),
    "selection": Sentence("gap in how often a class is answered"),
    "excess_selection": Sentence("gap in how often a class is answered beyond its labels"),
    "false_positives": Sentence("gap in false positives"),
    "false_negatives": Sentence("gap in false negatives"),
    "calibration": Sentence("gap in certainty beyond accuracy"),
}
_RATE_OF = {
    "accuracy": "answers wrong",
    "selection": "answered '{name}'",
    "excess_selection": "answered '{name}' more often than it is the label",
    "false_positives": "answered '{name}' wrongly, of rows with another label",
    "false_negatives": "'{name}' not found, of rows with that label",
    "calibration": "surer than it is right",
}
_SHOWN = 5


@dataclass(frozen=True)
class Looked:
    """Holds what one adapter, and those beside it, answered to the same rows."""

    subject: Subject
    answers: ClassAnswers
    others: Mapping[str, ClassAnswers]
    """ClassAnswers of the base (`base`) and of other adapters, by name."""


@dataclass(frozen=True)
class GroupRates:
    """Holds the rates of the groups of one grouping for one adapter, as the table shows them."""

    subject: str
    grouping: Grouping
    label: np.ndarray
    answers: ClassAnswers


def group_drafts(looked: Looked, material: BiasRows, grouping: Grouping, *, fewest: int, seed: int) -> list[Draft]:
    """Return a draft for each rate of one grouping, whose groups all have enough rows."""
    taken = np.flatnonzero(grouping.of != NONE)
    group, label = grouping.of[taken], material.rows.label[taken]

    def rates(answers: ClassAnswers) -> list[Rate]:
        return rates_of(label, answers.chosen[taken], answers.sure[taken], material.names)

    size = len(grouping.groups)
    every, others = rates(looked.answers), {name: rates(answers) for name, answers in looked.others.items()}
    gaps = [gap_of(rate, group, size, fewest) for rate in every]
    parted = _parted_by_label(group, label)
    there = [place for place, gap in enumerate(gaps) if gap is not None and not (parted and every[place].within_labels)]
    p_values = permuted_ps([every[place] for place in there], group, size, label, fewest=fewest, seed=seed)
    drafts = []
    for place, p in zip(there, p_values, strict=True):
        rate, gap = every[place], gaps[place]
        assert gap is not None
        beside = [(name, gap_measure(each[place], group, gap)) for name, each in others.items()]
        value, compared, deviation = paired(gap_measure(rate, group, gap), beside, groups=group, seed=seed)
        finding = Finding(
            audit="bias", check=rate.name, measured=_MEASURED[rate.name], subject=looked.subject, rows=len(taken),
            on=Sentence("{name}: {groups}", {"name": grouping.name, "groups": ", ".join(grouping.groups)}),
            value=value, found=False, verdict=_MEASURED[rate.name], p_value=p, beside=compared,
            base=next((each.value for each in compared if each.name == "base"), None),
            evidence=_evidence(material, taken, group, rate, gap, looked.answers),
        )  # fmt: skip
        labels = _gap_of_labels(rate, gap, label, group, material.names)
        verdict = partial(_verdict, rate=rate, gap=gap, grouping=grouping, labels=labels)
        drafts.append(Draft(finding, verdict, deviation))
    return drafts


def _parted_by_label(group: np.ndarray, label: np.ndarray) -> bool:
    """Return whether each label has rows of one group alone, so that no permutation within labels could show anything."""
    return len(np.unique(np.stack([group, label]), axis=1).T) == len(np.unique(label))


def left_out_notes(material: BiasRows, groupings: Sequence[Grouping], fewest: int) -> list[Sentence]:
    """Name the classes and groups that a rate leaves out, as too few of their rows count for it."""
    notes = []
    for grouping in groupings:
        taken = np.flatnonzero(grouping.of != NONE)
        group, label = grouping.of[taken], material.rows.label[taken]
        if _parted_by_label(group, label):
            notes.append(Sentence(
                "{axis}: each label has rows of one group alone, so that what differs by group cannot be told from what "
                "differs by label; how often a class is answered is compared alone.", {"axis": grouping.name},
            ))  # fmt: skip
            continue
        # What counts for a rate is a matter of the labels alone, whatever was answered.
        for rate in rates_of(label, label, np.ones(len(label)), material.names):
            few = rate.counted_in(group, len(grouping.groups)) < fewest
            lacking = [
                _few_of(name, [grouping.groups[place] for place in np.flatnonzero(few[:, column])])
                for column, name in enumerate(rate.classes)
                if few[:, column].any()
            ]
            if lacking:
                notes.append(Sentence(
                    "{axis}: {measured}: left out, with fewer than {fewest} rows that count, are {listed}.",
                    {"axis": grouping.name, "measured": _MEASURED[rate.name], "fewest": fewest,
                     "listed": first_of(lacking, between="; ")},
                ))  # fmt: skip
    return notes


def _few_of(name: str, groups: Sequence[str]) -> str:
    more = f" +{len(groups) - _SHOWN}" if len(groups) > _SHOWN else ""
    listed = f"({', '.join(groups[:_SHOWN])}{more})"
    return f"'{name}' {listed}" if name else listed


def _verdict(finding: Finding, rate: Rate, gap: Gap, grouping: Grouping, labels: float | None) -> Sentence:
    """Say what a gap is, of which groups and class, and whether chance explains it; `labels` is the gap of the rows' own."""
    assert finding.value is not None
    of_class = {"name": rate.classes[gap.column]} if rate.classes[gap.column] else {}
    whole = Sentence(
        "{axis}: {rate}: {high}% in the group '{one}', {low}% in '{other}', a gap of {gap}: {chance}.",
        {
            "axis": grouping.name, "rate": Sentence(_RATE_OF[rate.name], of_class),
            "high": Figure(100 * float(gap.rates[gap.high, gap.column]), 1), "one": grouping.groups[gap.high],
            "low": Figure(100 * float(gap.rates[gap.low, gap.column]), 1), "other": grouping.groups[gap.low],
            "gap": interval(finding.value, digits=1, signed=False, unit="points"), "chance": chance_of(finding),
        },
    )  # fmt: skip
    if labels is None:
        return whole
    gap_of_labels = Figure(100 * labels, 1, signed=True)
    return Sentence("{said} Their own labels differ by {labels} points.", {"said": whole, "labels": gap_of_labels})


def _gap_of_labels(rate: Rate, gap: Gap, label: np.ndarray, group: np.ndarray, names: Sequence[str]) -> float | None:
    """Return what the rows' own labels differ by where a class is answered at different rates: it may explain that."""
    if rate.name != "selection":
        return None
    is_class = label == list(names).index(rate.classes[gap.column])
    return float(is_class[group == gap.high].mean() - is_class[group == gap.low].mean())


def _evidence(
    material: BiasRows, taken: np.ndarray, group: np.ndarray, rate: Rate, gap: Gap, answers: ClassAnswers
) -> list[Evidence]:
    """Return rows of the group with the larger rate that make it so, those of which the model was surest first."""
    behind = taken[(group == gap.high) & (rate.hit[:, gap.column] > 0)]
    behind = behind[np.argsort(-answers.sure[behind], kind="stable")][:_SHOWN]
    return [
        Evidence(text=material.shown(row), row=material.number(row), remark=Sentence(
            "label {label}, answered {answer} with {sure}%",
            {"label": material.names[material.rows.label[row]], "answer": material.names[answers.chosen[row]],
             "sure": Figure(100 * float(answers.sure[row]), 0)}))
        for row in behind
    ]  # fmt: skip


def rates_table(each: GroupRates, names: Sequence[str], words: Words) -> Cells:
    """Return a row for each group: rows, share wrong with its interval, and how often the classes are answered."""
    chosen, label = each.answers.chosen, each.label
    classes = [1] if len(names) == 2 else list(range(len(names)))[:8]
    head = (words("group"), words("rows"), words("wrong, %"),
            *(words("answered '{name}' (label), %", name=names[c]) for c in classes))  # fmt: skip
    cells: Cells = [head]
    for number, group in enumerate(each.grouping.groups):
        rows = each.grouping.of == number
        count, wrong = int(rows.sum()), int((chosen != label)[rows].sum())
        low, high = wilson(wrong, count)
        estimate = Estimate(100 * wrong / max(1, count), 100 * low, 100 * high)
        shares = [f"{words.number(100 * float((chosen[rows] == c).mean()), 1)} "
                  f"({words.number(100 * float((label[rows] == c).mean()), 1)})" for c in classes]  # fmt: skip
        bounds = f"[{words.number(estimate.low, 1)}{words.between}{words.number(estimate.high, 1)}]"
        cells.append((group, words.number(count), f"{words.number(estimate.value, 1)} {bounds}", *shares))
    return cells
