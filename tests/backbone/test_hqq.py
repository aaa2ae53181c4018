"""Checkpoints in HQQ's codes: read as its package reads them, and what is not plain refused by name."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from afina.backbone.load import load_backbone
from afina.backbone.quantise import full_weight, is_quantised
from afina.errors import UsageError
from afina.ops.planes import PARTS, pack_planes, unpack_planes
from coded_checkpoints import hqq_checkpoint
from families import save_family


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_family("llama", tmp_path_factory.mktemp("llama") / "plain", sizes=(64, 128))


@pytest.mark.parametrize("bits", PARTS)
def test_numbers_come_back_from_their_planes(bits: int) -> None:
    codes = torch.randint(0, 1 << bits, (40, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(bits))
    assert torch.equal(unpack_planes(pack_planes(codes, bits), bits, len(codes)), codes)


# Every number of bits, each axis, and groups that reach over a row's end.
@pytest.mark.parametrize(
    ("bits", "axis", "group"),
    [(8, 1, 16), (6, 0, 16), (5, 1, 128), (4, 1, 64), (4, 0, 32), (3, 1, 16), (3, 0, 64), (2, 1, 32), (1, 0, 16)],
)
def test_it_is_read_as_its_format_says(bits: int, axis: int, group: int, source: Path, tmp_path: Path) -> None:
    weights = hqq_checkpoint(source, folder := tmp_path / "coded", bits=bits, axis=axis, group=group)
    backbone = load_backbone(str(folder))
    layers = {name: own for name, own in backbone.model.named_modules() if is_quantised(own)}
    assert (backbone.precision, len(layers)) == ("hqq", len(weights))
    for name, module in layers.items():
        torch.testing.assert_close(full_weight(module), weights[f"{backbone.prefix}{name}"], rtol=1e-6, atol=1e-7)
        assert set(module._buffers) == {"scale", "zero"}  # what repeats the settings is not kept


REFUSED: dict[str, tuple[dict[str, Any], dict[str, torch.Tensor], str]] = {
    "bits": ({"nbits": 1.58}, {}, "1.58 bits are not read"),
    "as floats": ({"view_as_float": True}, {}, "view_as_float"),
    "zeros in codes": ({"__zero_quant_params": {"nbits": 8}}, {}, "codes themselves"),
    "another group": ({"group_size": 32}, {}, "W_q is of size"),
    "a group that does not divide": ({"group_size": 3000}, {}, "no whole groups of 3000"),
    "another axis in the files": ({}, {"axis": torch.tensor(0, dtype=torch.int32)}, "axis says of its codes"),
    "another packing": ({}, {"packing": torch.tensor([56], dtype=torch.uint8)}, "packing says of its codes"),
    "a tensor that nobody knows": ({}, {"zero_q": torch.zeros(3)}, "zero_q"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_plain_is_refused_by_name(case: str, source: Path, tmp_path: Path) -> None:
    says, stores, words = REFUSED[case]
    hqq_checkpoint(source, folder := tmp_path / "coded", says=says, stores=stores)
    with pytest.raises(UsageError, match=re.escape(words)):
        load_backbone(str(folder), precision="hqq")


def test_layers_may_have_settings_by_their_tag(source: Path, tmp_path: Path) -> None:
    weights = hqq_checkpoint(source, folder := tmp_path / "coded", tag="self_attn.q_proj")
    with pytest.raises(UsageError, match="says nothing of"):
        load_backbone(str(folder))
    config = json.loads((folder / "config.json").read_text())
    (settings,) = config["quantization_config"]["quant_config"].values()
    tags = {path.split(".", 3)[-1] for path in weights}
    config["quantization_config"]["quant_config"] = dict.fromkeys(tags, settings)
    (folder / "config.json").write_text(json.dumps(config))
    assert sum(map(is_quantised, load_backbone(str(folder)).model.modules())) == len(weights)
