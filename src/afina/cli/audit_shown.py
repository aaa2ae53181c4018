"""Show what an audit found in the terminal, and end the command by the limits that were set for it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from afina.cli.terminal import note

if TYPE_CHECKING:
    from rich.console import Console

    from afina.results.findings.audited import Audited, Cells
    from afina.results.findings.finding import Finding
    from afina.words.language import Words

__all__ = ["hold", "limits_of", "show_audit", "show_cells"]


def limits_of(given: "Sequence[str] | None", audit: "type[Audited]") -> dict[str, float]:
    """Return the limits that --fail-above sets, by check; raises `UsageError` before anything was looked at."""
    from afina.results.findings.finding import parse_limits

    return parse_limits(given or (), audit.checks, audit.untested)


def hold(console: "Console", audited: "Audited", limits: "Mapping[str, float]", words: "Words") -> None:
    """Raise `AboveLimit` where a finding is above its limit, and say which limits nothing was held against."""
    from afina.results.findings.finding import check_gate, unmade

    if missing := unmade(audited.findings, limits):
        named = ", ".join(name for name in missing if name)
        note(
            console,
            words(
                "--fail-above: no test of {checks} was made, so that nothing was held against the limit", checks=named
            )
            if named
            else words("--fail-above: no test was made, so that nothing was held against the limit"),
        )
    check_gate(audited.findings, limits)


def show_audit(console: "Console", audited: "Audited", words: "Words") -> None:
    """Print an audit's notes, its findings as a table and in sentences, and what they do not show."""
    for sentence in audited.remarks(words):
        note(console, sentence)
    if audited.findings:  # of rows too few to test there are none, and no head of a table is shown for them
        _show_findings(console, audited.findings, words)
    for name in dict.fromkeys(each.subject.name for each in audited.findings):
        console.print(f"\n{name}", style="bold", soft_wrap=True, highlight=False, markup=False)
        for each in audited.findings:
            if each.subject.name == name:
                console.print(f"  {each.verdict.told(words)}", highlight=False, markup=False)
    for claim in audited.claims(words):
        note(console, claim, style="dim")


_WIDE = 120
"""Columns of a terminal that hold all of a finding in a line or two."""


def _show_findings(console: "Console", findings: "Sequence[Finding]", words: "Words") -> None:
    """Print the table of findings; on a narrow terminal one for each adapter, of what has room there."""
    from afina.results.findings.tables import finding_rows, narrow_rows

    if console.width >= _WIDE:
        show_cells(console, finding_rows(findings, words), labels=3)
        return
    for name in dict.fromkeys(each.subject.name for each in findings):
        of_adapter = [each for each in findings if each.subject.name == name]
        show_cells(console, narrow_rows(of_adapter, words), title=name, labels=1)


def show_cells(console: "Console", rows: "Cells", *, title: str = "", labels: int = 1) -> None:
    """Print a table's rows, the first of them its head; its first columns, `labels` of them, hold words."""
    from rich.table import Table
    from rich.text import Text as Plain

    table = Table(title=title or None, title_justify="left", box=None, header_style="dim", padding=(0, 2, 0, 0))
    for place, name in enumerate(rows[0]):
        side: Literal["left", "right"] = "left" if place < labels else "right"
        # Room for a heading's longest word: cells may be folded, headings are read.
        table.add_column(name, justify=side, overflow="fold", min_width=max(map(len, name.split()), default=0))
    for row in rows[1:]:
        table.add_row(*(Plain(cell) for cell in row))
    console.print(table)
