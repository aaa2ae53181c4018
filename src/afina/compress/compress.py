"""Make a model smaller and write it as a checkpoint that plain transformers loads, compared with what was made of it."""

import copy
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from afina.adapters.adapter import partial_folder
from afina.backbone.anatomy import read_anatomy
from afina.backbone.configuration import context_of
from afina.backbone.function import register_attention
from afina.backbone.load import load_tokenizer, read_config
from afina.backbone.model_files import check_weights, model_path
from afina.backbone.quantise import parameter_count, stored_precision
from afina.backbone.tensor_file import system_errors
from afina.backbone.weights import read_weights
from afina.compress.calibration import Calibration, calibration_texts
from afina.compress.resized import resize
from afina.compress.way import CompressingWay, Opened, WayResult
from afina.errors import AfinaError, UsageError, shown
from afina.links import refuse_links_in
from afina.measure.shown import html_of
from afina.outputs import check_only_ours, files_in

__all__ = ["Compressed", "Texts", "compress_model"]

RECORD = "compressed.json"
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Compressed:
    """Holds what a model became, and where it is."""

    folder: Path
    way: str
    amount: float
    said: str
    """A sentence that says what was done."""
    parameters: tuple[int, int]
    """Numbers of the model before and after."""
    bytes: tuple[int, int]
    """Bytes of its weights' files before and after."""
    kept: Mapping[str, Any]
    """The choice, as JSON has it."""
    texts: int
    """Texts that it was judged by; 0 where it was not."""
    difference: float
    """The largest difference of the outputs of what was written, loaded afresh, from what was made, by their size."""

    @property
    def smaller(self) -> bool:
        return self.bytes[1] < self.bytes[0]

    def __repr__(self) -> str:
        before, after = (size / 1e6 for size in self.bytes)
        return (
            f"Compressed('{self.folder}', {self.way} {self.amount:g}: {before:,.1f} MB to {after:,.1f} MB; {self.said})"
        )

    def _repr_html_(self) -> str:
        rows = [
            ("parameters", *(f"{count:,}" for count in self.parameters)),
            ("bytes", *(f"{size:,}" for size in self.bytes)),
        ]
        return html_of(str(self.folder), ("", "before", "after"), rows, self.said)


@dataclass(frozen=True)
class Texts:
    """Says by which texts a model is judged."""

    data: str | None = None
    """A file, or a data set by its name or folder."""
    rows: int = 128
    max_length: int = 128
    """Tokens of each that are read."""
    text: str | None = None
    """The column of texts, where it is not found."""

    def __post_init__(self) -> None:
        if self.rows < 1 or self.max_length < 4:
            raise UsageError(
                f"Give 1 row at least, of 4 tokens at least, not {shown(self.rows)} and {shown(self.max_length)}."
            )


def compress_model(
    model: str, place: Path, chosen: CompressingWay, judged: Texts, *, force: bool = False,
    tell: Callable[[str], None] = lambda what: None,
) -> Compressed:  # fmt: skip
    """Make a model smaller by a way and write it into the folder `place`.

    What is written loads in plain transformers, with the heads that the model's files have, and its outputs are compared
    with those of what was made before the folder stands there. Raises `UsageError` for a model or amount that it cannot be
    done with.
    """
    name = model
    _check_place(place, name, force)
    path = model_path(name)
    config = _config_of(name)
    texts = calibration_texts(judged.data, judged.rows, judged.text) if chosen.judges else []
    tell("loading the model")
    opened, stored = _open(name, path, config, texts, judged.max_length, chosen)
    tokenizer, _ = load_tokenizer(name)
    before = parameter_count(opened.model), _bytes_of(Path(path), opened.model, stored)
    _check_room(place, before[1])
    tell("looking at what matters least" if chosen.judges else "changing the weights")
    with torch.no_grad():
        made = chosen.apply(opened)
    resize(opened, made.sizes)
    opened.model.to(stored)
    tell(f"writing {place}")
    with partial_folder(place) as partial:
        with system_errors(partial):
            opened.model.save_pretrained(partial)
            tokenizer.save_pretrained(partial)
        difference = _compare(opened, partial)
        after = parameter_count(opened.model), sum(file.stat().st_size for file in partial.glob("*.safetensors"))
        result = Compressed(
            place, chosen.name, chosen.amount, made.said, (before[0], after[0]), (before[1], after[1]), made.kept, len(texts),
            difference,
        )  # fmt: skip
        _write_record(partial, name, result, chosen, made)
    return result


def _check_place(place: Path, model: str, force: bool) -> None:
    if not str(place).strip() or str(place) == ".":
        raise UsageError("--out should name a folder for the smaller model.")
    if place.exists() and not place.is_dir():
        raise UsageError(f"{place} is a file, where a folder should be; choose another --out.")
    if place.exists() and Path(model).exists() and place.resolve() == Path(model).resolve():
        raise UsageError(f"{place} is the model that is read; choose another --out.")
    if place.exists() and any(place.iterdir()):
        if not force:
            raise UsageError(f"{place} exists already; choose another --out, or --force to write over it.")
        if not (place / RECORD).is_file():
            raise UsageError(
                f"{place} holds no model that afina compress wrote, and is left alone; choose another --out."
            )
        check_only_ours(place, RECORD)
        refuse_links_in(place)


def _config_of(name: str) -> Any:
    """Return a model's configuration; raises `UsageError` for a model that no way is for, before its weights are read."""
    check_weights(name, model_path(name))
    config = read_config(name)
    if (stored := stored_precision(config)) is not None:
        raise UsageError(
            f"{name} is stored in {stored}, and only of a plain model weights are taken out; give the one it was made of."
        )
    return config


def _open(
    name: str, path: str, config: Any, texts: list[tuple[str, str | None]], longest: int, chosen: CompressingWay
) -> tuple[Opened, torch.dtype]:
    """Return a model in float32 with what it is judged by, and the type of number that its files have."""
    import transformers

    register_attention()
    names = [*(getattr(config, "architectures", None) or ()), "AutoModel"]
    kind: Any = getattr(transformers, names[0], transformers.AutoModel)
    stored = getattr(config, "dtype", None) or torch.float32
    read = read_weights(name, path, kind, {"dtype": torch.float32, "config": config})
    model = read.model.requires_grad_(False).eval()
    anatomy = read_anatomy(read.bare, read.bare.config)
    if anatomy.row.inputs != "text":
        raise UsageError(
            f"afina compress is for models that read text, and {anatomy.model_type} reads {anatomy.row.inputs}s."
        )
    chosen.check(anatomy, read.bare.config)
    calibration = None
    if chosen.judges:
        tokenizer, _ = load_tokenizer(name)
        if tokenizer.pad_token is None:
            tokenizer = copy.deepcopy(tokenizer)
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
        tokenizer.padding_side = "right"
        calibration = Calibration.of(texts, tokenizer, min(longest, context_of(read.bare.config)))
    return Opened(name, model, read.bare, anatomy, calibration), stored


def _bytes_of(path: Path, model: Any, stored: torch.dtype) -> int:
    """Return the bytes of a model's weights' files; of one that is no folder, those that its numbers take."""
    files = list(path.glob("*.safetensors")) if path.is_dir() else []
    if files:
        return sum(file.stat().st_size for file in files)
    return parameter_count(model) * stored.itemsize


def _check_room(place: Path, size: int) -> None:
    parent = next(folder for folder in (place, *place.resolve().parents) if folder.exists())
    if (free := shutil.disk_usage(parent).free) < size:
        raise UsageError(
            f"{place} may take {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free there; make room or choose another."
        )


def _compare(opened: Opened, folder: Path) -> float:
    """Load what was written by plain transformers and return how far its outputs are from those of what was made.

    Raises `AfinaError` where they part: nothing is left there then.
    """
    with torch.device("cpu"):
        again = type(opened.model).from_pretrained(folder, dtype=torch.float32).eval()
    # One text without padding, which ends as classifiers of some architectures want it to.
    ids = torch.arange(5, 17)[None] % int(opened.config.vocab_size)
    if isinstance(end := getattr(opened.config, "eos_token_id", None), int):
        ids[:, -1] = end
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.inference_mode():
        ours, theirs = (_outputs(own, inputs) for own in (opened.model.float(), again))
    difference = float((ours - theirs).abs().max() / ours.abs().max().clamp(min=1e-6))
    if not difference <= _TOLERANCE:
        raise AfinaError(
            f"What transformers loads is not what was made: outputs part by {difference:.2g} of their size; nothing is left."
        )
    return difference


def _outputs(model: Any, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return logits, or the last states of a model that has no head."""
    given = dict(inputs)
    if getattr(model.config, "is_encoder_decoder", False):
        given["decoder_input_ids"] = given["input_ids"]
    out = model(**given)
    value: Tensor = out.logits if hasattr(out, "logits") else out.last_hidden_state
    return value


def _write_record(folder: Path, name: str, result: Compressed, chosen: CompressingWay, made: WayResult) -> None:
    """Write beside the weights what was done to them; transformers does not look at it."""
    record = {
        "model": name, "way": chosen.name, "amount": chosen.amount, "seed": chosen.seed, "said": made.said,
        "parameters": list(result.parameters), "bytes": list(result.bytes), "texts": result.texts, "kept": dict(made.kept),
        "files": files_in(folder),
    }  # fmt: skip
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
