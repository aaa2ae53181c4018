"""Adapters of every kind that is explained, on small models."""

from pathlib import Path
from typing import Any

from afina.adapters.adapter import build_adapter, save_adapter
from afina.adapters.record import AdapterRecord
from afina.backbone.load import load_backbone
from afina.methods.base import make_method
from afina.tasks.base import restore
from pairs import stir

__all__ = ["TASKS", "TEXTS", "saved_for"]

TASKS: dict[str, dict[str, Any]] = {
    "labels": {"name": "classification", "label_names": ["bad", "fair", "good"]},
    "number": {"name": "regression", "mean": 2.0, "deviation": 3.0},
    "tags": {"name": "tagging", "label_names": ["O", "B-a", "I-a"]},
    "next": {"name": "language"},
}
TEXTS = ["the parcel is late my order broken", "good lamp works"]


def saved_for(base: Path, target: Path, task: str, method: str = "lora", **settings: Any) -> Path:
    """An adapter that really does something, as a study leaves it."""
    made = restore(TASKS[task])
    backbone = load_backbone(str(base), speaks=made.speaks, tags=made.tags)
    own = make_method(method, settings, {"rank": 3, "length": 3})
    adapter = build_adapter(own, backbone, outputs=made.outputs, seed=0)
    stir(adapter)
    record = AdapterRecord(
        model=str(base),
        method=method,
        settings=own.settings(),
        task=made.state(),
        max_length=60,
        precision="fp32",
        seed=0,
    )
    save_adapter(target, adapter, backbone, record)
    return target
