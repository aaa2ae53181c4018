"""Adapters to export: fresh ones of small models, with weights large enough that no fault can hide."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch

from afina.adapters.adapter import build_adapter, save_adapter
from afina.adapters.record import AdapterRecord
from afina.backbone.load import Backbone, load_backbone
from afina.data.templates.named import make_template
from afina.methods.base import make_method
from afina.tasks.base import restore
from conformance import can_be
from families import BOTH, DECODERS, ENCODERS, load_family
from gguf_files import ARCHITECTURES
from pairs import TRAINED, stir

__all__ = [
    "ALWAYS", "CLASSES", "NUMBER", "SEVERAL", "TAGS", "alone", "chatting", "every_export", "exports_to_try", "figures_in",
    "folder_of", "rewriting", "save_pairs", "save_talks", "written_alone",
]  # fmt: skip

ALWAYS = "lora"
"""The method that is exported of every architecture."""

CLASSES = {"name": "classification", "label_names": ["no", "yes"]}
NUMBER = {"name": "regression", "mean": 30.0, "deviation": 7.0}
SEVERAL = {"name": "multilabel", "label_names": ["late", "broken"], "thresholds": [0.4, 0.6]}
TAGS = {"name": "tagging", "label_names": ["O", "B-ITEM"]}
VECTORS = {"name": "embedding"}


def covering_exports(families: Iterable[str], first: int) -> list[tuple[str, str]]:
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


_FIRST = {"onnx": 0, "openvino": 7, "executorch": 7}
"""Where the methods that take turns begin at each target, so that each meets other architectures there."""


def every_export() -> list[tuple[str, str, str]]:
    """Return what the tables of exports have a place for: target, method and architecture."""
    encoders, writers = (*ENCODERS, "vit"), (*DECODERS, *BOTH)
    found = [("gguf", ALWAYS, family) for family in ARCHITECTURES]
    for to, first in _FIRST.items():
        kinds = (encoders,) if to == "executorch" else (encoders, writers)
        found += [(to, *pair) for families in kinds for pair in covering_exports(families, first)]
    return found


def exports_to_try(
    config: Any, quick: Iterable[tuple[str, str, str]], families: Iterable[str], targets: Iterable[str]
) -> list[tuple[str, str, str]]:
    """Return the exports that a run is to try: the `quick` ones; for the tables all, or those that a file's tables lack."""
    every = [own for own in every_export() if own[0] in targets and own[2] in families]
    if (path := config.getoption("--exports")) is not None:
        known = {tuple(name.split("|")[:3]) for name in figures_in(path)}
        return [(to, name, family) for to, name, family in every if (to, family, name) not in known]
    if config.getoption("--conformance") is not None:
        return list(dict.fromkeys((*quick, *every)))
    return list(quick)


def figures_in(path: Path) -> dict[str, float]:
    """Return the figures of a page with tables of exports, by "target|architecture|method|answers"."""
    kept = re.search("<!-- figures: (.*) -->", path.read_text(encoding="utf-8"))
    return {} if kept is None else json.loads(kept[1])


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

    def task(backbone: Backbone) -> dict[str, Any]:
        return {"name": "chat", "template": make_template(template, backbone.tokenizer).state()}

    return _writer(base, folder, method, settings, task)


def rewriting(base: str | Path, folder: Path, method: str = "lora", **settings: Any) -> Path:
    """Save an adapter of an encoder-decoder that was as if trained to make one text of another."""
    return _writer(base, folder, method, settings, lambda _: {"name": "seq2seq", "prompt": "{text}"})


def _writer(
    base: str | Path, folder: Path, method: str, settings: dict[str, Any], task: Callable[[Backbone], dict[str, Any]]
) -> Path:
    backbone = load_backbone(str(base), speaks=True)
    own = make_method(method, settings, {"rank": 3})
    adapter = build_adapter(own, backbone, outputs=0, seed=0)
    stir(adapter)
    if str(base) == "afina-small":  # which speaks, and still should
        with torch.no_grad():
            for value in adapter.parameters():
                value.mul_(0.3)
    record = AdapterRecord(
        model=str(base), method=method, settings=own.settings(), max_length=60, precision="fp32", task=task(backbone),
        seed=0, total_steps=10,
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


def save_pairs(path: Path) -> str:
    """Save a few texts with what is to be made of them."""
    pairs = [
        ("Where is my parcel?", "It's late: 3 days."),
        ("O café é bom?", "Não sei. Talvez!"),
        ("Why?", "Because. 🙂"),
    ]
    rows = [{"source": source, "target": target} for source, target in pairs * 9]
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
