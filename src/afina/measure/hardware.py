"""What a result was made with and on: hardware, versions, git state, and the fingerprint over what must agree."""

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

__all__ = ["fingerprint", "git_state", "hardware", "versions"]

_PACKAGES = (
    "afina", "torch", "transformers", "tokenizers", "datasets", "numpy", "scipy", "scikit-learn", "peft", "xgboost",
    "xgboost-cpu", "bitsandbytes",
)  # fmt: skip
_CAPABILITIES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16")


@cache
def hardware() -> dict[str, Any]:
    """Return processor, cores that this process may use, memory, the arithmetic it has, and the GPUs."""
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    name, flags = _processor()
    return {
        "cpu": name,
        "cores": cores,
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
        pass  # not Linux: the platform module's name has to do
    return name, flags


def _gpus() -> list[dict[str, Any]]:
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
    except Exception:  # any missing piece of NVIDIA's stack (package, driver, device) means that no GPU can be named
        return []


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of every installed package that results depend on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def git_state(path: Path) -> dict[str, Any] | None:
    """Return commit and whether there are changes for the git checkout around `path`, or None."""
    try:
        commit = _git(path, "rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git(path, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(path: Path, *arguments: str) -> str:
    command = ["git", "-C", str(path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()


def fingerprint(*, data: str, evaluator: str, protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a result may be compared within; `digest` is equal only where all of it that matters is.

    The git state is kept for the record and is no part of the digest: the versions are.
    """
    machine = hardware()
    same = {
        "data": data,
        "evaluator": evaluator,
        "protocol": dict(protocol),
        "versions": versions(),
        "hardware": {key: machine[key] for key in ("cpu", "cores", "gpus")},
    }
    digest = hashlib.sha256(json.dumps(same, sort_keys=True, default=str).encode()).hexdigest()
    git = git_state(Path(__file__).parent) or git_state(Path.cwd())
    return {"digest": digest, **same, "hardware": machine, "git": git}
