"""Write an adapter alone as a GGUF file that llama.cpp puts onto a base model's: W + B A, both factors in float32.

llama.cpp scales B A by alpha / rank, with the rank of each pair: all are filled up with zeros to the same rank, which is
alpha too, so that the scale is 1 in whatever reads the file.
"""

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from afina.backbone.gguf_file import read_gguf
from afina.backbone.gguf_tensors import as_gguf, as_transformers, gguf_names
from afina.backbone.load import load_tokenizer, model_class, read_config
from afina.backbone.model_files import check_weights, model_path
from afina.backbone.weights import read_weights
from afina.errors import AfinaError, UsageError
from afina.export.chat import with_template
from afina.export.gguf.compare import divergence, far, logits, round_like, samples
from afina.export.gguf.file import own_shapes, write_file
from afina.export.gguf.judge import Judgement, Spoken, judge_in_llama_cpp, parted
from afina.export.gguf.later import asked_again, keep_answers, told_later
from afina.export.gguf.llama_cpp import LlamaCpp, llama_cpp_there
from afina.export.gguf.model import Facts, facts_of, settings_of, write_modelfile
from afina.export.gguf.settings import form_of, model_header
from afina.export.low_rank import low_rank_changes
from afina.export.merge import base_classifier
from afina.export.parity import Parity, check_parity
from afina.predictor.predictor import Predictor

__all__ = ["LORA", "check_lora", "compare_lora", "write_base_alone", "write_lora"]

LORA, _BASE = "adapter.gguf", "base.gguf"
_CHECKED = "f16"
"""The type of the base that the adapter is tried on where none is to be written."""
_LEFT_OUT, _LOSSLESS = "afina.left_out", 1e-5
"""The file's key for the largest share of a change that the rank leaves out, and the share that counts as nothing."""


def check_lora(tested: Predictor) -> None:
    """Raise `UsageError` for an adapter that a LoRA's file has no place for, as far as is seen before its weights are."""
    base = tested.backbone.tokenizer
    # The same tokens may be brought as a file of their own, and then nothing is lost.
    if tested.tokenizer is not base and tested.tokenizer.get_vocab() != base.get_vocab():
        raise UsageError(
            f"{tested.folder} brought tokens of its own, which a LoRA's file has no place for; export it --to gguf."
        )


def write_lora(loaded: Predictor, folder: Path, rank: int, base_type: str | None) -> Mapping[str, float]:
    """Write `adapter.gguf`, with a `base_type` its base model beside it, and a Modelfile; return what the rank leaves out.

    Changes the backbone in place. Raises `UsageError` for a method without an equal LoRA.
    """
    from gguf import GGUFWriter

    form, config = form_of(loaded.backbone.config), loaded.backbone.config
    changes = low_rank_changes(loaded, rank, "gguf-lora")
    if changes.biases:
        raise UsageError(
            f"{loaded.record.method} changes biases, which a LoRA's file has no place for; export it --to gguf."
        )
    names = gguf_names(form.row, [f"{module}.weight" for module in changes.factors])

    # A file has one alpha: ranks are filled up with zeros to the largest, which alpha then equals.
    common = max(len(a) for a, _ in changes.factors.values())
    writer = GGUFWriter(folder / LORA, form.architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(common))
    # A name for people: llama.cpp shows it when the file is loaded.
    writer.add_name(f"{loaded.folder.resolve().name} for {Path(loaded.record.model).name}")
    writer.add_float32(_LEFT_OUT, max(changes.loss.values()))
    writer.add_base_model_count(1)
    writer.add_base_model_name(0, Path(loaded.record.model).name)
    for module, (a, b) in changes.factors.items():
        name = names[f"{module}.weight"]
        filled = torch.nn.functional.pad(b, (0, common - b.shape[1]))
        writer.add_tensor(f"{name}.lora_a", torch.nn.functional.pad(a, (0, 0, 0, common - len(a))).numpy())
        writer.add_tensor(f"{name}.lora_b", as_gguf(form.row, name, filled, config, transposed=False).numpy())
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    except OSError as error:
        raise AfinaError(
            f"{folder / LORA} cannot be written ({error.strerror or 'the disk is full'}); make room there."
        ) from error
    finally:
        writer.close()
    if base_type is not None:
        _write_base(loaded, folder / _BASE, base_type)
    write_modelfile(loaded, folder, facts_of(loaded, form), base=_BASE, adapter=LORA)
    return changes.loss


def _write_base(loaded: Predictor, path: Path, kind: str) -> None:
    """Write the base model, with the template that the adapter was trained with."""
    _write(base_classifier(loaded), loaded.tokenizer, facts_of(loaded, form_of(loaded.backbone.config)), path, kind,
           Path(loaded.record.model).name)  # fmt: skip


def write_base_alone(model: str, path: Path, kind: str, ends: Sequence[int]) -> None:
    """Write a base model by its name, without an adapter at hand; raises `AfinaError` where it is not here."""
    config = read_config(model)
    place = model_path(model)
    check_weights(model, place)
    settings = {"dtype": torch.float32, "config": config}
    read = read_weights(model, place, model_class(config, speaks=True), settings, speaks=True).model
    _write(read, load_tokenizer(model)[0], Facts(form_of(config), None, tuple(ends), ()), path, kind, Path(model).name)


def _write(model: Any, tokenizer: Any, facts: Facts, path: Path, kind: str, name: str) -> None:
    header, tensors = model_header(facts.form, model.config, own_shapes(model))
    settings = header | settings_of(tokenizer, facts, model.config.vocab_size, name)
    write_file(path, facts.form, model, kind, settings, tensors)


def compare_lora(
    tested: Predictor, exact: Predictor, folder: Path, rows: Any, base_type: str | None
) -> tuple[Parity, float, dict[str, Any] | None]:
    """Return how near base and file are to the adapter, how much that changes its base, and what the manifest says.

    That is None where llama.cpp is not there to be asked again.

    Raises `AfinaError` where they part though the rank leaves nothing out, and where llama.cpp computes something else.
    """
    form, outside = form_of(exact.backbone.config), base_classifier(exact).eval()
    _add(outside, form, folder / LORA)
    parity = check_parity(tested, exact, outside, tested.tokenizer, rows)

    # A rank that leaves something out has to differ; only a lossless one can be held to equality.
    if read_gguf(folder / LORA).settings[_LEFT_OUT] < _LOSSLESS and not parity.equal:
        raise parted(f"logits part by up to {parity.exact_difference:.2g} (they reach {parity.scale:.2g})")
    facts, kind = facts_of(exact, form), base_type or _CHECKED
    spoken = Spoken(form, kind, with_template(exact.tokenizer, exact.task), facts.template, facts.ends)
    with _base(exact, folder, kind) as base:
        ids = samples(exact.tokens(rows))
        again = base_classifier(exact).eval()
        shapes = own_shapes(again)
        round_like(again, form, kind, shapes, gguf_names(form.row, list(shapes)))
        bare = logits(again, ids)
        _add(again, form, folder / LORA)
        wanted = logits(again, ids)
        lost = divergence(logits(outside, ids), wanted)
        judged: Judgement = judge_in_llama_cpp(base, spoken, exact, ids, wanted, lost=lost, lora=folder / LORA)
        if asked := llama_cpp_there():
            prompts, room = asked_again(exact), min(exact.backbone.context, 1024)
            with LlamaCpp(base, lora=folder / LORA, context=room, threads=1, exact=True) as cpp:
                keep_answers(folder, prompts, logits(again, prompts), cpp)
    size = (folder / LORA).stat().st_size
    effect = f"{divergence(wanted, bare):.2g} nats a token"
    table = (
        *judged.rows,
        ("what the adapter changes of its base", effect),
        (f"size of {LORA}", f"{size / 1e6:,.2f} MB"),
    )
    notes = [f"Put it onto {Path(exact.record.model).name} as GGUF: llama-server -m base.gguf --lora adapter.gguf."]
    if base_type is None:
        notes.append(f"It was tried on a base of type {kind}, which was not kept.")
    parity = dataclasses.replace(parity, told=table, notes=(*judged.notes, *notes))
    reading = {
        "context": exact.backbone.context, "ends": list(facts.ends), "adapter": LORA, "base_type": kind,
        "base": None if base_type is None else _BASE,
    }  # fmt: skip
    return parity, far(wanted, bare)[0], told_later(parity, kind, **reading) if asked else None


@contextlib.contextmanager
def _base(exact: Predictor, folder: Path, kind: str) -> Iterator[Path]:
    if (folder / _BASE).exists():
        yield folder / _BASE
        # Only for the comparison, in the export's own folder, whose disk has room for it.
        return
    with tempfile.TemporaryDirectory(dir=folder) as place:
        _write_base(exact, Path(place) / _BASE, kind)
        yield Path(place) / _BASE


def _add(model: Any, form: Any, path: Path) -> None:
    """Add what a file holds to a transformers model's weights."""
    file, state = read_gguf(path), model.state_dict()
    back = {called: name for name, called in gguf_names(form.row, list(own_shapes(model))).items()}
    scale = file.settings["adapter.lora.alpha"]
    for name in [entry.removesuffix(".lora_a") for entry in file.tensors if entry.endswith(".lora_a")]:
        a: Tensor = file.read(f"{name}.lora_a")
        change = file.read(f"{name}.lora_b") @ a * (scale / len(a))
        with torch.no_grad():
            state[back[name]].add_(as_transformers(form.row, name, change, model.config))
