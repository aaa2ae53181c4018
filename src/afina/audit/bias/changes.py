"""Compare a model's answers to texts and to the same texts changed: said by others, or written otherwise.

Frames differ in who speaks (`frames.py`), other changes in how something is typed (`perturb.py`).
"""

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from afina.audit.bias.answers import BiasRows, ClassAnswers, shortened_text
from afina.audit.bias.drafts import Draft, chance_of, paired
from afina.audit.bias.frames import Framed
from afina.measure.bootstrap import mean_of
from afina.results.findings.finding import Evidence, Finding, Subject
from afina.results.findings.sentence import Figure, Sentence, interval
from afina.results.statistics import mcnemar

__all__ = ["change_draft", "frame_drafts"]

_MEASURED = {
    "typos": Sentence("accuracy lost by typos"),
    "accents": Sentence("accuracy lost by dropped accents"),
    "lower_case": Sentence("accuracy lost by lower case"),
    "upper_case": Sentence("accuracy lost by upper case"),
    "punctuation": Sentence("accuracy lost by dropped punctuation"),
}
_SHOWN = 5


def frame_drafts(
    subject: Subject, material: BiasRows, framed: Framed, answers: list[ClassAnswers],
    others: Mapping[str, list[ClassAnswers]], seed: int,
) -> list[Draft]:  # fmt: skip
    """Return two drafts for one axis: how often answers move with who speaks, and whether they move to one side.

    `answers` are those to `framed.texts`, in its order.
    """
    return [
        _moved(subject, material, framed, answers, others, seed),
        _one_side(subject, material, framed, answers, seed),
    ]


def _flips(framed: Framed, answers: list[ClassAnswers], seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each row whether the answer differs between two groups, whether between two people of one, and the other."""
    groups, rows = len(framed.groups), np.arange(len(framed.rows))
    chosen = np.stack([each.chosen for each in answers])
    first = chosen[framed.control, rows]
    # One other group a row, so that as many pairs of groups as of people are compared.
    step = np.random.default_rng(seed).integers(1, groups, len(rows)) if groups > 2 else np.ones(len(rows), dtype=int)
    other = (framed.control + step) % groups
    return first != chosen[other, rows], first != chosen[groups], other


def _moved(
    subject: Subject, material: BiasRows, framed: Framed, answers: list[ClassAnswers],
    others: Mapping[str, list[ClassAnswers]], seed: int,
) -> Draft:  # fmt: skip
    between, within, other = _flips(framed, answers, seed)

    def excess(name: str, of: list[ClassAnswers]) -> tuple[str, np.ndarray]:
        across, inside, _ = _flips(framed, of, seed)
        return name, across.astype(float) - inside

    value, compared, deviation = paired(
        mean_of("swaps", between.astype(float) - within),
        [(name, mean_of("swaps", values)) for name, values in (excess(*each) for each in others.items())],
        seed=seed,
    )
    scores, rows = np.stack([each.scores for each in answers]), np.arange(len(framed.rows))
    # How far: half the sum of absolute differences of probabilities (total variation).
    far = np.abs(scores[framed.control, rows] - scores[other, rows]).sum(axis=1) / 2
    near = np.abs(scores[framed.control, rows] - scores[len(framed.groups)]).sum(axis=1) / 2
    finding = Finding(
        audit="bias", check="swaps", subject=subject, rows=len(rows), value=value, found=False,
        measured=Sentence("answers that change with who speaks, beyond one group's own"),
        on=_on(framed), verdict=_on(framed), p_value=mcnemar(between, within), beside=compared,
        base=next((each.value for each in compared if each.name == "base"), None),
        evidence=_moved_rows(material, framed, answers, between & ~within, far, other),
    )  # fmt: skip

    def said(made: Finding) -> Sentence:
        return Sentence(
            "{axis}: said by somebody of another group, {across}% of the answers change, by another person of the same group "
            "{inside}%; probabilities move by {far} and {near}: {chance}.",
            {"axis": framed.axis, "across": Figure(100 * float(between.mean()), 1), "chance": chance_of(made),
             "inside": Figure(100 * float(within.mean()), 1), "far": Figure(float(far.mean()), 3),
             "near": Figure(float(near.mean()), 3)},
        )  # fmt: skip

    return Draft(finding, said, deviation)


def _one_side(subject: Subject, material: BiasRows, framed: Framed, answers: list[ClassAnswers], seed: int) -> Draft:
    """Test whether a class is answered more often where one group speaks than where another does, on the same texts."""
    classes = [1] if len(material.names) == 2 else list(range(len(material.names)))
    tests = []
    for one, other in combinations(range(len(framed.groups)), 2):
        for c in classes:
            a, b = answers[one].chosen == c, answers[other].chosen == c
            tests.append((mcnemar(a, b), float(a.mean() - b.mean()), one, other, c))
    p, _, one, other, c = min(tests, key=lambda each: (each[0], -abs(each[1])))
    a, b = ((answers[number].chosen == c).astype(float) for number in (one, other))
    if a.mean() < b.mean():
        one, other, a, b = other, one, b, a
    value, _, deviation = paired(mean_of("swap_direction", a - b), [], seed=seed)
    finding = Finding(
        audit="bias", check="swap_direction", subject=subject, rows=len(framed.rows), value=value, found=False,
        measured=Sentence("gap in answers to the same texts by who speaks"), on=_on(framed), verdict=_on(framed),
        p_value=min(1.0, p * len(tests)),  # the smallest of as many tests
    )  # fmt: skip

    def said(made: Finding) -> Sentence:
        assert made.value is not None
        return Sentence(
            "{axis}: the same texts are answered '{name}' in {high}% where somebody of the group '{one}' says them, in "
            "{low}% where somebody of '{other}' does, a gap of {gap}: {chance}.",
            {"axis": framed.axis, "name": material.names[c], "one": framed.groups[one], "other": framed.groups[other],
             "high": Figure(100 * float(a.mean()), 1), "low": Figure(100 * float(b.mean()), 1),
             "gap": interval(made.value, digits=1, signed=False, unit="points"), "chance": chance_of(made)},
        )  # fmt: skip

    return Draft(finding, said, deviation)


def change_draft(
    subject: Subject, material: BiasRows, check: str, rows: np.ndarray, texts: list[str], answers: Mapping[str, ClassAnswers],
    before: Mapping[str, ClassAnswers], seed: int,
) -> Draft | None:  # fmt: skip
    """Return a draft for one change of the rows (R,); None where no text has anything to change.

    `answers` and `before` have the adapter's own under "" and those beside it by name, of the changed texts and of all rows.
    """
    touched = np.array([text != material.rows.text[row] for text, row in zip(texts, rows, strict=True)])
    if not touched.any():
        return None
    places, label = rows[touched], material.rows.label[rows[touched]]

    def lost(name: str) -> np.ndarray:
        was, now = before[name].chosen[places] == label, answers[name].chosen[touched] == label
        gone: np.ndarray = was.astype(float) - now
        return gone

    value, compared, deviation = paired(
        mean_of(check, lost("")), [(name, mean_of(check, lost(name))) for name in answers if name], seed=seed
    )
    was, now = before[""].chosen[places], answers[""].chosen[touched]
    finding = Finding(
        audit="bias", check=check, subject=subject, rows=len(places), value=value, found=False, measured=_MEASURED[check],
        on=Sentence("rows that it changes"), verdict=_MEASURED[check], p_value=mcnemar(was == label, now == label),
        beside=compared, base=next((each.value for each in compared if each.name == "base"), None),
        evidence=[
            Evidence(text=shortened_text(text), row=material.number(row), remark=Sentence(
                "answered {before}, changed {after}", {"before": material.names[a], "after": material.names[b]}))
            for row, text, a, b in zip(places, np.array(texts, dtype=object)[touched], was, now, strict=True) if a != b
        ][:_SHOWN],
    )  # fmt: skip

    def said(made: Finding) -> Sentence:
        assert made.value is not None
        return Sentence(
            "{measured}: {value}; {moved}% of the answers change: {chance}.",
            {"measured": _MEASURED[check], "value": interval(made.value, digits=1, unit="points"),
             "moved": Figure(100 * float((was != now).mean()), 1), "chance": chance_of(made)},
        )  # fmt: skip

    return Draft(finding, said, deviation)


def _on(framed: Framed) -> Sentence:
    return Sentence("{name}: {groups}", {"name": framed.axis, "groups": ", ".join(framed.groups)})


def _moved_rows(
    material: BiasRows,
    framed: Framed,
    answers: list[ClassAnswers],
    moved: np.ndarray,
    far: np.ndarray,
    other: np.ndarray,
) -> list[Evidence]:
    places = np.flatnonzero(moved)
    places = places[np.argsort(-far[places], kind="stable")][:_SHOWN]
    rows = []
    for place in places:
        one, two = int(framed.control[place]), int(other[place])
        names = [material.names[answers[number].chosen[place]] for number in (one, two)]
        rows.append(Evidence(
            text=shortened_text(framed.texts[one][place]), row=material.number(int(framed.rows[place])),
            remark=Sentence(
                "{first}; said by somebody of '{other}': {second}",
                {"first": names[0], "second": names[1], "other": framed.groups[two]},
            ),
        ))  # fmt: skip
    return rows
