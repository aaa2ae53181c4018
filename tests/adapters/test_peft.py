"""The real peft as oracle: our saved adapters load there and give the same logits, and so do gradients and ranks."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from afina.adapters.adapter import build_adapter, load_adapter, save_adapter
from afina.adapters.record import AdapterRecord
from afina.backbone.attachment import Attachment
from afina.methods.base import make_method, registry
from families import FAMILIES, classifier, load_family
from pairs import COVERING_LAYOUTS, TRAINED, batch, logits, stir

Loader = Callable[[str], Path]
KNOWN = sorted(name for name, cls in registry().items() if cls.peft is not None and cls.peft.direct)
JOINED = [name for name in KNOWN if registry()[name].peft.fused]  # type: ignore[union-attr]
UNFUSED = [family for family in FAMILIES if family not in ("gpt2", "modernbert", "phi3")]


def saved(name: str, family: str, family_folder: Loader, folder: Path, **settings: Any) -> tuple[Any, Any, Path]:
    backbone = load_family(family_folder(family))
    # A larger scale at every linear layer of a model this small makes rounding large.
    method = make_method(name, settings, {"rank": 3, "alpha": 4.0})
    adapter = build_adapter(method, backbone, outputs=2, seed=0)
    stir(adapter)
    record = AdapterRecord(
        model=str(family_folder(family)), method=name, settings=method.settings(), max_length=64, precision="fp32",
        task={"name": "classification", "label_names": ["a", "b"]}, seed=0, total_steps=100,
    )  # fmt: skip
    save_adapter(folder / "adapter", adapter, backbone, record)
    return backbone, adapter, folder / "adapter"


@pytest.mark.pairs(TRAINED, FAMILIES)
def test_saved_and_loaded_gives_the_same_logits(name: str, family: str, family_folder: Loader, tmp_path: Path) -> None:
    from afina.adapters.record import read_record

    backbone, adapter, folder = saved(name, family, family_folder, tmp_path)
    expected = logits(backbone, adapter, batch(family))
    record = read_record(folder)
    fresh = load_family(Path(record.model))
    again = load_adapter(folder, fresh, record, outputs=2)
    assert torch.equal(logits(fresh, again, batch(family)), expected)


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - set(UNFUSED)))
@pytest.mark.parametrize("targets", [("query", "value"), ("query", "key", "value", "ffn_up", "ffn_down")], ids=len)
@pytest.mark.parametrize("name", JOINED)
def test_peft_loads_slices_of_a_fused_projection_as_one(
    name: str, targets: tuple[str, ...], family: str, family_folder: Loader, tmp_path: Path
) -> None:
    from peft import PeftModel

    backbone, adapter, folder = saved(name, family, family_folder, tmp_path, targets=targets)
    if name == "adalora" and len(targets) == 5:
        # Three slices of one module and one of another have unlike ranks together, and PEFT knows one for all.
        assert json.loads((folder / "adapter_config.json").read_text())["peft_type"] == "AFINA_ADALORA"
        return
    base = classifier(family).from_pretrained(family_folder(family))
    base.config.pad_token_id = 0
    theirs = PeftModel.from_pretrained(base, folder).eval()
    with torch.no_grad():
        torch.testing.assert_close(
            logits(backbone, adapter, batch(family)), theirs(**batch(family)).logits, rtol=1e-4, atol=1e-5
        )


@pytest.mark.covered("family", COVERING_LAYOUTS, FAMILIES)
def test_peft_loads_pissa_as_a_plain_lora(family: str, family_folder: Loader, tmp_path: Path) -> None:
    from peft import PeftModel

    backbone, adapter, folder = saved("lora", family, family_folder, tmp_path, init="pissa", rslora=True)
    base = classifier(family).from_pretrained(family_folder(family))
    base.config.pad_token_id = 0
    theirs = PeftModel.from_pretrained(base, folder).eval()
    assert theirs.peft_config["default"].r == 6
    with torch.no_grad():
        torch.testing.assert_close(
            logits(backbone, adapter, batch(family)), theirs(**batch(family)).logits, rtol=1e-4, atol=1e-5
        )


@pytest.mark.pairs(KNOWN, FAMILIES, unless=lambda name, family: family not in UNFUSED and name != "norms")
@pytest.mark.filterwarnings("ignore:Unsupported layer type:UserWarning")  # PEFT warns of norms, and tunes them
def test_peft_loads_what_we_save(name: str, family: str, family_folder: Loader, tmp_path: Path) -> None:
    """Equal logits and, for the loss of the same batch, equal gradients of every parameter of the method."""
    from peft import PeftModel

    backbone, adapter, folder = saved(name, family, family_folder, tmp_path)
    base = classifier(family).from_pretrained(family_folder(family))
    base.config.pad_token_id = 0
    theirs = PeftModel.from_pretrained(base, folder, is_trainable=True).eval()
    expected = theirs(**batch(family)).logits
    with Attachment(backbone, [adapter]) as attached:
        (ours,) = attached(batch(family))
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
        ours.square().sum().backward()
    expected.square().sum().backward()
    theirs_by_name = {
        key.replace(".default", "").replace(".modules_to_save", ""): value for key, value in theirs.named_parameters()
    }
    names = registry()[name].peft.parameters  # type: ignore[union-attr]
    compared = 0
    for site, branch in adapter.placed():
        for key, value in branch.named_parameters():
            name_there = f"base_model.model.{backbone.prefix}{site.name}.{names[key]}"
            # In its files PEFT drops the last word of DoRA's magnitude.
            oracle = theirs_by_name.get(name_there, theirs_by_name.get(f"{name_there}.weight"))
            assert oracle is not None, name_there
            assert oracle.grad is not None
            difference = (value.grad - oracle.grad.view_as(value)).norm()
            assert difference <= 5e-5 * oracle.grad.norm() + 1e-6, name_there
            compared += 1
    assert compared >= 3


@pytest.mark.parametrize(
    ("name", "family"), [("lora", "bert"), ("lora", "llama"), ("ia3", "roberta"), ("lora", "gpt2")]
)
def test_transformers_loads_what_we_save(name: str, family: str, family_folder: Loader, tmp_path: Path) -> None:
    """By its own load_adapter, which wants the head in place; DoRA's magnitudes it leaves out, also of PEFT's own files."""
    backbone, adapter, folder = saved(name, family, family_folder, tmp_path)
    model = classifier(family).from_pretrained(family_folder(family))
    model.config.pad_token_id = 0
    own = dict(model.named_parameters())
    with torch.no_grad():
        for key, value in adapter.head.named_parameters():
            own[key].copy_(value)
    model.load_adapter(str(folder))
    with torch.no_grad():
        expected = model.eval()(**batch(family)).logits
    torch.testing.assert_close(logits(backbone, adapter, batch(family)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_gated_prompts_are_pefts(family: str, family_folder: Loader) -> None:
    """PEFT has LLaMA-Adapter for generation only: the states of the bare model are compared, with equal weights."""
    from peft import AdaptionPromptConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    backbone = load_family(family_folder(family))
    adapter = build_adapter(make_method("llama-adapter", {"length": 4, "layers": 1}), backbone, outputs=2, seed=0)
    stir(adapter)
    base = AutoModelForCausalLM.from_pretrained(family_folder(family), attn_implementation="eager")
    config = AdaptionPromptConfig(task_type="CAUSAL_LM", adapter_len=4, adapter_layers=1)
    theirs = get_peft_model(base, config).eval()
    ((_, branch),) = adapter.placed()
    with torch.no_grad():
        for key, value in theirs.named_parameters():
            if "adaption_prompt" in key or "adaption_gate" in key:
                value.copy_((branch.prompt if "prompt" in key else branch.gate).view_as(value))
        expected = theirs.base_model.model.model(**batch()).last_hidden_state
        with Attachment(backbone, [adapter]) as attached:
            ours = attached.hidden(batch()).states
    real = batch()["attention_mask"].bool()
    torch.testing.assert_close(ours[real], expected[real], rtol=1e-4, atol=1e-5)


def test_adalora_gives_up_ranks_as_peft_does(family_folder: Loader, tmp_path: Path) -> None:
    """Same gradients fed to both allocators, step by step: the same triplets are left after every one of them."""
    from peft import AdaLoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    total, settings = 60, {"rank": 2, "start_rank": 4, "warm_up": 0.1, "final": 0.3, "interval": 5}
    backbone = load_family(family_folder("bert"))
    method = make_method("adalora", settings)
    adapter = build_adapter(method, backbone, outputs=2, seed=0)
    base = AutoModelForSequenceClassification.from_pretrained(family_folder("bert"))
    config = AdaLoraConfig(
        init_r=4, target_r=2, lora_alpha=8, tinit=6, tfinal=18, deltaT=5, total_step=total, task_type="SEQ_CLS",
        target_modules=["query", "value"],
    )  # fmt: skip
    theirs = get_peft_model(base, config)
    modules = dict(theirs.named_modules())
    ours = adapter.by_site()
    oracle = {
        name: [modules[f"base_model.model.bert.{name}.lora_{letter}"]["default"] for letter in "AEB"] for name in ours
    }
    schedule = method.steps_beside(ours, total)
    assert schedule is not None
    left = []
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for branch, values in zip(ours.values(), oracle.values(), strict=True):
            branch.l.add_(torch.randn(branch.l.shape, generator=draw))
            for mine, other in zip((branch.q, branch.l, branch.p), values, strict=True):
                other.copy_(mine)
    for step in range(1, total + 1):
        for branch, values in zip(ours.values(), oracle.values(), strict=True):
            for mine, other in zip((branch.q, branch.l, branch.p), values, strict=True):
                mine.grad = torch.randn(mine.shape, generator=draw)
                other.grad = mine.grad.clone()
        schedule.after_step(step)
        if step < total:  # peft prunes its modules for good at the last step
            theirs.base_model.update_and_allocate(step)
            for name, branch in ours.items():
                assert torch.equal(branch.l, oracle[name][1]), f"step {step}, {name}"
        left.append(sum(int((branch.l != 0).sum()) for branch in ours.values()))
    assert left[0] == 16
    assert left[-1] == 8
    assert len(set(left)) > 2


def test_a_trainer_step_of_lora_is_our_step(family_folder: Loader) -> None:
    """Ten AdamW steps with clipping, schedule and penalty-free loss: the weights stay equal to peft's under transformers."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification, get_linear_schedule_with_warmup

    from afina.train.optimiser import Optimiser

    backbone = load_family(family_folder("roberta"))
    adapter = build_adapter(make_method("lora", {"rank": 3}), backbone, outputs=2, seed=0)
    base = AutoModelForSequenceClassification.from_pretrained(family_folder("roberta"))
    theirs = get_peft_model(base, LoraConfig(r=3, lora_alpha=8, target_modules=["query", "value"], task_type="SEQ_CLS"))
    theirs.eval()
    modules = dict(theirs.named_modules())
    head = dict(theirs.base_model.model.classifier.modules_to_save["default"].named_parameters())
    with torch.no_grad():
        for site, branch in adapter.placed():
            module = modules[f"base_model.model.roberta.{site.name}"]
            module.lora_A["default"].weight.copy_(branch.a)
            module.lora_B["default"].weight.copy_(branch.b)
        for key, value in adapter.head.named_parameters():
            head[key.removeprefix("classifier.")].copy_(value)
    ours = Optimiser(adapter.trainable(backbone), learning_rate=1e-2, total_steps=10)
    parameters = [value for value in theirs.parameters() if value.requires_grad]
    adamw = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.0)
    rates = get_linear_schedule_with_warmup(adamw, 0, 10)
    labels = torch.tensor([0, 1, 0])
    with Attachment(backbone, [adapter]) as attached:
        for step in range(1, 11):
            torch.nn.functional.cross_entropy(attached(batch())[0], labels).backward()
            ours.step(step)
            ours.clear()
            torch.nn.functional.cross_entropy(theirs(**batch()).logits, labels).backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            adamw.step()
            adamw.zero_grad()
            rates.step()
    for site, branch in adapter.placed():
        module = modules[f"base_model.model.roberta.{site.name}"]
        torch.testing.assert_close(branch.b, module.lora_B["default"].weight, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("encoder", "kind"), [("mlp", "MLP"), ("lstm", "LSTM")])
def test_the_vectors_of_ptuning_are_pefts(encoder: str, kind: str, family_folder: Loader) -> None:
    """PEFT saves what its network makes; of the network itself, with equal weights, the vectors are the same."""
    from peft import PromptEncoder, PromptEncoderConfig

    backbone = load_family(family_folder("bert"))
    method = make_method("ptuning", {"length": 5, "hidden": 16, "encoder": encoder})
    ((_, branch),) = build_adapter(method, backbone, outputs=2, seed=0).placed()
    theirs = PromptEncoder(PromptEncoderConfig(
        num_virtual_tokens=5, token_dim=24, encoder_hidden_size=16, encoder_reparameterization_type=kind,
        num_transformer_submodules=1,
    )).eval()  # fmt: skip
    theirs.embedding.weight = branch.embedding
    theirs.mlp_head.load_state_dict(branch.mlp.state_dict())
    if branch.lstm is not None:
        theirs.lstm_head.load_state_dict(branch.lstm.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(branch.vectors(), theirs(torch.arange(5)[None])[0])
