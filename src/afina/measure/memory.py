"""Measure this process's memory by phase: exact peaks where the system keeps them, and means of background samples.

On a CPU it is the resident set, minus what was resident before the model was loaded. On an NVIDIA GPU it is what the
allocator allocated and reserved, and what NVML reads for this process.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from afina.measure.hardware import nvml_device

__all__ = ["MemoryMonitor", "current_resident_bytes"]

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def current_resident_bytes() -> int:
    """Return the size of this process's resident set."""
    import psutil

    return int(psutil.Process().memory_info().rss)


class MemoryMonitor:
    """Samples memory in the background while its `with` block runs; `phase` names what the run is doing."""

    def __init__(self, device: str = "cpu", interval_seconds: float = 0.5, baseline_bytes: int | None = None) -> None:
        self.device, self.interval = device, interval_seconds
        self.baseline = current_resident_bytes() if baseline_bytes is None else baseline_bytes
        self._cuda = device.startswith("cuda")
        self._gpu = _gpu_reading(device) if self._cuda else None
        self._phase: str | None = None
        self._peaks: dict[str, dict[str, int | None]] = {}
        self._sum, self._count = 0.0, 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def __enter__(self) -> "MemoryMonitor":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count this block's memory towards a phase; a phase may come several times, but not inside another."""
        assert self._phase is None, f"{name!r} began within {self._phase!r}"
        # Samples alone would miss a short peak; where the system keeps the highest mark since a reset, that is taken.
        exact = self._reset_peak()
        with self._lock:
            self._phase = name
        try:
            yield
        finally:
            with self._lock:
                self._sample(exact, at_end=True)
                self._phase = None

    def _watch(self) -> None:
        while not self._stop.wait(self.interval):
            with self._lock:
                if self._phase is not None:
                    self._sample(exact=False)

    def _sample(self, exact: bool, at_end: bool = False) -> None:
        assert self._phase is not None
        now = self._reading()
        peak = now
        if self._cuda:
            import torch

            # What the allocator holds, used or not, is what another program cannot have: that is what a run needs of a
            # card.
            reserved = torch.cuda.max_memory_reserved(self.device)
            peak = max(now, reserved)
            self._raise("peak_allocated_bytes", torch.cuda.max_memory_allocated(self.device))
            self._raise("peak_reserved_bytes", reserved)
        elif exact:
            peak = max(now, _high_water_mark() - self.baseline)
        self._raise("peak_bytes", peak)

        # The reading at a phase's end comes at no regular moment: it enters the mean only where there is no other.
        if self._phase == "train" and not (at_end and self._count):
            self._sum, self._count = self._sum + now, self._count + 1

    def _raise(self, key: str, value: int) -> None:
        assert self._phase is not None
        empty: dict[str, int | None] = {"peak_bytes": None, "peak_allocated_bytes": None, "peak_reserved_bytes": None}
        peaks = self._peaks.setdefault(self._phase, empty)
        peaks[key] = max(peaks[key] or 0, value)

    def _reading(self) -> int:
        if self._gpu is not None:
            return self._gpu()
        # Less what the process had before the run: Python and libraries are the same for every method.
        return max(0, current_resident_bytes() - self.baseline)

    def _reset_peak(self) -> bool:
        """Reset the system's own peak, and say whether it keeps one."""
        if self._cuda:
            import torch

            torch.cuda.reset_peak_memory_stats(self.device)
            return True
        try:
            _CLEAR.write_text("5")
        except OSError:
            return False
        return _high_water_mark() > 0

    def report(self) -> dict[str, Any]:
        """Return a result's memory figures, in bytes."""
        return {
            "peak_memory_bytes": self._peaks.get("train", {}).get("peak_bytes"),
            "mean_memory_bytes": self._sum / self._count if self._count else None,
            "baseline_bytes": self.baseline,
            "memory_samples": self._count,
            "memory": {phase: dict(peaks) for phase, peaks in self._peaks.items()},
        }

    def state(self) -> dict[str, Any]:
        """Return the state, as values that JSON can hold, so that a resumed run keeps its earlier peaks and samples."""
        return {"peaks": {k: dict(v) for k, v in self._peaks.items()}, "sum": self._sum, "count": self._count}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Add the peaks and samples of an earlier part of the same run."""
        for phase, peaks in state["peaks"].items():
            highest = self._peaks.setdefault(phase, dict.fromkeys(peaks))
            for key, value in peaks.items():
                if value is not None:
                    highest[key] = max(highest.get(key) or 0, value)
        self._sum, self._count = self._sum + state["sum"], self._count + state["count"]


def _high_water_mark() -> int:
    """Return the peak of the resident set since it was last reset, or 0 where the system keeps none."""
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux: samples have to do
    return 0


def _gpu_reading(device: str) -> Callable[[], int]:
    """Return a function that reads this process's GPU memory from NVML, or what torch reserved where NVML has no figure."""
    import os

    import torch

    # This starts CUDA; until then the allocator keeps no peaks, and resetting them fails.
    torch.cuda.current_device()
    opened = nvml_device(device)

    def read() -> int:
        if opened is not None:
            nvml, handle = opened
            try:
                processes = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
            except nvml.NVMLError:  # not on every system (WSL)
                processes = []
            for process in processes:
                # In a container NVML may know this process by another number.
                if process.pid == os.getpid() and process.usedGpuMemory is not None:
                    return int(process.usedGpuMemory)
        return int(torch.cuda.memory_reserved(device))

    return read
