"""Jobs on the machines of a Ray cluster: each has a machine, or one of its GPUs, to itself.

So what is measured of a job is its own. A machine that joins late is used; one that is lost costs the jobs that were on it
the time since their last checkpoint.
"""

import socket
from dataclasses import dataclass
from typing import Any

from afina.errors import UsageError
from afina.study.errand import Ended, Errand, run
from afina.study.executors.base import executor
from afina.study.executors.elsewhere import Elsewhere, Lost, Started

__all__ = ["Ray"]


@executor("ray")
@dataclass(kw_only=True)
class Ray(Elsewhere):
    """Carries jobs out as tasks of Ray."""

    address: str | None = None
    """`auto`, `ray://HOST:10001` or HOST:PORT; left out the cluster of RAY_ADDRESS or of this machine, else a new one."""
    cpus: int | None = None
    """Cores that a job takes of a machine; left out all of the smallest machine's, or its share beside each GPU."""

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
        ray = _ray()
        task: Any = ray.remote(_run).options(max_retries=0, scheduling_strategy="SPREAD", **self._share())
        reference = task.remote(str(errand.folder))

        def is_over() -> bool:
            ready, _ = ray.wait([reference], timeout=0)
            return bool(ready)

        def ended() -> Ended:
            try:
                of_task: Ended = ray.get(reference)
                return of_task
            except ray.exceptions.OutOfMemoryError:
                raise Lost("Ray ended the job, as its machine was short of memory.") from None
            except ray.exceptions.RayError as error:
                raise Lost(f"The job's machine or its worker was lost ({type(error).__name__}).") from None

        return Started(is_over, ended, lambda: ray.cancel(reference, force=True))

    def _share(self) -> dict[str, float]:
        """Return what a job takes of a machine: a GPU with its part of the cores, or all cores of the smallest machine."""
        machines = _machines()
        with_gpus = [node for node in machines if node.get("GPU")]
        if with_gpus:
            return {"num_gpus": 1, "num_cpus": self.cpus or min(int(node["CPU"] // node["GPU"]) for node in with_gpus)}
        return {"num_cpus": self.cpus or min(int(node["CPU"]) for node in machines if node.get("CPU"))}


def _run(folder: str) -> Ended:
    """Run an errand in a task, under a name by which a person finds the machine in Ray's own dashboard."""
    node = _ray().get_runtime_context().get_node_id()[:8]
    return run(folder, f"{socket.gethostname()} ({node})")


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
