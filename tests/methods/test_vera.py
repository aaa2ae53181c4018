"""VeRA of the real peft loads here and answers the same, and what is drawn at random is the same and is saved."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import afina
from afina.adapters.adapter import build_adapter
from afina.errors import AfinaError
from afina.methods.base import make_method
from families import load_family
from peft_adapters import same, targets, trained

Loader = Callable[[str], Path]
DOWN = {"bert": "output.dense", "gpt2": "mlp.c_proj", "llama": "down_proj"}
"""A layer of other sizes than query and value: A and B are as large as the larger needs."""


def vera(family: str, **settings: Any) -> Any:
    from peft import VeraConfig

    where = {"target_modules": [*targets(family), DOWN[family]], "fan_in_fan_out": family == "gpt2"}
    return VeraConfig(**{"task_type": "SEQ_CLS", "r": 5, "projection_prng_key": 7, **where} | settings)


@pytest.mark.filterwarnings("ignore:Specified to not:UserWarning")
@pytest.mark.parametrize("settings", [{}, {"save_projection": False}, {"bias": "vera_only"}], ids=str)
@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_vera_of_peft(family: str, settings: dict[str, Any], family_folder: Loader, tmp_path: Path) -> None:
    same(family, *trained(family, vera(family, **settings), family_folder, tmp_path))


def test_the_matrices_are_pefts_of_the_same_seed_and_stand_once_in_the_file(
    family_folder: Loader, tmp_path: Path
) -> None:
    _, folder = trained("bert", vera("bert"), family_folder, tmp_path)
    theirs = load_file(folder / "adapter_model.safetensors")
    settings = {"rank": 5, "projection_seed": 7, "targets": ["query", "value", "attention_out", "ffn_down"]}
    adapter = build_adapter(make_method("vera", settings), load_family(family_folder("bert")), outputs=2, seed=3)
    assert adapter.shared is not None
    for key, name in (("a", "base_model.vera_A"), ("b", "base_model.vera_B")):
        assert torch.equal(adapter.shared.get_buffer(key), theirs[name])
    assert not any(name.startswith("shared") for name, _ in adapter.named_parameters())
    assert len({id(branch.projections[0]) for _, branch in adapter.placed()}) == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda own: own.pop("base_model.vera_B"), "is damaged: it lacks 'base_model.vera_B', which all of its layers share"),
        (lambda own: own.update({"base_model.vera_A": own["base_model.vera_A"][:3]}), "its layers share do not fit"),
        (lambda own: own.update({"base_model.vera_A": own["base_model.vera_A"][:, :9]}), "its layers share do not fit"),
    ],
    ids=["missing", "rank", "narrow"],
)  # fmt: skip
def test_matrices_that_do_not_fit_are_one_sentence(
    change: Callable[[dict[str, Any]], Any], sentence: str, family_folder: Loader, tmp_path: Path
) -> None:
    _, folder = trained("bert", vera("bert"), family_folder, tmp_path)
    tensors = load_file(folder / "adapter_model.safetensors")
    change(tensors)
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / "adapter_model.safetensors")
    with pytest.raises(AfinaError, match=sentence):
        afina.load(folder)


def test_a_low_rank_is_remarked_on() -> None:
    assert make_method("vera", {}).remarks([]) == []
    (remark,) = make_method("vera", {"rank": 4}).remarks(["rank"])
    assert remark.startswith("vera: rank is 4, and its matrices are random") and json.dumps(remark).isascii()
