"""Print the test files that `make check` runs: those that changed, those that import what changed, or else a smoke set.

What changed is what differs from where this branch left main, with what is not committed. A change that more files test
than fit into a minute is left to `make test`: the changed test files and the smoke set are run, and that is said.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from durations import seconds_of

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").exists())
TESTS = ROOT / "tests"
SMOKE = ("test_house", "test_ops", "test_loop", "test_statistics", "test_values")
"""The order of the house, the formulas at the bottom, a step, what is concluded, and what is refused."""
MOST = 35
"""Seconds of tests that fit into a minute, beside the start and what mypy takes of the other core."""


def changed() -> set[str]:
    """Return the paths of changed files, below the root."""
    base = "HEAD"
    for name in ("origin/main", "main"):
        if found := _git("merge-base", "HEAD", name):
            base = found[0]
            break
    return {*_git("diff", "--name-only", base), *_git("ls-files", "--others", "--exclude-standard")}


def _git(*arguments: str) -> list[str]:
    result = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return result.stdout.split("\n")[:-1] if result.returncode == 0 else []


def modules(path: Path) -> Iterator[str]:
    """Yield what a file imports, wherever in it: modules, and names that may be modules of a package."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def module_of(path: str) -> str:
    """Return how a changed file is imported: a module of the source, or a helper of the tests."""
    parts = Path(path).with_suffix("").parts
    return ".".join(parts[1:]).removesuffix(".__init__") if parts[0] == "src" else parts[-1]


def chosen(paths: set[str]) -> list[Path]:
    """Return the test files to run for what changed."""
    files = sorted(TESTS.rglob("test_*.py"))
    own = [file for file in files if str(file.relative_to(ROOT)) in paths]
    names = {module_of(path) for path in paths if path.endswith(".py") and path.startswith(("src/", "tests/"))}
    others = [file for file in files if file not in own and names & set(modules(file))]
    if own + others and sum(map(seconds_of, own + others)) <= MOST:
        return own + others

    taken = [file for file in files if file.stem in SMOKE]
    for file in sorted(own, key=seconds_of):
        if file not in taken and sum(map(seconds_of, [*taken, file])) <= MOST:
            taken.append(file)
    if left := len({*own, *others} - {*taken}):
        print(f"{left} more test files are about what changed; make test runs them all.", file=sys.stderr)
    return taken


if __name__ == "__main__":
    print(*(file.relative_to(ROOT) for file in chosen(changed())))
