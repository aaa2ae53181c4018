"""Writes what the reference pages say of commands, keys, results and methods, from the program itself.

A page has a place for each such part, between two comments:

    <!-- written: options afina study -->
    ...
    <!-- end -->

`python docs/hooks/reference.py` (`make reference`) writes all places and the JSON schemas anew; `mkdocs build` does the
same for the site, and tests/docs/test_docs.py says when a page has fallen behind.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from commands_told import options_of
from methods_told import methods_table, rates_table, settings_of_methods
from optimisers_told import optimisers_table
from repository import addresses
from schemas import SCHEMAS, keys_of, properties_of, schema
from signals_told import signals_table

__all__ = ["DOCS", "refresh", "stale", "written"]

DOCS = Path(__file__).parents[1]
_PLACE = re.compile(r"(<!-- written: ([^>]+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def written(place: str) -> str:
    """Return what stands at a place, by its name: a kind, and what it is of."""
    kind, _, of = place.partition(" ")
    if kind == "options":
        return options_of(of)
    if kind == "keys":
        return keys_of(of)
    if kind == "properties":
        return properties_of(of)
    tables = {"methods": methods_table, "rates": rates_table, "settings": settings_of_methods}
    return (tables | {"optimisers": optimisers_table, "signals": signals_table})[kind]()


def refresh(text: str) -> str:
    """Return a page with all its places written anew."""
    return _PLACE.sub(lambda match: f"{match[1]}\n{written(match[2])}\n\n{match[3]}", text)


def files() -> Iterator[tuple[Path, str]]:
    """Give every file of the documents that is written here, whole or in part, with what it should hold."""
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        if "<!-- written:" in text:
            yield page, refresh(text)
    for name in SCHEMAS:
        yield DOCS / "reference" / f"{name}.schema.json", json.dumps(schema(name), indent=2, ensure_ascii=False) + "\n"


def stale() -> dict[Path, str]:
    """Return the files that are not what they should be, with what they should hold."""
    fallen = {path: text for path, text in files() if not path.exists() or path.read_text(encoding="utf-8") != text}
    return dict(addresses()) | fallen


def main() -> None:
    for path, text in stale().items():
        path.write_text(text, encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
