"""The tables of exports in docs/reference/exports.md, from what the tests of this run have shown.

    make conformance  # which also writes the table of methods and architectures

A test of an export says by `record_property("export", [target, architecture, method, answers, difference])` what it held
beside its adapter. What no test of the run has shown stays as an earlier one showed it.
"""

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

__all__ = ["ExportTable"]

BEGIN, END = "<!-- exports: written by `pytest tests/export --conformance FILE` -->", "<!-- end of exports -->"
_KEPT = re.compile(r"<!-- figures: (.*) -->")


class ExportTable:
    """Collects the differences of exports while tests run, and writes the tables at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        for name, value in report.user_properties if report.when == "call" and report.passed else ():
            if name == "export":
                *place, difference = value
                self.found["|".join(place)] = difference

    def pytest_sessionfinish(self) -> None:
        if not self.found:
            return
        text = self.path.read_text(encoding="utf-8")
        before, rest = text.split(BEGIN)
        inside, after = rest.split(END)
        kept = _KEPT.search(inside)
        figures = (json.loads(kept[1]) if kept else {}) | {
            name: float(f"{own:.1e}") for name, own in self.found.items()
        }
        lines = [_table(figures, 1, "architecture"), _table(figures, 3, "answers")]
        lines.append(f"<!-- figures: {json.dumps(dict(sorted(figures.items())))} -->\n")
        self.path.write_text(f"{before}{BEGIN}\n\n" + "\n".join(lines) + f"\n{END}{after}", encoding="utf-8")


def _table(figures: dict[str, float], row: int, what: str) -> str:
    """Return a table of the largest difference by one part of what was exported and by target."""
    cells: dict[tuple[str, str], list[tuple[str, float]]] = defaultdict(list)
    for name, value in figures.items():
        parts = name.split("|")
        cells[parts[row], parts[0]].append((parts[2], value))
    targets, rows = (sorted({key[place] for key in cells}) for place in (1, 0))
    lines = [f"| {what} | " + " | ".join(f"`{to}`" for to in targets) + " |", "|---" * (len(targets) + 1) + "|"]
    for own in rows:
        shown = [_cell(cells[own, to]) for to in targets]
        lines.append(f"| {own} | " + " | ".join(shown) + " |")
    return "\n".join(lines) + "\n"


def _cell(values: list[tuple[str, float]]) -> str:
    if not values:
        return "\u2013"
    count = len({method for method, _ in values})
    return f"{max(value for _, value in values):.0e} ({count})"
