"""The page: one self-contained HTML file that answers first, then shows why."""

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

import afina
from afina.report.audits import audit_remarks, audit_tables, audits_table, links_to_pages
from afina.report.diagrams import diagram_figure
from afina.report.examined import data_lines, data_tables, examined_sets
from afina.report.figures import cost_figure, coverage_figure, curves_figure, metric_figure, timeline_figure
from afina.report.mistakes import class_table, confusion_table, threshold_table, wrong_table
from afina.report.mitigated import mitigation_tables
from afina.report.tables import (
    Table,
    changed_table,
    cohort_table,
    comparison_table,
    difference_table,
    failed_table,
    missing_table,
    race_table,
    setup_table,
    type_table,
)
from afina.results.doubts import doubts
from afina.results.material import Group, Material
from afina.results.shown import answer
from afina.words.language import Words

__all__ = ["framed", "html_table", "page"]

_STYLE = """
:root{color-scheme:light dark;--page:#fff;--ink:#1b1f24;--soft:#5b6570;--line:#d9dee3;--wash:#f4f6f8;--accent:#0b62a3;
--warn:#8a4b00;--warnwash:#fff4e0;--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#b8559a;--c4:#a07800;--c5:#3a96c8;--c6:#7a5230;--c7:#4d5560}
@media(prefers-color-scheme:dark){:root:not([data-theme=light]){--page:#14181d;--ink:#e6e9ec;--soft:#9aa5b0;--line:#323a43;
--wash:#1c2229;--accent:#6cb6f0;--warn:#ffc46b;--warnwash:#33280f;--c0:#56a8e8;--c1:#ff8a4a;--c2:#3fcf9f;--c3:#e58fc8;--c4:#e0b53c;--c5:#8ed0f5;--c6:#c99a6e;--c7:#b6bec7}}
:root[data-theme=dark]{color-scheme:dark;--page:#14181d;--ink:#e6e9ec;--soft:#9aa5b0;--line:#323a43;--wash:#1c2229;--accent:#6cb6f0;
--warn:#ffc46b;--warnwash:#33280f;--c0:#56a8e8;--c1:#ff8a4a;--c2:#3fcf9f;--c3:#e58fc8;--c4:#e0b53c;--c5:#8ed0f5;--c6:#c99a6e;--c7:#b6bec7}
:root[data-theme=light]{color-scheme:light}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1240px;margin:0 auto;padding:24px 20px 60px}h1{font-size:1.6rem;line-height:1.25;margin:0 0 4px}
h2{font-size:1.2rem;margin:44px 0 10px;padding-top:14px;border-top:1px solid var(--line)}h3{font-size:1rem;margin:22px 0 8px}
p,.answer,.warning{overflow-wrap:anywhere}p{margin:6px 0}.soft,.note{color:var(--soft);font-size:.88rem}.answer{background:var(--wash);border-left:4px solid var(--accent);
padding:10px 16px;margin:8px 0;border-radius:0 6px 6px 0}.warning{background:var(--warnwash);color:var(--warn);padding:10px 16px;
border-radius:6px;margin:10px 0}.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.88rem;font-variant-numeric:tabular-nums}
th,td{padding:5px 12px 5px 0;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}th{color:var(--soft);font-weight:600;
vertical-align:bottom;white-space:normal}th.w,td.w{text-align:left}td.w{white-space:normal}.wrap td{white-space:normal;overflow-wrap:anywhere;vertical-align:top}.wrap td:first-child{white-space:nowrap}
td.strong{font-weight:700}svg{width:100%;height:auto;display:block;font:13px system-ui,sans-serif}svg text{fill:var(--ink)}
svg .tick,svg .name{fill:var(--soft)}svg .strong{font-weight:600}svg .grid{stroke:var(--line);stroke-width:1}
svg .bar{stroke-width:5;opacity:.7}svg .whisker{stroke-width:2;opacity:.65}svg .front{fill:none;stroke:var(--soft);stroke-width:1.5;stroke-dasharray:2 3}
svg .lead{stroke:var(--soft);stroke-width:.7}svg .curve{fill:none;stroke-width:2}svg .train{stroke-dasharray:5 4}
details{margin:14px 0}summary{cursor:pointer;font-weight:600;color:var(--accent)}
.pair{display:flex;flex-wrap:wrap;gap:24px}.pair>div{flex:1 1 460px;min-width:0}button{font:inherit;font-size:.82rem;color:var(--soft);
background:none;border:1px solid var(--line);border-radius:6px;padding:3px 10px;cursor:pointer;float:right}
@media print{button{display:none}h2{break-after:avoid}svg,table{break-inside:avoid}}
""" + "".join(f"svg .c{i}{{fill:var(--c{i})}}svg .s{i}{{stroke:var(--c{i})}}" for i in range(8))

_SCRIPT = """
document.querySelector('button').onclick=()=>{const r=document.documentElement;
const dark=r.dataset.theme?r.dataset.theme==='dark':matchMedia('(prefers-color-scheme:dark)').matches;r.dataset.theme=dark?'light':'dark'}
"""


def page(material: Material, words: Words, published: Sequence[Table], *, referenced: bool = False) -> str:
    """Return the whole HTML document; tables in the published layout are folded unless they are `referenced`."""
    done = sum(run.is_finished for run in material.results)
    head = words("Which fine-tuning method is worth it")
    names = [material.methods, [Path(model).name for model in material.models], material.datasets]
    studied = " · ".join(", ".join(part) for part in names)
    # Runs that left a race were neither finished nor failed, and stand in a table of their own.
    counted = words.counted(done, "{count} run finished", "{count} runs finished")
    if material.failed:
        counted += f", {words.counted(len(material.failed), '{count} run failed', '{count} runs failed')}"
    parts = [
        f"<h1>{escape(head)}</h1>",
        f"<p class=soft>{escape(studied)}<br>{escape(counted)}</p>",
        f"<h2>{escape(words('The answer'))}</h2>",
        *(_answer_box(group, words) for group in material.groups),
        f"<h2>{escape(words('Comparison'))}</h2>",
        *(html_table(comparison_table(group, words, alone=False)) for group in material.groups),
        *_figures(material, words),
    ]
    # A table of differences where nothing could be compared would be an empty promise.
    tested = [group for group in material.groups if group.comparisons]
    by_type = [own for group in material.groups if (own := type_table(group, words))]
    if by_type:
        parts.append(f"<h2>{escape(words('By type of entity'))}</h2>")
        parts += [html_table(own) for own in by_type]
    if tested:
        parts.append(f"<h2>{escape(words('Which differences are real'))}</h2>")
        parts += [html_table(difference_table(group, words, alone=False)) for group in tested]
    mitigated = [own for group in material.groups for own in mitigation_tables(group, material.directory, words)]
    if mitigated:
        parts += [f"<h2>{escape(words('What mitigations cost'))}</h2>", *map(html_table, map(_short, mitigated))]
    parts += _audits(material, words)
    wrong = [group for group in material.groups if group.mistakes is not None]
    if wrong:
        parts.append(f"<h2>{escape(words('What the best one gets wrong'))}</h2>")
        parts += [part for group in wrong for part in _mistakes(group, words)]
    parts += [part for group in material.groups for part in _diagrams(group, words)]
    parts += _data(material, words)
    further = ((material.left, race_table), (material.cohorts, cohort_table), (material.missing, missing_table))
    for present, table in further:
        if present:
            made = table(material, words)
            parts += [f"<h2>{escape(made.title)}</h2>", html_table(made, titled=False)]
    parts += [timeline_figure(cohort, words) for cohort in material.cohorts if cohort.members]
    if material.failed:
        parts += [f"<h2>{escape(words('Failed runs'))}</h2>", html_table(failed_table(material, words), titled=False)]
    parts += [f"<h2>{escape(words('Set-up'))}</h2>", html_table(changed_table(material, words), titled=False)]
    parts.append(
        _fold(words("Every setting, version and machine"), html_table(setup_table(material, words), titled=False))
    )
    if published:
        shown = "".join(html_table(table) for table in published)
        # Whoever gave a reference came for these tables.
        parts.append(_fold(words("Tables in the published layout"), shown, open_=referenced))
    return framed(head, parts, words)


def framed(title: str, parts: Sequence[str], words: Words) -> str:
    """Return a whole HTML document of these parts, a button for light or dark before them and who made it below."""
    # The page\'s language as browsers know it: what is written here is Brazilian Portuguese.
    language = "pt-BR" if words.language == "pt" else "en"
    button = f"<button type=button>{escape(words('Light or dark'))}</button>"
    made = f"<p class=soft>{escape(words('Made by Afina {version}.', version=afina.__version__))}</p>"
    return (
        f'<!doctype html>\n<html lang="{language}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><main>{button}{''.join(parts)}{made}</main><script>{_SCRIPT}</script></body>"
        "</html>\n"
    )


def _audits(material: Material, words: Words) -> list[str]:
    """Show what audits found, and what they could not do and do not show."""
    tables = [table for group in material.groups if (table := audits_table(group, words)) is not None]
    remarks = audit_remarks(material, words)
    if not tables and not remarks:
        return []
    of_each = [
        table for group in material.groups for table in audit_tables(group, words, all_differences=False)
    ]  # fmt: skip
    return [
        f"<h2>{escape(words('Audits'))}</h2>", *map(html_table, tables), links_to_pages(material, words),
        *(f"<p class=note>{escape(remark)}</p>" for remark in remarks),
        *(_fold(table.title, html_table(table, titled=False)) for table in of_each),
    ]  # fmt: skip


def _answer_box(group: Group, words: Words) -> str:
    warning = ""
    if not group.comparable:
        sentence = words(
            "These results do not share one fingerprint (data, evaluator, versions, hardware or protocol differ); compare "
            "them with care. No differences are tested across fingerprints."
        )
        warning = f"<div class=warning>{escape(sentence)}</div>"
    # Doubts stand directly under the answer that they are about, not in notes at the end.
    doubted = doubts(group.cells)
    warning += "".join(
        f"<div class=warning>{escape(doubt)}</div>"
        for doubt in (doubted.rates(words), *doubted.learning(words))
        if doubt
    )
    return f"<div class=answer><b>{escape(group.title)}</b><br>{escape(answer(group, words))}</div>{warning}"


def _figures(material: Material, words: Words) -> list[str]:
    methods = material.methods
    parts = [f"<h2>{escape(words('Accuracy by method and model'))}</h2>"]
    for dataset in material.datasets:
        if figure := metric_figure(material, dataset, words):
            parts.append(f"<h3>{escape(dataset)}</h3>{figure}")
    parts.append(f"<h2>{escape(words('Against memory and time'))}</h2>")
    parts.append(f"<p class=note>&#8943; {escape(words('Pareto front'))}</p>")
    for group in material.groups:
        figures = [cost_figure(group, cost, words, methods) for cost in ("memory_bytes", "seconds")]
        if any(figures):
            parts.append(
                f"<h3>{escape(group.title)}</h3><div class=pair>{''.join(f'<div>{f}</div>' for f in figures)}</div>"
            )
    # One epoch is a point, of which no curve can be drawn.
    curves = [(group, curves_figure(group, words, methods)) for group in material.groups]
    if any(figure for _, figure in curves):
        parts.append(f"<h2>{escape(words('Learning curves'))}</h2>")
        parts.append(
            f"<p class=note>{escape(words('Solid: test; dashed: train. A gap that opens is overfitting.'))}</p>"
        )
        parts += [f"<h3>{escape(group.title)}</h3>{figure}" for group, figure in curves if figure]
    return parts


def _fold(title: str, inside: str, *, open_: bool = False) -> str:
    return f"<details{' open' if open_ else ''}><summary>{escape(title)}</summary>{inside}</details>"


_MOST_SHOWN = 100
"""Wrong answers on the page; all of them are in the tables."""


def _mistakes(group: Group, words: Words) -> list[str]:
    """Show what the best method's first run got wrong: by class, by how sure it was, and row by row."""
    mistakes = group.mistakes
    assert mistakes is not None
    parts = [f"<h3>{escape(f'{group.title}: {mistakes.method}')}</h3>", f"<p class=note>{escape(mistakes.run)}</p>"]
    if mistakes.names is not None:
        beside = [class_table(mistakes, words)]
        if mistakes.confusion_is_small:
            beside.append(confusion_table(mistakes, words))
        parts.append(f"<div class=pair>{''.join(f'<div>{html_table(_short(own))}</div>' for own in beside)}</div>")
        sure = (html_table(_short(threshold_table(mistakes, words))), coverage_figure(mistakes, words))
        parts.append(f"<div class=pair>{''.join(f'<div>{own}</div>' for own in sure)}</div>")
    table = wrong_table(mistakes, words, _MOST_SHOWN)
    # The whole count, though only the first of them are on the page.
    count = words.number(len(mistakes.wrong()))
    parts.append(_fold(f"{table.title.partition(':')[0]} ({count})", html_table(table, titled=False)))
    return parts


def _diagrams(group: Group, words: Words) -> list[str]:
    """Show what the metrics of the best method's first run have to show."""
    return [
        f"<h2>{escape(words(own.title))}</h2><h3>{escape(f'{group.title}: {group.verdict.best}')}</h3>"
        f"<p class=note>{escape(words(own.note))}</p>{diagram_figure(own, words)}"
        for own in group.diagrams if group.verdict is not None
    ]  # fmt: skip


def _data(material: Material, words: Words) -> list[str]:
    """Show what the rows were like before anything was trained."""
    if not (sets := examined_sets(material)):
        return []
    parts = [f"<h2>{escape(words('The data, before training'))}</h2>"]
    for examined in sets:
        lines = "".join(
            f"<li>{'<b>' if warn else ''}{escape(line)}{'</b>' if warn else ''}</li>"
            for warn, line in data_lines(examined, words)
        )
        tables = "".join(html_table(_short(table)) for table in data_tables(examined, words))
        parts.append(
            f"<h3>{escape(examined.name)}</h3><ul>{lines}</ul>{_fold(words('Rows behind it'), tables) if tables else ''}"
        )
    limits = words("Groups found by words are rows that hold those words, not people; gaps in them have many causes.")
    return [*parts, f"<p class=note>{escape(limits)}</p>"]


def _short(table: Table) -> Table:
    """Leave out of a title the run, which stands over all of them."""
    return replace(table, title=table.title.partition(":")[0])


def html_table(table: Table, *, titled: bool = True) -> str:
    """Return a table as HTML, under its title."""
    left = [' class="w"' if i < table.words else "" for i in range(len(table.columns))]
    head = "".join(f"<th{kind}>{escape(column)}</th>" for column, kind in zip(table.columns, left, strict=True))
    body = ""
    for row, values in enumerate(table.rows):
        kinds = [
            " ".join(filter(None, ("w" if i < table.words else "", "strong" if (row, i) in table.strong else "")))
            for i in range(len(values))
        ]
        cells = "".join(f'<td class="{kind}">{escape(v)}</td>' for v, kind in zip(values, kinds, strict=True))
        body += f"<tr>{cells}</tr>"
    title = f"<h3>{escape(table.title)}</h3>" if titled else ""
    note = f"<p class=note>{escape(table.note)}</p>" if table.note else ""
    # Tables without a title of their own are those of runs and settings, whose long texts have to break.
    kind = ' class="wrap"' if not titled else ""
    return (
        f"{title}<div class=wide><table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{note}"
    )
