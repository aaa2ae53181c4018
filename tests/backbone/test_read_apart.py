"""Models that are quantised while they are read: tensor by tensor, so that memory holds little beside the quantised one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from afina.backbone import quantise
from afina.backbone.load import load_backbone
from families import save_family


@pytest.mark.parametrize("precision", ["nf4", "int8"])
def test_no_file_is_mapped_while_weights_are_quantised(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pages of a mapped file stay in memory until all is read: the plain model beside the quantised one."""
    from transformers import modeling_utils, quantizers

    folder = save_family("llama", tmp_path / "plain", sizes=(64, 128))
    mapped: list[bool] = []
    (kind,) = {type(quantizers.AutoHfQuantizer.from_config({"quant_method": "bitsandbytes", f"load_in_{bits}bit": True}))
               for bits in (("4",) if precision == "nf4" else ("8",))}  # fmt: skip
    before = kind.get_quantize_ops

    def looked(self: object) -> object:
        mapped.append(str(folder) in Path("/proc/self/maps").read_text())
        return before(self)

    monkeypatch.setattr(kind, "get_quantize_ops", looked)
    opens = modeling_utils.safe_open
    backbone = load_backbone(str(folder), precision=precision)
    assert mapped == [False] * 14
    assert sum(map(quantise.is_quantised, backbone.model.modules())) == 14
    assert modeling_utils.safe_open is opens


MEASURED = """
import sys
from pathlib import Path
from afina.backbone.load import load_backbone
from afina.backbone.quantise import weight_bytes

def of(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":"))

load_backbone(sys.argv[1], precision="nf4")
Path("/proc/self/clear_refs").write_text("5")
before = of("VmRSS")
backbone = load_backbone(sys.argv[2], precision="nf4")
print(of("VmHWM") - before - weight_bytes(backbone.model))
"""


@pytest.mark.whole
def test_loading_takes_little_more_than_the_quantised_model(tmp_path: Path) -> None:
    """In a process of its own, in which a small model has been loaded: peak less the weights that are there at the end."""
    import transformers

    small = save_family("llama", tmp_path / "small", sizes=(64, 128))
    config = transformers.AutoConfig.from_pretrained(small)
    config.num_hidden_layers, config.hidden_size, config.intermediate_size = 16, 512, 2048
    config.layer_types = None
    with torch.device("meta"):
        shape = transformers.AutoModelForCausalLM.from_config(config)
    tensors = {key: (0.05 * torch.randn(value.shape)).to(torch.bfloat16) for key, value in shape.state_dict().items()}
    config.save_pretrained(large := tmp_path / "large")
    for file in small.glob("tokenizer*"):
        (large / file.name).write_bytes(file.read_bytes())
    save_file(tensors, large / "model.safetensors", metadata={"format": "pt"})
    whole = sum(value.nbytes for value in tensors.values())
    made = subprocess.run(
        [sys.executable, "-c", MEASURED, str(small), str(large)],
        env=os.environ,
        check=True,
        capture_output=True,
        text=True,
    )
    assert int(made.stdout) < 0.7 * whole
