"""The tutorials, run exactly as they stand: files are written, commands and code are carried out, in the pages' order."""

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
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from commands import afina

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("tutori*/[!i]*.md"))
_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A part of a page between fences: its language, the file that it is the text of, and the text."""

    language: str
    title: str
    text: str


def carry_out(page: Path, folder: Path) -> str:
    """Do in a folder what a page says, and return all that was printed; `console` and plain `text` are only shown."""
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"\]\(([\w.]+\.(?:csv|txt))\)", text):
        with contextlib.suppress(shutil.SameFileError):
            shutil.copy(page.parent / name, folder / name)
    names: dict[str, Any] = {}
    printed = []
    for block in map(Block._make, _BLOCK.findall(text)):
        if block.title:
            (folder / block.title).write_text(block.text, encoding="utf-8")
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
    "tutorials/first_study": ["features is best", "Still learning when their steps were over", "'billing'"],
    "tutorials/comparison": ["lora", "mean"],
    "tutorials/chatbot": ["31 of 33 rows kept", "25 euros", "Mill Street", "perplexity"],
    "tutoriais/primeiro_estudo": ["160", "cobrança"],
    "tutoriais/comparacao": ["lora", "mean"],
    "tutoriais/chatbot": ["31 of 33 rows kept", "Abrimos às oito", "Rua do Moinho"],
}
"""What a page's commands have to print, as the page says."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_a_tutorial_works_as_it_is_written(page: Path, tmp_path: Path) -> None:
    printed = carry_out(page, tmp_path)
    for words in SAID[f"{page.parent.name}/{page.stem}"]:
        assert words in printed, f"{page.name} does not print {words!r}:\n{printed}"


def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    """In this process: a kernel of its own would import torch anew."""
    book = nbformat.read(ROOT / "notebooks" / "first_study.ipynb", as_version=4)
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    assert all(not cell.outputs for cell in cells), "clear the notebook's outputs"
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
