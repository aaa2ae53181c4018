"""Adapters as a study leaves them."""

from pathlib import Path

from afina.adapters.adapter import build_adapter, save_adapter
from afina.adapters.record import AdapterRecord
from afina.backbone.load import load_backbone
from afina.methods.base import make_method
from afina.tasks.choices import Choices
from pairs import stir


def saved(name: str, base: Path, target: Path, *, seed: int = 0) -> Path:
    """An adapter of `task: choices`, as a study leaves it."""
    backbone = load_backbone(str(base), speaks=True)
    method = make_method(name, {}, {"rank": 3, "length": 3})
    adapter = build_adapter(method, backbone, outputs=2, seed=seed)
    stir(adapter)
    record = AdapterRecord(
        model=str(base), method=name, settings=method.settings(), task=Choices(2).state(), max_length=60,
        precision="fp32", seed=seed,
    )  # fmt: skip
    save_adapter(target, adapter, backbone, record)
    return target
