"""Adapters saved for a server, and a server of them in this process."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from afina import api
from afina.adapters.adapter import AdapterRecord, build_adapter, save_adapter
from afina.backbone.load import load_backbone
from afina.methods.base import make_method
from afina.tasks.base import restore
from pairs import stir

__all__ = ["save", "served", "until"]


def save(base: Path, folder: Path, method: str, state: dict[str, Any], seed: int = 0, *, max_length: int = 60) -> Path:
    """Save an adapter of a method for a task, moved away from where it starts."""
    task, made = restore(state), make_method(method, {})
    backbone = load_backbone(str(base), tags=task.tags, speaks=task.speaks)
    adapter = build_adapter(made, backbone, task.outputs, seed=seed)
    stir(adapter)
    record = AdapterRecord(
        model=str(base), method=method, settings=made.settings(), task=task.state(), max_length=max_length,
        precision="fp32", seed=seed,
    )  # fmt: skip
    save_adapter(folder, adapter, backbone, record)
    return folder


@contextmanager
def served(base: object = None, **settings: Any) -> Iterator[tuple[Any, httpx2.Client]]:
    """Give a server and a plain client of it, for the time of a block."""
    with (
        api.serve(None if base is None else str(base), port=0, **{"log": None, "device": "cpu"} | settings) as server,
        httpx2.Client(base_url=server.url, timeout=60) as client,
    ):
        yield server, client


def until(holds: Callable[[], bool], seconds: float = 20) -> bool:
    """Return whether something comes to hold within so long."""
    ends = time.monotonic() + seconds
    while not holds() and time.monotonic() < ends:
        time.sleep(0.02)
    return holds()
