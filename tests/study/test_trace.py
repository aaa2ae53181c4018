"""An error that nobody foresaw leaves its traceback in the run's folder, and what is said of the run says where."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from afina.errors import AfinaError, Unexpected
from afina.study.executors.base import Executor
from afina.study.executors.in_process import InProcess
from afina.study.executors.processes import Processes
from afina.study.study import Study
from afina.study.trace import with_trace
from studies import settings, write_splits

Loader = Callable[..., Path]


@pytest.mark.parametrize(
    ("cohort", "executor", "outermost"), [("off", Processes(), "serve"), (2, InProcess(), "submit")], ids=["off", "2"]
)
def test_the_traceback_of_an_unforeseen_error_lies_in_the_runs_folder(
    family_folder: Loader, tmp_path: Path, cohort: Any, executor: Executor, outermost: str
) -> None:
    """The tokens of the data become rubbish when everything is prepared, so that the run's own process meets them."""
    write_splits(tmp_path, train=20, test=10)
    given = settings(family_folder, tmp_path, seeds=2, epochs=1, cohort=cohort)
    study = Study(tmp_path / "out", executor=executor, **given)
    whole: dict[Path, bytes] = {}

    def spoil(event: Any) -> None:
        if event["kind"] == "unit" and not whole:
            whole.update({path: path.read_bytes() for path in (tmp_path / "out" / "cache").glob("tokens-*.npz")})
            for path in whole:
                path.write_bytes(b"rubbish")

    results = study.run(spoil)
    assert whole
    assert [result["status"] for result in results] == ["failed", "failed"]
    for result in results:
        kept = tmp_path / "out" / "runs" / result["run"] / "error.txt"
        assert str(kept) in result["error"]
        trace = kept.read_text(encoding="utf-8")
        assert "Traceback (most recent call last)" in trace
        assert "in load_tokens" in trace and f"in {outermost}" in trace
        assert "torch" in trace.splitlines()[-1]
    for path, content in whole.items():
        path.write_bytes(content)
    assert [result["status"] for result in study.run()] == ["ok", "ok"]
    assert not list((tmp_path / "out").rglob("error.txt"))


def test_what_was_foreseen_leaves_no_traceback(tmp_path: Path) -> None:
    foreseen = AfinaError("The loss became nan.")
    assert with_trace(foreseen, tmp_path) is foreseen
    assert list(tmp_path.iterdir()) == []
    told = with_trace(Unexpected("KeyError: 'a' (loop.py, line 1)", "Traceback ..."), tmp_path)
    assert str(told).endswith(f"{tmp_path / 'error.txt'}, please report it.")
