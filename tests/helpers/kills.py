"""Studies in a process of their own, killed in the middle: what must then go on as if nothing had happened."""

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import yaml

from afina.study.executors.base import VARIABLE
from afina.study.executors.in_process import InProcess
from afina.study.executors.processes import Processes
from afina.study.study import Study
from readied import start_clean_server

__all__ = ["AT_EVERY_STEP", "kill_workers", "killed_and_resumed", "plan_alike", "sleep", "start_study", "wait_for_step"]


AT_EVERY_STEP = {"checkpoint_seconds": 0}
"""Of a study that is killed: it goes on from a step of its own, and not from its beginning."""


def start_here(study: dict[str, Any], folder: Path) -> "_Started":
    """Start `folder`/killed in a process that is forked ready; its runs are carried out in that same process."""
    start_clean_server()
    process = multiprocessing.get_context("forkserver").Process(target=_study, args=(study, folder))
    process.start()
    return _Started(process)


class _Started:
    """A process of `multiprocessing` with the names of `subprocess`."""

    def __init__(self, process: Any) -> None:
        self.process, self.wait = process, process.join

    def poll(self) -> int | None:
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.process.pid, number)


def _study(study: dict[str, Any], folder: Path) -> None:
    Study(folder / "killed", executor=InProcess(), **study).run()


def start_study(folder: Path, stderr: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Start the command on `folder`/study.yaml; its results go to `folder`/killed."""
    command = [sys.executable, "-m", "afina", "study", str(folder / "study.yaml"), "--out", str(folder / "killed")]
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr, env=environment)


def sleep(argument: None, send: Callable[[dict[str, Any]], None]) -> None:
    """A job that says one thing and then nothing for a minute."""
    send({"kind": "asleep"})
    time.sleep(60)


def wait_for_step(folder: Path, least: int, process: "subprocess.Popen[bytes] | _Started") -> None:
    """Wait until a checkpoint below the folder has come to a step; it is an error if the process ends before."""
    from safetensors import SafetensorError, safe_open

    while process.poll() is None:
        for path in folder.rglob("checkpoint.safetensors"):
            with contextlib.suppress(OSError, SafetensorError), safe_open(path, framework="pt") as file:
                if json.loads(file.metadata()["state"])["members"][0]["position"]["step"] >= least:
                    return
        time.sleep(0.03)
    raise AssertionError("the run ended before it could be killed")


def kill_workers() -> None:
    """Kill the processes that carry out runs: the children of this one's fork server."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = child.parent()
            if parent is not None and parent.pid != os.getpid():
                child.kill()


def plan_alike(whole: Path, other: Path) -> None:
    """Have a study that is yet to begin in `other` do the same sums as the one in `whole`.

    How many runs of a cohort go together is chosen by the clock.
    """
    for path in whole.rglob("cohorts/*/plan.json"):
        study = path.parents[2]
        kept = other / path.relative_to(whole)
        kept.parent.mkdir(parents=True)
        plan = json.loads(path.read_text())
        kept.write_text(json.dumps({key: plan[key] for key in ("runs", "together", "most_tokens", "alike")}))
        stored = yaml.safe_load((study / "study.yaml").read_text())["study"]
        (other / study.relative_to(whole) / "study.yaml").write_text(yaml.safe_dump({"study": stored}))


def killed_and_resumed(
    study: dict[str, Any], folder: Path, kills: Sequence[int], *, command: bool = False
) -> list[dict[str, Any]]:
    """Kill -9 a study at its first checkpoint from each step on, go on to its end, and return its results.

    With `command` it is the `afina` command that is killed, whose runs have processes of their own.
    They are those of the study in `folder`/whole, left alone before: adapters bit for bit, and all of their histories.
    """
    study = study | AT_EVERY_STEP
    whole = {result["run"]: result for result in Study(folder / "whole", **study).run()}
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    plan_alike(folder / "whole", folder / "killed")
    for least in kills:
        process = start_study(folder) if command else start_here(study, folder)
        wait_for_step(folder / "killed", least, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
    results = Study(folder / "killed", executor=Processes() if command else InProcess(), **study).run()
    assert {result["run"] for result in results} == set(whole)
    for result in results:
        undisturbed = whole[result["run"]]
        assert result["resumed"] == len(kills)
        first, second = (
            (folder / name / result["adapter"] / "adapter_model.safetensors").read_bytes()
            for name in ("whole", "killed")
        )
        assert first == second, result["run"]
        ours, theirs = (
            [{name: value for name, value in entry.items() if name != "seconds"} for entry in own["history"]]
            for own in (result, undisturbed)
        )
        assert ours == theirs, result["run"]
    assert not list((folder / "killed").rglob("checkpoint.safetensors"))
    return results
