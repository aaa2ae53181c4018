"""The source as tests of its words and of its order read it: parsed once, which takes seconds, for all of them."""

import ast
from functools import cache
from pathlib import Path

import afina

__all__ = ["SOURCE", "tree_of"]

SOURCE = Path(afina.__file__).parent


@cache
def tree_of(path: Path) -> ast.Module:
    """Return a file's tree, which no test changes."""
    return ast.parse(path.read_text(encoding="utf-8"))
