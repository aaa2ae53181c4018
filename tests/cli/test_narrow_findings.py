"""Findings in a terminal: whole where there is room, short at eighty columns, and no head of a table above nothing."""

import io

import pytest
from rich.console import Console

from afina.cli.audit_shown import show_audit
from afina.measure.bootstrap import Estimate
from afina.results.findings.audited import Audited
from afina.results.findings.finding import Finding, Subject
from afina.results.findings.sentence import Sentence
from afina.words.language import Words


def printed(findings: list[Finding], width: int) -> str:
    out = io.StringIO()
    show_audit(
        Console(file=out, width=width), Audited(audit="watch", target="a", findings=findings, notes=["said."]), Words()
    )
    return out.getvalue()


def finding(check: str) -> Finding:
    return Finding(
        audit="bias", check=check, measured=Sentence("gap in the share of wrong answers"), on=Sentence("women, men"),
        subject=Subject(name="minilm-ag-news-lora-seed0"), rows=400, value=Estimate(0.123, 0.05, 0.2), found=False,
        verdict=Sentence("no more than chance."), base=Estimate(0.1, 0.0, 0.2), p_corrected=0.4,
    )  # fmt: skip


def test_without_findings_there_is_no_head_of_a_table() -> None:
    assert printed([], 80).strip() == "Said."


@pytest.mark.parametrize(("width", "lines"), [(80, 2), (140, 2)])
def test_a_finding_takes_two_lines_at_most(width: int, lines: int) -> None:
    text = printed([finding("accuracy"), finding("selection")], width)
    table = text.partition("\nminilm-ag-news-lora-seed0\n")[0].splitlines()
    assert sum("0.123" in line for line in table) == 2
    # The head and, on a narrow terminal, the adapter's name stand above both.
    assert len([line for line in table if line.strip()]) <= 3 + 2 * lines
    assert ("[0.050, 0.200]" in text) == (width == 140)
