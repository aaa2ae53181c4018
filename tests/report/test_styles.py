"""Pages are read on phones: texts break anywhere, the cells of tables only between words."""

import re
from pathlib import Path

import pytest

import afina

PAGES = [path for path in Path(afina.__file__).parent.rglob("*.py") if "overflow-wrap:anywhere" in path.read_text()]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_figures_of_tables_are_not_broken_letter_by_letter(path: Path) -> None:
    rules = re.findall(r"([^{}\n]+)\{[^}]*overflow-wrap:anywhere[^}]*\}", path.read_text())
    selectors = {own.strip() for rule in rules for own in rule.split(",")}
    # What holds tables would hand it down to their cells, whose columns then become as narrow as a letter.
    assert selectors
    assert not selectors & {"*", "body", "main", "details", "table", "td", "th", ".wide"}
