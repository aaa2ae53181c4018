"""A base in 4 or 8 bits: every method trains on it, PEFT computes the same on it, and what leaves it says what it was."""

import json
import sys
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import afina
from afina.adapters.adapter import Adapter, build_adapter, save_adapter
from afina.adapters.merged import Merged
from afina.adapters.peft_branches import Replaced
from afina.adapters.record import AdapterRecord, write_record
from afina.backbone.attachment import Attachment
from afina.backbone.branch import Frozen
from afina.backbone.load import Backbone, load_backbone
from afina.backbone.quantise import full_weight, is_quantised, parameter_count, settle, weight_bytes
from afina.backbone.shapes import read_shape, shape_backbone
from afina.backbone.storage.base import STORAGES
from afina.backbone.weights import heads_of
from afina.cli.export import export
from afina.config import StudyConfig
from afina.data.tokens.tokens import IGNORED
from afina.errors import UsageError
from afina.methods.base import make_method, registry
from afina.optimisers.base import make_optimiser
from afina.results.results_jsonl import read_results
from afina.study.cohorts import plan_cohorts
from afina.study.plan import expand
from afina.study.study import Study
from afina.train.optimiser import By, Optimiser
from families import classifier, configuration, save_family
from pairs import FROZEN, batch, logits, make, stir
from peft_adapters import lora, trained
from studies import settings

Loader = Callable[[str], Path]
FAMILIES = ("bert", "gpt2", "phi3", "llama", "t5")
BLOCKS = (64, 128)
"""Sizes that are whole blocks of 64, as those of nearly all real models."""
LABELS = torch.tensor([0, 1, 0])
COMPARED = [
    ("qlora", "bert"), ("qlora", "llama"), ("qlora", "gpt2"), ("qlora", "t5"), ("lora", "llama"), ("dora", "llama"),
    ("dora", "bert"), ("ia3", "llama"), ("adalora", "bert"),
]  # fmt: skip
"""Methods and architectures that PEFT computes the same on."""
MERGED = [("qlora", "gpt2"), ("dora", "llama"), ("ia3", "bert"), ("lora", "t5")]


@pytest.fixture(scope="session")
def family_folder(family_folder: Callable[..., Path]) -> Loader:
    """Give the folder of a small model of a family with layers that nf4 takes."""
    return partial(family_folder, sizes=BLOCKS)


@pytest.fixture(scope="module")
def quantised(family_folder: Loader) -> Callable[[str, str], Backbone]:
    """Give a small quantised model, loaded once: no test changes it, as the first one shows."""
    made: dict[tuple[str, str], Backbone] = {}

    def load(family: str, precision: str) -> Backbone:
        if (family, precision) not in made:
            made[family, precision] = load_backbone(str(family_folder(family)), precision=precision)
        return made[family, precision]

    return load


@pytest.mark.parametrize("precision", ["nf4", "int8"])
@pytest.mark.pairs(FROZEN, FAMILIES, fully=("bert",))
def test_every_method_trains_on_a_quantised_base(
    name: str, family: str, precision: str, quantised: Callable[[str, str], Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an evaluation, which must not repack the weights; they are bit for bit what they were."""
    # As in test_methods: tokens are left out for both or for neither.
    monkeypatch.setattr(Attachment, "narrows", False)
    backbone = quantised(family, precision)
    before = {key: value.clone() for key, value in backbone.model.state_dict().items()}
    adapter = build_adapter(make(name), backbone, outputs=2, seed=0)
    if registry()[name].identity_start:
        plain = build_adapter(make("head"), backbone, outputs=2, seed=0)
        assert torch.equal(logits(backbone, adapter, batch(family)), logits(backbone, plain, batch(family)))
    optimiser, losses = torch.optim.AdamW(adapter.parameters(), lr=3e-3), []
    with Attachment(backbone, [adapter]) as attached:
        for step in range(8):
            attached.train(False)
            if not step:
                with torch.inference_mode():
                    attached(batch(family))
            loss = torch.nn.functional.cross_entropy(attached(batch(family))[0], LABELS)
            loss.backward()
            losses.append(loss.item())
            missing = [key for key, value in adapter.named_parameters() if value.grad is None]
            assert not missing, f"no gradient reaches {missing}"
            optimiser.step()
            optimiser.zero_grad()
            if step and losses[-1] < losses[0]:
                break
    assert min(losses) < losses[0]
    after = backbone.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in after.items())


@pytest.mark.parametrize("precision", ["nf4", "int8"])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_quantised_and_what_it_takes(
    family: str, precision: str, family_folder: Loader, quantised: Callable[[str, str], Backbone]
) -> None:
    backbone, plain = quantised(family, precision), load_backbone(str(family_folder(family)))
    roles = {site.role for site in backbone.anatomy.sites if is_quantised(backbone.model.get_submodule(site.module))}
    linear = {site.role for site in plain.anatomy.sites if site.kind == "linear"}
    # transformers keeps T5's in full, as its products overflow in fewer bits.
    assert roles == linear - ({"ffn_down"} if family == "t5" else set())
    assert not any(is_quantised(module) for module in build_adapter(make("head"), backbone, 2, 0).modules())
    for own, other in zip(backbone.anatomy.sites, plain.anatomy.sites, strict=True):
        assert (own.name, own.width_in, own.width, own.part) == (other.name, other.width_in, other.width, other.part)
        if own.kind == "linear" and is_quantised(module := backbone.model.get_submodule(own.module)):
            weight, there = full_weight(module).float(), plain.model.get_submodule(other.module).weight
            error = (weight - (there.T if other.transposed else there)).norm() / there.norm()
            assert error < (0.15 if precision == "nf4" else 0.015)
    assert parameter_count(backbone.model) == parameter_count(plain.model) == backbone.parameter_count
    kept = sum(value.untyped_storage().nbytes() for value in backbone.model.parameters())
    for module in backbone.model.modules():
        if is_quantised(module) and precision == "int8":
            kept += (module.weight.SCB if module.weight.SCB is not None else module.state.SCB).nbytes
        elif is_quantised(module):
            state = module.weight.quant_state
            tensors = (state.absmax, state.code, state.offset, state.state2.absmax, state.state2.code)
            kept += sum(value.nbytes for value in tensors)
    assert weight_bytes(backbone.model) == kept
    # Planned from the shape alone, before a weight is loaded.
    shape = shape_backbone(
        read_shape(str(family_folder(family))), dtype=STORAGES[precision].compute("cpu"), precision=precision
    )
    assert weight_bytes(shape.model) == kept


def test_rows_that_are_no_whole_blocks_stay_as_they_are_on_a_cpu(tmp_path: Path) -> None:
    """bitsandbytes reads some of them wrongly there; what is quantised is never far from what it was."""
    folder = save_family("llama", tmp_path / "llama", sizes=(64, 96))
    backbone, plain = load_backbone(str(folder), precision="nf4"), load_backbone(str(folder))
    for site in backbone.anatomy.of_kind("linear"):
        module = backbone.model.get_submodule(site.module)
        assert is_quantised(module) == (site.role != "ffn_down")
        own = plain.model.get_submodule(site.module).weight
        assert (full_weight(module).float() - own).norm() < 0.15 * own.norm()
    shape = shape_backbone(read_shape(str(folder)), dtype=STORAGES["nf4"].compute("cpu"), precision="nf4")
    assert weight_bytes(shape.model) == weight_bytes(backbone.model)
    on_gpu = shape_backbone(read_shape(str(folder)), dtype=torch.bfloat16, precision="nf4", runs_on="cuda")
    assert weight_bytes(on_gpu.model) < weight_bytes(shape.model)
    assert is_quantised(load_backbone(str(folder), precision="int8").model.get_submodule("layers.0.mlp.down_proj"))


def test_nf4_is_the_papers() -> None:
    """Real weights: in each block of 64, divided by the largest, only the 16 values of the paper's appendix E occur."""
    table = torch.tensor([
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
        -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
        0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
    ])  # fmt: skip
    backbone = load_backbone("minilm", precision="nf4", compute=torch.float32)
    module = backbone.model.get_submodule(backbone.anatomy.by_role(["query"], for_method="")[0].module)
    blocks = full_weight(module).view(-1, 64)
    blocks = blocks / blocks.abs().amax(dim=1, keepdim=True)
    assert (blocks[..., None] - table).abs().amin(dim=-1).max() < 1e-6
    assert module.weight.quant_state.nested


def theirs_on(folder: Path, family: str, precision: str, compute: torch.dtype, heads: list[str], **more: Any) -> Any:
    """The classifier as anyone quantises it by transformers."""
    from transformers import BitsAndBytesConfig

    config = (
        BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=heads)
        if precision == "int8"
        else BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=compute, llm_int8_skip_modules=heads,
        )
    )  # fmt: skip
    model = classifier(family).from_pretrained(
        folder, quantization_config=config, dtype=compute, device_map={"": "cpu"}, attn_implementation="eager", **more
    )
    model.config.pad_token_id = 0
    settle(model)  # without it bitsandbytes' first evaluation stops the gradient for good
    return model.eval()


@pytest.mark.covered(
    ("name", "family", "precision"),
    [
        ("qlora", "bert", "int8"), ("qlora", "gpt2", "nf4"), ("qlora", "t5", "nf4"), ("lora", "llama", "int8"),
        ("dora", "llama", "nf4"), ("ia3", "llama", "int8"), ("adalora", "bert", "nf4"),
    ],
    [(*own, precision) for precision in ("nf4", "int8") for own in COMPARED],
)  # fmt: skip
def test_peft_computes_the_same_on_the_same_quantised_weights(
    name: str, family: str, precision: str, family_folder: Loader, tmp_path: Path
) -> None:
    """What we save, loaded by the real peft on a base that transformers quantised: equal logits, equal gradients."""
    from peft import PeftModel

    backbone = load_backbone(str(family_folder(family)), precision=precision, compute=torch.float32)
    method = make(name)
    adapter = build_adapter(method, backbone, outputs=2, seed=0)
    stir(adapter)
    record = AdapterRecord(
        model=str(family_folder(family)), method=name, settings=method.settings(), max_length=64, precision=precision,
        task={"name": "classification", "label_names": ["a", "b"]}, seed=0, total_steps=100,
    )  # fmt: skip
    save_adapter(tmp_path / "adapter", adapter, backbone, record)
    heads = ["score", "classifier", "classification_head"]
    base = theirs_on(family_folder(family), family, precision, torch.float32, heads)
    theirs = PeftModel.from_pretrained(base, tmp_path / "adapter", is_trainable=True).eval()
    expected = theirs(**batch(family)).logits
    expected.square().sum().backward()
    with Attachment(backbone, [adapter]) as attached:
        (ours,) = attached(batch(family))
        ours.square().sum().backward()
    # In 8 bits an input that rounds the other way is a step of 1/127 off.
    near = 1e-4 if precision == "nf4" else 5e-3
    torch.testing.assert_close(ours, expected, rtol=near, atol=near)
    oracle = {key.replace(".default", ""): value for key, value in theirs.named_parameters()}
    names = method.peft.parameters
    for site, branch in adapter.placed():
        for key, value in branch.named_parameters():
            path = f"base_model.model.{backbone.prefix}{site.name}.{names[key]}"
            gradient = oracle.get(path, oracle.get(f"{path}.weight")).grad
            assert (value.grad - gradient.view_as(value)).norm() <= 10 * near * gradient.norm() + 1e-5, path


@pytest.mark.parametrize("precision", ["nf4", "int8"])
def test_in_bfloat16_we_round_no_worse_than_peft(precision: str) -> None:
    """On real weights, each one's distance from the same in float32."""
    from peft import LoraConfig, get_peft_model

    from afina.backbone.model_files import model_path

    inputs = {"input_ids": torch.randint(1000, 20000, (16, 24), generator=torch.Generator().manual_seed(0))}
    results: dict[str, torch.Tensor] = {}
    for compute in (torch.float32, torch.bfloat16):
        backbone = load_backbone("minilm", precision=precision, compute=compute)
        adapter = build_adapter(make("qlora"), backbone, outputs=16, seed=0)
        with torch.no_grad():
            for _, branch in adapter.placed():
                branch.b.copy_(torch.randn(branch.b.shape, generator=torch.Generator().manual_seed(1)) * 0.01)
        results[f"ours {compute}"] = logits(backbone, adapter, inputs).float()
    base = theirs_on(Path(model_path("minilm")), "bert", precision, torch.bfloat16, ["classifier"], num_labels=16)
    targets = sorted({f"{backbone.prefix}{site.module}" for site in adapter.sites})
    theirs = get_peft_model(base, LoraConfig(r=3, lora_alpha=16, target_modules=targets, task_type="SEQ_CLS")).eval()
    modules = dict(theirs.named_modules())
    with torch.no_grad():
        for site, branch in adapter.placed():
            module = modules[f"base_model.model.{backbone.prefix}{site.module}"]
            module.lora_A["default"].weight.copy_(branch.a)
            module.lora_B["default"].weight.copy_(branch.b)
        for key, value in theirs.base_model.model.classifier.modules_to_save["default"].named_parameters():
            value.copy_(adapter.head.get_parameter(f"classifier.{key}"))
        results["theirs"] = theirs(**inputs).logits.float()
    exact = results.pop("ours torch.float32")
    distance = {key: float((value - exact).norm()) for key, value in results.items()}
    assert distance["ours torch.bfloat16"] <= 1.5 * distance["theirs"]
    assert distance["ours torch.bfloat16"] < 0.25 * float(exact.norm())


@pytest.mark.covered(
    ("family", "precision"), [("llama", "nf4"), ("gpt2", "int8"), ("t5", "nf4"), ("bart", "int8")],
    product(["llama", "gpt2", "t5", "bart"], ["nf4", "int8"]),
)  # fmt: skip
def test_a_quantised_base_speaks_with_its_own_head(family: str, precision: str, tmp_path: Path) -> None:
    folder = save_family(family, tmp_path / family, speaks=True, sizes=BLOCKS)
    backbone = load_backbone(str(folder), speaks=True, precision=precision)
    compute = STORAGES[precision].compute("cpu")
    plain = load_backbone(str(folder), speaks=True, precision="bf16" if compute == torch.bfloat16 else "fp32")
    assert plain.language is not None and backbone.language is not None
    assert torch.equal(backbone.language.linear.weight, plain.language.linear.weight)
    assert any(is_quantised(module) for module in backbone.model.modules())
    adapter = build_adapter(make("qlora"), backbone, outputs=3, seed=0)
    inputs = batch(family)  # a question with three answers
    targets = torch.full_like(inputs["input_ids"], IGNORED)
    targets[:, 2] = inputs["input_ids"][:, 3]
    with Attachment(backbone, [adapter]) as attached:
        attached(inputs, targets=targets)[0][..., 0].sum().backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in adapter.parameters())


def test_a_file_of_peft_is_read_onto_a_quantised_base(family_folder: Loader, tmp_path: Path) -> None:
    """A trained copy of a whole layer too, in place of the quantised one."""
    chosen = {"target_modules": ["query", "key"], "modules_to_save": ["pooler"], "bias": "all"}
    _, folder = trained("bert", lora("bert", **chosen), family_folder, tmp_path / "theirs")
    plain, loaded = afina.load(folder), afina.load(folder, precision="nf4")
    assert any(isinstance(branch, Replaced) for _, branch in loaded.adapter.placed())
    own = logits(loaded.backbone, loaded.adapter, batch())
    assert not torch.equal(own, expected := logits(plain.backbone, plain.adapter, batch()))
    rounded = load_backbone(str(family_folder("bert")), rounded_to="nf4")
    torch.testing.assert_close(own, logits(rounded, plain.adapter, batch()), rtol=0.05, atol=0.05)
    assert (own - expected).norm() < 0.5 * expected.norm()


# -- studies -------------------------------------------------------------------------------------------------------------


def test_qlora_brings_its_precision_and_the_rest_keep_theirs(
    family_folder: Loader, csv_folder: Path, tmp_path: Path
) -> None:
    methods = ["lora", {"qlora": {"dropout": 0.0}}, "head"]
    chosen = settings(family_folder, csv_folder, methods=methods, seeds=2, cohort=8)
    results = {(r["method"], r["seed"]): r for r in Study(tmp_path / "out", **chosen).run()}
    assert {r["status"] for r in results.values()} == {"ok"}
    assert {key[0]: r["precision"] for key, r in results.items()} == {"lora": "fp32", "qlora": "nf4", "head": "fp32"}
    assert results["qlora", 0]["cohort_size"] == 2
    assert results["lora", 0]["cohort_size"] == 4
    # The base is the method's own, so that the two are compared, item by item too.
    assert len({r["fingerprint"]["digest"] for r in results.values()}) == 1
    assert len({r["total_parameters"] - r["trainable_parameters"] for r in results.values()}) == 1
    assert results["qlora", 0]["optimiser"] == "AdamW"
    folder = tmp_path / "out" / results["qlora", 0]["adapter"]
    assert json.loads((folder / "adapter_config.json").read_text())["peft_type"] == "LORA"
    loaded = afina.load(folder)
    assert loaded.record.precision == "nf4"
    assert any(is_quantised(module) for module in loaded.backbone.model.modules())
    assert {p.label for p in loaded.predict(["good parcel", "late parcel"])} <= {"praise", "complaint"}
    first, *_, last = results["qlora", 0]["history"]
    assert last["train_loss"] < first["train_loss"]


@pytest.mark.always
def test_a_study_of_qlora_alone_times_no_precision(family_folder: Loader, csv_folder: Path, tmp_path: Path) -> None:
    seen: list[str] = []
    chosen = settings(family_folder, csv_folder, methods=["qlora", "features"], precision="int8", epochs=1)
    results = Study(tmp_path / "int8", **chosen).run()
    assert {r["method"]: (r["status"], r["precision"]) for r in results} == {
        "qlora": ("ok", "int8"), "features": ("ok", "int8"),
    }  # fmt: skip
    chosen = settings(family_folder, csv_folder, methods=["qlora"], precision="auto", epochs=1)
    (result,) = Study(tmp_path / "auto", **chosen).run(lambda event: seen.append(event["kind"]))
    assert result["precision"] == "nf4"
    assert "precision" not in seen
    assert read_results(tmp_path / "auto")[0]["fingerprint"]["protocol"]["precision"] == "nf4"


def runs_of(**more: Any) -> tuple[StudyConfig, list[Any]]:
    config: StudyConfig = StudyConfig.parse({"model": "m", "dataset": "d", **more}, "study")
    return config, expand(config)


def test_runs_of_unlike_precision_share_no_cohort(tmp_path: Path) -> None:
    for precision, sizes in (("bf16", [2, 4]), ("nf4", [6]), ("auto", [2, 4])):
        config, runs = runs_of(methods=["lora", "ia3", "qlora"], seeds=2, precision=precision, cohort=16)
        found = plan_cohorts(config, tmp_path, runs, runs, {("m", 0): 1000})
        assert sorted(len(cohort.runs) for cohort in found) == sizes


def test_what_cannot_be_is_one_sentence(family_folder: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for precision in ("nf4", "int8"):
        with pytest.raises(
            UsageError, match=rf"full trains the model's own weights, which precision: {precision} free"
        ):
            runs_of(methods=["lora", "full"], precision=precision)
    full = AdapterRecord("minilm", "full", {}, {"name": "classification", "label_names": ["a", "b"]}, 64, "fp32", 0)
    write_record(tmp_path, {}, full)
    with pytest.raises(UsageError, match=r"full trains the model's own weights"):
        afina.load(tmp_path, precision="nf4")
    with pytest.raises(UsageError, match=r"race: candidates on one base only, and these want auto and nf4"):
        runs_of(methods=["lora", "qlora"], race=True)
    assert len(runs_of(methods=["lora", "qlora"], race=True, precision="nf4")[1]) == 2
    backbone = load_backbone(str(family_folder("bert")), precision="nf4")
    adapter = build_adapter(make("lora"), backbone, outputs=2, seed=0)
    with (
        pytest.raises(UsageError, match=r"is quantised: what is folded into it would be rounded away"),
        Merged(backbone, adapter),
    ):
        pass
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(UsageError, match=r"precision: nf4 needs bitsandbytes: pip install 'afina\[quantised\]'"):
        load_backbone(str(family_folder("bert")), precision="nf4")


@pytest.mark.parametrize("precision", ["nf4", "int8"])
def test_weights_that_are_stored_quantised_are_read_as_such(
    precision: str, quantised: Callable[[str, str], Backbone], family_folder: Loader, tmp_path: Path
) -> None:
    base = theirs_on(family_folder("llama"), "llama", precision, STORAGES[precision].compute("cpu"), ["score"])
    base.save_pretrained(tmp_path / "stored")
    quantised("llama", precision).tokenizer.save_pretrained(tmp_path / "stored")
    backbone = load_backbone(str(tmp_path / "stored"), precision=precision)
    same = quantised("llama", precision)
    adapter = build_adapter(make("lora"), same, outputs=2, seed=0)
    assert torch.equal(logits(backbone, adapter, batch()), logits(same, adapter, batch()))
    with pytest.raises(
        UsageError, match=rf"are stored in {precision}, not to be had in bf16; set precision: {precision}"
    ):
        load_backbone(str(tmp_path / "stored"), precision="bf16")


# -- leaving -------------------------------------------------------------------------------------------------------------


@pytest.mark.covered(
    ("name", "family", "precision"),
    [("qlora", "gpt2", "nf4"), ("dora", "llama", "int8"), ("ia3", "bert", "nf4"), ("lora", "t5", "int8")],
    [(name, family, precision) for precision in ("nf4", "int8") for name, family in MERGED],
)
def test_merging_says_what_it_changes(
    name: str, family: str, precision: str, family_folder: Loader, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backbone = load_backbone(str(family_folder(family)), precision=precision)
    adapter = build_adapter(make(name), backbone, outputs=2, seed=0)
    stir(adapter)
    record = AdapterRecord(
        model=str(family_folder(family)), method=name, settings=adapter.method.settings(), max_length=60, seed=0,
        precision=precision, task={"name": "classification", "label_names": ["no", "yes"]}, total_steps=100,
    )  # fmt: skip
    save_adapter(tmp_path / "adapter", adapter, backbone, record)
    said: dict[str, str] = {}
    weights: dict[str, Any] = {}
    for onto in ("dequantised", "original"):
        export(tmp_path / "adapter", "merged", out=tmp_path / onto, data=None, rows=8, onto=onto)
        said[onto] = " ".join(capsys.readouterr().out.split())
        weights[onto] = dict(classifier(family).from_pretrained(tmp_path / onto).named_parameters())
    assert f"it holds the weights that {precision} stands for" in said["dequantised"]
    assert f"it holds the original weights, not those that {precision} had made of them" in said["original"]
    for text in said.values():
        assert "its logits differ by up to" in text
        assert "of 8 rows keep their label" in text
    plain = load_backbone(str(family_folder(family)))
    site, branch = adapter.placed()[0]
    module = f"{backbone.prefix}{site.module}.weight"
    for onto, source in (("dequantised", backbone), ("original", plain)):
        layer = source.model.get_submodule(site.module)
        weight, found = full_weight(layer).float(), weights[onto][module]
        weight = weight if isinstance(layer, torch.nn.Linear) else weight.T
        found = found if isinstance(plain.model.get_submodule(site.module), torch.nn.Linear) else found.T
        if name in ("qlora", "lora"):
            torch.testing.assert_close(found - weight, branch.scale * branch.b @ branch.a, rtol=1e-3, atol=1e-4)
    assert not torch.equal(weights["dequantised"][module], weights["original"][module])


def test_the_exported_lora_of_a_quantised_base_is_read_by_peft(family_folder: Loader, tmp_path: Path) -> None:
    backbone = load_backbone(str(family_folder("llama")), precision="nf4")
    adapter = build_adapter(make("qlora"), backbone, outputs=2, seed=0)
    stir(adapter)
    record = AdapterRecord(
        model=str(family_folder("llama")), method="qlora", settings=adapter.method.settings(), max_length=60, seed=0,
        precision="nf4", task={"name": "classification", "label_names": ["no", "yes"]},
    )  # fmt: skip
    save_adapter(tmp_path / "adapter", adapter, backbone, record)
    for kind, options in (("peft", {}), ("lora", {"rank": 64})):
        export(tmp_path / "adapter", kind, out=tmp_path / kind, data=None, rows=8, **options)
        assert json.loads((tmp_path / kind / "adapter_config.json").read_text())["peft_type"] == "LORA"
    with pytest.raises(
        UsageError, match="--onto is dequantised, original or codes, not 'orignal'; did you mean 'original'"
    ):
        export(tmp_path / "adapter", "merged", out=tmp_path / "x", data=None, rows=8, onto="orignal")
    with pytest.raises(UsageError, match="--to merged takes no --rank; it is for --to gguf-lora and lora"):
        export(tmp_path / "adapter", "merged", out=tmp_path / "x", data=None, rows=8, rank=4)


# -- the optimiser, and a GPU --------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU:UserWarning")
def test_paged_adamw_is_adamw_and_goes_on_after_a_kill() -> None:
    """bitsandbytes' own arithmetic on a CPU, where it does not page: torch's steps, and the state there and back."""
    torch.manual_seed(0)
    start = {"a": torch.randn(5, 7), "b": torch.randn(7)}
    results = []
    for paged, killed in ((False, False), (True, False), (True, True)):
        parameters = {name: torch.nn.Parameter(value.clone()) for name, value in start.items()}
        draw = torch.Generator().manual_seed(1)

        def new(own: dict[str, torch.nn.Parameter], paged: bool = paged) -> Optimiser:
            kind = make_optimiser("paged_adamw" if paged else "adamw")
            more = {"weight_decay": 0.1, "rate_factors": {"b": 4.0}, "by": By(kind)}
            return Optimiser(own, learning_rate=1e-2, total_steps=10, **more)  # type: ignore[arg-type]

        optimiser = new(parameters)
        for step in range(1, 11):
            if killed and step == 6:
                state = optimiser.state()
                optimiser = new(parameters)
                optimiser.load_state({name: value.clone() for name, value in state.items()})
            for value in parameters.values():
                value.grad = torch.randn(value.shape, generator=draw)
            optimiser.step(step)
            optimiser.clear()
        results.append(parameters)
    for name in start:
        torch.testing.assert_close(results[1][name], results[0][name], rtol=1e-4, atol=1e-6)
        assert torch.equal(results[2][name], results[1][name])


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["nf4", "int8"])
def test_on_a_gpu_qlora_trains_with_paged_moments(precision: str, tmp_path: Path) -> None:
    chosen = {"methods": [{"qlora": {"rank": 64}}], "precision": precision, "device": "cuda", "epochs": 1}
    (result,) = Study(
        tmp_path / "out", model="minilm", dataset="tickets", train_limit=60, test_limit=20, **chosen
    ).run()
    assert (result["status"], result["optimiser"]) == ("ok", "paged AdamW"), result["error"]
    on_gpu = afina.load(tmp_path / "out" / result["adapter"], device="cuda").logits(["where is my parcel?"])
    on_cpu = afina.load(tmp_path / "out" / result["adapter"]).logits(["where is my parcel?"])
    assert abs(on_gpu - on_cpu).max() < 0.1 * max(1.0, abs(on_cpu).max())


@pytest.mark.gpu
@pytest.mark.parametrize("name", FROZEN)
def test_on_a_gpu_every_method_trains_on_nf4(name: str) -> None:
    backbone = load_backbone("minilm", precision="nf4", device="cuda")
    before = {key: value.clone() for key, value in backbone.model.state_dict().items()}
    adapter = build_adapter(make(name), backbone, outputs=2, seed=0)
    paged = make_optimiser("paged_adamw")
    optimiser = Optimiser(adapter.trainable(backbone), learning_rate=1e-3, total_steps=8, by=By(paged))
    inputs, losses = {key: value.cuda() for key, value in batch().items()}, []
    with Attachment(backbone, [adapter]) as attached:
        for step in range(1, 9):
            loss = torch.nn.functional.cross_entropy(attached(inputs)[0], LABELS.cuda())
            loss.backward()
            optimiser.step(step)
            optimiser.clear()
            losses.append(loss.item())
    assert min(losses) < losses[0]
    assert all(torch.equal(value, before[key]) for key, value in backbone.model.state_dict().items())


def test_heads_are_found_by_where_they_stand(family_folder: Loader) -> None:
    from transformers import AutoModelForSeq2SeqLM

    for family, expected in (("bert", {"^dropout", "^classifier"}), ("llama", {"^score"})):
        assert set(heads_of(classifier(family).from_pretrained(family_folder(family)))) == expected
    assert heads_of(AutoModelForSeq2SeqLM.from_config(configuration("t5"))) == ["^lm_head"]
    assert make_method("qlora", {}).settings()["rank"] == 64


@pytest.mark.parametrize("family", ["bert", "phi3", "gpt2"])
def test_loftq_starts_at_what_quantising_lost(family: str, family_folder: Loader) -> None:
    """At the nearest of its rank, by numpy, in fused projections too; and so nearer to the plain model."""
    folder = str(family_folder(family))
    backbone, plain = load_backbone(folder, precision="nf4"), load_backbone(folder)
    for alpha in (6.0, -6.0):
        method = make("lora", init="loftq", targets=("all",), rank=4, alpha=alpha)
        adapter = build_adapter(method, backbone, outputs=2, seed=0).requires_grad_(False)
        for (site, branch), whole in zip(adapter.placed(), _weights(plain, adapter), strict=True):
            quantised = Frozen(backbone.model, backbone.anatomy, site).linear().weight.float()
            left = np.linalg.svd((whole - quantised).numpy(), compute_uv=False)[4:]
            rest = whole - branch.fold(quantised.clone(), None)[0]
            assert float(rest.norm()) == pytest.approx(float(np.sqrt((left**2).sum())), rel=1e-3)
    bare = build_adapter(make("head"), backbone, outputs=2, seed=0)
    exact = logits(plain, build_adapter(make("head"), plain, outputs=2, seed=0), batch(family))
    off = [(logits(backbone, own, batch(family)) - exact).norm() for own in (adapter, bare)]
    assert off[0] < off[1]


def _weights(plain: Backbone, adapter: Adapter) -> list[Tensor]:
    sites = {site.name: site for site in plain.anatomy.sites}
    places = [sites[site.name] for site in adapter.sites]
    return [Frozen(plain.model, plain.anatomy, site).linear().weight.float() for site in places]


def test_loftq_needs_a_quantised_base_and_its_plain_weights(family_folder: Loader) -> None:
    plain = load_backbone(str(family_folder("bert")))
    with pytest.raises(
        UsageError, match=r"^init: loftq makes up for what quantising lost, and this base is whole; set"
    ):
        build_adapter(make("lora", init="loftq"), plain, outputs=2, seed=0)
