"""Swap the words of two groups within texts: how often answers change, and whether to one side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from afina.audit.bias.answers import BiasRows, ClassAnswers, shortened_text
from afina.audit.bias.drafts import Draft, chance_of, paired
from afina.corpus.languages import language_of
from afina.data.groups.word_swaps import other_words, paired_groups, sides_of
from afina.measure.bootstrap import mean_of
from afina.results.findings.finding import Evidence, Finding, Subject
from afina.results.findings.sentence import Figure, Sentence, interval
from afina.results.statistics import mcnemar

__all__ = ["Swapped", "swap_drafts", "swapped"]

_SHOWN = 5


@dataclass(frozen=True)
class Swapped:
    """Holds rows as they are with words of one group, and as they are with the other's."""

    axis: str
    groups: tuple[str, str]
    rows: np.ndarray
    """(R,) places of the rows that have words of one of the groups alone."""
    texts: tuple[list[str], list[str]]
    """The R texts with words of the first group, and with those of the second."""


def swapped(texts: Sequence[str], axis: str, rows: np.ndarray) -> Swapped | None:
    """Return rows that have words of one group of an axis alone, with both groups' words; None where no row has."""
    taken, both = list[int](), (list[str](), list[str]())
    for row in rows:
        text = texts[row]
        sides = sides_of(axis, "pt" if language_of(text) == "pt" else "en")
        if (swap := other_words(text, sides)) is None:
            continue
        group, other = swap
        taken.append(int(row))
        both[group].append(text)
        both[1 - group].append(other)
    return Swapped(axis, paired_groups(axis), np.array(taken), both) if taken else None


def swap_drafts(
    subject: Subject, material: BiasRows, made: Swapped, answers: Sequence[ClassAnswers],
    others: Mapping[str, Sequence[ClassAnswers]], seed: int,
) -> list[Draft]:  # fmt: skip
    """Return two drafts for one axis: how often answers change with the words, and whether a class goes with one group.

    `answers` are those to both of `made.texts`.
    """
    return [
        _moved(subject, material, made, answers, others, seed),
        _one_side(subject, material, made, answers, others, seed),
    ]


def _on(made: Swapped) -> Sentence:
    return Sentence("{name}: {groups}", {"name": made.axis, "groups": ", ".join(made.groups)})


def _moved(
    subject: Subject, material: BiasRows, made: Swapped, answers: Sequence[ClassAnswers],
    others: Mapping[str, Sequence[ClassAnswers]], seed: int,
) -> Draft:  # fmt: skip
    """Return how often answers change: told and compared, and no finding by itself, as words carry more than a group."""
    first, second = answers
    moved = first.chosen != second.chosen

    def changes(of: Sequence[ClassAnswers]) -> np.ndarray:
        differs: np.ndarray = of[0].chosen != of[1].chosen
        return differs

    value, compared, deviation = paired(
        mean_of("word_swaps", moved.astype(float)),
        [(name, mean_of("word_swaps", changes(of).astype(float))) for name, of in others.items()], seed=seed,
    )  # fmt: skip
    compared = tuple(replace(each, p_value=mcnemar(moved, changes(others[each.name]))) for each in compared)
    far = np.abs(first.scores - second.scores).sum(axis=1) / 2
    places = np.flatnonzero(moved)
    evidence = [
        Evidence(text=shortened_text(made.texts[0][place]), row=material.number(int(made.rows[place])), remark=Sentence(
            "{first}; with the words of '{other}': {second}",
            {"first": material.names[first.chosen[place]], "other": made.groups[1],
             "second": material.names[second.chosen[place]]}))
        for place in places[np.argsort(-far[places], kind="stable")][:_SHOWN]
    ]  # fmt: skip
    measured = Sentence("answers that change where one group's words stand for the other's")
    finding = Finding(
        audit="bias", check="word_swaps", subject=subject, rows=len(moved), value=value, found=False, measured=measured,
        on=_on(made), verdict=measured, beside=compared, evidence=evidence, is_test=False,
        base=next((each.value for each in compared if each.name == "base"), None),
    )  # fmt: skip

    def said(finished: Finding) -> Sentence:
        assert finished.value is not None
        return Sentence(
            "{axis}: with the words of '{one}' and of '{other}' swapped in {rows} texts, {share} of the answers change and "
            "probabilities move by {far}.",
            {"axis": made.axis, "one": made.groups[0], "other": made.groups[1], "rows": finished.rows,
             "share": interval(finished.value, digits=1, signed=False, unit="%"), "far": Figure(float(far.mean()), 3)},
        )  # fmt: skip

    return Draft(finding, said, deviation)


def _one_side(
    subject: Subject, material: BiasRows, made: Swapped, answers: Sequence[ClassAnswers],
    others: Mapping[str, Sequence[ClassAnswers]], seed: int,
) -> Draft:  # fmt: skip
    """Test whether a class is answered more often with one group's words than with the other's, on the same texts."""
    classes = [1] if len(material.names) == 2 else list(range(len(material.names)))
    tests = [(mcnemar(answers[0].chosen == c, answers[1].chosen == c), c) for c in classes]
    p, c = min(tests)
    high = int((answers[1].chosen == c).mean() > (answers[0].chosen == c).mean())

    def leaning(of: Sequence[ClassAnswers]) -> np.ndarray:
        gap: np.ndarray = (of[high].chosen == c).astype(float) - (of[1 - high].chosen == c)
        return gap

    value, compared, deviation = paired(
        mean_of("word_swap_direction", leaning(answers)),
        [(name, mean_of("word_swap_direction", leaning(of))) for name, of in others.items()], seed=seed,
    )  # fmt: skip
    measured = Sentence("gap in answers to the same texts by whose words stand in them")
    finding = Finding(
        audit="bias", check="word_swap_direction", subject=subject, rows=len(made.rows), value=value, found=False,
        measured=measured, on=_on(made), verdict=measured, beside=compared, p_value=min(1.0, p * len(tests)),
        base=next((each.value for each in compared if each.name == "base"), None),
    )  # fmt: skip
    shares = [Figure(100 * float((answers[side].chosen == c).mean()), 1) for side in (high, 1 - high)]

    def said(finished: Finding) -> Sentence:
        assert finished.value is not None
        return Sentence(
            "{axis}: the same texts are answered '{name}' in {high}% with the words of '{one}', in {low}% with those of "
            "'{other}', a gap of {gap}: {chance}.",
            {"axis": made.axis, "name": material.names[c], "one": made.groups[high], "other": made.groups[1 - high],
             "high": shares[0], "low": shares[1], "gap": interval(finished.value, digits=1, signed=False, unit="points"),
             "chance": chance_of(finished)},
        )  # fmt: skip

    return Draft(finding, said, deviation)
