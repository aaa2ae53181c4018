"""Tell of a study's rows what they were like before anything was trained: leaks, doubted labels, labels by group."""

from collections.abc import Sequence
from dataclasses import dataclass

from afina.corpus.examined import RowExamination
from afina.corpus.told import doubted_rows, leak_lines, leaked_rows, lines_by_group, noise_lines
from afina.report.tables import Table
from afina.results.examined_data import read_examination
from afina.results.material import Material
from afina.words.language import Words

__all__ = ["ExaminedSet", "data_lines", "data_tables", "examined_sets"]

_SHOWN = 10
"""Rows that a report shows of doubted labels, and of leaked test rows."""


@dataclass(frozen=True)
class ExaminedSet:
    """A data set of a report with what was found in it; of several lengths of the same rows it is told once."""

    name: str
    slug: str
    found: RowExamination


def examined_sets(material: Material) -> list[ExaminedSet]:
    """Return what is known of a study's data sets, nothing of one from before studies looked."""
    names: dict[str, tuple[list[str], str]] = {}
    for group in material.groups:
        for cell in group.cells:
            for run in cell.runs:
                if run.fingerprint is not None and run.fingerprint.data:
                    called, _ = names.setdefault(run.fingerprint.data, ([], group.slug))
                    called += [] if group.dataset in called else [group.dataset]
    read = ((digest, read_examination(material.directory, digest)) for digest in names)
    return [
        ExaminedSet("; ".join(names[digest][0]), names[digest][1], found) for digest, found in read if found is not None
    ]


def data_lines(examined: ExaminedSet, words: Words) -> list[tuple[bool, str]]:
    """Say what was found, a line each, and whether it asks for care."""
    examination = examined.found
    return [
        *leak_lines(examination.leaks, words),
        *noise_lines(examination.noise, words),
        *lines_by_group(examination.groups, list(examination.by_label), words),
    ]


def data_tables(examined: ExaminedSet, words: Words) -> list[Table]:
    """Return rows, lengths and languages by label, the labels to look at again, and the test rows that were learned."""
    examination, tables = examined.found, list[Table]()
    if examination.by_label:
        note = ""
        if examination.counted < examination.train_rows:
            counted, of = words.number(examination.counted), words.number(examination.train_rows)
            note = words("{count} of {rows} train rows were counted", count=counted, rows=of)
        rows = [
            [label, words.number(each.rows), words.number(each.mean_length, 1), _languages(each.languages, words)]
            for label, each in examination.by_label.items()
        ]
        columns = [words("label"), words("rows"), words("mean length"), words("languages")]
        tables.append(
            Table(f"labels-{examined.slug}", f"{words('Train rows by label')}: {examined.name}", columns, rows, note)
        )
    if doubted := doubted_rows(examination.noise, words, _SHOWN):
        tables.append(Table(
            f"doubted-{examined.slug}", f"{words('Labels to look at again')}: {examined.name}", *_parted(doubted),
            words("The surest first; words alone suggest, and a person decides. afina data inspect FILE --json lists more."),
            words=5,
        ))  # fmt: skip
    if leaked := leaked_rows(examination.leaks, words, _SHOWN):
        tables.append(Table(
            f"leaked-{examined.slug}", f"{words('Test rows among the train rows')}: {examined.name}", *_parted(leaked),
            words=4,
        ))  # fmt: skip
    return tables


def _parted(cells: Sequence[Sequence[str]]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    return cells[0], cells[1:]


def _languages(languages: dict[str, int], words: Words, most: int = 4) -> str:
    named: Sequence[tuple[str, int]] = list(languages.items())[:most]
    return ", ".join(f"{name} {words.number(count)}" for name, count in named)
