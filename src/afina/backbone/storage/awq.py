"""Read weights that AWQ rounded: 4 bits, a scale and a zero for each group of inputs.  Lin et al., 2023, arXiv:2306.00978.

The files are those of AutoAWQ's GEMM layout. Of a layer (D_in, D_out) they hold `qweight`, int32 (D_in, D_out / 8); `qzeros`,
int32 (groups, D_out / 8); `scales` (groups, D_out). Eight outputs share a word, in the order 0 2 4 6 1 3 5 7 from its lowest
bits. Its weight is (code - zero) * scale, with zeros as they are stored.
"""

from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from afina.backbone.storage.base import storage
from afina.backbone.storage.coded import Coded, Grouped, Settings, Stored, check_finite, fitting
from afina.ops.bits import unpack
from afina.ops.coded_linear import Codes
from afina.ops.linear import widths

__all__ = ["Awq", "AwqLinear"]

_BITS, _IN_WORD = 4, 8
_PLACES = (0, 4, 1, 5, 2, 6, 3, 7)
"""Where in its word each of eight outputs stands: the inverse of the order that the layout names."""


class AwqSettings(Settings):
    """Holds the settings of an AWQ checkpoint, by AutoAWQ's names."""

    bits: Literal[4]
    group_size: int = Field(default=128, ge=-1)
    zero_point: Literal[True] = True
    version: str = "gemm"

    @field_validator("version")
    @classmethod
    def _known_layout(cls, name: str) -> str:
        if name.lower() != "gemm":
            raise ValueError(f"the layout '{name}' is not read; 'gemm' is")
        return name


class AwqLinear(Grouped):
    """Computes with a weight that AWQ's files hold."""

    storage = "awq"
    bits = _BITS

    def __init__(self, module: nn.Module, group: int, dtype: torch.dtype, scales: torch.dtype, *, bias: bool) -> None:
        """Make the layer that stands for a Linear or Conv1D, on `meta`; raises `ValueError` for sizes that fill no words."""
        width_in, width = widths(module)
        super().__init__(width_in, width, bias=bias, dtype=dtype, conv=not isinstance(module, nn.Linear))
        self.group = group if group > 0 else width_in
        if width % _IN_WORD:
            raise ValueError(f"{width} outputs fill no whole words of {_IN_WORD}")
        if width_in % self.group:
            raise ValueError(f"{width_in} inputs are no whole groups of {self.group}")
        groups, words = width_in // self.group, width // _IN_WORD
        codes = torch.empty(width_in, words, dtype=torch.int32, device="meta")
        self.qweight = nn.Parameter(codes, requires_grad=False)
        self.register_buffer("qzeros", torch.empty(groups, words, dtype=torch.int32, device="meta"))
        self.register_buffer("scales", torch.empty(groups, width, dtype=scales, device="meta"))

    def dense(self) -> Tensor:
        # In float32, as half precision would round the product of zero and scale.
        scales, zeros = self.scales.float(), _outputs(self.qzeros).float()
        codes = _outputs(self.qweight).view(len(scales), self.group, -1)
        return ((codes - zeros[:, None]) * scales[:, None]).flatten(0, 1).T

    def grouping(self) -> int | None:
        return self.group

    def codes(self) -> Codes:
        return Codes(self.bits, _outputs(self.qweight).T, self.scales.float().T, _outputs(self.qzeros).float().T)

    def finish(self, path: str) -> str | None:
        check_finite(path, "scales", self.scales)
        return None


def _outputs(words: Tensor) -> Tensor:
    """Return numbers (K, D_out) from words (K, D_out / 8), the outputs in their order."""
    # Words lie along the outputs here, and `unpack` takes them along the first axis.
    numbers = unpack(words.T.contiguous(), _BITS).view(-1, _IN_WORD, len(words))
    return numbers[:, list(_PLACES)].flatten(0, 1).T.contiguous()


@storage("awq")
class Awq(Coded):
    """Stores 4 bits a number."""

    methods = ("awq",)
    code = "qweight"
    settings = AwqSettings

    @classmethod
    def layer(cls, settings: AwqSettings, stored: Stored, module: nn.Module, dtype: torch.dtype) -> AwqLinear:
        bias = "bias" in stored.tensors
        with fitting(stored.path, "kept in AWQ's codes"):
            made = AwqLinear(module, settings.group_size, dtype, stored.dtype("scales"), bias=bias)
        for name in ("qweight", "qzeros", "scales"):
            tensor = getattr(made, name)
            stored.check(name, tensor.shape, tensor.dtype)
        return made

    @classmethod
    def like(cls, settings: AwqSettings, module: nn.Module, dtype: torch.dtype) -> AwqLinear | None:
        try:
            bias = getattr(module, "bias", None) is not None
            # float16 is what AutoAWQ writes scales in.
            return AwqLinear(module, settings.group_size, dtype, torch.float16, bias=bias)
        except ValueError:  # widths that fill no words stay plain in such checkpoints
            return None
