"""The memory of this process as Linux counts it, for what runs alone in a process of its own."""

import gc
from pathlib import Path


def reset_peak() -> int:
    """Let the peak begin again; return the resident bytes that it begins from."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def peak_megabytes_over(baseline: int) -> float:
    """Return the peak of the resident set since `reset_peak`, over a baseline of bytes."""
    return (_status("VmHWM") - baseline) / 1e6


def _status(key: str) -> int:
    """Bytes of a line of /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)
