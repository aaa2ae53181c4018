"""The tutorials, run as they stand: files are written, commands and code are carried out, in the pages' order.

`make test` runs every command and all code, on studies of fewer rows and epochs than the pages' files say, which are checked
as written; `make conformance` runs all exactly as they stand. That a small model learns facts as the chatbot's does is shown
by `cli/test_demo_chat.py` too.
"""

import contextlib
import io
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import pytest
import yaml
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from afina.config import StudyConfig
from afina.study.plan import expand
from commands import afina

ROOT = Path(__file__).parents[2]
PAGES = {f"{page.parent.name}/{page.stem}": page for page in (ROOT / "docs").glob("tutori*/[!i]*.md")}
_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A part of a page between fences: its language, the file that it is the text of, and the text."""

    language: str
    title: str
    text: str


SHORT = {"train_limit": 32, "test_limit": 16, "epochs": 1, "precision": "fp32"}
"""Keys of a study whose results nobody looks at; which precision is the fastest would take longer to find than all of it."""


def shortened(text: str, path: Path) -> str:
    """Return a study file with `SHORT` in it, once it was found to be one as it is written."""
    path.write_text(text, encoding="utf-8")
    assert expand(StudyConfig.read(path))
    return yaml.safe_dump(yaml.safe_load(text) | SHORT, allow_unicode=True)


def carry_out(page: Path, folder: Path, *, whole: bool) -> str:
    """Do in a folder what a page says, and return all that was printed; `console` and plain `text` are only shown."""
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"\]\(([\w.]+\.(?:csv|txt))\)", text):
        with contextlib.suppress(shutil.SameFileError):
            shutil.copy(page.parent / name, folder / name)
    names: dict[str, Any] = {}
    printed = []
    for block in map(Block._make, _BLOCK.findall(text)):
        if block.title:
            path = folder / block.title
            is_study = block.language == "yaml" and not whole
            path.write_text(shortened(block.text, path) if is_study else block.text, encoding="utf-8")
        elif block.language == "sh":
            printed += [command(line, folder) for line in block.text.splitlines() if line]
        elif block.language == "python":
            printed.append(code(block.text, names, folder))
        else:
            assert block.language in ("console", "text"), (
                f"{page.name} has a block of {block.language} that nobody runs"
            )
    return "\n".join(printed)


def command(line: str, folder: Path) -> str:
    """Carry out a line of a shell: one afina command, maybe behind a pipe."""
    before, _, last = line.rpartition(" | ")
    given = subprocess.run(["sh", "-c", before], capture_output=True, text=True, check=True).stdout if before else None
    word, *rest = shlex.split(last, comments=True)
    assert word == "afina", line
    result = afina(*rest, cwd=folder, text=given)
    assert result.returncode == 0, f"{line}\n{result.stdout}{result.stderr}"
    return result.stdout


def code(text: str, names: dict[str, Any], folder: Path) -> str:
    """Carry out Python in a folder, with the names of the page's earlier code."""
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(text, "a tutorial", "exec"), names)
    return printed.getvalue()


SAID = {
    "tutorials/first_study": ["'billing'"],
    "tutorials/comparison": ["lora", "mean"],
    "tutorials/chatbot": ["31 of 33 rows kept", "perplexity"],
    "tutoriais/primeiro_estudo": ["cobrança"],
    "tutoriais/comparacao": ["lora", "mean"],
    "tutoriais/chatbot": ["31 of 33 rows kept"],
}
"""What a page's commands have to print, as the page says."""
LEARNED = {
    "tutorials/first_study": ["features is best", "Still learning when their steps were over"],
    "tutorials/chatbot": ["25 euros", "Mill Street"],
    "tutoriais/primeiro_estudo": ["160"],
    "tutoriais/chatbot": ["Abrimos às oito", "Rua do Moinho"],
}
"""And once the studies have all rows and epochs of the page."""
ENGLISH = [name for name in SAID if name.startswith("tutorials/")]


@pytest.mark.always
@pytest.mark.covered(
    ("name", "whole"),
    [(name, False) for name in ENGLISH],
    [(name, whole) for name in SAID for whole in (False, True)],
    ids=lambda value: ("short", "whole")[value] if isinstance(value, bool) else value.replace("/", "-"),
)
def test_a_tutorial_works_as_it_is_written(name: str, whole: bool, tmp_path: Path) -> None:
    printed = carry_out(PAGES[name], tmp_path, whole=whole)
    for words in SAID[name] + (LEARNED.get(name, []) if whole else []):
        assert words in printed, f"{name} does not print {words!r}:\n{printed}"


def test_every_tutorial_is_run() -> None:
    assert {*PAGES} == {*SAID} >= {*LEARNED}


@pytest.mark.covered("whole", [False], [False, True], ids=lambda whole: ("short", "whole")[whole])
def test_the_notebook_runs_from_top_to_bottom(whole: bool, tmp_path: Path) -> None:
    """In this process: a kernel of its own would import torch anew."""
    book = nbformat.read(ROOT / "notebooks" / "first_study.ipynb", as_version=4)
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    assert all(not cell.outputs for cell in cells), "clear the notebook's outputs"
    if not whole:
        for long, short in ((".head(160)", ".head(40)"), ("epochs=2", "epochs=1, precision='fp32'")):
            (cell,) = (cell for cell in cells if long in cell.source)
            cell.source = cell.source.replace(long, short)
    shell = InteractiveShell.instance()
    shown: list[dict[str, Any]] = []
    try:
        with contextlib.chdir(tmp_path):
            for cell in cells:
                with capture_output() as captured:
                    result = shell.run_cell(cell.source)
                result.raise_error()
                shown += [output.data for output in captured.outputs]
                if result.result is not None:
                    shown.append(shell.display_formatter.format(result.result)[0])
    finally:
        InteractiveShell.clear_instance()
    # The study, its plan, the recommendation, the mistakes and the report show themselves as tables.
    assert sum("text/html" in forms for forms in shown) >= 6
