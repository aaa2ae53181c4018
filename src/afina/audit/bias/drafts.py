"""Hold findings whose tests are still to be corrected together: what chance explains is known when all p-values are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from afina.measure.bootstrap import Estimate, Measure, interval_of, redrawn
from afina.results.findings.finding import ComparedFigure, Finding, corrected
from afina.results.findings.sentence import Figure, Sentence, first_of
from afina.results.statistics import bootstrap_p

__all__ = ["Draft", "chance_of", "detectable", "finished", "paired", "too_small"]

_RESAMPLES = 1000
_NORMAL_80 = 0.8416212335729143
"""Standard deviations above which a normal value lies 20 times in 100: the power of 80%."""


@dataclass(frozen=True)
class Draft:
    """A finding, and what to say of it once it is known whether chance explains it."""

    finding: Finding
    said: Callable[[Finding], Sentence]
    deviation: float | None = None
    """Standard error of the value, by which the smallest difference that would show is told."""


def finished(drafts: Sequence[Draft]) -> list[Finding]:
    """Return the findings of one adapter with p-values corrected for all tests, and their verdicts."""
    findings = []
    tests = sum(draft.finding.p_value is not None for draft in drafts)
    values = corrected([draft.finding.p_value for draft in drafts])
    for draft, (p, is_found) in zip(drafts, values, strict=True):
        # Where nothing moves in any draw, its spread tells nothing of what would be seen.
        smallest = detectable(draft.deviation, tests) if draft.deviation else None
        value = draft.finding.value
        # What is real and better than before is no finding: a change that makes a model more accurate, say.
        is_worse = is_found and value is not None and value.value > 0
        made = replace(draft.finding, p_corrected=p, found=is_worse, detectable=smallest)
        findings.append(replace(made, verdict=draft.said(made)))
    return findings


def detectable(deviation: float, tests: int) -> float:
    """Return the true value that a test at 0.05, corrected for so many, finds 80 times in 100."""
    from scipy.stats import norm

    return float((norm.isf(0.025 / max(1, tests)) + _NORMAL_80) * deviation)


def chance_of(finding: Finding) -> Sentence:
    """Say whether chance explains a value, and from which size on it would have been seen."""
    p = Figure(finding.p_corrected or 0.0, 3)
    if finding.found and p.number < 0.001:
        return Sentence("more than chance explains (p < 0.001)")
    if finding.found:
        return Sentence("more than chance explains (p = {p})", {"p": p})
    if finding.detectable is None:
        return Sentence("chance may give that (p = {p})", {"p": p})
    smallest = Figure(100 * finding.detectable, 1)
    return Sentence("chance may give that (p = {p}); less than about {smallest} points would mostly stay unseen here",
                    {"p": p, "smallest": smallest})  # fmt: skip


def paired(
    measure: Measure, others: Sequence[tuple[str, Measure]], *, groups: np.ndarray | None = None, seed: int = 0
) -> tuple[Estimate, tuple[ComparedFigure, ...], float]:
    """Return a figure with its interval, beside the same of others on the same redrawn rows, and its standard error."""
    measures = [measure, *(other for _, other in others)]
    items = len(measure.parts)
    random = np.random.default_rng(seed)
    drawn = redrawn(measures, items, resamples=_RESAMPLES, random=random, groups=groups)
    compared = []
    for (name, other), values in zip(others, drawn[1:], strict=True):
        gaps = drawn[0] - values
        difference = measure.overall - other.overall
        compared.append(ComparedFigure(
            name=name, value=Estimate(other.overall, *interval_of(values)),
            difference=Estimate(difference, *interval_of(gaps)),
            p_value=bootstrap_p(difference, gaps),
        ))  # fmt: skip
    return Estimate(measure.overall, *interval_of(drawn[0])), tuple(compared), float(drawn[0].std())


def too_small(axis: str | Sentence, small: Sequence[tuple[str, int]], fewest: int) -> list[Sentence]:
    """Name the groups that are not tested, the largest first."""
    if len(small) == 1:
        ((group, count),) = small
        return [Sentence("{axis}: {group} has {count} rows, fewer than {fewest}, and was not tested.",
                         {"axis": axis, "group": group, "count": count, "fewest": fewest})]  # fmt: skip
    ranked = sorted(small, key=lambda each: -each[1])
    named = first_of([f"{group} ({count})" for group, count in ranked])
    return [Sentence("{axis}: not tested, with fewer than {fewest} rows, are {listed}.",
                     {"axis": axis, "fewest": fewest, "listed": named})] if small else []  # fmt: skip
