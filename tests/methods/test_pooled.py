"""QA-LoRA: LoRA whose inputs are pooled by quantisation groups, merged exactly into a base's codes."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import afina
from afina import api
from afina.adapters.adapter import build_adapter
from afina.backbone.load import load_backbone
from afina.backbone.quantise import is_quantised
from afina.errors import UsageError
from afina.methods.base import make_method
from coded_checkpoints import awq_checkpoint, gptq_checkpoint, hqq_checkpoint
from families import save_family
from pairs import make
from peft_adapters import lora, same, trained
from studies import write_splits

Loader = Callable[[str], Path]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_family("llama", tmp_path_factory.mktemp("llama") / "plain", sizes=(64, 128))


def trained_on(base: Path, tmp_path: Path, method: dict[str, Any]) -> Path:
    """Return the folder of an adapter that a study trained on a base."""
    (tmp_path / "rows").mkdir()
    write_splits(tmp_path / "rows", train=24, test=12)
    study = afina.Study(
        tmp_path / "study", model=str(base), dataset=str(tmp_path / "rows"), epochs=1, max_length=16, methods=[method],
        learning_rate=0.02,
    )  # fmt: skip
    (result,) = study.run()
    assert result["status"] == "ok", result["error"]
    return tmp_path / "study" / str(result["adapter"])


@pytest.mark.parametrize(
    ("checkpoint", "settings"),
    [(gptq_checkpoint, {"bits": 3, "sym": True}), (awq_checkpoint, {}), (hqq_checkpoint, {"bits": 2})],
)
def test_what_was_learned_is_merged_exactly_into_the_zeros(
    checkpoint: Any, settings: dict[str, Any], source: Path, tmp_path: Path
) -> None:
    checkpoint(source, base := tmp_path / "coded", group=16, **settings)
    adapter = trained_on(base, tmp_path, {"lora": {"pool": 32, "targets": ["all"], "rank": 4}})
    made = api.export(adapter, to="merged", onto="codes", out=tmp_path / "merged", rows=8)
    assert made.parity.exact_difference <= 2e-5 * made.parity.scale
    assert made.effect is None or made.effect > 0

    before, after = (load_backbone(str(folder), compute=torch.float32).model for folder in (base, tmp_path / "merged"))
    layers = {path: own for path, own in before.named_modules() if is_quantised(own)}
    assert sum(map(is_quantised, after.modules())) == len(layers) == 14
    for path, layer in layers.items():
        had, has = layer.codes(), after.get_submodule(path).codes()
        assert torch.equal(had.codes, has.codes)
        assert torch.equal(had.scales, has.scales)
        assert not torch.equal(had.zeros, has.zeros)
    # A base like any other: what reads its weights computes what the adapter did.
    assert load_backbone(str(tmp_path / "merged")).precision == "hqq"


def test_what_codes_cannot_take_is_refused_by_name(source: Path, tmp_path: Path) -> None:
    gptq_checkpoint(source, base := tmp_path / "coded")
    adapter = trained_on(base, tmp_path, {"lora": {"rank": 2}})
    with pytest.raises(UsageError, match=r"q_proj differs between inputs that share a zero, .* train with pool: 16"):
        api.export(adapter, to="merged", onto="codes", out=tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_bases_without_groups_are_refused_by_name(source: Path, tmp_path: Path) -> None:
    def refused(folder: Path, words: str, pool: int = 16, precision: str | None = None) -> None:
        with pytest.raises(UsageError, match=re.escape(words)):
            build_adapter(make("lora", pool=pool), load_backbone(str(folder), precision=precision), outputs=2, seed=0)

    refused(source, "self_attn.q_proj has none")
    refused(source, "self_attn.q_proj has none", precision="nf4")
    gptq_checkpoint(source, tmp_path / "ordered", act_order=True)
    refused(tmp_path / "ordered", "self_attn.q_proj has none")
    gptq_checkpoint(source, tmp_path / "coded", group=32)
    refused(tmp_path / "coded", "pool: 16 is no multiple of the 32 inputs", pool=16)
    refused(tmp_path / "coded", "64 inputs, which are no whole groups of 96", pool=96)
    for method, settings in (("lora", {"pool": -1}), ("lora", {"pool": 8, "init": "pissa"}), ("dora", {"pool": 8})):
        with pytest.raises(UsageError, match="pool"):
            make_method(method, settings, {})


def test_adapters_that_peft_made_are_read(family_folder: Loader, tmp_path: Path) -> None:
    """PEFT pools on GPTQ's layers alone, which want a package of a card's; its formula is put on plain ones here."""
    from peft.tuners.lora.layer import LoraLayer
    from peft.tuners.lora.variants import QALoraLinearVariant

    config = lora("llama", use_qalora=True, qalora_group_size=4, lora_alpha=6)

    def pool(model: Any) -> None:
        for module in model.modules():
            if isinstance(module, LoraLayer):
                QALoraLinearVariant.init(module, "default", config)
                module.lora_variant["default"] = QALoraLinearVariant()

    model, folder = trained("llama", config, family_folder, tmp_path / "adapter", pool)
    same("llama", model, folder)
