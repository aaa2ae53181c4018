"""Words from data and models in what is printed and written: no tags, no links, no commands to a terminal; no file twice."""

import io
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from afina.cli.conversation import Wrapped
from afina.config import StudyConfig
from afina.errors import UsageError, printable
from afina.report.formats import latex_table, markdown_table
from afina.report.tables import Table
from afina.report.write import write_report
from afina.results.material import gather
from commands import afina
from result_folders import write_study

EVIL = "a\x1b[2Jb\x9b31mc\x07d\u202ee<script>alert(1)</script>[x](javascript:y)|`z`&amp;\r\n"


def test_a_table_in_markdown_holds_no_tag_link_or_command() -> None:
    table = Table("t", EVIL, [EVIL, "b"], [[EVIL, "1"]], EVIL, words=1)
    for text in (markdown_table(table), latex_table(table)):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    text = markdown_table(table)
    assert "<script" not in text
    assert "](" not in text
    assert text.count("\n| ") == 2  # no line of it has become two


def test_nothing_that_is_printed_commands_the_terminal(tmp_path: Path) -> None:
    """Neither a sentence, nor a table, nor what a model writes in a chat."""
    (tmp_path / "chats.txt").write_text(f"User: {EVIL.strip()}\nAssistant: yes\n")
    evil = tmp_path / "a\x1b[2Jb\x9b31m.txt"
    for result in (afina("data", "inspect", evil), afina("predict", evil, "x"), afina("recommend", evil)):
        assert result.returncode == 2
        assert not re.search("[\x1b\x9b\x07]", result.stderr + result.stdout)
    out = io.StringIO()
    console = Console(file=out, width=80)
    console.print(Text(EVIL))
    console.print(EVIL, markup=False)
    wrapped = Wrapped(out, 80)
    wrapped.write(EVIL)
    wrapped.end()
    assert not re.search("[\x1b\x9b\u202e]", out.getvalue())
    assert printable("plain\ttext\n é 🙂 \u200d") == "plain\ttext\n é 🙂 \u200d"


def test_tables_of_two_models_or_data_sets_of_one_name_are_two(tmp_path: Path) -> None:
    """Models in folders of one name, and data sets whose names are written alike in a file's name."""
    folder = write_study(tmp_path, {"lora": (0.9, 1, 5), "head": (0.7, 0.5, 1)}, seeds=2)
    lines = (folder / "results.jsonl").read_text()
    more = [("x/m", "a b"), ("y/m", "a b"), ("x/m", "a-b"), ("y/m", "a-b")]
    (folder / "results.jsonl").write_text(
        "".join(
            lines.replace('"model": "m"', f'"model": "{model}"').replace('"dataset": "d"', f'"dataset": "{dataset}"')
            .replace('"run": "m-d-', f'"run": "{number}-')
            for number, (model, dataset) in enumerate(more)
        )
    )  # fmt: skip
    groups = gather(folder).groups
    assert len({group.slug for group in groups}) == len({group.title for group in groups}) == 4
    assert [group.title for group in groups][:2] == ["x/m · a b", "y/m · a b"]
    write_report(folder)
    assert len(list((folder / "tables").glob("comparison-*.md"))) == 4


def test_a_model_stands_once_whatever_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "other").symlink_to(tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    keys = {"dataset": "d.csv", "methods": ["head"]}
    for second in ("base", "base/", "./base", str(tmp_path / "base"), "other"):
        with pytest.raises(UsageError, match="each may stand once"):
            StudyConfig.parse({**keys, "model": ["base", second]}, "study")
    assert StudyConfig.parse({**keys, "model": ["base", "minilm"]}, "study").model == ["base", "minilm"]


def test_a_table_is_printed_where_nothing_can_be_written(tmp_path: Path) -> None:
    folder = write_study(tmp_path, {"lora": (0.9, 1, 5), "head": (0.7, 0.5, 1)}, seeds=2)
    (folder / "tables").write_text("in the way")
    result = afina("report", folder)
    assert "lora" in result.stdout and "head" in result.stdout
    assert result.returncode == 1
    assert "cannot be" in result.stderr and "Traceback" not in result.stderr


def test_ctrl_c_in_the_first_second_is_one_sentence() -> None:
    """While Python still reads modules, and while the command is found."""
    for seconds in (0.01, 0.2):
        command = [sys.executable, "-X", "importtime", "-m", "afina", "methods"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            for line in process.stderr:  # until the command line's modules are being read, after Python has found them
                if "afina.cli" in line:
                    break
            time.sleep(seconds)
            process.send_signal(signal.SIGINT)
            rest = process.stderr.read()
        assert "Traceback" not in rest
        # Or by the signal itself: once the command has printed all and the interpreter is ending, nobody handles it any more.
        assert process.returncode in (0, 130, -signal.SIGINT)
