"""Memory runs out, and the run goes on with fewer rows at once: what it learns stays the same, and its result says so."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from afina.errors import OutOfMemory, ProcessEnded
from afina.report.write import write_report
from afina.study.carry_out import CohortJob
from afina.study.execute import ending, explain
from afina.study.executors.in_process import InProcess
from afina.study.less import with_less
from afina.study.study import Study
from studies import settings

Loader = Callable[..., Path]


class Small(InProcess):
    """Has room for so many rows at once."""

    def __init__(self, most: int) -> None:
        self.most, self.tried = most, list[int]()

    def submit(self, target: Any, argument: Any, on_event: Any = lambda event: None) -> Any:
        job = (
            argument.jobs[0]
            if isinstance(argument, CohortJob)
            else argument[0]
            if isinstance(argument, tuple)
            else argument
        )
        if hasattr(job, "rows_at_once"):
            self.tried.append(job.rows_at_once)
            if job.rows_at_once > self.most:
                raise OutOfMemory("Out of memory.")
        return super().submit(target, argument, on_event)


@pytest.fixture(scope="module")
def study(family_folder: Loader, csv_folder: Path) -> dict[str, Any]:
    # A model without dropout, whose draws would be others.
    return settings(
        family_folder,
        csv_folder,
        model=str(family_folder("llama")),
        epochs=1,
        batch_size=6,
        train_limit=12,
        test_limit=8,
    )


def weights(out: Path, results: Sequence[Any]) -> list[dict[str, torch.Tensor]]:
    return [load_file(out / result.adapter / "adapter_model.safetensors") for result in results]


def test_a_run_that_memory_has_no_room_for_goes_on_with_half_its_rows(study: dict[str, Any], tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    small = Small(2)
    results = Study(tmp_path / "small", executor=small, **study).run(lambda event: events.append(dict(event)))
    whole = Study(tmp_path / "whole", executor=InProcess(), **study).run()
    assert small.tried == [6, 3, 2]
    assert [event["rows"] for event in events if event["kind"] == "less"] == [3, 2]
    (result,) = results
    assert (result.status, result.fitted) == ("ok", {"micro_batch_size": 2})
    assert result.assumed[-1] == (
        "lora: memory ran out with 3 rows at once, so it ran with micro_batch_size: 2: memory and time are of that, what it "
        "learns is the same but for draws of dropout."
    )
    assert sum("memory ran out" in note for note in result.assumed) == 1
    assert whole[0].fitted == {}
    for ours, theirs in zip(weights(tmp_path / "small", results), weights(tmp_path / "whole", whole), strict=True):
        for name, value in ours.items():
            torch.testing.assert_close(value, theirs[name], rtol=1e-4, atol=1e-5)
    page = write_report(tmp_path / "small", language="pt").html.read_text()
    assert "faltou memória com 3 linhas de cada vez" in page
    assert '"kind": "less"' in (tmp_path / "small/runs" / result.run / "events.jsonl").read_text()


def test_a_cohort_that_memory_has_no_room_for_goes_on_likewise(study: dict[str, Any], tmp_path: Path) -> None:
    small = Small(3)
    results = Study(tmp_path, executor=small, **study | {"methods": ["lora", "ia3"], "cohort": 2}).run()
    assert [(result.status, result.fitted) for result in results] == [("ok", {"micro_batch_size": 3})] * 2
    assert small.tried.count(6) >= 1


def test_a_run_that_has_no_room_for_one_row_has_failed(study: dict[str, Any], tmp_path: Path) -> None:
    small = Small(0)
    (result,) = Study(tmp_path, executor=small, **study).run()
    assert small.tried == [6, 3, 2, 1]
    assert (result.status, result.unfinished) == ("failed", True)
    assert "Out of memory" in str(result.error)


def test_half_of_the_rows_is_never_none(study: dict[str, Any], tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        jobs: list[Any] = []
        patch.setattr(InProcess, "submit", lambda self, target, argument, on_event=None: jobs.append(argument))
        with pytest.raises(AssertionError):
            Study(tmp_path, executor=InProcess(), **study | {"batch_size": 5, "micro_batch_size": 4}).run()
    (job, *_) = (each for each in jobs if hasattr(each, "rows_at_once"))
    rows = []
    while job is not None:
        rows.append(job.rows_at_once)
        job = (with_less([job]) or [None])[0]
    assert rows == [4, 2, 1]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000 bytes."),
        RuntimeError("std::bad_alloc"), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"),
    ],
)  # fmt: skip
def test_want_of_memory_is_known_by_its_words(error: Exception) -> None:
    assert isinstance(explain(error), OutOfMemory)
    assert isinstance(explain(OutOfMemory("so")), OutOfMemory)


def test_a_process_that_the_system_killed_is_not_tried_as_it_was() -> None:
    """A stranger's kill is tried once more; one for want of memory, which the system has counted, is not."""
    assert type(ending(-9)) is ProcessEnded
    assert type(ending(-9, short=True)) is OutOfMemory
    assert type(ending(-15, short=True)) is ProcessEnded
