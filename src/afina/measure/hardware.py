"""Record what a result was made with and on: hardware, versions, git state, and a fingerprint of what must agree."""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from afina.measure.launched import launched

__all__ = ["fingerprint", "git_state", "hardware", "nvml_device", "of_this_machine", "versions"]

_PACKAGES = (
    "afina", "torch", "transformers", "tokenizers", "datasets", "numpy", "scipy", "scikit-learn", "peft", "xgboost",
    "xgboost-cpu", "bitsandbytes",
)  # fmt: skip
_CAPABILITIES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16")


@cache
def hardware() -> dict[str, Any]:
    """Return processor, cores, memory, arithmetic extensions and GPUs.

    `cores` counts the logical cores that this process may use: two for a physical core with hyper-threading.
    """
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    name, flags = _processor()
    return {
        "cpu": name,
        "cores": cores,
        "physical_cores": psutil.cpu_count(logical=False),
        "memory_bytes": psutil.virtual_memory().total,
        "cpu_capabilities": [flag for flag in _CAPABILITIES if flag in flags],
        "gpus": _gpus(),
        "os": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _processor() -> tuple[str, set[str]]:
    name, flags = platform.processor() or platform.machine(), set[str]()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() in ("flags", "Features"):
                flags = set(value.split())
                break
    except OSError:
        # Not Linux; a Mac's platform module knows only the family ("arm").
        if platform.system() == "Darwin":
            name = _answer("sysctl", "-n", "machdep.cpu.brand_string") or name
    return name, flags


def _gpus() -> list[dict[str, Any]]:
    """Return name, memory and driver of each NVIDIA GPU, from NVML or else from nvidia-smi."""
    try:
        import pynvml

        pynvml.nvmlInit()
        driver = pynvml.nvmlSystemGetDriverVersion()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return [
            {
                "name": pynvml.nvmlDeviceGetName(handle),
                "memory_bytes": pynvml.nvmlDeviceGetMemoryInfo(handle).total,
                "driver": driver,
            }
            for handle in handles
        ]
    except Exception:  # any missing piece of NVIDIA's stack (package, driver, device)
        return _gpus_listed(_answer("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv") or "")


def _gpus_listed(table: str) -> list[dict[str, Any]]:
    """Read nvidia-smi's table: a header `name, memory.total [MiB], driver_version`, then a line for each GPU."""
    rows = [line.rsplit(", ", 2) for line in table.splitlines()[1:]]
    return [
        {"name": row[0], "memory_bytes": _mebibytes(row[1]), "driver": row[2].strip()} for row in rows if len(row) == 3
    ]


def _mebibytes(text: str) -> int | None:
    number = text.partition(" ")[0]
    return int(number) * 2**20 if number.isdecimal() else None


def nvml_device(device: str) -> tuple[Any, Any] | None:
    """Return NVML and its handle for a torch device, or None where NVML is missing or does not know the device.

    NVML numbers all GPUs, CUDA only those in `CUDA_VISIBLE_DEVICES` and in another order, so they are matched by UUID.
    """
    try:
        import pynvml
        import torch

        pynvml.nvmlInit()
        return pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    except Exception:  # any missing piece of NVIDIA's stack; a part of a GPU (MIG) has no counters of its own either
        return None


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of every installed package that results depend on."""
    numbers = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            numbers[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return numbers


@cache
def git_state(path: Path) -> dict[str, Any] | None:
    """Return commit and whether there are changes for the git checkout around `path`, or None."""
    # Without its optional locks git writes nothing, so that a person's own git beside it is not disturbed.
    git = ("git", "--no-optional-locks", "-C", str(path))
    commit = _answer(*git, "rev-parse", "HEAD")
    changes = _answer(*git, "status", "--porcelain", "--untracked-files=no") if commit else None
    return None if not commit or changes is None else {"commit": commit, "dirty": bool(changes)}


def _answer(*command: str) -> str | None:
    """Return what a command prints, or None where it is missing, fails or takes long."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def fingerprint(
    *, data: str, evaluator: str, protocol: Mapping[str, Any], model: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return what a result may be compared within; `digest` is equal only where all of it that matters is.

    The git state is kept for the record and is no part of the digest: the versions are. Nor are the digests of the model's
    files: models are compared with each other.
    """
    git = git_state(Path(__file__).parent) or git_state(Path.cwd())
    known = {"data": data, "evaluator": evaluator, "protocol": dict(protocol), "model": dict(model or {}), "git": git}
    return of_this_machine(known)


def of_this_machine(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return a fingerprint with the versions and hardware of the machine that computes, which may not have made it."""
    machine, team = hardware(), launched()
    # Sums over several processes round otherwise than one's.
    shared = {} if team is None else {"processes": team.processes}
    same = {
        "data": known["data"],
        "evaluator": known["evaluator"],
        "protocol": known["protocol"],
        "versions": versions(),
        # Of the GPUs, what NVML and nvidia-smi tell alike; they round the memory differently.
        "hardware": {
            "cpu": machine["cpu"],
            "cores": machine["cores"],
            "gpus": [{key: gpu[key] for key in ("name", "driver")} for gpu in machine["gpus"]],
            **shared,
        },
    }

    # Strict: a value that JSON does not know could read differently each time, and no two digests would be equal.
    digest = hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()
    return {"digest": digest, **same, "model": known["model"], "hardware": machine | shared, "git": known["git"]}
