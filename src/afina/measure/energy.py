"""Read energy from the hardware's own counters: NVML for NVIDIA GPUs, RAPL for processors; nothing is estimated.

A counter belongs to a whole GPU or processor, so that it includes whatever else runs there.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from afina.measure.hardware import nvml_device

__all__ = ["EnergyMeter"]

_RAPL = Path("/sys/class/powercap")


@dataclass(frozen=True)
class _Counter:
    read: Callable[[], float]
    """Returns the joules since some moment in the past."""
    wrap: float | None
    """Value at which the counter wraps to zero; None where it never does."""


class EnergyMeter:
    """Adds up joules between `start` and `stop`; `joules` is None where any part of them is unknown."""

    def __init__(self, device: str = "cpu", rapl: Path = _RAPL, interval_seconds: float = 30.0) -> None:
        self.interval = interval_seconds
        self._counters = _nvml_counters(device) if device.startswith("cuda") else _rapl_counters(rapl)
        self._before: list[float] | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.joules: float | None = 0.0 if self._counters else None

    def __enter__(self) -> "EnergyMeter":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to count."""
        assert self._before is None, "the meter is running"
        self._before = self._read()
        # Without a first reading there is nothing to measure, and no thread to do it.
        if self._before is not None:
            self._stop = threading.Event()
            self._thread = threading.Thread(target=self._watch, args=(self._stop,), name="energy", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop counting until the next `start`; does nothing where the meter is not running."""
        if self._thread is not None:
            self._stop.set()
            # Waited for, so that two readings never run into each other.
            self._thread.join()
            self._thread = None
        # The last reading counts what was used since the thread's.
        self.update()
        self._before = None

    def update(self) -> None:
        """Add what was used since the last reading; a counter read too seldom could wrap twice unnoticed."""
        with self._lock:
            if self._before is None:
                return
            before, self._before = self._before, self._read()
            if self._before is None:
                return

            # A counter that stands lower than before has wrapped around once, as it is read often enough.
            for counter, earlier, now in zip(self._counters, before, self._before, strict=True):
                if now >= earlier:
                    self.add(now - earlier)
                else:
                    # A counter that never wraps has been reset: what it counted before is lost.
                    self.add(now - earlier + counter.wrap if counter.wrap is not None else None)

    def add(self, joules: float | None) -> None:
        """Add what an earlier part of the same run used; None marks an unmeasured part, which makes the sum unknown."""
        self.joules = None if joules is None or self.joules is None else self.joules + joules

    def _read(self) -> list[float] | None:
        try:
            return [counter.read() for counter in self._counters] or None
        except Exception:  # a counter lost on the way (rights, driver) must end the measuring, never the training
            self.joules = None
            return None

    def _watch(self, stopped: threading.Event) -> None:
        while not stopped.wait(self.interval):
            self.update()


def _rapl_counters(root: Path) -> list[_Counter]:
    """Return a counter for each processor package, or none where one cannot be read: a part is no total."""
    counters: list[_Counter] = []
    for folder in sorted(root.glob("intel-rapl:*")):
        try:
            # Its parts (core, uncore, dram) and the whole platform (psys) lie beside it and would count it twice.
            if not (folder / "name").read_text().startswith("package"):
                continue
            counter = _rapl_counter(folder)
            counter.read()
        except (OSError, ValueError):
            # A package whose counter cannot be read is missing from the sum, and a part would be taken for the whole.
            return []
        counters.append(counter)
    return counters


def _rapl_counter(folder: Path) -> _Counter:
    def read() -> float:
        return int((folder / "energy_uj").read_text()) / 1e6

    return _Counter(read, int((folder / "max_energy_range_uj").read_text()) / 1e6)


def _nvml_counters(device: str) -> list[_Counter]:
    opened = nvml_device(device)
    if opened is None:
        return []
    nvml, handle = opened

    def read() -> float:
        return int(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3

    try:
        read()
    except nvml.NVMLError:  # cards before Volta have no such counter
        return []
    return [_Counter(read, None)]
