"""Lay findings out as tables, the same for the terminal and the page."""

from collections.abc import Sequence

from afina.measure.bootstrap import Estimate
from afina.results.findings.audited import Cells
from afina.results.findings.finding import Finding
from afina.words.language import Words

__all__ = ["beside_rows", "evidence_rows", "finding_rows", "narrow_rows", "shown"]


def finding_rows(findings: Sequence[Finding], words: Words) -> Cells:
    """Return a row for each finding, those that chance does not explain first among those of one adapter."""
    head = ("adapter", "measured", "on", "rows", "value", "base", "p (Holm)", "found")
    cells: Cells = [tuple(map(words, head))]
    subjects = list(dict.fromkeys(each.subject.name for each in findings))
    for each in sorted(findings, key=lambda each: (subjects.index(each.subject.name), not each.found)):
        p = each.p_corrected
        cells.append((
            each.subject.name, each.measured.told(words), each.on.told(words), words.number(each.rows),
            shown(each.value, words), shown(each.base, words),
            "–" if p is None else words.p_value(p), found_word(each, words),
        ))  # fmt: skip
    return cells


def narrow_rows(findings: Sequence[Finding], words: Words) -> Cells:
    """Return the same of one adapter for eighty columns: what was measured with what on, its value, and what was found.

    The base's figures, rows and intervals stand in the sentences beneath, on the page and in the JSON.
    """
    whole = finding_rows(findings, words)
    return [
        (f"{measured} ({on})" if number else measured, value.partition(" [")[0], p, found)
        for number, (_, measured, on, _, value, _, p, found) in enumerate(whole)
    ]


def found_word(finding: Finding, words: Words) -> str:
    """Say in a word or two whether something was found."""
    if not finding.is_tested:
        return words("not tested")
    return words("yes") if finding.found else words("none found")


def beside_rows(finding: Finding, words: Words) -> Cells:
    """Return a row for each adapter that a finding stands beside."""
    cells: Cells = [tuple(map(words, ("beside", "its value", "difference", "p")))]
    for each in finding.beside:
        p = "–" if each.p_value is None else words.number(each.p_value, 3)
        cells.append((words(each.name), shown(each.value, words), shown(each.difference, words), p))
    return cells


def evidence_rows(finding: Finding, words: Words) -> Cells:
    """Return a row for each row behind a finding."""
    cells: Cells = [tuple(map(words, ("row", "text", "why it is here")))]
    for each in finding.evidence:
        cells.append((
            "–" if each.row is None else str(each.row), each.text,
            "" if each.remark is None else each.remark.told(words),
        ))  # fmt: skip
    return cells


def shown(estimate: Estimate | None, words: Words) -> str:
    """Return a value with its interval, as a table has it."""
    if estimate is None:
        return "–"
    bounds = ""
    if estimate.low is not None and estimate.high is not None:
        bounds = f" [{words.number(estimate.low, 3)}{words.between}{words.number(estimate.high, 3)}]"
    return f"{words.number(estimate.value, 3)}{bounds}"
