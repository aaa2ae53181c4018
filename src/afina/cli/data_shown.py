"""Print the answers of `afina data`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afina.cli.terminal import note, show_file

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["show_files", "show_inspection", "show_notes", "table_of"]


def table_of(*columns: str) -> Any:
    """Return a table whose columns of words are on the left and those of numbers on the right."""
    from rich.table import Table

    words = [index for index, name in enumerate(columns) if name in ("rule", "what it does", "") or index == 0]
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for index, name in enumerate(columns):
        table.add_column(name, justify="left" if index in words else "right", no_wrap=index not in words or index == 0)
    return table


def show_notes(console: "Console", seen: Mapping[str, int]) -> None:
    """Print what was noticed while a file was read."""
    for what, count in seen.items():
        note(console, f"{what}: {count:,}")


def show_files(console: "Console", out: Path, rejects: Path | None) -> None:
    """Print where a result and its rejects are."""
    show_file(console, out)
    if rejects is not None:
        show_file(console, rejects, "what was removed, with the reason")


def show_inspection(console: "Console", found: Any) -> None:
    """Print what a file holds (`afina.corpus.inspect.Inspection`)."""
    from afina.corpus.inspect_page import findings

    turns = f", {found.turns:.1f} turns each" if found.turns else ""
    kind = f"{found.dialogues:,} dialogues{turns}" if found.dialogues else "texts"
    console.print(f"[bold]{found.rows:,} rows[/bold]: {kind} ({', '.join(found.forms)})", highlight=False)
    table = table_of(f"length in {found.unit}", "mean", "median", "95% up to", "longest", "all")
    for name, each in found.lengths.items():
        figures = f"{each.mean:,.1f}", f"{each.median:,.0f}", f"{each.p95:,.0f}", f"{each.longest:,}", f"{each.total:,}"
        table.add_row(name, *figures)
    console.print(table)
    for warn, told in findings(found):
        console.print(f"  {told}", style="yellow" if warn else "", highlight=False)
    for problem, count in list(found.problems.items())[:3]:
        console.print(f"    {count:,}: {problem}", style="dim", highlight=False)
    for name, counts in (("languages", found.languages), ("labels", found.labels), ("personal data", found.personal)):
        if counts:
            console.print(f"{name}: {_listed(counts)}", highlight=False)


def _listed(counts: Mapping[str, int], most: int = 8) -> str:
    total = sum(counts.values())
    shown = [f"{name} {count:,} ({100 * count / total:.0f}%)" for name, count in list(counts.items())[:most]]
    rest = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")
