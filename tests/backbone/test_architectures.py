"""Architectures without a row: taken by their shape where every layer and the numbers agree, refused with a reason else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from afina.adapters.adapter import build_adapter
from afina.backbone.attachment import Attachment
from afina.backbone.configuration import REFUSED
from afina.backbone.load import load_backbone
from afina.backbone.look import look_over
from afina.errors import UsageError
from afina.methods.base import make_method
from families import load_family, tokenizer
from pairs import batch

Loader = Callable[..., Path]
SIZES = {
    "vocab_size": 128, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37,
    "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": None, "eos_token_id": 4,
}  # fmt: skip
NEWCOMERS: dict[str, dict[str, Any]] = {
    "ministral": {"num_key_value_heads": 2, "head_dim": 6},
    "smollm3": {"num_key_value_heads": 2},
    "gemma": {"num_key_value_heads": 2, "head_dim": 6},
    "granite": {"num_key_value_heads": 2, "logits_scaling": 3.0},
    "stablelm": {"hidden_size": 32, "num_key_value_heads": 2, "use_parallel_residual": True},
    "olmo": {},
    "olmo2": {"num_key_value_heads": 2},
    "cohere": {"num_key_value_heads": 2, "logit_scale": 0.5},
    "starcoder2": {"num_key_value_heads": 2},
    "arcee": {"num_key_value_heads": 2},
    "glm4": {"num_key_value_heads": 2, "head_dim": 6},
    "phi": {"hidden_size": 32},
}


def saved(kind: str, folder: Path, *, speaks: bool = True, **settings: Any) -> Path:
    import transformers as t

    torch.manual_seed(0)
    config = t.AutoConfig.for_model(kind, **SIZES | settings)
    maker = t.AutoModelForCausalLM if speaks else t.AutoModelForSequenceClassification
    model = maker.from_config(config)
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(value + torch.randn_like(value) * 0.1 if value.ndim == 1 else value * 4)
    model.save_pretrained(folder)
    tokenizer("llama").save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", NEWCOMERS)
def test_a_newcomer_is_taken_by_its_shape_and_computes_what_transformers_does(kind: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    folder = saved(kind, tmp_path / kind, **NEWCOMERS[kind])
    (note,) = look_over(str(folder), speaks=True)
    assert f"'{kind}' has no row in Afina's table: it was recognised by its shape" in note
    backbone = load_backbone(str(folder), speaks=True)
    theirs = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    inputs, real = batch(), batch()["attention_mask"].bool()
    assert backbone.language is not None
    with Attachment(backbone, []) as attached, torch.no_grad():
        found = backbone.language(attached.hidden(inputs, []).states[real])
        torch.testing.assert_close(found, theirs(**inputs).logits[real], rtol=1e-4, atol=1e-4)
    unknown = ("olmo", "cohere", "stablelm")  # their norms have no weights, are of another form, or are not there
    for name in ("lora", "prefix", "ia3" if kind in unknown else "norms"):
        adapter = build_adapter(make_method(name, {}, {"rank": 2}), backbone, 0, 0)
        targets = torch.where(real, inputs["input_ids"], -100)
        with Attachment(backbone, [adapter]) as attached:
            attached(inputs, targets=targets)[0][:, 0].sum().backward()
        assert all(value.grad is not None for value in adapter.parameters()), name


def test_it_classifies_too(tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    folder = saved("smollm3", tmp_path / "base", speaks=False, num_key_value_heads=2, id2label={0: "no", 1: "yes"})
    backbone = load_backbone(str(folder))
    adapter = build_adapter(make_method("head", {}), backbone, 2, 0, ["no", "yes"])
    theirs = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
    with Attachment(backbone, [adapter]) as attached, torch.no_grad():
        torch.testing.assert_close(attached(batch())[0], theirs(**batch()).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        ("qwen2_moe", {"num_key_value_heads": 2}, r"nearest by its shape is .*, but layers\.0 has no mlp\.down_proj"),
        ("mixtral", {"num_key_value_heads": 2}, r"layers\.0 has no mlp\.down_proj"),
        (
            "diffllama",
            {"num_key_value_heads": 2},
            r"nearest by its shape is 'llama', but layers\.0\.self_attn has weights of",
        ),
        ("gpt_bigcode", {}, r"nearest by its shape is 'gpt2', but h\.0: its query is 12 wide and not 4 heads of 6"),
        # Its first layer is dense, as of a Llama, and its experts stand behind.
        ("qwen2_moe", {"num_key_value_heads": 2, "mlp_only_layers": [0]}, r"layers\.1 has no mlp\.down_proj"),
        ("biogpt", {}, r"is not known \(known are albert, .*To teach it, add a row to afina/backbone/rows\.py"),
        # A quarter of seven features turned, which transformers makes eight of.
        (
            "stablelm",
            {"num_key_value_heads": 2},
            r"The keys of 'stablelm' models are not as wide as its config\.json says",
        ),
        ("gpt_neox", {}, r"'gpt_neox' models are not taken: their attention takes no function"),
        ("falcon", {}, r"'falcon' models are not taken"),
        ("bloom", {}, r"'bloom' models are not taken"),
    ],
)
def test_what_is_no_known_shape_is_refused_with_the_difference(
    kind: str, settings: dict[str, Any], said: str, tmp_path: Path
) -> None:
    folder = saved(kind, tmp_path / kind, **settings)
    for read in (look_over, load_backbone):
        with pytest.raises(UsageError, match=said):
            read(str(folder), speaks=True)  # type: ignore[operator]


def test_an_encoder_is_no_decoder_of_its_shape(tmp_path: Path) -> None:
    folder = saved("eurobert", tmp_path / "base", speaks=False, num_key_value_heads=2)
    with pytest.raises(UsageError, match="nearest by its shape is 'llama', but its tokens look at later ones too"):
        load_backbone(str(folder))


def test_xlnet_is_refused_with_its_reason(tmp_path: Path) -> None:
    from transformers import XLNetConfig

    XLNetConfig(vocab_size=64, d_model=24, n_layer=1, n_head=4, d_inner=16).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match="'xlnet' models are not taken: they keep their states with the tokens before"):
        look_over(str(tmp_path))
    assert "xlnet" in REFUSED


def test_an_attention_with_a_term_of_its_own_is_noticed_by_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newcomer whose module hands its attention something that ours does not know of."""
    from transformers.models.smollm3 import modeling_smollm3

    eager = modeling_smollm3.eager_attention_forward

    def with_a_term(module: Any, query: Any, key: Any, value: Any, mask: Any, **settings: Any) -> Any:
        return eager(module, query * 1.5, key, value, mask, **settings)

    monkeypatch.setattr(modeling_smollm3, "eager_attention_forward", with_a_term)
    folder = saved("smollm3", tmp_path / "base", num_key_value_heads=2)
    with pytest.raises(UsageError, match="The attention of 'smollm3' models has something of its own"):
        load_backbone(str(folder), speaks=True)


def test_a_language_head_of_its_own_is_noticed_by_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("afina.backbone.language_head._scale_of", lambda config: 1.0)
    folder = saved("granite", tmp_path / "base", num_key_value_heads=2, logits_scaling=3.0)
    with pytest.raises(UsageError, match="The language head of 'granite' models has something of its own"):
        load_backbone(str(folder), speaks=True)


def test_mt5_is_a_t5(family_folder: Loader, tmp_path: Path) -> None:
    import json
    import shutil

    shutil.copytree(family_folder("t5"), tmp_path / "mt5")
    config = json.loads((tmp_path / "mt5" / "config.json").read_text())
    (tmp_path / "mt5" / "config.json").write_text(json.dumps(config | {"model_type": "mt5"}))
    backbone, plain = load_backbone(str(tmp_path / "mt5")), load_family(family_folder("t5"))
    adapters = [build_adapter(make_method("head", {}), own, 2, 0) for own in (backbone, plain)]
    results = []
    for own, adapter in zip((backbone, plain), adapters, strict=True):
        with Attachment(own, [adapter]) as attached, torch.no_grad():
            results.append(attached(batch())[0])
    assert torch.equal(*results)


@pytest.mark.parametrize("dense", [[], [0]], ids=["experts alone", "a dense layer first"])
def test_experts_are_left_alone_and_it_is_said(dense: list[int], tmp_path: Path) -> None:
    settings = {"head_dim": 6, "moe_intermediate_size": 20, "num_experts": 4, "num_experts_per_tok": 2}
    folder = saved("qwen3_moe", tmp_path / "base", num_key_value_heads=2, mlp_only_layers=dense, **settings)
    (note,) = look_over(str(folder), speaks=True)
    assert note.startswith(
        "'qwen3_moe' models have no layers of their own for ffn_gate, ffn_up, ffn_down: no method adapts them"
    )
    backbone = load_backbone(str(folder), speaks=True)
    adapter = build_adapter(make_method("lora", {"targets": ["all"]}, {"rank": 2}), backbone, 0, 0)
    assert {site.role for site, _ in adapter.placed()} == {"query", "key", "value", "attention_out"}
    with pytest.raises(
        UsageError, match=r"qwen3_moe has no 'ffn_down' for 'ia3' to adapt: its experts are slices of one"
    ):
        build_adapter(make_method("ia3", {}), backbone, 0, 0)
    build_adapter(make_method("ia3", {"targets": ["key", "value"]}), backbone, 0, 0)
