"""Jobs in the queue of a Slurm cluster, by submitit: each job of a study is one of the cluster's."""

from dataclasses import dataclass
from typing import Any

from afina.errors import UsageError
from afina.study.errand import Ended, Errand, run
from afina.study.executors.base import executor
from afina.study.executors.elsewhere import Elsewhere, Lost, Started

__all__ = ["Slurm"]


@executor("slurm")
@dataclass(kw_only=True)
class Slurm(Elsewhere):
    """Hands jobs to Slurm, and waits for each."""

    partition: str | None = None
    """The partition to submit to; left out the cluster's own default."""
    minutes: int = 1440
    """The longest that a job may take; Slurm ends it then, and the next start goes on from its checkpoint."""
    cpus: int = 4
    """Cores of a job."""
    gpus: int = 0
    """GPUs of a job: none or one."""
    memory_gb: int | None = None
    """Memory of a job; left out the cluster's own default."""
    cluster: str | None = None
    """`local` runs jobs on this machine, to try a study out; left out it is Slurm."""

    def connect(self) -> None:
        try:
            import submitit
        except ImportError:
            raise UsageError(
                "executor: slurm needs submitit, which is not installed: pip install 'afina[slurm]'."
            ) from None
        if self.gpus > 1:
            raise UsageError(f"executor: slurm: gpus is none or one, as a run has one card, not {self.gpus}.")
        try:
            self.queue: Any = submitit.AutoExecutor(self.directory.resolve() / "slurm", cluster=self.cluster or "slurm")
        except RuntimeError:
            raise UsageError(
                "executor: slurm finds no sbatch here; start the study where jobs are submitted."
            ) from None
        asked = {
            "timeout_min": self.minutes, "cpus_per_task": self.cpus, "gpus_per_node": self.gpus, "mem_gb": self.memory_gb,
            "slurm_partition": self.partition, "name": "afina",
        }  # fmt: skip
        self.queue.update_parameters(**{key: value for key, value in asked.items() if value is not None})

    def device(self, wanted: str) -> str:
        if wanted != "auto":
            return wanted
        return "cuda" if self.gpus else "cpu"

    def start(self, errand: Errand) -> Started:
        from submitit.core.utils import FailedJobError, UncompletedJobError

        job = self.queue.submit(run, str(errand.folder))

        def ended() -> Ended:
            try:
                of_job: Ended = job.result()
                return of_job
            except (UncompletedJobError, FailedJobError) as error:
                reason = str(error).strip().partition("\n")[0]
                raise Lost(f"Slurm's job {job.job_id} ended without a word ({reason}).") from None

        return Started(job.done, ended, job.cancel)
