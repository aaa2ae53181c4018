"""Where several rows or keys are wrong, one sentence names the first five and counts the rest."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pytest
from pyarrow import parquet

from afina.config import StudyConfig
from afina.data.files.tables import read_table
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError, likewise
from afina.evaluation.answers import Answering, read_questions
from afina.tasks.reading import load_text_dataset

Write = Callable[[Path], Any]


def test_the_first_five_are_named_and_the_rest_counted() -> None:
    rows = [(f"row {number}", f"'{number}'") for number in range(1, 9)]
    assert likewise(rows[:1]) == ""
    assert likewise(rows[:2]) == "; likewise row 2 ('2')"
    assert likewise(rows[:5]) == "; likewise row 2 ('2'), row 3 ('3'), row 4 ('4') and row 5 ('5')"
    assert likewise(rows).endswith("row 5 ('5') and 3 more")
    assert likewise([("row 1", ""), ("row 7", "")]) == "; likewise row 7"


def lines(*rows: Any) -> Write:
    return lambda path: path.write_text(
        "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    )


def table(**columns: Any) -> Write:
    return lambda path: parquet.write_table(arrow.table(columns), path)


GOOD = [{"text": f"mail {number}", "label": "a" if number % 2 else "b"} for number in range(9)]
TALK = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "good morning"}]
CASES: dict[str, tuple[str, Write, dict[str, Any], str, str]] = {
    "fields of a table": (
        "a.csv", lines("text,label", "a,b", *["only one"] * 7), {},
        "line 3: 1 fields", "; likewise line 4 (1 fields), line 5 (1 fields), line 6 (1 fields), line 7 (1 fields) and 2",
    ),
    "lines of JSON": (
        "a.jsonl", lines(GOOD[0], "{broken", GOOD[1], "{'so': 'too'}", GOOD[2]), {}, "line 2: ", "; likewise line 4 (",
    ),
    "values that are no objects": ("a.jsonl", lines(*GOOD, 3, "[1]"), {}, "line 10: an object", "; likewise line 11 ("),
    "half a surrogate pair": (
        "a.jsonl", lines(*GOOD, *['{"text": "\\ud800", "label": "a"}'] * 6), {}, "line 10: half", "line 14 and 1 more",
    ),
    "labels that are no numbers": (
        "a.jsonl", lines(*[{"text": f"mail {n}", "label": str(n)} for n in range(9)],
                         *[{"text": "mail", "label": f"x{n}"} for n in range(7)]), {"task": "regression"},
        "' is not a number, as regression needs; likewise row 1", "') and 1 more.",
    ),
    "answers that are too few": (
        "a.jsonl", lines(*[{"text": "q", "choices": ["a", "b"][: 1 + n % 2], "label": 0} for n in range(24)]),
        {"task": "choices"}, ": it has 1 answers ['a']; at least two are needed", " (1 answers ['a']) and ",
    ),
    "labels that name no answer": (
        "a.jsonl", lines(*[{"text": "q", "choices": ["a", "b"], "label": label} for label in [0, 7] * 9]),
        {"task": "choices"}, ": the label 7 is none of its 2 answers", " (7) and ",
    ),
    "tags that do not fit": (
        "a.jsonl", lines(*[{"tokens": ["Ana", "came"], "tags": ["B-PER"] * (1 + n % 2)} for n in range(24)]),
        {"task": "tagging"}, ": it has 1 tags for 2 words; give each word one; likewise", " (1 tags for 2 words) and ",
    ),
    "lines of a word and its tag": (
        "a.conll", lines(*["Ana B-PER", "came O", ""] * 60, "alone", "two too many"), {"task": "tagging"},
        "line 181: 1 columns", "; likewise line 182 ('two too many')",
    ),
    "conversations": (
        "a.jsonl", lines(*[{"messages": TALK}] * 3, *[{"messages": [{"role": "wizard", "content": "x"}]}] * 6),
        {"task": "chat"}, "row 4: ", " and 1 more",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_file_says_all_that_is_wrong_with_its_rows(case: str, tmp_path: Path) -> None:
    name, write, how, first, others = CASES[case]
    write(tmp_path / name)
    with pytest.raises(UsageError) as caught:
        load_text_dataset(DatasetSpec(path=str(tmp_path / name)), task=how.get("task", "auto"))
    assert first in str(caught.value)
    assert others in str(caught.value)
    assert "\n" not in str(caught.value)


def test_texts_that_are_not_utf8_and_empty_references_are_all_named(tmp_path: Path) -> None:
    raw = arrow.array([b"good", *[b"\xff\xfe"] * 6]).view(arrow.string())
    table(text=raw, label=["a"] * 7)(tmp_path / "a.parquet")
    with pytest.raises(
        UsageError, match=r"row 2: the text in column 'text' is not UTF-8.*; likewise row 3.* and 1 more"
    ):
        load_text_dataset(DatasetSpec(path=str(tmp_path / "a.parquet")))
    lines({"prompt": "a", "answer": "b"}, *[{"prompt": "a", "answer": ""}] * 2)(tmp_path / "q.jsonl")
    with pytest.raises(UsageError, match="row 2: the reference in column 'answer' is empty; likewise row 3"):
        read_questions(tmp_path / "q.jsonl", Answering())


def test_wrong_keys_are_named_up_to_five() -> None:
    keys = {f"wrong{number}": np.pi for number in range(8)}
    with pytest.raises(UsageError) as caught:
        StudyConfig.parse({"model": "m", "dataset": "d", "methods": ["lora"], **keys}, "study.yaml")
    said = str(caught.value)
    assert [name for name in keys if f"'{name}'" in said] == list(keys)[:5]
    assert said.endswith("; and 3 more")


def test_one_wrong_row_alone_is_said_as_ever(tmp_path: Path) -> None:
    lines("text,label", "a,b", "only one")(tmp_path / "a.csv")
    with pytest.raises(UsageError, match="line 3: 1 fields where the first line has 2") as caught:
        read_table(tmp_path / "a.csv")
    assert "likewise" not in str(caught.value)
