"""Tell whether tuning made something worse than it is in the bare base, by an audit's findings."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from afina.errors import UsageError, nearest
from afina.results.findings.audited import FOLDER, audits_of
from afina.results.findings.finding import Finding
from afina.results.findings.sentence import Figure, Sentence
from afina.results.statistics import LEVEL, holm

__all__ = ["BASE", "findings_by_run", "worse_findings", "worse_than_base"]

BASE = "base"
"""The name under which the bare base stands beside an adapter."""


def findings_by_run(directory: Path, audit: str) -> dict[str, list[Finding]]:
    """Return the findings that an audit of a study has of each run; raises `UsageError` where it was not audited so."""
    audits = audits_of(directory)
    if audit not in audits:
        there = nearest(audit, audits) if audits else ""
        raise UsageError(
            f"{directory / FOLDER} has no audit '{audit}'{there}; write it with afina audit {audit} {directory} --out "
            f"{directory / FOLDER}."
        )
    runs: dict[str, list[Finding]] = {}
    for finding in audits[audit]:
        runs.setdefault(finding.subject.name, []).append(finding)
    return runs


def worse_findings(findings: Iterable[Finding]) -> list[tuple[float, Finding]]:
    """Return the findings of one run that are worse than the base by more than chance, each with the difference.

    Differences are corrected for all of the run's by Holm's method.
    """
    pairs = [(each, beside) for each in findings for beside in each.beside if beside.name == BASE]
    p_values = holm([1.0 if beside.p_value is None else beside.p_value for _, beside in pairs])
    return [
        (beside.difference.value, each) for (each, beside), p in zip(pairs, p_values, strict=True)
        if p < LEVEL and beside.difference.value > 0
    ]  # fmt: skip


def worse_than_base(runs: Iterable[str], findings: Mapping[str, list[Finding]]) -> Sentence | None:
    """Say where any of these runs is worse than the base by more than chance (`worse_findings`); None where none is.

    What stands beside no base cannot be told, and is said to.
    """
    for run in runs:
        of_run = findings.get(run, ())
        if not any(beside.name == BASE for each in of_run for beside in each.beside):
            return Sentence("no audit has its base beside it")
        if worse := worse_findings(of_run):
            value, finding = max(worse, key=lambda pair: pair[0])
            return Sentence(
                "it is worse than its base: {measured} ({on}) by {value}",
                {"measured": finding.measured, "on": finding.on, "value": Figure(value, 3)},
            )
    return None
