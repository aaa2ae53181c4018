"""Energy from counters that the hardware keeps: NVML for NVIDIA GPUs, RAPL for processors; never a guess."""

from collections.abc import Callable
from pathlib import Path

__all__ = ["EnergyMeter"]

_RAPL = Path("/sys/class/powercap")


class EnergyMeter:
    """Adds up joules over the intervals between `start` and `stop`; `joules` is None where nothing can be read."""

    def __init__(self, device: str = "cpu", rapl: Path = _RAPL) -> None:
        self._counters = _nvml_counters() if device.startswith("cuda") else _rapl_counters(rapl)
        self._before: list[float] | None = None
        self.joules: float | None = 0.0 if self._counters else None

    def start(self) -> None:
        self._before = [read() for read, _ in self._counters]

    def stop(self) -> None:
        if self._before is None:
            return
        for (read, wrap), before in zip(self._counters, self._before, strict=True):
            used = read() - before
            # RAPL's counters start again at zero when they are full.
            self.add(used + wrap if used < 0 else used)
        self._before = None

    def add(self, joules: float | None) -> None:
        """Add what an earlier part of the same run used."""
        if joules is not None:
            self.joules = (self.joules or 0.0) + joules


Counter = tuple[Callable[[], float], float]


def _rapl_counters(root: Path) -> list[Counter]:
    """Joules of each processor package, with the value at which its counter wraps."""
    counters: list[Counter] = []
    for folder in sorted(root.glob("intel-rapl:*")):
        # intel-rapl:0 is a package; intel-rapl:0:1 is a part of it and would be counted twice.
        if folder.name.count(":") > 1:
            continue
        energy = folder / "energy_uj"
        try:
            energy.read_text()
            wrap = float((folder / "max_energy_range_uj").read_text()) / 1e6
        except (OSError, ValueError):
            continue
        counters.append((lambda file=energy: float(file.read_text()) / 1e6, wrap))  # type: ignore[misc]
    return counters


def _nvml_counters() -> list[Counter]:
    try:
        import pynvml
        import torch

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByPciBusId(_bus_id(torch.cuda.get_device_properties(0)))
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except Exception:  # without NVML, or on a card without the counter, energy is not measurable
        return []
    return [(lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3, 0.0)]


def _bus_id(properties: object) -> str:
    parts = [getattr(properties, f"pci_{name}_id") for name in ("domain", "bus", "device")]
    return "{:08x}:{:02x}:{:02x}.0".format(*parts)
