"""How a frozen model's weights are kept: names come from the files, and one more storage is one class."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from afina.backbone.load import load_backbone
from afina.backbone.quantise import full_weight, is_quantised, packed, unfit, weight_bytes
from afina.backbone.storage import base
from afina.backbone.storage.base import STORAGES, Packed, Storage, storage
from afina.backbone.storage.coded import Coded
from afina.config import StudyConfig
from afina.errors import UsageError
from afina.methods.base import make_method


def config(precision: object) -> StudyConfig:
    return StudyConfig.model_validate(
        {"model": "minilm", "dataset": "a.csv", "methods": ["lora"], "precision": precision}
    )


def test_a_study_knows_every_storage_by_its_file_and_no_other() -> None:
    assert {"fp32", "bf16", "fp16", "nf4", "int8"} <= set(STORAGES)
    folder = Path(base.__file__).parent
    for name in STORAGES:
        assert config(name).precision == name
        assert (folder / f"{name}.py").is_file()
    with pytest.raises(ValueError, match=r"Input should be 'auto', .*'nf4'"):
        config("nf5")


@pytest.mark.parametrize("name", list(STORAGES))
def test_a_storage_says_what_it_can_and_is_held_to_it(name: str) -> None:
    kind = STORAGES[name]
    assert (packed(name) is None) == (kind.dtype is not None)
    if kind.trains_weights:
        assert make_method("full", {}).precision_on(name) == name
        assert kind.autocast() == (None if name == "fp32" else kind.dtype)
    else:
        with pytest.raises(UsageError, match=f"full trains the model's own weights, which precision: {name} freezes"):
            make_method("full", {}).precision_on(name)
    if issubclass(kind, Coded):  # of weights that are stored so: test_coded.py
        with pytest.raises(UsageError, match="is that of a checkpoint whose weights are stored so"):
            load_backbone("minilm", precision=name)
        return
    backbone = load_backbone("minilm", precision=name)
    layers = [module for module in backbone.model.modules() if isinstance(module, nn.Linear)]
    assert all(is_quantised(module) == issubclass(kind, Packed) for module in layers)
    assert full_weight(layers[0]).shape == (layers[0].out_features, layers[0].in_features)
    assert backbone.dtype == kind.compute("cpu")
    # As many bytes as the tensors have; of packed ones the tables of values come on top.
    assert 0 <= weight_bytes(backbone.model) - sum(value.nbytes for value in backbone.model.parameters()) < 0.03 * 2e7


def test_one_more_storage_is_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    entered = dict(STORAGES._entered)

    @storage("fp64")
    class Double(Storage):
        """Weights in 64 bits."""

        dtype = torch.float64

    try:
        backbone = load_backbone("minilm", precision="fp64")
        assert backbone.dtype == torch.float64
        assert Double.autocast() == torch.float64
    finally:
        STORAGES._entered.clear()
        STORAGES._entered.update(entered)
    with pytest.raises(UsageError, match="Unknown storage 'fp64'"):
        load_backbone("minilm", precision="fp64")


def test_layers_that_a_storage_cannot_keep_stay_plain() -> None:
    model = nn.Sequential(nn.Linear(128, 8), nn.Linear(96, 8), nn.LayerNorm(8))
    nf4 = packed("nf4")
    assert nf4 is not None
    assert unfit(model, nf4, "cpu") == ["^1$"]
    assert unfit(model, nf4, "cuda") == []
    assert [nf4.size(rows, 64) for rows in (1, 2)] == [32 + 1 + 4 + 4 * 273, 64 + 2 + 4 + 4 * 273]
    assert np.isclose(STORAGES["bf16"].compute("cpu").itemsize, 2)


def test_auto_stands_for_a_storage_whose_weights_may_be_trained() -> None:
    assert make_method("full", {}).precision_on("auto") == "auto"
    assert make_method("qlora", {}).precision_on("auto") == "nf4"
