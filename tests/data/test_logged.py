"""A server's log is known as one, whole or cut at either end."""

import json
from pathlib import Path

import pytest

from afina.data.predicting.logged import RequestLog, is_log
from afina.serve.http.journal import Journal


def log(path: Path, requests: int = 4) -> Path:
    journal = Journal(path, with_text=True)
    for number in range(requests):
        journal.write(request=f"r{number}", path="/v1/classify", status=200, adapter="mail", text=[f"text {number}"])
    journal.close()
    return path


@pytest.mark.parametrize(("first", "last", "passed"), [
    (0, 0, {}),
    (30, 0, {"passed over, lines that are no request": 1}),
    (0, 30, {"passed over, a last line that is cut off": 1}),
    (30, 30, {"passed over, lines that are no request": 1, "passed over, a last line that is cut off": 1}),
])  # fmt: skip
def test_a_log_that_lost_its_beginning_or_end_is_one(
    tmp_path: Path, first: int, last: int, passed: dict[str, int]
) -> None:
    """`tail -c` and rotations cut within a line; a log without its first brace was read as so many texts of JSON."""
    whole = log(tmp_path / "requests.log").read_bytes()
    (tmp_path / "requests.log").write_bytes(whole[first : len(whole) - last])
    assert is_log(tmp_path / "requests.log")
    read = RequestLog(tmp_path / "requests.log")
    texts = [each.text for each in read.texts("mail")]
    assert texts == [f"text {number}" for number in range(bool(first), 4 - bool(last))]
    assert dict(read.passed) == passed


@pytest.mark.parametrize(
    "text", ["a line\nof text\nand another\n", '{"text": "a row"}\n', "", "[1]\n" + json.dumps("x")]
)
def test_other_files_are_no_logs(tmp_path: Path, text: str) -> None:
    (tmp_path / "rows.log").write_text(text)
    assert not is_log(tmp_path / "rows.log")
