"""Print the answers of `afina data`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afina.cli.terminal import note, show_file

if TYPE_CHECKING:
    from rich.console import Console

    from afina.words.language import Words

__all__ = ["show_files", "show_inspection", "show_notes", "table_of"]


def table_of(*columns: str, texts: int = 1) -> Any:
    """Return a table with its first columns, which hold `texts`, on the left, and those of numbers on the right."""
    from rich.table import Table

    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for index, name in enumerate(columns):
        table.add_column(name, justify="left" if index < texts else "right", no_wrap=index >= texts or index == 0)
    return table


def show_notes(console: "Console", seen: Mapping[str, int], words: "Words") -> None:
    """Print what was noticed while a file was read."""
    for what, count in seen.items():
        note(console, f"{words.note(what)}: {words.number(count)}")


def show_files(console: "Console", out: Path, rejects: Path | None, words: "Words") -> None:
    """Print where a result and its rejects are."""
    show_file(console, out)
    if rejects is not None:
        show_file(console, rejects, words("what was removed, with the reason"))


def show_inspection(console: "Console", inspection: Any, words: "Words") -> None:
    """Print what a file holds (`afina.corpus.inspect.Inspection`)."""
    from rich.text import Text

    from afina.corpus.inspect_page import COLUMNS, balance_lines, findings, kind_of, unit_of
    from afina.corpus.told import doubted_rows, leak_lines, leaked_rows, noise_lines

    rows = words.counted(inspection.rows, "{count} row", "{count} rows")
    forms = ", ".join(words.note(form) for form in inspection.forms)
    console.print(Text.assemble((rows, "bold"), f": {kind_of(inspection, words)} ({forms})"), highlight=False)
    table = table_of(unit_of(inspection, words), *map(words, COLUMNS))
    for name, each in inspection.lengths.items():
        figures = (each.median, each.p95, each.longest, each.total)
        table.add_row(words(name), words.number(each.mean, 1), *map(words.number, figures))
    console.print(table)
    for warn, line in findings(inspection, words):
        console.print(f"  {line}", style="yellow" if warn else "", highlight=False, markup=False)
    for problem, count in list(inspection.problems.items())[:3]:
        console.print(f"    {words.number(count)}: {words.note(problem)}", style="dim", highlight=False, markup=False)
    for name, counts in (
        ("languages", inspection.languages),
        ("labels", inspection.labels),
        ("words by tag", inspection.tags),
        ("personal data", inspection.personal),
    ):
        if counts:
            listed = _listed(counts, words, quoted=name in ("labels", "words by tag"))
            console.print(f"{words(name)}: {listed}", highlight=False, markup=False)

    def say(lines: Iterable[tuple[bool, str]]) -> None:
        for warn, line in lines:
            console.print(f"  {line}", style="yellow" if warn else "", highlight=False, markup=False)

    # The rows beneath what is said of them.
    say(leak_lines(inspection.leaks, words))
    for test, train, similarity, text in leaked_rows(inspection.leaks, words, _SHOWN)[1:]:
        console.print(f"    {test} = {train} ({similarity}): {text}", style="dim", highlight=False, markup=False)
    say(noise_lines(inspection.noise, words))
    for place, label, suggested, probability, text in doubted_rows(inspection.noise, words, _SHOWN)[1:]:
        line = f"    {place}: '{label}' → '{suggested}' ({probability}): {text}"
        console.print(line, style="dim", highlight=False, markup=False)
    say(balance_lines(inspection, words))


_SHOWN = 3
"""Rows that are shown of doubted labels, and of leaked test rows; the page and the JSON have more."""


def _listed(counts: Mapping[str, int], words: "Words", most: int = 8, *, quoted: bool = False) -> str:
    # Of labels that are numbers it is to be told which number is which.
    total, mark = sum(counts.values()), "'" if quoted else ""
    shown = [
        f"{mark}{name}{mark} {words.number(count)} ({words.number(100 * count / total)}%)"
        for name, count in list(counts.items())[:most]
        # Eight, and a count of the others: a data set may have hundreds of labels.
    ]
    rest = len(counts) - len(shown)
    return ", ".join(shown) + (f" {words('and {count} more', count=rest)}" if rest else "")
