"""Hold all that one audit gave, and keep it as a JSON file that reports and recommendations read."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from afina.errors import AfinaError
from afina.json_files import read_json_object
from afina.results.findings.finding import Finding, above, check_limited
from afina.results.findings.sentence import Sentence
from afina.whole_file import write_text
from afina.words.language import LANGUAGES, Words

__all__ = [
    "FOLDER",
    "Audited",
    "Cells",
    "ReadAudit",
    "audit_facts",
    "audits_of",
    "failed_audits",
    "read_audit",
    "read_findings",
]

FOLDER = "audits"
"""Folder of a study in which its audits lie, one JSON file and one page each."""

Cells = list[tuple[str, ...]]
"""A table's rows, the first of them its head."""


@dataclass(frozen=True, kw_only=True)
class Audited:
    """Holds what an audit found; one with more than findings to show is an heir that adds to `further` and `as_dict`."""

    title: ClassVar[Sentence] = Sentence("What was found")
    """Heading of its page."""
    claims_not: ClassVar[Sequence[Sentence]] = ()
    """Sentences on what its findings do not show, however good they are."""
    checks: ClassVar[Sequence[str]] = ()
    """Names of what it may measure, for `--fail-above CHECK=NUMBER`; none of one that was read from a file."""
    untested: ClassVar[Sequence[str]] = ()
    """Those of them that are told and compared, and are no tests."""

    audit: str
    target: str
    findings: Sequence[Finding]
    notes: Sequence[str | Sentence] = ()
    """Sentences on what was assumed or left out; texts are English, and `words.note` knows their Portuguese."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Settings and versions of libraries."""

    def further(self, words: Words) -> list[tuple[str, Cells]]:
        """Return tables of its own, each with its title, for the page."""
        return []

    def heading(self, words: Words) -> str:
        """Return the heading of its page."""
        return self.title.told(words)

    def unclaimed(self) -> Sequence[Sentence]:
        """Return what findings like its own do not show."""
        return self.claims_not

    def claims(self, words: Words) -> list[str]:
        """Return what its findings do not show, a sentence each."""
        return [each.told(words) for each in self.unclaimed()]

    def remarks(self, words: Words) -> list[str]:
        """Return the notes in a language."""
        return [each.told(words) if isinstance(each, Sentence) else words.sentence(each) for each in self.notes]

    def above(self, limits: Mapping[str, float]) -> list[Finding]:
        """Return the findings above the limit of their check ('' for all others) that chance does not explain.

        Raises `UsageError` for a check that this audit does not have, which nothing would ever be above.
        """
        if known := self.checks or {each.check for each in self.findings}:
            check_limited((name for name in limits if name), known, self.untested)
        return above(self.findings, limits)

    def as_dict(self) -> dict[str, Any]:
        """Return the audit as values that JSON can hold."""
        words = Words()
        return {
            "audit": self.audit, "target": self.target, "findings": [each.as_dict() for each in self.findings],
            "notes": [each if isinstance(each, str) else each.told(words) for each in self.notes],
            "claims_not": self.claims(words), "facts": dict(self.facts),
            # The patterns of its sentences, and its tables in every language: a page is written of them again.
            "said": {
                "title": self.title.as_dict(), "claims_not": [each.as_dict() for each in self.unclaimed()],
                "notes": [each if isinstance(each, str) else each.as_dict() for each in self.notes],
                "further": {language: self.further(Words(language)) for language in LANGUAGES},
            },
        }  # fmt: skip

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        write_text(path, json.dumps(self.as_dict(), ensure_ascii=False, indent=2) + "\n")


@dataclass(frozen=True, kw_only=True)
class ReadAudit(Audited):
    """An audit that was read from its file."""

    said: Mapping[str, Any]

    def further(self, words: Words) -> list[tuple[str, Cells]]:
        tables = self.said.get("further", {}).get(words.language, [])
        return [(title, [tuple(row) for row in rows]) for title, rows in tables]

    def heading(self, words: Words) -> str:
        return Sentence.of(self.said["title"]).told(words) if "title" in self.said else super().heading(words)

    def claims(self, words: Words) -> list[str]:
        return [Sentence.of(each).told(words) for each in self.said.get("claims_not", ())]


def read_audit(path: Path) -> ReadAudit:
    """Return what an audit's JSON file holds; raises `AfinaError` for one that is damaged."""
    values = read_json_object(path, what_to_do="audit again")
    try:
        patterns = values.get("said", {})
        notes = [
            each if isinstance(each, str) else Sentence.of(each)
            for each in patterns.get("notes", values.get("notes", ()))
        ]
        findings = [Finding.of(each) for each in values["findings"]]
        read = ReadAudit(
            audit=values.get("audit", path.stem), target=values.get("target", ""), findings=findings, notes=notes,
            facts=dict(values.get("facts", {})), said=patterns,
        )  # fmt: skip
        for language in LANGUAGES:  # what cannot be said is damaged, too
            read.heading(Words(language)), read.claims(Words(language)), read.further(Words(language))
        return read
    except (KeyError, TypeError, ValueError, AttributeError):
        raise AfinaError(f"{path} is no audit, or one of another version; audit again.") from None


def read_findings(path: Path) -> list[Finding]:
    """Return the findings of an audit's JSON file; raises `AfinaError` for one that is damaged."""
    return list(read_audit(path).findings)


def failed_audits(directory: Path) -> dict[str, str]:
    """Return the audits of a study that could not be made, each with the reason."""
    names = sorted(path.stem for path in (directory / FOLDER).glob("*.json"))
    return {name: str(facts["failed"]) for name in names if "failed" in (facts := audit_facts(directory, name))}


def audit_facts(directory: Path, audit: str) -> Mapping[str, Any]:
    """Return the settings and versions of an audit in a study's folder; empty where there is none, or a damaged one."""
    try:
        return read_audit(directory / FOLDER / f"{audit}.json").facts
    except (FileNotFoundError, AfinaError):
        return {}


def audits_of(directory: Path, names: Iterable[str] | None = None) -> dict[str, list[Finding]]:
    """Return the findings that lie in a study's folder, by audit; of some `names`, or of all."""
    paths = sorted((directory / FOLDER).glob("*.json"))
    return {path.stem: read_findings(path) for path in paths if names is None or path.stem in names}
