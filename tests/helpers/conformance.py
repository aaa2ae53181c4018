"""The table of methods and architectures in docs/reference/architectures.md, from what the tests of this run have shown.

    make conformance  # pytest -n auto --conformance docs/reference/architectures.md

A cell is the tests of one pair: all of them passed, or it stays empty and the run has failed. `M`: the merged model was shown
to equal the adapter. `P`: the real peft was shown to load the saved adapter with equal logits.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from afina.backbone.rows import ROWS
from afina.methods.base import registry
from families import FAMILIES

BEGIN, END = (
    "<!-- conformance: written by `pytest tests --conformance FILE` -->",
    "<!-- end of conformance -->",
)
DASH = "\u2013"
"""A pair that cannot be: the architecture has no module for a role of the method, and says so."""
LEAST = 4
"""Tests that a pair has to have passed: fewer, and the run was of a selection."""


class Conformance:
    """Collects outcomes by (method, architecture) while tests run, and writes the table at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.passed: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.failed: set[tuple[str, str]] = set()

    def pytest_runtest_logreport(self, report: Any) -> None:
        test, _, inside = report.nodeid.partition("[")
        if report.when != "call" or not inside or (pair := pair_of(inside.rstrip("]"))) is None:
            return
        if report.passed:
            self.passed[pair].add(test.rpartition("::")[2])
        elif report.failed:
            self.failed.add(pair)

    def pytest_sessionfinish(self) -> None:
        if not self.passed:
            return
        text = self.path.read_text(encoding="utf-8")
        before, rest = text.split(BEGIN)
        _, after = rest.split(END)
        self.path.write_text(f"{before}{BEGIN}\n\n{self.table()}\n{END}{after}", encoding="utf-8")

    def table(self) -> str:
        methods = [name for name, cls in sorted(registry().items()) if not cls.gradient_free]
        lines = ["| | " + " | ".join(f"`{name}`" for name in methods) + " |", "|---" * (len(methods) + 1) + "|"]
        for family in FAMILIES:
            lines.append(f"| {family} | " + " | ".join(self.cell(name, family) for name in methods) + " |")
        return "\n".join(lines) + "\n"

    def cell(self, method: str, family: str) -> str:
        if not can_be(method, family):
            return DASH
        tests = self.passed[method, family]
        if (method, family) in self.failed or len(tests) < LEAST:
            return ""
        merged = registry()[method].mergeable and "test_merged_is_a_plain_model_with_the_same_logits" in tests
        loads = {"test_peft_loads_what_we_save", "test_peft_loads_slices_of_a_fused_projection_as_one"} & tests
        return "✓" + " M" * merged + " P" * bool(loads)


def can_be(method: str, family: str) -> bool:
    """Return whether an architecture has a place for all that a method does by its defaults."""
    return registry()[method]().missing_role(ROWS[family]) is None


def pair_of(inside: str) -> tuple[str, str] | None:
    """Return the method and the architecture that a test's parameters name, if they name one of each."""
    method = _one(inside, registry())
    # Without the method's name: `llama-adapter` is no `llama`.
    family = _one(inside.replace(method, "", 1), FAMILIES) if method else None
    return (method, family) if method and family else None


def _one(inside: str, names: Any) -> str | None:
    def whole() -> Iterator[str]:
        for name in names:
            if re.search(rf"(^|-){re.escape(name)}(-|$)", inside):
                yield name

    # The longest: `bert` is no part of what `deberta-v2` or `xlm-roberta` says, and `lora` none of `adalora`.
    return max(whole(), key=len, default=None)
