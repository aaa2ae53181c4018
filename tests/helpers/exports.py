"""Adapters to export: fresh ones of small models, with weights large enough that no fault can hide."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch

from afina.adapters.adapter import build_adapter, save_adapter
from afina.adapters.record import AdapterRecord
from afina.backbone.load import load_backbone
from afina.data.templates.named import make_template
from afina.methods.base import make_method
from afina.tasks.base import restore
from conformance import can_be
from families import load_family
from pairs import TRAINED, stir

__all__ = [
    "ALWAYS", "CLASSES", "NUMBER", "SEVERAL", "TAGS", "alone", "chatting", "covering_exports", "folder_of", "save_talks",
    "written_alone",
]  # fmt: skip

ALWAYS = "lora"
"""The method that is exported of every architecture."""

CLASSES = {"name": "classification", "label_names": ["no", "yes"]}
NUMBER = {"name": "regression", "mean": 30.0, "deviation": 7.0}
SEVERAL = {"name": "multilabel", "label_names": ["late", "broken"], "thresholds": [0.4, 0.6]}
TAGS = {"name": "tagging", "label_names": ["O", "B-ITEM"]}
VECTORS = {"name": "embedding"}


def covering_exports(families: Iterable[str], first: int = 0) -> list[tuple[str, str]]:
    """Return pairs to export for the tables of conformance: a tracing of each takes some ten seconds.

    Every architecture comes with LoRA and with two other methods, which take turns from the `first` on, so that each method
    comes up.
    """
    pairs: list[tuple[str, str]] = []
    turns = islice(cycle(name for name in TRAINED if name != ALWAYS), first, None)
    for family in families:
        each = islice((name for name in turns if can_be(name, family)), 2)
        pairs += [(name, family) for name in (ALWAYS, *each)]
    return pairs


def folder_of(
    name: str, family: str, family_folder: Callable[..., Path], folder: Path, task: dict[str, Any] = CLASSES, **settings: Any
) -> Path:  # fmt: skip
    """Save an adapter of a method on a small model of a family, and return its folder."""
    made = restore(task)
    base = family_folder(family, tags=True) if made.tags else family_folder(family)
    backbone = load_family(base, **({"tags": True} if made.tags else {}))
    method = make_method(name, settings, {"rank": 3})
    adapter = build_adapter(method, backbone, outputs=made.outputs, seed=0)
    stir(adapter)
    if method.owns_backbone:
        with torch.no_grad():
            for value in backbone.model.parameters():
                value.add_(torch.randn_like(value) * 0.01)
    record = AdapterRecord(
        model=str(base), method=name, settings=method.settings(), max_length=60, precision="fp32",
        task=task, seed=0, total_steps=100,
    )  # fmt: skip
    save_adapter(folder / "adapter", adapter, backbone, record)
    return folder / "adapter"


def chatting(
    base: str | Path, folder: Path, method: str = "lora", template: str | None = None, **settings: Any
) -> Path:
    """Save an adapter that was as if trained on conversations."""
    backbone = load_backbone(str(base), speaks=True)
    own = make_method(method, settings, {"rank": 3})
    adapter = build_adapter(own, backbone, outputs=0, seed=0)
    stir(adapter)
    if str(base) == "afina-small":  # which speaks, and still should
        with torch.no_grad():
            for value in adapter.parameters():
                value.mul_(0.3)
    task = {"name": "chat", "template": make_template(template, backbone.tokenizer).state()}
    record = AdapterRecord(
        model=str(base), method=method, settings=own.settings(), max_length=60, precision="fp32", task=task, seed=0,
        total_steps=10,
    )  # fmt: skip
    save_adapter(folder / "adapter", adapter, backbone, record)
    return folder / "adapter"


def save_talks(path: Path) -> str:
    """Save a few short conversations, as training has them."""
    said = [
        ("Where is my parcel?", "It's late: 3 days."),
        ("O café é bom?", "Não sei.\nTalvez!"),
        ("Why?", "Because. 🙂"),
    ]
    rows = [{"messages": [{"role": "user", "content": a}, {"role": "assistant", "content": b}]} for a, b in said * 9]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


_ALONE = """
import runpy, sys

class Nothing:
    def find_spec(self, name, *_):
        if name.split(".")[0] in {lacking}:
            raise ImportError(name)

sys.meta_path.insert(0, Nothing())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def alone(folder: Path, *given: str, lacking: tuple[str, ...] = ("torch", "transformers", "afina")) -> list[Any]:
    """Run an export's own script where none of these packages can be imported, and return what it says of each row."""
    return [json.loads(line) for line in written_alone(folder / "predict.py", *given, lacking=lacking).splitlines()]


def written_alone(
    script: Path, *given: str, asked: str = "", lacking: tuple[str, ...] = ("torch", "transformers", "afina")
) -> str:
    """Run a script where none of these packages can be imported, and return what it prints."""
    command = [sys.executable, "-c", _ALONE.replace("{lacking}", repr(lacking)), str(script), *given]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
