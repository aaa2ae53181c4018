"""Quantised checkpoints: made layer by layer from files, as the paper rounds and other programs read, or refused by name."""

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from afina import api
from afina.backbone.in_step import run_in_step
from afina.backbone.load import load_backbone, load_tokenizer
from afina.backbone.quantise import full_weight, is_quantised
from afina.backbone.streamed import Streamed
from afina.errors import AfinaError, UsageError
from afina.ops.rounding import output_error, round_by_inputs, round_nearest
from afina.quantisation.layer import Quantiser, is_linear
from afina.quantisation.make import quantise_model
from afina.quantisation.unfinished import PartsFolder
from afina.quantisation.way import QuantiseSettings
from coded_checkpoints import gptq_checkpoint
from commands import afina as run_afina
from families import BOTH, FAMILIES, TEXT, WORDS, save_family
from pairs import COVERING_TEXT
from readied import run_ready

SIZES = (64, 128)
TEXTS = [" ".join(WORDS[start % len(WORDS) :] + WORDS) for start in range(0, 60, 7)]
SMALL = {"samples": 6, "length": 24}
Sources = Callable[[str], Path]
CANNOT = {
    "qwen3_moe": "name weights otherwise",
    "albert": "one layer again and again",
    "vit": "name weights otherwise",
    "whisper": "reads no text",
    "nomic_bert": "name weights otherwise",
    "gte": "name weights otherwise",
}
"""Families that GPTQ is refused for, and by what words."""
COVERING = [family for family in COVERING_TEXT if family not in CANNOT]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """Give the folder of a small plain model of a family."""
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            speaks = family == "llama"
            made[family] = save_family(family, tmp_path_factory.mktemp(family) / "plain", sizes=SIZES, speaks=speaks)
        return made[family]

    return folder


def drawn(width_in: int, width: int, rows: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a weight and X^T X of inputs that depend on each other, in float64."""
    generator = torch.Generator().manual_seed(width_in)
    mixing = torch.randn(width_in, width_in, generator=generator, dtype=torch.float64)
    x = torch.randn(rows, width_in, generator=generator, dtype=torch.float64) @ mixing
    return torch.randn(width, width_in, generator=generator, dtype=torch.float64), x.T @ x / rows


def by_the_paper(weight: torch.Tensor, hessian: torch.Tensor, bits: int, group: int, damp: float) -> torch.Tensor:
    """Return the weight as equations 2 and 3 of the paper round it: an inverse of its own for what is left at each step."""
    left = weight.clone()
    damped = hessian + damp * hessian.diagonal().mean() * torch.eye(len(hessian), dtype=hessian.dtype)
    most, rounded = (1 << bits) - 1, torch.empty_like(weight)
    scale = torch.zeros(len(weight), dtype=weight.dtype)
    for place in range(weight.shape[1]):
        if place % group == 0:
            scale = (2 * left[:, place : place + group].abs().amax(dim=1) / most).half().double()
        inverse = torch.linalg.inv(damped[place:, place:])
        code = ((left[:, place] / scale).round() + (most + 1) // 2).clamp(0, most)
        rounded[:, place] = (code - (most + 1) // 2) * scale
        lost = (left[:, place] - rounded[:, place]) / inverse[0, 0]
        left[:, place:] -= lost[:, None] * inverse[0]
    return rounded


@pytest.mark.parametrize(("width_in", "group"), [(48, 16), (160, 160), (144, 48)])
def test_rounding_by_inputs_is_the_papers(width_in: int, group: int) -> None:
    weight, hessian = drawn(width_in, 24)
    ours = round_by_inputs(weight, hessian, 3, group, damp=0.01).dense()
    theirs = by_the_paper(weight, hessian, 3, group, 0.01)
    # In float32 a number may fall to the other side of the middle between two codes, and the rest follows it.
    assert (ours.double() - theirs).abs().lt(1e-4).float().mean() > 0.98
    assert output_error(weight, ours, hessian.float()) == pytest.approx(
        output_error(weight, theirs, hessian.float()), rel=0.02
    )


def test_the_order_of_activity_keeps_what_carries_most() -> None:
    weight, hessian = drawn(64, 16)
    by_activity = torch.linspace(0.01, 4, 64, dtype=torch.float64)
    hessian = hessian * by_activity[:, None] * by_activity
    rounded = round_by_inputs(weight, hessian, 3, 16, by_activity=True)
    largest = hessian.diagonal().argsort(descending=True)[:16]
    assert bool((rounded.index[largest] == 0).all())
    plain = round_by_inputs(weight, hessian, 3, 16)
    assert output_error(weight, rounded.dense(), hessian.float()) < output_error(weight, plain.dense(), hessian.float())


def test_inputs_that_were_never_there_are_rounded_by_themselves() -> None:
    weight, hessian = drawn(32, 8)
    hessian[5], hessian[:, 5] = 0, 0
    near = round_nearest(weight, 8, 32).dense()
    ours = round_by_inputs(weight, hessian, 8, 32).dense()
    torch.testing.assert_close(ours[:, 5], near[:, 5])
    with pytest.raises(ValueError, match="no numbers"):
        round_by_inputs(weight, hessian * torch.nan, 4, 32)


@pytest.mark.parametrize("symmetric", [True, False])
def test_each_number_is_as_near_as_its_codes_allow(symmetric: bool) -> None:
    weight, _ = drawn(40, 12)
    rounded = round_nearest(weight, 4, 16, symmetric=symmetric)  # the last group has eight
    scales = rounded.scales[:, rounded.index.long()].double()
    lost = (rounded.dense().double() - weight).abs() / scales
    # Scales are float16, so that the outermost codes may end a little before the outermost numbers.
    assert lost.max() <= (1.0 if symmetric else 0.52)
    assert (lost > 0.501).double().mean() < 0.07


@pytest.mark.covered("model", ["minilm"], ["minilm", "smollm2"])
def test_on_real_weights_outputs_change_less_than_by_rounding(model: str) -> None:
    """All linear layers of the first layer, on real words, at equal bits."""
    texts = [text for text in TEXTS for _ in range(4)]
    streamed = Streamed.open(model)
    tokenizer, _ = load_tokenizer(model)
    ids = torch.tensor([tokenizer(" ".join(texts))["input_ids"][:256]])
    errors: dict[tuple[int, str], list[float]] = {}

    class Enough(Exception):
        pass

    def at(layer: str, calls: Any) -> Any:
        with streamed.at(layer) as module:
            quantiser = Quantiser(QuantiseSettings(method="rtn", group=64), ())
            linears = quantiser.linears(layer, module)
            hessians = quantiser.gather(linears, calls)
            for path, own in linears.items():
                weight, hessian = own.get_parameter("weight"), hessians[path]
                for bits in (2, 3, 4, 8):
                    near, ours = round_nearest(weight, bits, 64), round_by_inputs(weight, hessian, bits, 64)
                    for name, rounded in (("near", near), ("ours", ours)):
                        errors.setdefault((bits, name), []).append(output_error(weight, rounded.dense(), hessian))
        raise Enough

    with pytest.raises(Enough):
        run_in_step(streamed.backbone.model, streamed.layers, [{"input_ids": ids}], at)
    for bits in (2, 3, 4, 8):
        near, ours = errors[bits, "near"], errors[bits, "ours"]
        assert all(a < b for a, b in zip(ours, near, strict=True))
        assert sum(ours) < 0.7 * sum(near)


@pytest.mark.covered("family", [*COVERING, *CANNOT], FAMILIES)
def test_every_architecture_is_quantised_or_refused_by_name(family: str, source: Sources, tmp_path: Path) -> None:
    folder, out = source(family), tmp_path / "out"
    settings = QuantiseSettings(bits=8, group=32, **SMALL)
    if family in CANNOT:
        with pytest.raises(UsageError, match=CANNOT[family]):
            quantise_model(str(folder), out, settings, TEXTS)
        assert list(tmp_path.iterdir()) == []
        if "otherwise" in CANNOT[family]:
            return
        settings = QuantiseSettings(bits=8, method="rtn", group=32)
    made = quantise_model(str(folder), out, settings, () if family in CANNOT else TEXTS)
    plain, coded = load_backbone(str(folder)), load_backbone(str(out), compute=torch.float32)
    assert coded.precision == "gptq" and not made.plain
    linear = [path for path, own in coded.model.named_modules() if is_quantised(own)]
    assert sorted(linear) == sorted(layer.layer for layer in made.layers)
    for path in linear:
        own = plain.model.get_submodule(path)
        weight = own.get_parameter("weight") if isinstance(own, torch.nn.Linear) else own.get_parameter("weight").T
        assert output_error(weight, full_weight(coded.model.get_submodule(path)), None) < 1e-3
    inside = {layer.layer for layer in made.layers}
    assert inside == {site.module for site in plain.anatomy.of_kind("linear") if site.layer is not None} | inside
    assert (out / "tokenizer.json").is_file() == (family in TEXT)


@pytest.mark.covered("family", COVERING, [family for family in TEXT if family not in CANNOT])
def test_layers_from_files_compute_what_the_model_does(family: str, source: Sources) -> None:
    """Two batches in step, with none but one layer in memory, and the whole model, one after the other."""
    streamed, plain = Streamed.open(str(source(family))), load_backbone(str(source(family)))
    generator = torch.Generator().manual_seed(0)
    batches: list[dict[str, Any]] = [
        {"input_ids": torch.randint(5, 40, (2, length), generator=generator)} for length in (9, 12)
    ]
    for batch in batches if family in BOTH else []:
        batch["decoder_input_ids"] = batch["input_ids"]
    places = []

    def at(layer: str, calls: Any) -> list[Any]:
        places.append(layer)
        assert all(value.device.type == "meta" for own in streamed.layers for value in streamed.inside(own).values())
        with streamed.at(layer):
            return [call() for call in calls]

    outputs = run_in_step(streamed.backbone.model, streamed.layers, batches, at)
    assert places == streamed.layers
    with torch.no_grad():
        for batch, output in zip(batches, outputs, strict=True):
            torch.testing.assert_close(output[0], plain.model(**batch)[0], rtol=1e-5, atol=1e-5)


def test_experts_in_one_tensor_are_refused_by_name(source: Sources, tmp_path: Path) -> None:
    """With the names that the model itself has for them."""
    import transformers

    shutil.copytree(source("qwen3_moe"), folder := tmp_path / "plain")
    model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.from_pretrained(folder))
    save_file({key: value.clone() for key, value in model.state_dict().items()}, folder / "model.safetensors")
    with pytest.raises(UsageError, match="keeps its experts in one tensor"):
        quantise_model(str(folder), tmp_path / "out", QuantiseSettings(method="rtn", group=32), ())


def read_by_the_format(tensors: dict[str, torch.Tensor], path: str, bits: int, lacks: int) -> torch.Tensor:
    """Return a weight of GPTQ's files as they are described: one long stream of bits a column, the lowest first."""

    def numbers(words: np.ndarray) -> np.ndarray:
        columns = []
        for column in words.T.view(np.uint32).astype(object):
            stream = sum(int(word) << (32 * place) for place, word in enumerate(column))
            columns.append([(stream >> (bits * place)) % (1 << bits) for place in range(len(column) * 32 // bits)])
        return np.array(columns).T

    codes, zeros = (
        numbers(np.ascontiguousarray(tensors[f"{path}.qweight"].numpy())),
        numbers(np.ascontiguousarray(tensors[f"{path}.qzeros"].numpy().T)).T,
    )
    group, scales = tensors[f"{path}.g_idx"].numpy(), tensors[f"{path}.scales"].float().numpy()
    return torch.from_numpy(((codes - (zeros[group] + lacks)) * scales[group]).T.astype(np.float32))


@pytest.mark.parametrize(
    ("bits", "method", "symmetric", "act_order", "group"),
    [(2, "gptq", True, True, 32), (3, "rtn", False, False, 64), (4, "gptq", False, True, -1), (8, "gptq", True, False, 16)],
)  # fmt: skip
def test_files_hold_what_their_format_says(
    bits: int, method: str, symmetric: bool, act_order: bool, group: int, source: Sources, tmp_path: Path
) -> None:
    settings = QuantiseSettings(
        bits=bits, method=method, symmetric=symmetric, act_order=act_order, group=group, **SMALL
    )
    quantise_model(str(source("llama")), out := tmp_path / "out", settings, TEXTS)
    said = json.loads((out / "config.json").read_text())["quantization_config"]
    assert {key: said[key] for key in ("bits", "group_size", "desc_act", "sym")} == {
        "bits": bits, "group_size": group, "desc_act": act_order, "sym": symmetric,
    }  # fmt: skip
    assert said["checkpoint_format"] == ("gptq" if symmetric else "gptq_v2")
    tensors, coded = load_file(out / "model.safetensors"), load_backbone(str(out), compute=torch.float32)
    assert coded.notes == ()
    for path, own in coded.model.named_modules():
        if is_quantised(own):
            meant = read_by_the_format(tensors, f"model.{path}", bits, 1 if symmetric else 0)
            torch.testing.assert_close(full_weight(own), meant, rtol=1e-6, atol=1e-7)


def test_nf4_is_read_by_transformers_itself(source: Sources, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    quantise_model(str(source("llama")), out := tmp_path / "out", QuantiseSettings(method="nf4"), ())
    ours, theirs = load_backbone(str(out)), AutoModelForCausalLM.from_pretrained(out)
    made = load_backbone(str(source("llama")), precision="nf4")
    own = [path for path, each in ours.model.named_modules() if is_quantised(each)]
    assert len(own) == 14
    for path in own:
        weight = full_weight(ours.model.get_submodule(path)).float()
        torch.testing.assert_close(full_weight(theirs.model.get_submodule(path)).float(), weight, rtol=0.02, atol=1e-3)
        # What is rounded as it is read may have been rounded to bfloat16 before.
        other = full_weight(made.model.get_submodule(path)).float()
        assert (other - weight).norm() < 0.05 * weight.norm()


KILLED = """
import os, signal, sys
from pathlib import Path
from afina.quantisation.make import quantise_model
from afina.quantisation.way import QuantiseSettings
def tell(what, done, total):
    if what == "quantising layers" and done == 1:
        os.kill(os.getpid(), signal.SIGKILL)
settings = QuantiseSettings(bits=4, group=32, samples=6, length=24)
quantise_model(sys.argv[1], Path(sys.argv[2]), settings, eval(sys.argv[3]), tell=tell)
"""


def test_a_killed_run_goes_on_to_the_same_bytes(source: Sources, tmp_path: Path) -> None:
    folder, out = str(source("llama")), tmp_path / "killed"
    ended = run_ready(KILLED, folder, out, repr(TEXTS))
    assert ended.returncode == -signal.SIGKILL
    work = tmp_path / "killed.unfinished"
    assert (
        not out.exists()
        and (work / "part-0000.safetensors").is_file()
        and not (work / "part-0001.safetensors").exists()
    )
    settings = QuantiseSettings(bits=4, group=32, **SMALL)
    with pytest.raises(UsageError, match="begun with another bits"):
        quantise_model(folder, out, QuantiseSettings(bits=3, group=32, **SMALL), TEXTS)
    first = (work / "part-0000.safetensors").stat().st_mtime_ns
    kept = []
    quantise_model(folder, out, settings, TEXTS, tell=lambda *_: kept.append(_seen(work)))
    assert first in kept  # the layer was not made again
    quantise_model(folder, whole := tmp_path / "whole", settings, TEXTS)
    assert not work.exists()
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert (out / "config.json").read_bytes() == (whole / "config.json").read_bytes()


def _seen(work: Path) -> int | None:
    file = work / "part-0000.safetensors"
    return file.stat().st_mtime_ns if file.is_file() else None


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "bits": ({"bits": 5}, "2, 3, 4 or 8, not 5"),
    "method": ({"method": "gpqt"}, "did you mean 'gptq'"),
    "bits of nf4": ({"method": "nf4", "bits": 3}, "nf4 takes 4"),
    "order": ({"method": "rtn", "act_order": True}, "--act-order is for gptq"),
    "group that does not divide": ({"group": 48}, "--group 48 does not divide the 64 inputs .*; 64 does"),
    "group of none": ({"group": 0}, "--group should be"),
    "damp": ({"damp": 2.0}, "--damp"),
    "samples": ({"samples": 0}, "--samples"),
    "no texts": ({"calibration": None}, "give texts by --calibration"),
    "missing text to measure on": ({"text": ["gone.txt"]}, "gone.txt does not exist"),
    "no out": ({"out": None}, "Say by --out"),
    "original": ({"original": "minilm"}, "for --report"),
    "missing data": ({"calibration": "nowhere.txt"}, "nowhere.txt does not exist"),
    "out without a folder": ({"out": "nowhere/out"}, "does not exist"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_refused_in_a_sentence(
    case: str, source: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    says, words = WRONG[case]
    settings: dict[str, Any] = {"out": "out", "calibration": "texts.txt", **SMALL, **says}
    with pytest.raises(UsageError, match=words):
        api.quantise(source("llama"), settings.pop("out"), device="cpu", **settings)
    assert [path.name for path in tmp_path.iterdir()] == ["texts.txt"]


def test_texts_disk_and_models_that_will_not_do_are_refused(
    source: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = source("llama"), tmp_path / "out"
    settings = QuantiseSettings(bits=4, group=32, **SMALL)
    for texts in (["", "  "], ["cat"]):
        with pytest.raises(UsageError, match="tokens of text to calibrate on"):
            quantise_model(str(folder), out, settings, texts)
    (out / "deep").mkdir(parents=True)
    with pytest.raises(UsageError, match="no quantised model of Afina's"):
        quantise_model(str(folder), out, settings, TEXTS, force=True)
    shutil.rmtree(out)
    with pytest.raises(UsageError, match="the model that is read"):
        quantise_model(str(folder), folder, settings, TEXTS, force=True)
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
        with pytest.raises(AfinaError, match="make room"):
            quantise_model(str(folder), out, settings, TEXTS)
    with monkeypatch.context() as patched:
        patched.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 1000, "total": 1 << 40})())
        with pytest.raises(AfinaError, match="of memory at a time"):
            quantise_model(str(folder), out, settings, TEXTS)
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    tensors = load_file(broken / "model.safetensors")
    key = "model.layers.1.mlp.up_proj.weight"
    save_file({name: value for name, value in tensors.items() if name != key}, broken / "model.safetensors")
    with pytest.raises(UsageError, match=r"layers\.1\.mlp\.up_proj\.weight"):
        quantise_model(str(broken), out, settings, TEXTS)
    tensors[key][0, 0] = torch.nan
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(AfinaError, match=r"inputs are no numbers|not finite"):
        quantise_model(str(broken), out, settings, TEXTS)
    assert not out.exists()
    quantise_model(str(folder), out, settings, TEXTS, force=True)
    quantise_model(str(folder), out, settings, TEXTS, force=True)
    (out / "thesis.txt").write_text("all of it")
    with pytest.raises(UsageError, match=r"holds thesis\.txt, which Afina did not write"):
        quantise_model(str(folder), out, settings, TEXTS, force=True)
    assert (out / "thesis.txt").read_text() == "all of it"
    with pytest.raises(UsageError, match="stored in gptq; give the plain model"):
        quantise_model(str(out), tmp_path / "again", settings, TEXTS)


def test_a_report_of_ones_own_and_of_anothers(source: Sources, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    text = tmp_path / "texts.txt"
    out = run_afina(
        "quantise", source("llama"), "--bits", 3, "--group", 32, "--calibration", text, "--samples", 6, "--length", 24,
        "--text", text, "--limit", 3, "--out", tmp_path / "out", "--device", "cpu", "--language", "pt",
    ).stdout  # fmt: skip
    assert "erro das saídas" in out and "antes" in out and "perplex" in out
    own = api.quantise(tmp_path / "out", report=True)
    assert (own.precision, own.errors_of, own.model) == ("gptq", "outputs", str(source("llama")))
    assert [path for path, _, _ in own.by_depth()] == ["layers.0", "layers.1"]
    assert own.bytes_in_memory < own.memory_before / 2 and own.bytes_on_disk < (own.bytes_before or 0)

    gptq_checkpoint(source("llama"), other := tmp_path / "other", bits=4)
    theirs = api.quantise(other, report=True)
    assert theirs.errors_of == "" and theirs.by_depth() == [] and len(theirs.layers) == 14
    beside = api.quantise(other, report=True, original=str(source("llama")), text=[text], limit=3)
    assert beside.errors_of == "weights" and len(beside.by_depth()) == 2
    assert beside.measured is not None and beside.measured.rows[0].difference is not None
    with pytest.raises(UsageError, match="not quantised"):
        api.quantise(source("llama"), report=True)


def test_no_layer_is_held_when_the_next_is_read(
    source: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in tensors that are alive: the same before each layer, and within one little more than it and its codes."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(source("llama"))
    config.num_hidden_layers, config.layer_types = 4, None
    shutil.copytree(source("llama"), folder := tmp_path / "plain")
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)

    def alive() -> int:
        gc.collect()
        kinds = (torch.Tensor, torch.nn.Parameter)
        # Those of other layouts, which another test may have left, have no storage to count.
        tensors = [own for own in gc.get_objects() if type(own) in kinds and own.layout == torch.strided]
        storages = {
            own.untyped_storage().data_ptr(): own.untyped_storage().nbytes() for own in tensors if not own.is_meta
        }
        return sum(storages.values())

    before: list[int] = []
    within: list[int] = []
    sizes: list[int] = []
    read, keep = Streamed.read, PartsFolder.keep

    def reading(self: Streamed, layer: str) -> dict[str, torch.Tensor]:
        before.append(alive())
        sizes.append(sum(4 * value.numel() for value in self.inside(layer).values()))
        return read(self, layer)

    def keeping(self: PartsFolder, *given: Any) -> None:
        within.append(alive())
        keep(self, *given)

    monkeypatch.setattr(Streamed, "read", reading)
    monkeypatch.setattr(PartsFolder, "keep", keeping)
    quantise_model(str(folder), tmp_path / "made", QuantiseSettings(bits=4, group=32, **SMALL), TEXTS)
    layer = sizes[0]
    assert len(before) == 4
    # Beside the first there are no states yet, which are a quarter of so small a layer.
    assert max(before) - before[0] < 0.5 * layer
    assert max(most - least for least, most in zip(before, within, strict=False)) < 2.6 * layer


def test_too_few_tokens_are_noted(source: Sources, tmp_path: Path) -> None:
    """By as many as a layer has inputs, rounding suits these texts and others less than by itself."""
    few, enough = (
        quantise_model(
            str(source("llama")), tmp_path / str(samples),
            QuantiseSettings(bits=4, group=32, samples=samples, length=24), texts,
        ).notes
        for samples, texts in ((6, TEXTS), (12, TEXTS * 3))
    )  # fmt: skip
    assert any("144 tokens to calibrate on are few beside the 128 inputs" in note for note in few)
    assert not any("tokens to calibrate" in note for note in enough)


MEASURED = """
import resource, sys
from pathlib import Path
from afina.quantisation.make import quantise_model
from afina.quantisation.way import QuantiseSettings
settings = QuantiseSettings(bits=4, group=32, samples=6, length=24)
texts = eval(sys.argv[4])
quantise_model(sys.argv[1], Path(sys.argv[3]) / "small", settings, texts)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
quantise_model(sys.argv[2], Path(sys.argv[3]) / "large", settings, texts)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_model_is_never_whole_in_memory(source: Sources, tmp_path: Path) -> None:
    """In a process of its own, as another test may have left memory free: what it takes more than for a small model."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(source("llama"))
    config.num_hidden_layers, config.hidden_size, config.intermediate_size = 24, 256, 1024
    config.layer_types = None
    with torch.device("meta"):
        shape = transformers.AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(0)
    tensors = {
        key: (0.05 * torch.randn(value.shape, generator=generator)).to(torch.bfloat16)
        for key, value in shape.state_dict().items()
    }
    shutil.copytree(source("llama"), large := tmp_path / "plain")
    config.save_pretrained(large)
    save_file(tensors, large / "model.safetensors", metadata={"format": "pt"})
    whole = sum(value.nbytes for value in tensors.values())
    made = subprocess.run(
        [sys.executable, "-c", MEASURED, str(source("llama")), str(large), str(tmp_path), repr(TEXTS)],
        env=os.environ, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert int(made.stdout) * 1024 < 0.9 * whole  # with states, statistics and what the allocator keeps
    assert sum(map(is_linear, load_backbone(str(tmp_path / "large")).model.modules())) == 0
