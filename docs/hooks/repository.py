"""Writes where the repository is into the pages that have a line to fetch it by.

The address stands in one place, `Repository` under `[project.urls]` of pyproject.toml. Without one the pages say REPOSITORY,
and what that stands for.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

__all__ = ["addressed", "addresses"]

ROOT = Path(__file__).parents[2]
_CLONE = re.compile(r"git clone \S+ afina([^#\n]*?)(?: +# REPOSIT[^\n]*)?$", re.MULTILINE)
_CELL = re.compile(r'(REPOSITORY = \\")[^\\"]*(\\")')
"""A notebook's, whose quotes JSON escapes."""


def addressed(text: str, address: str) -> str:
    """Return a page with the address wherever it stands, or should."""
    return _CELL.sub(rf"\g<1>{address}\g<2>", _CLONE.sub(rf"git clone {address} afina\g<1>", text))


def addresses() -> Iterator[tuple[Path, str]]:
    """Give every page that names the repository, with what it should hold; none while there is no address."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    address = project.get("urls", {}).get("Repository")
    if address is None:
        return
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("notebooks/*.ipynb")):
        text = page.read_text(encoding="utf-8")
        if (changed := addressed(text, address)) != text:
            yield page, changed
