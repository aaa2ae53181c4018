"""Print the test files that `make check` runs: those that changed, that import what changed or stand for its room.

What changed is what differs from where this branch left main, with what is not committed. A change that more files test
than fit into a minute is left to `make test`: a smoke set is run with as many of them as fit, and that is said.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from durations import seconds_of

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").exists())
TESTS = ROOT / "tests"
EVERY = ("test_house", "test_wording")
"""What any file of the source may break: the order of the house, and its words."""
SMOKE = (*EVERY, "test_ops", "test_loop", "test_statistics", "test_values")
"""And the formulas at the bottom, a step, what is concluded, and what is refused."""
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


def beside(path: str) -> set[Path]:
    """Return the test files that stand for a changed file: named as it is or as its room, the house's, or the documents'.

    Most of what a registry finds is imported by no test, which walks the registry.
    """
    room, stem = Path(path).parts[2:-1][:1], Path(path).stem
    if path.startswith("src/"):
        near = {TESTS / room[0] / f"test_{name}.py" for name in (stem, room[0])} if room else set()
        return near | {TESTS / f"{name}.py" for name in EVERY}
    return {TESTS / "docs" / "test_docs.py"} if path.endswith(".md") else set()


def further(files: list[Path], names: set[str]) -> list[Path]:
    """Return the test files that import what imports these modules, or what imports that, as near as there are any.

    What only a registry finds is imported by nothing: then it is the tests of its room that are about it.
    """
    imports = {module_of(str(path.relative_to(ROOT))): {*modules(path)} for path in (ROOT / "src").rglob("*.py")}
    reached = set(names)
    while nearer := {name for name, own in imports.items() if name not in reached and own & reached}:
        if found := [file for file in files if nearer & {*modules(file)}]:
            return found
        reached |= nearer
    return []


def chosen(paths: set[str]) -> list[Path]:
    """Return the test files to run for what changed."""
    files = sorted(TESTS.rglob("test_*.py"))
    changed_tests = [file for file in files if str(file.relative_to(ROOT)) in paths]
    names = {module_of(path) for path in paths if path.endswith(".py") and path.startswith(("src/", "tests/"))}
    nearest = set().union(*map(beside, paths))
    wanted = [*changed_tests, *(file for file in files if file in nearest or names & set(modules(file)))]
    wanted = list(dict.fromkeys(wanted))
    if names and {file.stem for file in wanted} <= {*EVERY}:
        rooms = {TESTS / Path(path).parts[2] for path in paths if path.startswith("src/")}
        wanted += further(files, names) or [file for file in files if file.parent in rooms]
    if wanted and sum(map(seconds_of, wanted)) <= MOST:
        return wanted

    taken = [file for file in files if file.stem in SMOKE]
    for file in sorted(wanted, key=lambda file: (file not in changed_tests, file not in nearest, seconds_of(file))):
        if file not in taken and sum(map(seconds_of, [*taken, file])) <= MOST:
            taken.append(file)
    if left := len({*wanted} - {*taken}):
        print(f"{left} more test files are about what changed; make test runs them all.", file=sys.stderr)
    return taken


if __name__ == "__main__":
    print(*(file.relative_to(ROOT) for file in chosen(changed())))
