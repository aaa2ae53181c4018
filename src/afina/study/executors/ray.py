"""Jobs on the machines of a Ray cluster: each has a machine, or one of its GPUs, to itself.

So what is measured of a job is its own. A machine that joins late is used; one that is lost costs the jobs that were on it
the time since their last checkpoint.
"""

import socket
from dataclasses import dataclass
from typing import Any, ClassVar

from afina.errors import UsageError
from afina.study.errand import Ended, Errand, run
from afina.study.executors.base import executor
from afina.study.executors.elsewhere import Elsewhere, Lost, Started
from afina.study.parcels import packed, put_back, run_there

__all__ = ["Ray"]


@executor("ray")
@dataclass(kw_only=True)
class Ray(Elsewhere):
    """Carries jobs out as tasks of Ray."""

    address: str | None = None
    """`auto`, `ray://HOST:10001` or HOST:PORT; left out the cluster of RAY_ADDRESS or of this machine, else a new one."""
    cpus: int | None = None
    """Cores that a job takes of a machine; left out all of the smallest machine's, or its share beside each GPU."""

    apart: ClassVar[bool] = False
    """True once a machine was found that does not see the study's folder."""

    def connect(self) -> None:
        ray = _ray()
        if not ray.is_initialized():
            try:
                ray.init(address=self.address, log_to_driver=False, logging_level="error", configure_logging=False)
            except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
                reason = " ".join(str(error).split())[:300]
                raise UsageError(
                    f"executor: no Ray cluster answers at {self.address or 'RAY_ADDRESS'}: {reason}"
                ) from None
        most = max(int(node.get("CPU", 0)) for node in _machines())
        if self.cpus is not None and self.cpus > most:
            raise UsageError(f"executor: ray: cpus is {self.cpus}, and no machine of the cluster has more than {most}.")
        if len({_kind(node) for node in _machines()}) > 1:
            self.remark = (  # type: ignore[misc]  # of this cluster
                "the machines of the cluster are not of one kind (executor: ray): times and memory of runs on different "
                "ones do not compare"
            )

    def device(self, wanted: str) -> str:
        if wanted != "auto":
            return wanted
        return "cuda" if any(node.get("GPU") for node in _machines()) else "cpu"

    def start(self, errand: Errand) -> Started:
        task = _Task(self, errand)
        return Started(task.is_over, task.ended, task.cancel)

    def share(self) -> dict[str, float]:
        """Return what a job takes of a machine: a GPU with its part of the cores, or all cores of the smallest machine."""
        machines = _machines()
        with_gpus = [node for node in machines if node.get("GPU")]
        if with_gpus:
            return {"num_gpus": 1, "num_cpus": self.cpus or min(int(node["CPU"] // node["GPU"]) for node in with_gpus)}
        return {"num_cpus": self.cpus or min(int(node["CPU"]) for node in machines if node.get("CPU"))}


class _Task:
    """A job that Ray has; what it needs of the study's folder goes along where a machine does not see that."""

    def __init__(self, executor: Ray, errand: Errand) -> None:
        self._executor, self._errand = executor, errand
        self._hand_over()

    def is_over(self) -> bool:
        ready, _ = _ray().wait([self._reference], timeout=0)
        if not ready:
            return False
        ended = self.ended()
        if ended.unseen and not self._sent:
            # So is the next job's, as none is asked twice.
            self._executor.apart = True  # type: ignore[misc]  # of this cluster
            self._hand_over()
            return False
        if ended.made:
            put_back(ended.made, self._errand.study)
        return True

    def ended(self) -> Ended:
        ray = _ray()
        try:
            of_task: Ended = ray.get(self._reference)
            return of_task
        except ray.exceptions.OutOfMemoryError:
            raise Lost("Ray ended the job, as its machine was short of memory.") from None
        except ray.exceptions.RayError as error:
            raise Lost(f"The job's machine or its worker was lost ({type(error).__name__}).") from None

    def cancel(self) -> None:
        _ray().cancel(self._reference, force=True)

    def _hand_over(self) -> None:
        self._sent = self._executor.apart
        parcel = packed(self._errand) if self._sent else None
        task: Any = _ray().remote(_run)
        options = task.options(max_retries=0, scheduling_strategy="SPREAD", **self._executor.share())
        self._reference = options.remote(str(self._errand.folder), parcel)


def _run(folder: str, parcel: bytes | None) -> Ended:
    """Run an errand in a task, under a name by which a person finds the machine in Ray's own dashboard."""
    node = _ray().get_runtime_context().get_node_id()[:8]
    name = f"{socket.gethostname()} ({node})"
    return run(folder, name) if parcel is None else run_there(folder, name, parcel)


def _machines() -> list[dict[str, float]]:
    """Return what each machine of the cluster has."""
    return [node["Resources"] for node in _ray().nodes() if node["Alive"]]


def _kind(resources: dict[str, float]) -> tuple[float, float, tuple[str, ...]]:
    cards = tuple(sorted(name for name in resources if name.startswith("accelerator_type:")))
    return resources.get("CPU", 0), resources.get("GPU", 0), cards


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise UsageError("executor: ray needs ray, which is not installed: pip install 'afina[ray]'.") from None
    return ray
