"""Read weights that GPTQ rounded: 2, 3, 4 or 8 bits, a scale and a zero for each group of inputs.

Frantar et al., 2022, arXiv:2210.17323; the files are those of AutoGPTQ and GPTQModel. Of a layer (D_in, D_out) they hold
`qweight`, int32 (D_in * bits / 32, D_out); `qzeros`, int32 (groups, D_out * bits / 32); `scales` (groups, D_out); `g_idx`,
int32 (D_in), the group of each input. Its weight is (code - zero) * scale. Version 1 stores each zero minus one, version 2 as
it is.
"""

import re
from typing import Any

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from afina.backbone.storage.base import storage
from afina.backbone.storage.coded import Coded, Grouped, Settings, Stored, check_finite, fitting
from afina.errors import UsageError
from afina.ops.bits import unpack, words_for
from afina.ops.coded_linear import Codes
from afina.ops.linear import widths

__all__ = ["Gptq", "GptqLinear"]

_FORMATS = {"gptq": 1, "gptq_v2": 0}
"""Formats that a checkpoint may say it has, with the number that a stored zero lacks of the zero that is meant."""


class GptqSettings(Settings):
    """Holds the settings of a GPTQ checkpoint, by AutoGPTQ's names."""

    bits: int
    group_size: int = Field(default=128, ge=-1)
    sym: bool = True
    desc_act: bool = False
    checkpoint_format: str = "gptq"
    is_marlin_format: bool = False
    pack_dtype: str = "int32"
    dynamic: dict[str, dict[str, Any]] | None = None
    """Settings of some modules, by a pattern of their paths with `+:` before it, or `-:` for those that stay plain."""

    @field_validator("bits")
    @classmethod
    def _known_bits(cls, bits: int) -> int:
        if bits not in (2, 3, 4, 8):
            raise ValueError(f"{bits} bits are not read; 2, 3, 4 and 8 are")
        return bits

    @field_validator("checkpoint_format")
    @classmethod
    def _known_format(cls, name: str) -> str:
        if name not in _FORMATS:
            raise ValueError(
                f"the layout '{name}' is for one kernel alone and is not read; {' and '.join(_FORMATS)} are"
            )
        return name

    @field_validator("is_marlin_format")
    @classmethod
    def _no_marlin(cls, value: bool) -> bool:
        if value:
            raise ValueError("the layout 'marlin' is for one kernel alone and is not read")
        return value

    @field_validator("pack_dtype")
    @classmethod
    def _known_words(cls, name: str) -> str:
        if name != "int32":
            raise ValueError(f"codes in words of {name} are not read; in those of int32 they are")
        return name

    def of(self, path: str) -> "GptqSettings":
        """Return the settings of one module: those of the first pattern that its path begins with, or these."""
        for pattern, other in (self.dynamic or {}).items():
            # `-:` leaves a module plain, so that it has no codes to be read.
            if not pattern.startswith("-:") and re.match(pattern.removeprefix("+:"), path):
                return GptqSettings(**{**self.model_dump(), **other, "dynamic": None})
        return self


class GptqLinear(Grouped):
    """Computes with a weight that GPTQ's files hold."""

    storage = "gptq"

    def __init__(
        self, module: nn.Module, settings: GptqSettings, dtype: torch.dtype, scales: torch.dtype, *, ordered: bool,
        bias: bool,
    ) -> None:  # fmt: skip
        """Make the layer that stands for a Linear or Conv1D on `meta`; `ordered` says that it has a `g_idx`.

        Raises `ValueError` where codes or zeros fill no whole words, or inputs no whole groups.
        """
        width_in, width = widths(module)
        super().__init__(width_in, width, bias=bias, dtype=dtype, conv=not isinstance(module, nn.Linear))
        self.bits, self.sym, self.group = settings.bits, settings.sym, settings.group_size
        if self.group < 1:
            self.group = width_in
        # Rounded up: the last group may have fewer inputs.
        groups = -(-width_in // self.group)
        self.lacks = _FORMATS[settings.checkpoint_format]
        words = torch.empty(words_for(width_in, self.bits), width, dtype=torch.int32, device="meta")
        self.qweight = nn.Parameter(words, requires_grad=False)
        zeros = torch.empty(groups, words_for(width, self.bits), dtype=torch.int32, device="meta")
        self.register_buffer("qzeros", zeros)
        self.register_buffer("scales", torch.empty(groups, width, dtype=scales, device="meta"))
        self.g_idx: Tensor | None
        self.register_buffer("g_idx", torch.empty(width_in, dtype=torch.int32, device="meta") if ordered else None)

    def dense(self) -> Tensor:
        scales, zeros = self.scales.float(), self._zeros().float()
        codes = unpack(self.qweight, self.bits)
        # Without `g_idx` groups are in order.
        if self.g_idx is not None:
            group = self.g_idx.long()
        else:
            group = torch.arange(self.in_features, device=codes.device) // self.group
        return ((codes - zeros[group]) * scales[group]).T

    def grouping(self) -> int | None:
        if self.in_features % self.group:
            return None
        index = self.g_idx
        # On `meta` nothing tells the order, and what is planned is the same in any.
        if index is None or index.is_meta or torch.equal(index.cpu(), self._in_order()):
            return self.group
        return None

    def codes(self) -> Codes:
        return Codes(self.bits, unpack(self.qweight, self.bits).T, self.scales.float().T, self._zeros().float().T)

    def draw(self) -> None:
        super().draw()
        if self.g_idx is not None:
            self.g_idx.copy_(self._in_order())  # as any order costs the same

    def finish(self, path: str) -> str | None:
        """Check what was read, and find of symmetric codes whether zeros are stored minus one; returns what was assumed.

        Raises `UsageError` for groups that are not there and scales that are no numbers.
        """
        groups = len(self.scales)
        # Looked at once here, where indexing at each pass would read beyond the scales.
        if self.g_idx is not None and not bool(((self.g_idx >= 0) & (self.g_idx < groups)).all()):
            raise UsageError(f"{path}.g_idx names groups that {path} has not; its {groups} are 0 to {groups - 1}.")
        check_finite(path, "scales", self.scales)
        # Checkpoints exist that say one version and are another. Symmetric codes have one zero, the middle, so it shows.
        middle, stored = 1 << (self.bits - 1), unpack(self.qzeros.T.contiguous(), self.bits)
        if not self.sym or not bool((stored == stored[0, 0]).all()):
            return None
        # Any other zero tells nothing: what the file says stands then.
        lacks = {middle - 1: 1, middle: 0}.get(int(stored[0, 0]), self.lacks)
        if lacks == self.lacks:
            return None
        self.lacks = lacks
        here, there = ("as they are", "minus one") if lacks == 0 else ("minus one", "as they are")
        return f"the zeros of its symmetric codes are stored {here}, and are read so, though its format says {there}"

    def _in_order(self) -> Tensor:
        """Return the group of each input where neighbours are one."""
        return torch.arange(self.in_features, dtype=torch.int32) // self.group

    def _zeros(self) -> Tensor:
        """Return the zero (groups, D_out) of each group's codes."""
        stored = unpack(self.qzeros.T.contiguous(), self.bits).T
        # A zero of 0 is stored, minus one, as the largest code.
        return (stored + self.lacks) & ((1 << self.bits) - 1)


@storage("gptq")
class Gptq(Coded):
    """Stores 2, 3, 4 or 8 bits a number."""

    methods = ("gptq",)
    code = "qweight"
    beside = "quantize_config.json"
    settings = GptqSettings

    @classmethod
    def layer(cls, settings: GptqSettings, stored: Stored, module: nn.Module, dtype: torch.dtype) -> GptqLinear:
        path, one = stored.path, settings.of(stored.path)
        ordered, bias = "g_idx" in stored.tensors, "bias" in stored.tensors
        # Without it nobody can tell which input has which scale.
        if one.desc_act and not ordered:
            raise UsageError(f"{path} was quantised in an order of its own (desc_act), and the files lack its g_idx.")
        with fitting(path, f"kept in {one.bits} bits"):
            made = GptqLinear(module, one, dtype, stored.dtype("scales"), ordered=ordered, bias=bias)
        for name in ("qweight", "qzeros", "scales", *(["g_idx"] if ordered else [])):
            tensor = getattr(made, name)
            stored.check(name, tensor.shape, tensor.dtype)
        return made

    @classmethod
    def like(cls, settings: GptqSettings, module: nn.Module, dtype: torch.dtype) -> GptqLinear | None:
        bias = getattr(module, "bias", None) is not None
        try:
            return GptqLinear(module, settings, dtype, torch.float16, ordered=True, bias=bias)
        except ValueError:  # widths that fill no words stay plain in such checkpoints
            return None
