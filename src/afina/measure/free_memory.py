"""Tell how much memory a process may still take here: of the machine, of its container, and of its own limits."""

import resource
from collections.abc import Iterator
from pathlib import Path

import psutil

__all__ = ["free_bytes"]

_CGROUPS = Path("/sys/fs/cgroup")
_OURS = Path("/proc/self/cgroup")
_STATUS = Path("/proc/self/status")


def free_bytes(device: str = "cpu") -> float:
    """Return the bytes that another process like this one may take on a device."""
    if device.startswith("cuda"):
        import torch

        return float(torch.cuda.mem_get_info(device)[0])
    return max(0.0, min(psutil.virtual_memory().available, *_left_of_container(_CGROUPS, _OURS), *_left_of_limits()))


def _left_of_limits() -> Iterator[float]:
    """Yield what is left of limits that a person set for processes (`ulimit`), beyond what this one has by now."""
    try:
        lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
    except OSError:  # not Linux
        return
    for limit, held in ((resource.RLIMIT_DATA, "VmData"), (resource.RLIMIT_AS, "VmSize")):
        most, words = resource.getrlimit(limit)[0], lines.get(held, "").split()
        if most != resource.RLIM_INFINITY and words:
            yield float(most - 1024 * int(words[0]))


def _left_of_container(root: Path, ours: Path) -> Iterator[float]:
    """Yield what is left of the limits of the control groups that this process is in, of version 2 and of version 1."""
    try:
        lines = [line.split(":", 2) for line in ours.read_text().splitlines() if line.count(":") >= 2]
    except OSError:
        return
    for _, controllers, path in lines:
        if controllers not in ("", "memory"):
            continue
        top = root / controllers
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        place = top / path.strip("/")
        # A limit of a group above holds too; within a container the path may be that outside.
        for group in (place, *place.parents, top):
            if group == top or top in group.parents:
                yield from _left(group, *names)


def _left(group: Path, limit: str, usage: str) -> Iterator[float]:
    try:
        most, held = (group / limit).read_text().strip(), int((group / usage).read_text())
        files = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return
    if most.isdecimal():
        # What files left in the cache is given up where memory is short.
        yield float(int(most) - held + int(files.get("inactive_file", 0)))
