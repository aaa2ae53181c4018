"""The tables of exports in docs/reference/exports.md, from what the tests of this run have shown.

    make conformance  # which also writes the table of methods and architectures
    make exports      # which tries only what the tables lack, and may be broken off at any time

A test of an export says by `record_property("export", [target, architecture, method, answers, difference])` what it held
beside its adapter. What no test of the run has shown stays as an earlier one showed it.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exports import every_export, figures_in

__all__ = ["ExportTable"]

BEGIN, END = "<!-- exports: written by `pytest tests/export --conformance FILE` -->", "<!-- end of exports -->"
DASH = "\u2013"


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
        _, after = rest.split(END)
        figures = figures_in(self.path) | {name: float(f"{own:.1e}") for name, own in self.found.items()}
        lines = [_architectures(figures), _answers(figures), _lacking(figures)]
        lines.append(f"<!-- figures: {json.dumps(dict(sorted(figures.items())))} -->\n")
        self.path.write_text(f"{before}{BEGIN}\n\n" + "\n".join(lines) + f"\n{END}{after}", encoding="utf-8")


Cells = dict[tuple[str, str], list[tuple[str, float]]]
"""By row and target what was tried: method and difference."""


def _architectures(figures: dict[str, float]) -> str:
    """Return the table by architecture, whose cells say of how many methods that have a place there."""
    cells, wanted = _cells(figures, 1), defaultdict(set)
    for to, name, family in every_export():
        wanted[family, to].add(name)
    for place, values in cells.items():
        wanted[place] |= {method for method, _ in values}
    return _table("architecture", {place: _cell(cells[place], len(methods)) for place, methods in wanted.items()})


def _answers(figures: dict[str, float]) -> str:
    """Return the table by kind of answer."""
    return _table("answers", {place: _cell(values) for place, values in _cells(figures, 3).items()})


def _lacking(figures: dict[str, float]) -> str:
    """Say what of the tables was not run yet."""
    known = {tuple(name.split("|")[:3]) for name in figures}
    lacking: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for to, name, family in every_export():
        if (to, family, name) not in known:
            lacking[to][family].append(name)
    if not lacking:
        return "All that the tables have a place for was run.\n"
    count = sum(len(names) for own in lacking.values() for names in own.values())
    lines = [f"Not run yet are {count} exports, which `make exports` runs:", ""]
    for to, families in sorted(lacking.items()):
        each = "; ".join(f"{family} {', '.join(names)}" for family, names in families.items())
        lines.append(f"- `{to}`: {each}")
    return "\n".join(lines) + "\n"


def _cells(figures: dict[str, float], row: int) -> Cells:
    cells: Cells = defaultdict(list)
    for name, value in figures.items():
        parts = name.split("|")
        cells[parts[row], parts[0]].append((parts[2], value))
    return cells


def _table(what: str, cells: Mapping[tuple[str, str], str]) -> str:
    """Return a table of what was found by one part of what was exported and by target."""
    targets, rows = (sorted({key[place] for key in cells}) for place in (1, 0))
    lines = [f"| {what} | " + " | ".join(f"`{to}`" for to in targets) + " |", "|---" * (len(targets) + 1) + "|"]
    lines += [f"| {own} | " + " | ".join(cells.get((own, to), DASH) for to in targets) + " |" for own in rows]
    return "\n".join(lines) + "\n"


def _cell(values: list[tuple[str, float]], wanted: int | None = None) -> str:
    if not values:
        return "not run"
    count = len({method for method, _ in values})
    of = "" if wanted in (None, count) else f" of {wanted}"
    return f"{max(value for _, value in values):.0e} ({count}{of})"
