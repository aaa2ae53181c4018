"""Checkpoints whose weights are stored in codes: read as their formats say, trained beside, merged, and refused by name."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from afina.adapters.adapter import build_adapter
from afina.backbone.attachment import Attachment
from afina.backbone.load import Backbone, load_backbone
from afina.backbone.quantise import full_weight, is_quantised, parameter_count, weight_bytes
from afina.backbone.shapes import read_shape, shape_backbone
from afina.errors import AfinaError, UsageError
from afina.ops.bits import pack, unpack
from afina.ops.coded_linear import CodedLinear
from coded_checkpoints import awq_checkpoint, compressed_checkpoint, gptq_checkpoint, hqq_checkpoint, words_of
from families import save_family
from pairs import FROZEN, batch, make, stir
from studies import write_splits

SIZES = (64, 128)
GROUPED = {"num_bits": 4, "strategy": "group", "group_size": 16}
COMPRESSED: dict[str, tuple[str, dict[str, Any]]] = {
    "packed": ("pack-quantized", GROUPED),
    "packed with zeros": ("pack-quantized", {**GROUPED, "symmetric": False}),
    "packed in 8 bits": ("pack-quantized", {"num_bits": 8, "strategy": "channel"}),
    "int8 by rows": ("int-quantized", {"num_bits": 8, "strategy": "channel"}),
    "int8 with zeros": ("int-quantized", {"num_bits": 8, "strategy": "channel", "symmetric": False}),
    "float8 as a whole": ("float-quantized", {"num_bits": 8, "type": "float", "strategy": "tensor"}),
}
Sources = Callable[[str], Path]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """Give the folder of a small plain model of a family."""
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = save_family(family, tmp_path_factory.mktemp(family) / "plain", sizes=SIZES)
        return made[family]

    return folder


def holds(backbone: Backbone, weights: dict[str, torch.Tensor]) -> int:
    """Hold every quantised layer's weight against what its file stands for; returns how many there are."""
    layers = {name: module for name, module in backbone.model.named_modules() if is_quantised(module)}
    for name, module in layers.items():
        torch.testing.assert_close(full_weight(module), weights[f"{backbone.prefix}{name}"], rtol=1e-6, atol=1e-7)
    return len(layers)


@pytest.mark.parametrize("bits", range(2, 9))
def test_numbers_of_a_few_bits_come_back_from_their_words(bits: int) -> None:
    codes = torch.randint(0, 1 << bits, (96, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(bits))
    words = pack(codes, bits)
    assert torch.equal(words, torch.from_numpy(words_of(codes.numpy(), bits)))
    assert torch.equal(unpack(words, bits), codes)


# Every pair of two settings' values is in one of these at least.
@pytest.mark.parametrize(
    ("bits", "sym", "version", "group", "act_order"),
    [
        (2, False, 1, 16, False), (2, True, 2, -1, True), (3, False, 2, 16, True), (3, True, 1, -1, False),
        (4, False, 1, -1, True), (4, True, 2, 16, False), (8, False, 2, -1, False), (8, True, 1, 16, True),
    ],
)  # fmt: skip
def test_gptq_is_read_as_its_format_says(
    bits: int, sym: bool, version: int, group: int, act_order: bool, source: Sources, tmp_path: Path
) -> None:
    folder = tmp_path / "coded"
    weights = gptq_checkpoint(
        source("llama"), folder, bits=bits, sym=sym, version=version, group=group, act_order=act_order
    )
    backbone = load_backbone(str(folder), precision="gptq")
    assert holds(backbone, weights) == len(weights)
    assert backbone.notes == ()


@pytest.mark.parametrize("family", ["gpt2", "bert", "t5", "phi3"])
def test_gptq_stands_in_every_shape_of_model(family: str, source: Sources, tmp_path: Path) -> None:
    weights = gptq_checkpoint(source(family), folder := tmp_path / "coded")
    assert holds(load_backbone(str(folder), precision="gptq"), weights) == len(weights)


@pytest.mark.parametrize("version", [1, 2])
def test_symmetric_zeros_are_believed_before_what_the_configuration_says(
    version: int, source: Sources, tmp_path: Path
) -> None:
    """Public checkpoints say `gptq` and store the zeros of version 2."""
    other = {"checkpoint_format": "gptq" if version == 2 else "gptq_v2"}
    weights = gptq_checkpoint(source("llama"), folder := tmp_path / "coded", sym=True, version=version, says=other)
    backbone = load_backbone(str(folder), precision="gptq")
    assert holds(backbone, weights) == len(weights)
    (note,) = backbone.notes
    assert f"stored {'minus one' if version == 1 else 'as they are'}" in note


def test_a_bias_of_zeros_that_the_model_lacks_is_left_out(source: Sources, tmp_path: Path) -> None:
    """AutoGPTQ writes one for every layer."""
    from safetensors.torch import load_file, save_file

    gptq_checkpoint(source("llama"), folder := tmp_path / "coded")
    tensors = load_file(folder / "model.safetensors")
    for key in [key for key in tensors if key.endswith("q_proj.qweight")]:
        tensors[key.replace("qweight", "bias")] = torch.zeros(tensors[key].shape[1], dtype=torch.float16)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    backbone = load_backbone(str(folder), precision="gptq")
    assert all(getattr(own, "bias", None) is None for own in backbone.model.modules())


def test_awq_is_read_as_its_format_says(source: Sources, tmp_path: Path) -> None:
    weights = awq_checkpoint(source("llama"), folder := tmp_path / "coded")
    assert holds(load_backbone(str(folder), precision="awq"), weights) == len(weights)


@pytest.mark.parametrize("kind", COMPRESSED)
def test_compressed_tensors_are_read_as_their_library_reads_them(kind: str, source: Sources, tmp_path: Path) -> None:
    form, weights = COMPRESSED[kind]
    meant = compressed_checkpoint(source("llama"), folder := tmp_path / "coded", weights, form=form)
    assert holds(load_backbone(str(folder), precision="compressed_tensors"), meant) == len(meant)


def _checkpoint(kind: str, source: Path, folder: Path) -> dict[str, torch.Tensor]:
    if kind == "awq":
        return awq_checkpoint(source, folder)
    if kind == "hqq":
        return hqq_checkpoint(source, folder)
    if kind == "compressed_tensors":
        return compressed_checkpoint(source, folder, GROUPED, form="pack-quantized")
    return gptq_checkpoint(source, folder, act_order=True)


@pytest.fixture(scope="module")
def coded(source: Sources, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give a Llama's folder in one of the formats."""
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind) / "coded"
            _checkpoint(kind, source("llama"), made[kind])
        return made[kind]

    return folder


@pytest.mark.parametrize("kind", ["gptq", "awq", "compressed_tensors", "hqq"])
def test_a_plain_copy_computes_the_same(kind: str, coded: Callable[[str], Path]) -> None:
    """In float32, which merging asks for: codes and the weights that they stand for give equal states and gradients."""
    small = load_backbone(str(coded(kind)), precision=kind, compute=torch.float32)
    plain = load_backbone(str(coded(kind)), precision="fp32", rounded_to=kind)
    assert not any(is_quantised(own) for own in plain.model.modules())
    assert parameter_count(small.model) == parameter_count(plain.model)
    assert weight_bytes(small.model) < weight_bytes(plain.model) / 2
    assert not hasattr(plain.config, "quantization_config")
    found = []
    for backbone in (small, plain):
        adapter = build_adapter(make("lora"), backbone, outputs=2, seed=0)
        stir(adapter)
        with Attachment(backbone, [adapter]) as attached:
            (scores,) = attached(batch("llama"))
            scores.square().sum().backward()
        found.append([scores.detach(), *(value.grad for value in adapter.parameters())])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, "gptq") for name in FROZEN),
        ("dora", "awq"),
        ("dora", "compressed_tensors"),
        ("prefix", "awq"),
        ("dora", "hqq"),
    ],
)
def test_every_method_trains_on_codes_and_leaves_them_as_they_were(
    name: str, kind: str, coded: Callable[[str], Path]
) -> None:
    backbone = load_backbone(str(coded(kind)), precision=kind)
    before = {key: value.clone() for key, value in backbone.model.state_dict().items()}
    adapter = build_adapter(make(name), backbone, outputs=2, seed=0)
    optimiser, losses = torch.optim.AdamW(adapter.parameters(), lr=3e-3), []
    with Attachment(backbone, [adapter]) as attached:
        attached.train(True)
        for _ in range(6):
            (scores,) = attached(batch("llama"))
            loss = torch.nn.functional.cross_entropy(scores.float(), torch.tensor([0, 1, 0]))
            losses.append(loss.item())
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
    assert losses[-1] < losses[0]
    assert all(torch.equal(value, before[key]) for key, value in backbone.model.state_dict().items())


@pytest.mark.parametrize("kind", ["gptq", "awq", "compressed_tensors", "hqq"])
def test_a_plan_knows_the_sizes_of_codes_without_the_weights(kind: str, coded: Callable[[str], Path]) -> None:
    backbone = load_backbone(str(coded(kind)), precision=kind)
    shape = shape_backbone(read_shape(str(coded(kind))), dtype=backbone.dtype, precision=kind, runs_on="cpu")
    assert parameter_count(shape.model) == parameter_count(backbone.model)
    # Groups as small as these have scales that take as much as a fifth of all, in float32 or in half of it.
    assert weight_bytes(shape.model) == pytest.approx(weight_bytes(backbone.model), rel=0.2)


SAYS: dict[str, tuple[dict[str, Any], str]] = {
    "bits": ({"bits": 5}, "bits .* 5 bits are not read"),
    "marlin": ({"checkpoint_format": "marlin"}, "'marlin'"),
    "bitblas": ({"checkpoint_format": "bitblas"}, "'bitblas'"),
    "old marlin": ({"is_marlin_format": True}, "'marlin'"),
    "words": ({"pack_dtype": "int16"}, "int16"),
    "another group": ({"group_size": 32}, "is of size"),
    "another number of bits": ({"bits": 8}, "is of size"),
    "text for a number": ({"bits": "four"}, "bits in its quantization_config"),
}


@pytest.mark.parametrize("case", SAYS)
def test_what_is_not_understood_is_refused_by_name(case: str, source: Sources, tmp_path: Path) -> None:
    says, words = SAYS[case]
    gptq_checkpoint(source("llama"), folder := tmp_path / "coded", says=says)
    with pytest.raises(UsageError, match=words):
        load_backbone(str(folder), precision="gptq")


def test_modules_may_have_settings_of_their_own(source: Sources, tmp_path: Path) -> None:
    """`dynamic` sets bits by patterns of paths; a wrong one is noticed by the sizes."""
    weights = gptq_checkpoint(
        source("llama"), folder := tmp_path / "coded", bits=8,
        says={"bits": 4, "dynamic": {r"+:.*layers\.\d+\.": {"bits": 8}, r"-:nothing": {}}},
    )  # fmt: skip
    assert holds(load_backbone(str(folder), precision="gptq"), weights) == len(weights)


def test_codes_that_lack_a_tensor_or_hold_no_numbers_are_refused(source: Sources, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    gptq_checkpoint(source("llama"), folder := tmp_path / "coded", act_order=True)
    whole = load_file(folder / "model.safetensors")
    path = next(key for key in whole if key.endswith("q_proj.qweight")).removesuffix(".qweight")

    def loaded(change: dict[str, torch.Tensor | None]) -> Backbone:
        kept = {key: value for key, value in {**whole, **change}.items() if value is not None}
        save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
        return load_backbone(str(folder), precision="gptq")

    scales = whole[f"{path}.scales"].clone()
    scales[0, 0] = np.inf
    for change, words in (
        ({f"{path}.scales": None}, "lack its scales"), ({f"{path}.g_idx": None}, "lack its g_idx"),
        ({f"{path}.g_idx": whole[f"{path}.g_idx"] + 9}, "names groups"), ({f"{path}.scales": scales}, "not finite"),
    ):  # fmt: skip
        with pytest.raises(AfinaError, match=re.escape(words)) as refused:
            loaded(change)
        # One sentence, and not one within another.
        assert ".." not in str(refused.value) and "cannot be kept" not in str(refused.value)


def test_a_plain_model_is_in_no_such_precision_and_codes_are_in_no_other(
    source: Sources, coded: Callable[[str], Path]
) -> None:
    with pytest.raises(UsageError, match="that of a checkpoint"):
        load_backbone(str(source("llama")), precision="gptq")
    for precision in ("fp32", "nf4", "awq"):
        with pytest.raises(UsageError, match="stored in gptq"):
            load_backbone(str(coded("gptq")), precision=precision)


def test_quantised_layouts_that_are_not_read_say_so(source: Sources, tmp_path: Path) -> None:
    awq_checkpoint(source("llama"), folder := tmp_path / "coded", says={"version": "gemv"})
    with pytest.raises(UsageError, match="'gemv' is not read"):
        load_backbone(str(folder), precision="awq")
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "aqlm"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="stored in aqlm"):
        load_backbone(str(folder), precision="awq")


def test_settings_in_a_file_of_their_own_are_read(source: Sources, tmp_path: Path) -> None:
    """As older releases of AutoGPTQ left them, with a config.json that says nothing."""
    weights = gptq_checkpoint(source("llama"), folder := tmp_path / "coded")
    config = json.loads((folder / "config.json").read_text())
    settings = config.pop("quantization_config")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "quantize_config.json").write_text(json.dumps({**settings, "model_name_or_path": None}))
    assert holds(load_backbone(str(folder), precision="gptq"), weights) == len(weights)


def test_a_bare_model_in_codes_is_loaded_with_no_word_on_precision(tmp_path: Path) -> None:
    """To be measured, to answer from documents, and to make an index's vectors."""
    from afina import api
    from afina.retrieval.bare import BareWriter
    from afina.retrieval.encoder import resolved_precision

    source = save_family("llama", tmp_path / "plain", sizes=SIZES, speaks=True)
    gptq_checkpoint(source, folder := tmp_path / "coded", sym=True, says={"checkpoint_format": "gptq_v2"})
    assert load_backbone(str(folder)).precision == "gptq"
    assert load_backbone(str(source)).precision == "fp32"
    (tmp_path / "texts.txt").write_text("the parcel is late")
    measured = api.evaluate(folder, text=[tmp_path / "texts.txt"], device="cpu")
    assert measured.facts["precision"] == "gptq"
    assert any("stored minus one" in note for note in measured.notes)
    assert sum(map(is_quantised, BareWriter(str(folder), device="cpu").backbone.model.modules())) == 14
    assert resolved_precision("auto", str(folder), "cpu") == "gptq"


def test_a_language_head_in_codes_is_dequantised_once(tmp_path: Path) -> None:
    source = save_family("llama", tmp_path / "plain", sizes=SIZES, speaks=True)
    weights = gptq_checkpoint(source, folder := tmp_path / "coded", also=("lm_head",))
    backbone = load_backbone(str(folder), precision="gptq", speaks=True, compute=torch.float32)
    assert backbone.language is not None
    torch.testing.assert_close(
        backbone.language.linear.get_parameter("weight"), weights["lm_head"], rtol=1e-6, atol=1e-7
    )


def test_a_study_its_adapter_and_its_merged_model(coded: Callable[[str], Path], tmp_path: Path) -> None:
    """Nothing is said of precision, and what leaves computes in plain transformers what was trained."""
    from transformers import AutoModelForSequenceClassification

    import afina
    from afina import api

    (tmp_path / "rows").mkdir()
    write_splits(tmp_path / "rows", train=24, test=12)
    study = afina.Study(
        tmp_path / "study", model=str(coded("gptq")), dataset=str(tmp_path / "rows"), epochs=1, max_length=16,
        methods=["lora", {"qlora": {"rank": 4}}],
    )  # fmt: skip
    told: list[str] = []
    results = {result["method"]: result for result in study.run(lambda event: told.append(type(event).__name__))}
    assert "Precision" not in told  # no step is timed to find what the checkpoint says
    assert {name: (own["status"], own["precision"]) for name, own in results.items()} == {
        "lora": ("ok", "gptq"), "qlora": ("ok", "gptq"),
    }  # fmt: skip
    loaded = afina.load(folder := tmp_path / "study" / results["lora"]["adapter"])
    assert loaded.record.precision == "gptq"
    assert sum(map(is_quantised, loaded.backbone.model.modules())) == 14
    exported = api.export(folder, to="merged", out=tmp_path / "merged", rows=8)
    assert "its codes (gptq)" in str(exported.merging)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged")
    assert not hasattr(plain.config, "quantization_config")
    exact = load_backbone(str(coded("gptq")), precision="fp32", rounded_to="gptq")
    own = exact.model.get_submodule("layers.0.mlp.up_proj").get_parameter("weight")
    torch.testing.assert_close(plain.model.layers[0].mlp.up_proj.weight, own)  # LoRA adapts queries and values


@pytest.mark.parametrize(("kind", "name"), [("awq", "scales"), ("compressed_tensors", "weight_scale"), ("hqq", "zero")])
def test_scales_that_are_no_numbers_are_refused_in_every_format(
    kind: str, name: str, source: Sources, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    _checkpoint(kind, source("llama"), folder := tmp_path / "coded")
    tensors = load_file(folder / "model.safetensors")
    key = next(key for key in tensors if key.endswith(f"q_proj.{name}"))
    tensors[key].view(-1)[0] = torch.nan
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UsageError, match=re.escape(f"{name} holds numbers that are not finite")):
        load_backbone(str(folder), precision=kind)


@pytest.mark.parametrize("kind", ["gptq", "awq", "compressed_tensors", "compressed_tensors with zeros", "hqq"])
def test_codes_scales_and_zeros_are_the_weight(kind: str, source: Sources, tmp_path: Path) -> None:
    """As a model is written whose zeros are new ones, whatever the file they come from."""
    folder = tmp_path / "coded"
    if kind == "gptq":
        gptq_checkpoint(source("llama"), folder, bits=3)
    elif kind == "compressed_tensors with zeros":
        compressed_checkpoint(source("llama"), folder, {**GROUPED, "symmetric": False}, form="pack-quantized")
    else:
        _checkpoint(kind, source("llama"), folder)
    layers = [own for own in load_backbone(str(folder)).model.modules() if isinstance(own, CodedLinear)]
    assert len(layers) == 14
    for layer in layers:
        codes, size = layer.codes(), layer.grouping()
        assert size == 16
        zeros, scales = (value.repeat_interleave(size, dim=1) for value in (codes.zeros, codes.scales))
        torch.testing.assert_close((codes.codes - zeros) * scales, full_weight(layer), rtol=1e-6, atol=1e-7)
