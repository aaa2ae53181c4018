"""Jobs for executors: a process of its own imports them by their module, as it cannot those of a test file."""

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from afina.errors import UsageError

__all__ = ["dies_once", "fail", "where"]

Send = Callable[[dict[str, Any]], None]


def where(argument: list[int], send: Send) -> tuple[int, list[int]]:
    """Say one thing, change the argument and draw from torch's generator."""
    send({"kind": "here", "argument": list(argument)})
    argument.append(4)
    torch.manual_seed(7)
    torch.rand(3)
    return os.getpid(), argument


def fail(argument: str, send: Send) -> None:
    raise {"usage": UsageError("The file is empty."), "memory": MemoryError(), "fault": KeyError("gone")}[argument]


def dies_once(argument: list[str], send: Send) -> tuple[int, list[str]]:
    """Be killed the first time, and say one thing the second; a file says that it was there."""
    mark = Path(argument[0])
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    send({"kind": "here", "argument": list(argument)})
    argument.append("alive")
    return os.getpid(), argument


def limited(argument: tuple[Any, Any, float], send: Any) -> Any:
    """Carry a job out in a process that may take no more than so many bytes beyond what it has."""
    target, given, room = argument
    held = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (1024 * int(held.split()[1]) + int(room), resource.RLIM_INFINITY))
    return target(given, send)
