"""Settle, before anything is read whole, what is quantised, in what groups, and whether disk and memory do."""

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from afina.backbone.quantise import weight_shape
from afina.backbone.streamed import Streamed
from afina.errors import AfinaError, UsageError
from afina.quantisation.layer import is_linear
from afina.quantisation.way import DEFAULT_GROUP, WAYS, QuantiseSettings, QuantisingWay

__all__ = ["QuantisingPlan", "plan_of"]

_HEADS = ("lm_head", "score", "classifier")
"""Heads of transformers' classes, which a bare model does not tell of."""
_GROUPS = (DEFAULT_GROUP, 64, 32, 16)
_BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}


@dataclass
class QuantisingPlan:
    """Says which linear layers are quantised how."""

    settings: QuantiseSettings
    sizes: dict[str, tuple[int, int]]
    """Inputs and outputs of every linear layer inside the layers, by its path."""
    plain: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def way(self) -> type[QuantisingWay]:
        """Return how a weight is quantised."""
        return WAYS[self.settings.method]

    def names_of_plain(self, source: Streamed) -> list[str]:
        """Return the paths, as the files name them, of what such a checkpoint's linear layers are not kept in codes."""
        outside = [
            path for path, own in source.backbone.model.named_modules() if is_linear(own) and path not in self.sizes
        ]
        inside = [source.key(path) for path in self.plain]
        if not self.way.names_plain:
            return inside
        return [*inside, *map(source.key, outside), *_HEADS]

    def note_few_tokens(self, tokens: int) -> None:
        """Note it where texts are too few to say what a layer's inputs have in common.

        SmolLM2 in 4 bits by as many tokens as its widest layer has inputs, 1,536, lost less on these than by rounding in each
        layer, and its perplexity on others rose by more.
        """
        widest = max((width_in for path, (width_in, _) in self.sizes.items() if path not in self.plain), default=0)
        if tokens < 2 * widest:
            self.notes.append(
                f"{tokens:,} tokens to calibrate on are few beside the {widest:,} inputs of a layer: what is rounded by them "
                "may suit no other texts; give more --samples or texts"
            )

    def check_room(self, out: Path, source: Streamed, pieces: Any) -> None:
        """Raise `AfinaError` where disk or memory will not do, before hours of work."""
        files = source.files
        whole = sum(_size(files, key) for key in files.keys())  # noqa: SIM118 - it is no dict
        codes = sum(
            width_in * width * (self.settings.bits / 8 + 4 / abs(self.settings.group or 64))
            for path, (width_in, width) in self.sizes.items() if path not in self.plain
        )  # fmt: skip
        plain = sum(_size(files, source.key(f"{path}.weight")) for path in self.sizes if path not in self.plain)
        wanted = int(2 * (whole - plain + codes) if whole < 1 << 30 else 1.1 * (whole - plain + codes))
        if (free := shutil.disk_usage(out.resolve().parent).free) < wanted:
            raise AfinaError(
                f"The quantised model takes some {wanted / 1e9:,.1f} GB while it is made, and there are {free / 1e9:,.1f} GB "
                f"free at {out.resolve().parent}; make room, or choose another --out."
            )
        size = source.dtype.itemsize
        layer = max(sum(value.numel() for value in source.inside(path).values()) for path in source.layers)
        # The widest layer's statistics are the largest: a matrix of its inputs by its inputs.
        widest = max((width_in for path, (width_in, _) in self.sizes.items() if path not in self.plain), default=0)
        states = 3 * pieces.size * source.backbone.anatomy.width * size
        memory = (layer * (size + 6)) + (5 * 4 * widest**2 if len(pieces) else 0) + states
        if source.device.type == "cpu" and (there := psutil.virtual_memory().available) < memory:
            raise AfinaError(
                f"To quantise this model takes some {memory / 1e9:,.1f} GB of memory at a time, and {there / 1e9:,.1f} GB "
                "are free; give fewer --samples or a smaller --length."
            )


def plan_of(name: str, source: Streamed, settings: QuantiseSettings, *, calibrated: bool) -> QuantisingPlan:
    """Return what is done; raises `UsageError`, with its name, for a model that cannot be quantised so."""
    model, anatomy = source.backbone.model, source.backbone.anatomy
    kind = anatomy.model_type
    for layer in source.layers:
        # Experts lie in one tensor of three axes.
        experts = [path for path, value in source.inside(layer).items() if value.ndim > 2]
        if experts:
            raise UsageError(
                f"{name}: a {kind} model keeps its experts in one tensor ({experts[0]}), which is not quantised here; give a "
                "model without experts."
            )
    if calibrated and anatomy.row.inputs != "text":
        raise UsageError(
            f"{name}: a {kind} model reads no text, and what calibrates here are texts; leave --calibration out, with "
            "--method rtn or nf4."
        )
    if calibrated and anatomy.layer_count > len(source.layers):
        raise UsageError(
            f"{name}: a {kind} model goes through one layer again and again, which cannot be quantised by what it is given "
            "the first time; leave --calibration out, with --method rtn or nf4."
        )
    inside = [(f"{layer}.{path}", own) for layer in source.layers
              for path, own in model.get_submodule(layer).named_modules() if is_linear(own)]  # fmt: skip
    sizes = {}
    for path, module in inside:
        first, second = weight_shape(module)
        # transformers' Conv1D keeps inputs before outputs.
        sizes[path] = (first, second) if type(module).__name__ == "Conv1D" else (second, first)
    return _fitted(name, QuantisingPlan(settings, sizes))


def _fitted(name: str, plan: QuantisingPlan) -> QuantisingPlan:
    """Choose the group where none is given, and find which layers stay plain; raises `UsageError` where all would."""
    way, settings, sizes = plan.way, plan.settings, plan.sizes
    whole = replace(settings, group=-1) if way.groups else settings
    fits = {path: way.fits(*size, whole) for path, size in sizes.items()}
    plain = [path for path, why in fits.items() if why is not None]
    if len(plain) == len(sizes):
        first = next(iter(sizes))
        raise UsageError(f"{name} cannot be quantised in {settings.bits} bits: {first}: {fits[first]}.")
    inputs = {size[0] for path, size in sizes.items() if path not in plain}
    # The largest group that divides all, as larger ones have fewer scales.
    dividing = next((group for group in _GROUPS if all(width % group == 0 for width in inputs)), None)
    if way.groups and settings.group is None:
        if dividing is None:
            raise UsageError(
                f"{name}: no group of {', '.join(map(str, _GROUPS))} divides all layers' inputs ({sorted(inputs)}); give "
                "--group -1, a scale for each row."
            )
        plan.settings = settings = replace(settings, group=dividing)
        if dividing != DEFAULT_GROUP:
            plan.notes.append(f"groups are of {dividing} inputs, as {DEFAULT_GROUP} do not divide those of every layer")
    elif way.groups and settings.group != -1 and (wrong := sorted(w for w in inputs if w % (settings.group or 1))):
        path = next(path for path, size in sizes.items() if size[0] == wrong[0])
        instead = f"; {dividing} does" if dividing is not None else ""
        raise UsageError(
            f"--group {settings.group} does not divide the {wrong[0]} inputs of {path}{instead}, and -1 is a scale for a row."
        )
    if plain:
        plan.plain = plain
        plan.notes.append(
            f"{len(plain)} linear layers stay as they are, as their widths fill no whole words or blocks: {plain[0]}"
        )
    return plan


def _size(files: Any, key: str) -> int:
    count = 1
    for extent in files.shape(key):
        count *= extent
    # A type that is not known counts a byte: too little rather than a refusal without a reason.
    return count * _BYTES.get(files.dtype(key), 1)
