"""Lay out an audit as one self-contained HTML page: what was found, why, the rows behind it, and what it does not show."""

import re
from collections.abc import Sequence
from html import escape

from afina.results.findings.audited import Audited, Cells
from afina.results.findings.finding import Finding
from afina.results.findings.tables import beside_rows, evidence_rows, finding_rows
from afina.words.language import Words

__all__ = ["framed", "html_table", "page"]

_STYLE = """
:root{color-scheme:light dark;--page:#fff;--ink:#1b1f24;--soft:#5b6570;--line:#d9dee3;--wash:#f4f6f8;--warn:#8a4b00}
@media(prefers-color-scheme:dark){:root{--page:#14181d;--ink:#e6e9ec;--soft:#9aa5b0;--line:#323a43;--wash:#1c2229;--warn:#ffc46b}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1060px;margin:0 auto;padding:24px 20px 60px}h1{font-size:1.5rem;margin:0}.soft{color:var(--soft)}
h2{font-size:1.1rem;margin:34px 0 8px;padding-top:12px;border-top:1px solid var(--line);overflow-wrap:anywhere}
h3{font-size:.95rem;margin:18px 0 4px}.warn{color:var(--warn)}.wide{overflow-x:auto}p{margin:6px 0;overflow-wrap:anywhere}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
td,th{padding:3px 14px 3px 0;text-align:right;border-bottom:1px solid var(--line);vertical-align:top}
td:first-child,th:first-child{text-align:left}th{color:var(--soft);font-weight:600}.n{white-space:nowrap}
table.words td,table.words th{text-align:left}table.words td{overflow-wrap:break-word;max-width:34rem}
@media(max-width:640px){table.words,table.words tbody,table.words tr,table.words td{display:block;max-width:100%}
table.words tr:first-child{display:none}table.words tr{padding:7px 0;border-bottom:1px solid var(--line)}
table.words td{border:0;padding:1px 0;overflow-wrap:anywhere}
table.words td::before{content:attr(data-of) ": ";color:var(--soft)}}
li.found{color:var(--warn)}details{margin:4px 0}.of{margin:14px 0}summary{cursor:pointer;color:var(--soft)}
.not{background:var(--wash);padding:10px 16px;border-radius:6px;margin:12px 0}
"""


_SHOWN = 4
"""Tables of an audit's own that are shown at once; more of them are folded, beneath what was found."""
_FIGURES = re.compile(r"\[-?[\d.,]+[,;] -?[\d.,]+\]|(?:(?:&lt; )?[-+]?\d[\d.,]*%?)$")
"""An interval, or a number that ends a cell or is one."""


def page(audited: Audited, language: str = "en", *, drawn: str = "") -> str:
    """Return the whole HTML document of an audit, in a language, with what was `drawn` of it as HTML."""
    words = Words(language)
    heading, claims = audited.heading(words), audited.claims(words)
    parts = [
        # Everything from rows and folders is escaped: a training text may hold markup.
        f"<h1>{escape(heading)}</h1><p class=soft>{escape(audited.target)}</p>",
        *(f"<p class=warn>{escape(note)}</p>" for note in audited.remarks(words)),
        html_table(_counted(audited, words)),
    ]
    if claims:
        parts.append(f"<div class=not>{''.join(f'<p>{escape(each)}</p>' for each in claims)}</div>")
    parts.append(drawn)
    names, further = list(dict.fromkeys(each.subject.name for each in audited.findings)), audited.further(words)
    # Many tables of one adapter each are for who looks for one; those of all stand before.
    folded = [title for title, _ in further if len(further) > _SHOWN and any(name in title for name in names)]
    parts += [f"<h2>{escape(title)}</h2>{html_table(cells)}" for title, cells in further if title not in folded]
    for name in names:
        parts += _of_adapter(name, [each for each in audited.findings if each.subject.name == name], words)
    if folded:
        parts.append(f"<h2>{escape(words('Further tables'))}</h2>")
        parts += [_fold(title, html_table(cells)) for title, cells in further if title in folded]
    return framed(heading, parts, words)


def _counted(audited: Audited, words: Words) -> Cells:
    """Return a row for each adapter: how much was tested, and what was found."""
    cells: Cells = [tuple(map(words, ("adapter", "tests", "found")))]
    for name in dict.fromkeys(each.subject.name for each in audited.findings):
        tested = [each for each in audited.findings if each.subject.name == name and each.is_tested]
        cells.append((name, words.number(len(tested)), words.number(sum(each.found for each in tested))))
    return cells


def _of_adapter(name: str, findings: Sequence[Finding], words: Words) -> list[str]:
    """Show what was found of one adapter, then, folded, what was not, and all of it as a table."""
    rows = finding_rows(findings, words)
    parts = [f"<h2>{escape(name)}</h2>", *(_of(each, words) for each in findings if each.found)]
    if others := [each for each in findings if not each.found]:
        title = words("{count} more, in which nothing was found", count=words.number(len(others)))
        inside = "".join(_of(each, words) for each in others)
        # Where nothing was found at all, what was looked at is what there is to read.
        parts.append(_fold(title, inside) if len(others) < len(findings) else inside)
    table = html_table([row[1:] for row in rows], kind="words")
    return [*parts, _fold(words("All of it as a table"), table)]


def _of(finding: Finding, words: Words) -> str:
    """Show one finding: its verdict, what stands beside it, and the rows behind it, folded."""
    kind = " class=warn" if finding.found else ""
    parts = [f"<p{kind}>{escape(finding.verdict.told(words))}</p>"]
    if finding.beside:
        parts.append(_fold(words("beside others"), html_table(beside_rows(finding, words), kind="words")))
    if finding.evidence:
        parts.append(_fold(words("rows behind it"), html_table(evidence_rows(finding, words), kind="words")))
    return f"<div class=of>{''.join(parts)}</div>"


def _fold(title: str, inside: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{inside}</details>"


def framed(title: str, parts: Sequence[str], words: Words) -> str:
    """Return a whole HTML document of these parts, in light or dark as the reader's system is."""
    return (
        f'<!doctype html>\n<html lang="{words("en")}"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width,initial-scale=1"><title>{escape(title)}</title><style>{_STYLE}</style></head>'
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def html_table(rows: Cells, *, kind: str = "") -> str:
    """Return a table as HTML, all of it escaped; `words` sets every column left, and on a phone a cell under the other."""
    head, *body = rows
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    of = [f' data-of="{escape(name)}"' if kind == "words" else "" for name in head]
    lines = "".join(
        f"<tr>{''.join(f'<td{own}>{_whole(escape(cell))}</td>' for own, cell in zip(of, row, strict=True))}</tr>"
        for row in body
    )
    of_kind = f' class="{kind}"' if kind else ""
    return f"<div class=wide><table{of_kind}><tr>{cells}</tr>{lines}</table></div>"


def _whole(cell: str) -> str:
    """Keep a figure on one line: half a number, or half an interval, reads as another."""
    return _FIGURES.sub(lambda found: f"<span class=n>{found[0]}</span>", cell)
