"""Quantise a model into a checkpoint, layer by layer from its files: a layer and its inputs are in memory at a time."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from afina.backbone.function import register_attention
from afina.backbone.in_step import Call, run_in_step
from afina.backbone.load import tokenizer_at
from afina.backbone.storage.base import Packed
from afina.backbone.streamed import Streamed
from afina.errors import AfinaError, UsageError
from afina.json_files import read_json_object
from afina.outputs import check_only_ours
from afina.quantisation.calibration import pieces_of
from afina.quantisation.layer import LinearError, Quantiser, put_weight
from afina.quantisation.plan import QuantisingPlan, plan_of
from afina.quantisation.unfinished import RECORD, PartsFolder, unfinished_of
from afina.quantisation.way import WAYS, QuantiseSettings

__all__ = ["Made", "quantise_model"]

Tell = Callable[[str, int, int | None], None]
_ROWS = 4
"""Pieces of text that go through a layer at once."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """Says what was made, and what each layer lost."""

    folder: str
    model: str
    settings: QuantiseSettings
    precision: str
    """The storage that such a checkpoint is read as."""
    layers: tuple[LinearError, ...]
    plain: tuple[str, ...]
    """Paths of linear layers that stay as they were, as they fill no whole words or groups."""
    pieces: int
    tokens: int
    """Pieces of text, and tokens in all, that it was calibrated on."""
    bytes_before: int
    bytes_after: int
    seconds: float
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        # Objects within objects are written out too, for JSON.
        layers = [vars(layer) for layer in self.layers]
        return {**vars(self), "settings": self.settings.as_dict(), "layers": layers} | {
            "plain": list(self.plain), "notes": list(self.notes)
        }  # fmt: skip


def quantise_model(
    name: str, out: Path, settings: QuantiseSettings, texts: Sequence[str] = (), *, device: str = "cpu",
    trust_remote_code: bool = False, force: bool = False, tell: Tell = lambda what, done, total: None,
) -> Made:  # fmt: skip
    """Write a quantised checkpoint of a plain model into a folder that is not there yet; a killed one goes on.

    `texts` are what it is calibrated on; without them, where the method allows, errors are those of the weights alone.
    Raises `UsageError` for what cannot be quantised so, by its name, and `AfinaError` where disk or memory do not do.
    """
    started = perf_counter()
    _check_out(name, out, force=force)
    register_attention()
    place = torch.device(device)
    # On a CPU what is computed decides what is rounded: float32 is exact enough.
    dtype = torch.float32 if place.type == "cpu" else Packed.compute(device)
    tell("opening the model's files", 0, None)
    source = Streamed.open(name, device=device, dtype=dtype, trust_remote_code=trust_remote_code)
    plan = plan_of(name, source, settings, calibrated=bool(texts) or WAYS[settings.method].needs_inputs)
    batches, pieces = _batches(name, source, plan.settings, texts, trust_remote_code)
    plan.check_room(out, source, pieces)
    if batches:
        plan.note_few_tokens(pieces.size)
    # What decides the result decides whether an earlier run's parts may be taken.
    work = PartsFolder(out, _decides(name, source, plan, pieces), force=force)
    walk = _Walk(source, plan, work, tell)
    if batches:
        run_in_step(source.backbone.model, source.layers, batches, walk.at)
    else:
        for layer in source.layers:
            walk.alone(layer)
    tell("writing what is left as it is", len(source.layers), len(source.layers))
    walk.rest()
    errors = tuple(error for number in range(len(source.layers)) for error in work.errors(number))
    before = sum(file.stat().st_size for file in source.files.folder.glob("*.safetensors"))
    made = Made(
        folder=str(out), model=name, settings=plan.settings, precision=plan.way.precision, layers=errors,
        plain=tuple(plan.plain), pieces=len(pieces), tokens=pieces.size if len(pieces) else 0, bytes_before=before,
        bytes_after=0, seconds=perf_counter() - started, notes=tuple(plan.notes),
    )  # fmt: skip
    made = replace(made, bytes_after=sum(file.stat().st_size for file in work.folder.glob("part-*")))
    config = {
        **read_json_object(source.files.folder / "config.json"),
        "quantization_config": plan.way.configuration(plan.settings, plan.names_of_plain(source)),
    }
    work.finish(source.files.folder, config, made.as_dict(), len(source.layers) + 1)
    return made


def _check_out(name: str, out: Path, *, force: bool) -> None:
    # By where they lead, as a link may name the model otherwise.
    if out.exists() and Path(name).exists() and out.resolve() == Path(name).resolve():
        raise UsageError(f"{out} is the model that is read; choose another --out.")
    if out.exists() and (not force or not out.is_dir() or not (out / RECORD).is_file()):
        more = "" if out.is_dir() and (out / RECORD).is_file() else ", which is no quantised model of Afina's"
        raise UsageError(
            f"{out} exists already{more}; choose another --out{', or --force to write over it' if not more else ''}."
        )
    if out.exists():
        check_only_ours(out, RECORD)
    if not out.resolve().parent.is_dir():
        raise UsageError(f"--out: the folder {out.resolve().parent} does not exist.")
    _ = unfinished_of(out)  # refuses a path without a name


def _batches(
    name: str, source: Streamed, settings: QuantiseSettings, texts: Sequence[str], trust_remote_code: bool
) -> tuple[list[dict[str, Any]], Any]:
    """Return the model's inputs, some rows each, and the tokens (N, T) that they are; none where there are no texts."""
    import numpy as np

    if not texts:
        return [], np.zeros((0, 0), dtype=np.int64)
    tokenizer = tokenizer_at(name, str(source.files.folder), trust_remote_code)
    pieces = pieces_of(
        tokenizer, texts, samples=settings.samples, length=settings.length, context=source.backbone.context,
        seed=settings.seed,
    )  # fmt: skip
    row = source.backbone.anatomy.row
    batches = []
    for start in range(0, len(pieces), _ROWS):
        ids = torch.from_numpy(pieces[start : start + _ROWS]).to(source.device)
        inputs: dict[str, Any] = {"input_ids": ids}
        if row.further:
            inputs["decoder_input_ids"] = ids  # the decoder reads the same text
        if hasattr(source.backbone.config, "use_cache") and (row.causal or row.further):
            inputs["use_cache"] = False
        batches.append(inputs)
    return batches, pieces


def _decides(name: str, source: Streamed, plan: QuantisingPlan, pieces: Any) -> dict[str, Any]:
    """Return all that decides what comes out, so that a run goes on with nothing else."""
    # Headers and times stand for the weights, which are gigabytes.
    headers = [[key, source.files.dtype(key), *source.files.shape(key)] for key in source.files.keys()]  # noqa: SIM118
    shards = [(file.name, file.stat()) for file in sorted(source.files.folder.glob("*.safetensors"))]
    sizes = [[shard, state.st_size, state.st_mtime_ns] for shard, state in shards]
    files = hashlib.sha256(json.dumps([headers, sizes]).encode()).hexdigest()
    return {
        **plan.settings.as_dict(), "model": name, "files": files, "plain": plan.plain,
        "calibration": hashlib.sha256(pieces.tobytes()).hexdigest(), "device": source.device.type,
    }  # fmt: skip


class _Walk:
    """Goes from layer to layer."""

    def __init__(self, source: Streamed, plan: QuantisingPlan, work: PartsFolder, tell: Tell) -> None:
        self.source, self.plan, self.work, self.tell = source, plan, work, tell
        self.quantiser = Quantiser(plan.settings, plan.plain)
        self.taken: set[str] = set()

    def at(self, layer: str, calls: Sequence[Call]) -> list[Any]:
        """Quantise a layer by what all calls give it, and return what it then gives them."""
        number = self._begin(layer)
        plain = self.source.read(layer)
        with self.source.at(layer, plain) as module:
            linears = self.quantiser.linears(layer, module)
            # Layers that an earlier run made are put in, so that the next ones see what they would have seen.
            if self.work.has(number):
                self._put_back(number, linears)
            else:
                hessians = self.quantiser.gather(linears, calls)
                self._quantise(number, linears, hessians, plain)
            outputs = [call() for call in calls]
            if not all(_is_finite(output) for output in outputs):
                raise AfinaError(f"{layer} gives numbers that are not finite; the model's weights may be damaged.")
            return outputs

    def alone(self, layer: str) -> None:
        """Quantise a layer without anything going through it."""
        number = self._begin(layer)
        if self.work.has(number):
            return
        plain = self.source.read(layer)
        with self.source.at(layer, plain) as module:
            self._quantise(number, self.quantiser.linears(layer, module), {}, plain)

    def rest(self) -> None:
        """Write whatever else the files hold as it is: embeddings, norms, heads."""
        number = len(self.source.layers)
        # By what no layer took, so that nothing of the files is lost.
        keys = [key for key in self.source.files.keys() if key not in self.taken]  # noqa: SIM118
        if not self.work.has(number):
            self.work.keep(number, self.source.files.read(keys), [])

    def _begin(self, layer: str) -> int:
        number = self.source.layers.index(layer)
        self.tell("quantising layers", number, len(self.source.layers))
        self.taken |= {self.source.key(path) for path in self.source.inside(layer)}
        return number

    def _quantise(
        self, number: int, linears: Mapping[str, nn.Module], hessians: Mapping[str, Tensor], plain: Mapping[str, Tensor]
    ) -> None:
        tensors = {self.source.key(path): value for path, value in plain.items()}
        errors = []
        for path, made, error in self.quantiser.quantise(linears, hessians):
            # A plain weight gives way to its codes.
            del tensors[self.source.key(f"{path}.weight")]
            tensors |= {self.source.key(f"{path}.{name}"): value.cpu() for name, value in made.tensors.items()}
            errors.append(error)
        self.work.keep(number, tensors, errors)

    def _put_back(self, number: int, linears: Mapping[str, nn.Module]) -> None:
        """Put the weights into a layer that its codes stand for, where an earlier run made them."""
        done = self.work.tensors(number)
        for path, module in linears.items():
            start = self.source.key(f"{path}.")
            tensors = {key.removeprefix(start): value for key, value in done.items() if key.startswith(start)}
            width_in, width = self.plan.sizes[path]
            dense = self.plan.way.read(tensors, self.plan.settings, width_in, width)
            put_weight(module, dense.to(self.source.device))


def _is_finite(output: Any) -> bool:
    # Layers of some architectures give a tuple, whose first is the states.
    first = output[0] if isinstance(output, tuple) else output
    return not isinstance(first, Tensor) or bool(first.isfinite().all())
