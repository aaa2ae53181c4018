"""Each run by several processes of this machine, as accelerate's configuration file says: on several cards, or cores.

Every process computes a share of each batch. Where the file says FSDP, the model's weights are divided among them, so that
a model trains that no single card can hold.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from afina.errors import UsageError
from afina.measure.hardware import hardware
from afina.measure.launched import Launched
from afina.ops.allocator import huge_pages_for_new_processes
from afina.study.errand import Ended, Errand, begin
from afina.study.events import Observer
from afina.study.execute import run_apart
from afina.study.executors.base import Target, executor
from afina.study.executors.elsewhere import Elsewhere, Started
from afina.study.launch_file import Launch, read_launch

__all__ = ["Accelerate"]


@executor("accelerate")
@dataclass(kw_only=True)
class Accelerate(Elsewhere):
    """Carries out each run by several processes together, one run after another."""

    launch: str = "accelerate.yaml"
    """Path of the file that `accelerate config` writes; of it count the number of processes, cards and FSDP."""

    at_once: ClassVar[int] = 1
    has_cohorts: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self._launch: Launch = read_launch(Path(self.launch))
        n, path = self._launch.processes, self.launch
        self.remark = (  # type: ignore[misc]  # of this file
            f"each run is carried out by {n} processes, the model's weights divided among them ({path}); its memory is "
            "that of the first"
            if self._launch.shards
            else f"each run is carried out by {n} processes, the whole model in each ({path}); its memory is that of the "
            "first"
        )

    def device(self, wanted: str) -> str:
        """Return cpu or cuda; raises `UsageError` where the file names more processes than there are cards or cores."""
        import torch

        launch = self._launch
        if wanted not in ("auto", "cpu", "cuda"):
            raise UsageError(
                f"executor: accelerate: which card is whose is for {self.launch} to say; leave device out."
            )
        if wanted == "cuda" and launch.on_cpu:
            raise UsageError(
                f"{self.launch} says that the processes compute on the CPU, and device: cuda that they do not."
            )
        if launch.on_cpu or wanted == "cpu":
            cores = hardware()["cores"]
            if launch.processes > cores:
                raise UsageError(
                    f"{self.launch} names {launch.processes} processes, and this machine has {cores} cores."
                )
            return "cpu"
        cards = torch.cuda.device_count() if launch.cards is None else len(launch.cards.split(","))
        if launch.processes > cards:
            raise UsageError(
                f"{self.launch} names {launch.processes} processes, and there are {cards} GPUs for them; set num_processes "
                "to as many, or use_cpu: true."
            )
        return "cuda"

    def connect(self) -> None:
        """Find nothing: the processes are of this machine."""
        return

    def submit(self, target: Target, argument: Any, on_event: Observer = lambda event: None) -> Any:
        """Return what a run gives by all processes; what is asked before runs is found by one."""
        from afina.study.worker import carry_out_job

        # What is fitted to vectors has no batches to share.
        shared = target is carry_out_job and not argument.run.method.gradient_free
        return super().submit(target, argument, on_event) if shared else run_apart(target, argument, on_event)

    def start(self, errand: Errand) -> Started:
        launch, meeting = self._launch, Path(tempfile.mkdtemp(prefix="afina-"))
        each = [
            Launched(rank, launch.processes, str(meeting / "store"), launch.shards, launch.reshards, launch.offloads)
            for rank in range(launch.processes)
        ]
        with huge_pages_for_new_processes():
            processes = [begin(errand.folder, variables=self._variables() | process.variables()) for process in each]
        together = _Together(processes, meeting)
        return Started(together.is_over, together.ended, together.end)

    def _variables(self) -> dict[str, str]:
        """Return what the processes are told of the machine: their share of its cores, and the cards."""
        threads = max(1, hardware()["cores"] // self._launch.processes)
        share = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(threads)}
        return share | ({} if self._launch.cards is None else {"CUDA_VISIBLE_DEVICES": self._launch.cards})


class _Together:
    """The processes of one run: where one of them fails, the others would wait for it for ever and are ended."""

    def __init__(self, processes: Sequence[subprocess.Popen[bytes]], meeting: Path) -> None:
        self._processes, self._meeting = processes, meeting
        self._code: int | None = None

    def is_over(self) -> bool:
        codes = [process.poll() for process in self._processes]
        if failed := [code for code in codes if code]:
            # One that was killed is why others failed.
            self._code = min(failed)
            self.end()
        return bool(failed) or None not in codes

    def ended(self) -> Ended:
        return Ended("this machine", self._code or 0)

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()
        shutil.rmtree(self._meeting, ignore_errors=True)
