"""Swap the words of two groups within texts: how often answers change, and whether to one side, by `swaps.yaml`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from afina.audit.bias.answers import BiasRows, ClassAnswers, shortened_text
from afina.audit.bias.drafts import Draft, chance_of, paired
from afina.corpus.languages import language_of
from afina.measure.bootstrap import mean_of
from afina.results.findings.finding import Evidence, Finding, Subject
from afina.results.findings.sentence import Figure, Sentence, interval
from afina.results.statistics import mcnemar
from afina.yaml_file import read_yaml

__all__ = ["SWAP_AXES", "Swapped", "swap_drafts", "swapped"]

_AGREES = dict(pair.split() for pair in (
    "a o", "uma um", "da do", "na no", "à ao", "pela pelo", "esta este", "essa esse", "aquela aquele", "minha meu", "sua seu",
    "nossa nosso", "as os", "umas uns", "das dos", "nas nos", "às aos", "pelas pelos", "minhas meus", "suas seus",
))  # fmt: skip
"""Articles and possessives that take the gender of a Portuguese noun right behind them."""
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


@dataclass(frozen=True)
class _Side:
    """Holds the words of one group, with what stands for each in the other, by lower-case word."""

    other: Mapping[str, str]
    before: Mapping[str, str]
    """Words that change with one of these right behind them."""
    pattern: re.Pattern[str]


SWAP_AXES = ("gender", "race", "religion", "age")
"""The axes that have words to swap."""


@cache
def _sides(axis: str, language: str) -> tuple[tuple[str, str], tuple[_Side, _Side]]:
    """Return the groups of an axis, and the words of each in a language."""
    values = _lists()[axis]
    # Of a word that has two others the first counts: `his` is her, and hers where nothing follows (`_other`).
    there, back = ({pair[place]: pair[1 - place] for pair in reversed(values[language])} for place in (0, 1))
    if (axis, language) == ("gender", "en"):
        back |= {"his": "her", "him": "her"}
    # Only gender changes what agrees with a noun: `a mulher negra` and `a mulher branca` have one article.
    agrees = _AGREES if (axis, language) == ("gender", "pt") else {}
    sides = (_side(there, agrees), _side(back, {other: own for own, other in agrees.items()}))
    first, second = map(str, values["groups"])
    return (first, second), sides


@cache
def _lists() -> dict[str, dict[str, list[list[str]]]]:
    lists: dict[str, dict[str, list[list[str]]]] = read_yaml(Path(__file__).with_name("swaps.yaml"))
    return lists


def _side(other: Mapping[str, str], before: Mapping[str, str]) -> _Side:
    words, agreeing = ("|".join(map(re.escape, sorted(each, key=len, reverse=True))) for each in (other, before))
    start = rf"(?:(?P<before>{agreeing})(?P<gap>\s+))?" if before else ""
    return _Side(other, before, re.compile(rf"(?<!\w){start}(?P<word>{words})(?!\w)", re.IGNORECASE))


def swapped(texts: Sequence[str], axis: str, rows: np.ndarray) -> Swapped | None:
    """Return rows that have words of one group of an axis alone, with both groups' words; None where no row has."""
    taken, both = list[int](), (list[str](), list[str]())
    for row in rows:
        text = texts[row]
        _, sides = _sides(axis, "pt" if language_of(text) == "pt" else "en")
        has_words = [side.pattern.search(text) is not None for side in sides]
        if has_words[0] == has_words[1]:  # none, or both: then it is of neither group
            continue
        group = has_words.index(True)
        taken.append(int(row))
        both[group].append(text)
        both[1 - group].append(sides[group].pattern.sub(lambda match, side=sides[group]: _other(match, side), text))  # type: ignore[misc]
    return Swapped(axis, _sides(axis, "en")[0], np.array(taken), both) if taken else None


def _other(match: re.Match[str], side: _Side) -> str:
    """Return the other group's word for the one that was found, with what agrees right before it."""
    word = match["word"]
    other, goes_on = side.other[word.lower()], re.match(r"\s+\w", match.string[match.end() :]) is not None
    # Before a word `her` and `his` say whose it is; elsewhere who is meant, or whose.
    if word.lower() in ("her", "his"):
        other = {"her": ("him", "his"), "his": ("hers", "her")}[word.lower()][goes_on]
    start = match.groupdict().get("before") or ""
    return (
        _cased(side.before[start.lower()], start) + match["gap"] + _cased(other, word) if start else _cased(other, word)
    )


def _cased(other: str, like: str) -> str:
    if like.isupper() and len(like) > 1:
        return other.upper()
    return other[:1].upper() + other[1:] if like[:1].isupper() else other


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
            "{first}; as {other}: {second}",
            {"first": material.names[first.chosen[place]], "other": made.groups[1],
             "second": material.names[second.chosen[place]]}))
        for place in places[np.argsort(-far[places], kind="stable")][:_SHOWN]
    ]  # fmt: skip
    measured = Sentence("answers that change where one group's words stand for the other's")
    finding = Finding(
        audit="bias", check="word_swaps", subject=subject, rows=len(moved), value=value, found=False, measured=measured,
        on=_on(made), verdict=measured, beside=compared, evidence=evidence,
        base=next((each.value for each in compared if each.name == "base"), None),
    )  # fmt: skip

    def said(finished: Finding) -> Sentence:
        assert finished.value is not None
        return Sentence(
            "{axis}: with the words of {one} and of {other} swapped in {rows} texts, {share}% of the answers change and "
            "probabilities move by {far}.",
            {"axis": made.axis, "one": made.groups[0], "other": made.groups[1], "rows": finished.rows,
             "share": interval(finished.value, digits=1, times=100, signed=False), "far": Figure(float(far.mean()), 3)},
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
            "{axis}: the same texts are answered '{name}' in {high}% with the words of {one}, in {low}% with those of "
            "{other}, a gap of {gap} points: {chance}.",
            {"axis": made.axis, "name": material.names[c], "one": made.groups[high], "other": made.groups[1 - high],
             "high": shares[0], "low": shares[1], "gap": interval(finished.value, digits=1, times=100, signed=False),
             "chance": chance_of(finished)},
        )  # fmt: skip

    return Draft(finding, said, deviation)
