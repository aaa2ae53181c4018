"""Hold what an audit finds: what was measured, on what, its value with an interval, what stands beside it, and a verdict.

Every audit gives findings and nothing else that a gate or a table has to know; what else it has stands beside them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from afina.errors import AboveLimit, UsageError, nearest
from afina.measure.bootstrap import Estimate
from afina.results.findings.sentence import Sentence
from afina.results.statistics import LEVEL, holm
from afina.words.language import Words

__all__ = [
    "ComparedFigure",
    "Evidence",
    "Finding",
    "Subject",
    "above",
    "check_gate",
    "check_limited",
    "corrected",
    "parse_limits",
    "unmade",
]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Names the adapter that was looked at, or the bare model or data where there is none."""

    name: str
    """Short name in tables: a run's, or a folder's."""
    adapter: str | None = None
    """The adapter's folder."""
    model: str | None = None
    dataset: str | None = None
    method: str | None = None
    rank: int | None = None
    seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class ComparedFigure:
    """Compares a finding with the same figure of another adapter, or of the bare base, on the same rows."""

    name: str
    value: Estimate
    """The other's figure."""
    difference: Estimate
    """This one's figure minus the other's, both on the same redrawn rows."""
    p_value: float | None = None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Holds one of the rows behind a finding."""

    text: str
    row: int | None = None
    """Its number in its file, from 1."""
    remark: Sentence | None = None
    """The reason why it is shown: its label and answer, say."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Says what one test of an audit gave for one adapter. A value is larger the worse it is."""

    audit: str
    check: str
    """The test's name, as `--fail-above CHECK=NUMBER` takes it."""
    measured: Sentence
    """The quantity, in a few words, with its unit."""
    on: Sentence
    """The rows or groups that it was measured on."""
    subject: Subject
    rows: int
    """Number of rows that were looked at."""
    value: Estimate | None
    """None where it could not be measured, for the reason that the verdict gives."""
    found: bool
    """True where chance does not explain the value (by its corrected p-value, or its interval)."""
    verdict: Sentence
    base: Estimate | None = None
    """The same figure of the bare base."""
    beside: Sequence[ComparedFigure] = ()
    """Other adapters, and the base, paired on the same rows."""
    p_value: float | None = None
    p_corrected: float | None = None
    """The p-value corrected by Holm's method for all tests of the audit on this adapter."""
    detectable: float | None = None
    """The smallest true value that so many rows show in 80 of 100 such tests; None where that is not known."""
    evidence: Sequence[Evidence] = ()
    is_test: bool = True
    """False for a figure that is told and compared, of which no test is made."""

    @property
    def is_tested(self) -> bool:
        return self.is_test and self.value is not None

    def as_dict(self) -> dict[str, Any]:
        """Return it as values that JSON can hold; sentences in English, and as patterns to say them again."""
        words = Words()
        sentences = {name: getattr(self, name) for name in ("measured", "on", "verdict")}
        return {
            **{name: value for name, value in vars(self).items() if name not in ("beside", "evidence")},
            **{name: sentence.told(words) for name, sentence in sentences.items()},
            "subject": asdict(self.subject), "value": _estimate(self.value), "base": _estimate(self.base),
            "beside": [asdict(each) for each in self.beside],
            "evidence": [
                vars(each) | {"remark": each.remark and each.remark.told(words)} for each in self.evidence
            ],
            "said": {name: sentence.as_dict() for name, sentence in sentences.items()}
            | {"evidence": [each.remark and each.remark.as_dict() for each in self.evidence]},
        }  # fmt: skip

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Finding":
        """Return the finding that `as_dict` gave; raises `KeyError`, `TypeError` or `ValueError` for anything else."""
        patterns = values["said"]
        fields = {name: value for name, value in values.items() if name in cls.__dataclass_fields__}
        remarks = [remark and Sentence.of(remark) for remark in patterns["evidence"]]
        return cls(**fields | {
            **{name: Sentence.of(patterns[name]) for name in ("measured", "on", "verdict")},
            "subject": Subject(**values["subject"]), "value": _read(values["value"]), "base": _read(values["base"]),
            "beside": tuple(
                ComparedFigure(name=each["name"], value=Estimate(**each["value"]), difference=Estimate(**each["difference"]),
                       p_value=each["p_value"])
                for each in values["beside"]
            ),
            "evidence": tuple(
                Evidence(text=each["text"], row=each["row"], remark=remark)
                for each, remark in zip(values["evidence"], remarks, strict=True)
            ),
        })  # fmt: skip


def _estimate(value: Estimate | None) -> dict[str, Any] | None:
    return None if value is None else asdict(value)


def _read(value: Mapping[str, Any] | None) -> Estimate | None:
    return None if value is None else Estimate(**value)


def corrected(p_values: Sequence[float | None]) -> list[tuple[float | None, bool]]:
    """Return for each p-value the one corrected for all of them together, and whether it is below the level of 0.05.

    None stands for a test that was not made, which is not counted.
    """
    made = holm([p for p in p_values if p is not None])
    by_place = iter(made)
    values = [None if p is None else next(by_place) for p in p_values]
    return [(p, p is not None and p < LEVEL) for p in values]


# -- the gate of a pipeline ------------------------------------------------------------------------------------------


def parse_limits(given: Iterable[str], checks: Iterable[str], untested: Iterable[str] = ()) -> dict[str, float]:
    """Return limits by check ('' for all others) of what a person wrote: `0.05`, `swaps=0.02`.

    Raises `UsageError` for what is no number, a check that there is not or that is `untested`, and one that is given twice.
    """
    limits: dict[str, float] = {}
    checks, untested = list(checks), list(untested)
    for text in given:
        name, is_named, number = text.rpartition("=")
        if is_named:
            check_limited([name], checks, untested, "--fail-above: ")
        try:
            limit = float(number)
        except ValueError:
            limit = float("nan")
        if not 0 <= limit < float("inf"):
            raise UsageError(f"--fail-above is a number from 0, or CHECK=NUMBER, not '{text}'.")
        if name in limits:
            raise UsageError(
                f"--fail-above: {f'the check {name!r}' if name else 'all checks'} got two limits; leave one out."
            )
        limits[name] = limit
    return limits


def check_limited(limited: Iterable[str], checks: Iterable[str], untested: Iterable[str], start: str = "") -> None:
    """Raise `UsageError` for a check that there is not, or that is `untested`: no value of these is above a limit."""
    possible = sorted(set(checks) - set(untested))
    for name in limited:
        if name in untested:
            raise UsageError(
                f"{start}{name} is told and compared, and is no test by itself, so that no value is ever above its limit"
                f"{nearest(name, possible)}"
            )
        if name not in possible:
            raise UsageError(f"{start}there is no check '{name}'{nearest(name, possible)}")


def above(findings: Iterable[Finding], limits: Mapping[str, float]) -> list[Finding]:
    """Return the findings that chance does not explain and whose value is above the limit of their check."""
    no_limit = limits.get("", float("inf"))
    return [
        each for each in findings
        if each.found and each.value is not None and each.value.value > limits.get(each.check, no_limit)
    ]  # fmt: skip


def unmade(findings: Iterable[Finding], limits: Mapping[str, float]) -> list[str]:
    """Return the checks that have a limit and of which no test was made, so that nothing was held against it."""
    made = {each.check for each in findings if each.is_tested}
    return [name for name in limits if (name not in made if name else not made)]


def check_gate(findings: Sequence[Finding], limits: Mapping[str, float]) -> None:
    """Raise `AboveLimit`, which ends a command with exit code 3, where a finding is above its limit."""
    over = above(findings, limits)
    if not over:
        return
    first = max(over, key=lambda each: each.value.value if each.value else 0.0)
    assert first.value is not None
    more = f", and {len(over) - 1} more" if len(over) > 1 else ""
    raise AboveLimit(
        f"{len(over)} of {len(findings)} findings above --fail-above: {first.check} of {first.subject.name} is "
        f"{first.value.value:.3g}{more}."
    )
