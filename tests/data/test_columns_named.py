"""A column that is not found is asked for by what whoever asks has: a study's key, a command's own option, or a name."""

import ast
import re
from pathlib import Path

import pytest

from afina.audit.canaries import Planting, plant
from afina.data.labelled import read_texts
from afina.data.predicting.asked import read_asked
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.evaluation.perplexity import read_documents
from afina.tasks.reading import load_text_dataset
from source import SOURCE, tree_of


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("remark,mark\n" + "a good lamp,1\nlate again,0\n" * 4, encoding="utf-8")
    return path


def test_each_says_how_its_own_column_is_named(rows: Path, tmp_path: Path) -> None:
    asking = {
        "say which with text: (": lambda: load_text_dataset(DatasetSpec(path=str(rows))),
        "say which with --text (": lambda: read_asked(rows),
        "say which with --column (": lambda: read_documents(rows),
        "; call that one text (remark, mark).": lambda: plant(rows, tmp_path / "out.jsonl", Planting(count=1)),
        "looks like a text; call that one text (": lambda: read_texts(rows),
    }
    for way, ask in asking.items():
        with pytest.raises(UsageError, match=re.escape(way)):
            ask()


def test_a_studys_key_is_asked_for_where_a_study_is_read_alone() -> None:
    """A caller outside of the rooms that read study files says what names the column there."""
    silent = []
    for path in sorted(SOURCE.rglob("*.py")):
        room = path.relative_to(SOURCE).parts[0]
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "find_columns":
                told = any(keyword.arg == "named_by" for keyword in node.keywords)
                if not told and room not in ("tasks", "data", "study"):
                    silent.append(f"{path.relative_to(SOURCE)}:{node.lineno}")
    assert not silent
