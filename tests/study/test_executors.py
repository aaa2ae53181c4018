"""Where runs are carried out changes nothing but the process: the same adapters, the same sentences."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from afina.errors import AfinaError, UsageError
from afina.results.results_jsonl import read_results
from afina.study.executors.base import EXECUTORS, Executor, make_executor
from afina.study.executors.elsewhere import Elsewhere
from afina.study.executors.in_process import InProcess
from afina.study.executors.processes import Processes
from afina.study.study import Study
from jobs import fail, where
from studies import settings

Loader = Callable[[str], Path]
HERE = [name for name, cls in EXECUTORS.items() if not issubclass(cls, Elsewhere)]
"""Executors to whom jobs are not written down; the others are in test_elsewhere.py and test_accelerate.py."""


@pytest.mark.parametrize("name", HERE)
def test_a_job_gets_a_copy_and_its_events_and_value_come_back(name: str) -> None:
    given, seen = [1, 2], []
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    process, value = EXECUTORS[name]().submit(where, given, seen.append)
    assert (process == os.getpid()) == (name == "in-process")
    assert value == [1, 2, 4]
    assert given == [1, 2]
    assert seen == [{"kind": "here", "argument": [1, 2]}]
    assert torch.equal(torch.rand(1), expected)  # the caller's draws are its own


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize(
    ("what", "kind", "sentence"),
    [
        ("usage", UsageError, r"^The file is empty\.$"),
        ("memory", AfinaError, "^Out of memory; set a smaller batch_size"),
        ("fault", AfinaError, r"^KeyError: 'gone' \(jobs\.py, line \d+\)$"),
    ],
)
def test_a_jobs_end_is_one_sentence(name: str, what: str, kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind, match=sentence):
        EXECUTORS[name]().submit(fail, what)


def test_a_study_trains_the_same_adapters_in_this_process_and_in_others(
    tmp_path: Path, family_folder: Loader, csv_folder: Path
) -> None:
    study = settings(family_folder, csv_folder, methods=["lora", "adalora", "features"], seeds=2, epochs=1)
    found = []
    for executor in (Processes(), InProcess()):
        out = tmp_path / executor.name
        results = Study(out, executor=executor, **study).run()
        assert {result["status"] for result in results} == {"ok"}
        weights = [(out / result["adapter"] / "adapter_model.safetensors").read_bytes() for result in results]
        found.append([[result["test_metrics"] for result in read_results(out)], weights])
    assert found[0] == found[1]


def test_what_an_observer_raises_is_its_own(tmp_path: Path, family_folder: Loader, csv_folder: Path) -> None:
    def observe(event: Any) -> None:
        if event["kind"] == "epoch":
            raise LookupError("mine")

    for executor in (Processes(), InProcess()):
        study = settings(family_folder, csv_folder, methods=["head"], epochs=1)
        with pytest.raises(LookupError, match="mine"):
            Study(tmp_path / executor.name, executor=executor, **study).run(observe)


def test_who_shares_a_process_is_told_what_memory_means(
    tmp_path: Path, family_folder: Loader, csv_folder: Path
) -> None:
    seen: list[Any] = []
    study = settings(family_folder, csv_folder, methods=["features"], epochs=1)
    Study(tmp_path / "out", executor=InProcess(), **study).run(seen.append)
    (told,) = [event["remarks"] for event in seen if event["kind"] == "remarks"]
    assert any("all runs share this process" in remark for remark in told)


def test_the_environment_chooses_and_an_unknown_name_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: dict[str, type[Executor]] = {"": Processes, "processes": Processes, "in-process": InProcess}
    for name, cls in chosen.items():
        monkeypatch.setenv("AFINA_EXECUTOR", name)
        assert type(make_executor()) is cls
    assert type(make_executor("processes")) is Processes  # what a study says goes before the environment
    with pytest.raises(UsageError, match=r"^executor: ray: unknown setting 'adress'; did you mean 'address'\?$"):
        make_executor({"ray": {"adress": "auto"}})
    monkeypatch.setenv("AFINA_EXECUTOR", "inprocess")
    with pytest.raises(UsageError, match=r"^Unknown executor 'inprocess'; did you mean 'in-process'\?$"):
        make_executor()
