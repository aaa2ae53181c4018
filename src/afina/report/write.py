"""Writing a study's report: the page, and every table in three formats; and the table that a terminal shows."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

from rich.console import Group as Stack
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table as TerminalTable
from rich.text import Text

from afina.card.write import write_cards
from afina.errors import UsageError
from afina.report.audits import audit_remarks, audit_tables, audits_table, write_audit_pages
from afina.report.examined import data_lines, data_tables, examined_sets
from afina.report.formats import FORMATS
from afina.report.mistakes import mistake_tables, wrong_table
from afina.report.mitigated import mitigation_tables
from afina.report.page import page
from afina.report.published import Reference, published_tables
from afina.report.tables import (
    Table,
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
from afina.results.folder import InFolder, folder_of
from afina.results.material import Material, gather
from afina.results.mistakes import read_mistakes
from afina.results.shown import answer
from afina.whole_file import write_text
from afina.words.language import Words

__all__ = ["ReportFiles", "shown_table", "terminal_mistakes", "terminal_report", "write_report"]


@dataclass(frozen=True)
class ReportFiles:
    """Says where a report is."""

    html: Path
    tables: Sequence[Path]
    has_mistakes: bool = False
    """True where it shows what a run got wrong."""
    notes: Sequence[str] = ()
    """Sentences on the adapters' cards, which a person may have changed."""

    def __repr__(self) -> str:
        return f"ReportFiles('{self.html}', {len(self.tables)} tables beside it)"

    def _repr_html_(self) -> str:
        """Return the page itself, in a frame of its own, so that its style stays its own."""
        whole = escape(self.html.read_text(encoding="utf-8"), quote=True)
        return f'<iframe srcdoc="{whole}" style="width:100%;height:800px;border:0" title="{escape(str(self.html))}"></iframe>'


def write_report(
    directory: str | Path | InFolder, *, language: str = "en", reference: str | Path | None = None
) -> ReportFiles:
    """Write DIR/report.html, DIR/tables/*.md, .csv, .tex, the pages of its audits and each adapter's README.md.

    Raises `UsageError` when DIR is no study's folder.
    """
    directory = folder_of(directory)
    # The reference is read first: what is wrong with it is said before anything is written.
    words, published = Words(language), Reference(None if reference is None else Path(reference))
    material = gather(directory)
    in_layout = published_tables(material, words, published)
    folder = directory / "tables"
    folder.mkdir(exist_ok=True)
    written = []
    for table in _tables(material, words, in_layout):
        for suffix, form in FORMATS.items():
            path = folder / f"{table.name}.{suffix}"
            # A spreadsheet takes all rows, which a person reads nowhere else.
            write_text(path, form(table if suffix == "csv" else _readable(table, words)))
            written.append(path)
    html = directory / "report.html"
    write_text(html, page(material, words, in_layout, referenced=reference is not None))
    write_audit_pages(material, language)
    notes = write_cards(material, language)
    return ReportFiles(html, written, any(group.mistakes for group in material.groups), notes)


_MOST_ROWS = 200
"""Rows of a table that anybody reads; a spreadsheet gets all."""


def _readable(table: Table, words: Words) -> Table:
    if len(table.rows) <= _MOST_ROWS:
        return table
    left_out = f"{table.note} (+{words.number(len(table.rows) - _MOST_ROWS)}: {table.name}.csv)".strip()
    strong = frozenset(place for place in table.strong if place[0] < _MOST_ROWS)
    return replace(table, rows=table.rows[:_MOST_ROWS], strong=strong, note=left_out)


def _tables(material: Material, words: Words, in_layout: Sequence[Table]) -> list[Table]:
    tables = [comparison_table(group, words) for group in material.groups]
    tables += [table for group in material.groups if (table := type_table(group, words))]
    tables += [difference_table(group, words) for group in material.groups if group.comparisons]
    tables += [table for group in material.groups if group.mistakes for table in mistake_tables(group.mistakes, words)]
    tables += [table for own in examined_sets(material) for table in data_tables(own, words)]
    tables += [own for group in material.groups for own in mitigation_tables(group, material.directory, words)]
    for group in material.groups:
        tables += [table for table in (audits_table(group, words),) if table]
        tables += audit_tables(group, words)
    tables += in_layout
    if material.left:
        tables.append(race_table(material, words))
    if material.failed:
        tables.append(failed_table(material, words))
    if material.missing:
        tables.append(missing_table(material, words))
    if material.cohorts:
        tables.append(cohort_table(material, words))
    return [*tables, setup_table(material, words)]


_TERMINAL = 80
"""Columns of a terminal that a table should fit."""
_LABEL = 12
"""The fewest of those columns that a label needs."""


def terminal_report(directory: Path, *, language: str = "en") -> RenderableType:
    """Return the comparison of every model and data set, with the answer under it, for rich's console."""
    words = Words(language)
    material = gather(directory)
    parts: list[RenderableType] = []
    for group in material.groups:
        sentences = [
            Text(answer(group, words)),
            *(Text(d, style="yellow") for d in doubts(group.cells).learning(words)),
        ]
        parts += [shown_table(_narrow(comparison_table(group, words))), Padding(Stack(*sentences), (0, 0, 1, 1))]
        if (audited := audits_table(group, words)) is not None:
            parts.append(shown_table(audited))
    parts += [
        # False positives and negatives stand on the page, as what else there is of thresholds does.
        shown_table(_columns(own, (0, 2, 3, 4)))
        for group in material.groups
        for own in mitigation_tables(group, directory, words)
    ]
    # Of the data only what asks for care: the page has all of it.
    warned = [(own.name, line) for own in examined_sets(material) for warn, line in data_lines(own, words) if warn]
    parts += [Text(f" {name}: {line}", style="yellow") for name, line in warned]
    parts += [Text(remark, style="dim") for remark in audit_remarks(material, words)]
    if material.left:
        parts.append(shown_table(race_table(material, words)))
    if material.failed:
        parts.append(shown_table(failed_table(material, words)))
    if material.missing:
        parts.append(shown_table(missing_table(material, words)))
    return Stack(*parts)


_WRONG_SHOWN = 20


def terminal_mistakes(directory: Path, run: str, *, language: str = "en") -> RenderableType:
    """Return what a run got wrong, for rich's console; `best` stands for the best one of every model and data set.

    Raises `UsageError` for a run that is not there, and where no answers are right or wrong.
    """
    words = Words(language)
    if run == "best":
        # One for each model and data set, as between these nothing is best.
        mistakes = [group.mistakes for group in gather(directory).groups if group.mistakes is not None]
        if not mistakes:
            raise UsageError(f"{directory} has no finished run whose rows have a single answer that is right or wrong.")
    else:
        mistakes = [read_mistakes(directory, run)]
    parts: list[RenderableType] = []
    for of_run in mistakes:
        for table in mistake_tables(of_run, words):
            if not table.name.startswith("errors-") and _fits(table):  # what is taken for what stands by class too
                parts += [shown_table(table), ""]
        parts.append(shown_table(_one_line(wrong_table(of_run, words, _WRONG_SHOWN))))
    return Stack(*parts)


def _fits(table: Table) -> bool:
    # Words of a heading may be broken between lines, and only there.
    widths = [max(map(len, column.split())) for column in table.columns[table.words :]]
    return sum(widths) + table.words * _LABEL + 3 * len(table.columns) + 1 <= _TERMINAL


def _one_line(table: Table) -> Table:
    """Keep of each text, the last of the columns of words, what stands in a line or two of a terminal."""
    place = table.words - 1
    rows = [
        [textwrap.shorten(v, 100, placeholder=" …") if i == place else v for i, v in enumerate(row)]
        for row in table.rows
    ]
    return replace(table, rows=rows)


def _narrow(table: Table) -> Table:
    """Keep the columns that fit a terminal of 80: method, metrics, memory, time and trainable parameters."""
    # What is left out here stands on the page and in the files.
    return _columns(table, (0, 1, 2, 3, 4, 6))


def _columns(table: Table, keep: tuple[int, ...]) -> Table:
    """Return a table of some of its columns, the first of which alone are words."""
    rows = [[row[place] for place in keep] for row in table.rows]
    strong = frozenset((row, keep.index(column)) for row, column in table.strong if column in keep)
    columns = [table.columns[place] for place in keep]
    return replace(table, columns=columns, rows=rows, strong=strong, words=1)


def shown_table(table: Table) -> TerminalTable:
    """Return a table for rich's console, its intervals on lines of their own where it would be too wide."""
    shown = TerminalTable(title=Text(table.title, style="bold"), title_justify="left", caption_justify="left")
    shown.caption = Text(table.note, style="dim") if table.note else None
    rows = table.rows

    def widths() -> list[int]:
        cells = [[line for row in rows for line in row[place].split("\n")] for place in range(len(table.columns))]
        return [
            max(map(len, [*column.split(), *own]), default=8) for column, own in zip(table.columns, cells, strict=True)
        ]

    if sum(widths()[table.words :]) + table.words * _LABEL + 3 * len(table.columns) + 1 > _TERMINAL:
        # Intervals on a line of their own halve the width of what cannot be broken otherwise.
        rows = [[value.replace(" [", "\n[") for value in row] for row in rows]
    for place, (column, width) in enumerate(zip(table.columns, widths(), strict=True)):
        # Headings are broken to the width of the numbers below; only a long label, with settings in brackets, may be.
        label = place < table.words
        shown.add_column(
            Text(textwrap.fill(column, width)), justify="left" if label else "right", overflow="fold", no_wrap=not label,
            min_width=min(width, _LABEL) if label else None,
        )  # fmt: skip
    for row, values in enumerate(rows):
        shown.add_row(*(Text(v, style="bold" if (row, c) in table.strong else "") for c, v in enumerate(values)))
    return shown
