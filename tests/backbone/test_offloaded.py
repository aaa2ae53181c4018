"""Backbones whose layers stay on the disk are those that are loaded whole, and hold less memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from afina.backbone.load import Backbone, load_backbone
from afina.backbone.offloaded import load_offloaded
from afina.backbone.recognised import weight_print
from afina.errors import AfinaError, UsageError
from afina.study.study import Study
from afina.train.evaluate import predict_logits
from afina.train.passes import Passes
from cohorts import member, tokens_of, trained, without_dropout
from commands import afina, refused
from exports import CLASSES
from families import TEXT, save_family
from pairs import COVERING_TEXT, FROZEN
from served import save
from studies import settings

Loader = Callable[..., Path]
ELSEWHERE = {"nomic_bert", "gte", "qwen3_moe"}
"""Architectures whose files name weights otherwise than transformers' modules."""


def ends(backbone: Backbone, method: str) -> dict[str, Tensor]:
    """Return what a method has learned in an epoch, and what it answers."""
    own = member(backbone, method, 0, tokens_of(9, 1), batch_size=4)
    (weights,) = trained(backbone, [own])
    with Passes(backbone) as passes:
        (logits,) = predict_logits(passes.attached([own.adapter], training=False), tokens_of(7, 2), batch_size=3)
    return weights | {"logits": torch.from_numpy(logits)}


def both(folder: Path, **settings: Any) -> tuple[Backbone, Backbone]:
    whole = load_backbone(str(folder), precision="fp32", **settings)
    whole.linears = {}  # which multiply otherwise, and round otherwise
    return whole, load_offloaded(str(folder), precision="fp32", **settings)


@pytest.mark.covered("family", [*COVERING_TEXT, "qwen3_moe"], [*TEXT])
def test_every_architecture_trains_as_if_it_were_whole(family: str, tmp_path: Path) -> None:
    folder = without_dropout(save_family(family, tmp_path / family))
    if family in ELSEWHERE:
        with pytest.raises(UsageError, match="whose files name weights otherwise than its modules"):
            load_offloaded(str(folder), precision="fp32")
        return
    whole, disk = both(folder)
    assert weight_print(disk) == weight_print(whole)
    assert (disk.pooler, disk.prefix, disk.call_settings) == (whole.pooler, whole.prefix, whole.call_settings)
    assert disk.pretrained_head.keys() == whole.pretrained_head.keys()
    for key, value in whole.pretrained_head.items():
        assert torch.equal(disk.pretrained_head[key], value), key
    expected = ends(whole, "lora")
    for key, value in ends(disk, "lora").items():
        torch.testing.assert_close(value, expected[key], rtol=0, atol=1e-6, msg=key)
    # Nothing of the layers has stayed.
    layer = disk.model.get_submodule(disk.anatomy.of_kind("layer")[0].module)
    assert {value.device.type for value in layer.parameters()} == {"meta"}


@pytest.mark.covered("method", ["dora", "svd", "norms", "prefix", "llama-adapter"], FROZEN)
def test_methods_that_read_weights_read_them_from_the_disk(method: str, tmp_path: Path) -> None:
    whole, disk = both(without_dropout(save_family("bert", tmp_path / "bert")))
    expected = ends(whole, method)
    for key, value in ends(disk, method).items():
        # A key's bias moves all scores of a query alike: its gradient is rounding, of which AdamW takes the sign.
        if not key.endswith("key.bias"):
            torch.testing.assert_close(value, expected[key], rtol=0, atol=1e-6, msg=key)


@pytest.mark.parametrize("family", ["llama", "gemma2", "t5", "bart"])
def test_language_heads_are_those_of_the_whole_model(family: str, tmp_path: Path) -> None:
    """Their weights are the embeddings' where the model ties them, and there once."""
    whole, disk = both(save_family(family, tmp_path / family, speaks=True), speaks=True)
    states = torch.randn(3, whole.anatomy.width)
    assert whole.language is not None and disk.language is not None
    assert torch.equal(disk.language(states), whole.language(states))
    words = [own.model.get_submodule(own.anatomy.of_kind("embedding")[0].module) for own in (whole, disk)]
    tied = [own.language.linear.weight is word.weight for own, word in zip((whole, disk), words, strict=True)]  # type: ignore[union-attr]
    assert tied[0] == tied[1]


def test_a_study_leaves_layers_on_the_disk(family_folder: Loader, csv_folder: Path, tmp_path: Path) -> None:
    study = settings(family_folder, csv_folder, methods=["lora", "full"], epochs=1, train_limit=30, offload="disk")
    lora, full = Study(tmp_path / "disk", **study).run()
    assert lora.status == "ok", lora.error
    assert str(full.error) == "full trains the model's own weights, which offload: disk only reads; leave one out."
    (whole,) = Study(tmp_path / "whole", **study | {"offload": None, "methods": ["lora"]}).run()
    assert lora.history[-1]["train_loss"] == pytest.approx(whole.history[-1]["train_loss"], rel=1e-4)


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_an_adapter_answers_on_a_base_that_stays_on_the_disk(
    family: str, family_folder: Loader, tmp_path: Path
) -> None:
    base = family_folder(family, speaks=(speaks := family == "llama"))
    folder = save(base, tmp_path / "adapter", "lora", {"name": "language"} if speaks else CLASSES)
    asked = ["predict", folder, "my parcel is late", "good film", "--format", "jsonl"]
    if speaks:
        asked = ["generate", folder, "my parcel", "--max-new-tokens", "8", "--format", "jsonl"]
    whole, disk = afina(*asked), afina(*asked, "--offload", "disk")
    assert disk.returncode == 0, disk.stderr
    assert disk.stdout == whole.stdout and disk.stdout.strip()  # probabilities in four digits
    refused(afina(*asked, "--offload", "disc"), "offload is disk, or nothing; not 'disc'")


def test_what_cannot_stay_on_the_disk_is_one_sentence(family_folder: Loader, csv_folder: Path, tmp_path: Path) -> None:
    study = settings(family_folder, csv_folder, offload="disk")
    with pytest.raises(UsageError, match=r"'offload': needs a precision: \(bf16 or fp32\), as auto would hold"):
        Study(tmp_path, **study | {"precision": "auto"})
    with pytest.raises(AfinaError, match=r"^offload: disk reads plain weights, not nf4; set precision: bf16, or leave"):
        load_offloaded(str(family_folder("bert")), precision="nf4")
