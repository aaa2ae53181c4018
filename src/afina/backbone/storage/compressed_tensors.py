"""Read weights in the formats of compressed-tensors, which LLM Compressor writes: integers, packed or not, and float8.

Of a layer (D_out, D_in) the files hold `weight_packed`, int32 (D_out, D_in * bits / 32), or `weight` in int8 or float8;
`weight_scale` for the whole, a row, a group of inputs or a block; `weight_zero_point` where codes are not symmetric;
`weight_g_idx` where groups are not in order. Packed codes have half their range added. The weight is (code - zero) * scale.
"""

import re
from typing import Any, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from afina.backbone.storage.base import storage
from afina.backbone.storage.coded import Coded, Settings, Stored, check_finite, fitting
from afina.errors import UsageError
from afina.ops.bits import unpack, words_for
from afina.ops.coded_linear import CodedLinear, Codes
from afina.ops.linear import widths

__all__ = ["CompressedLinear", "CompressedTensors"]

_FORMATS = ("pack-quantized", "int-quantized", "float-quantized", "naive-quantized")
_ACTIVATIONS = "its weights alone are rounded here, and not its activations, as a server of this checkpoint would"


class WeightSettings(Settings):
    """Holds how one group of layers keeps its weights, by compressed-tensors' names."""

    num_bits: int = 8
    type: Literal["int", "float"] = "int"
    symmetric: bool = True
    strategy: Literal["tensor", "channel", "group", "block"] | None = None
    group_size: int | None = None
    block_structure: list[int] | None = Field(default=None, min_length=2, max_length=2)


class GroupSettings(Settings):
    """Holds which layers a group is, and how their weights are kept."""

    targets: list[str]
    weights: WeightSettings | None = None
    input_activations: dict[str, Any] | None = None
    output_activations: dict[str, Any] | None = None

    def has(self, path: str) -> bool:
        """Return whether a linear layer is in it: by its path, by a pattern of paths (`re:`), or as any linear layer."""
        return any(
            re.match(target.removeprefix("re:"), path) if target.startswith("re:") else target in (path, "Linear")
            for target in self.targets
        )


class CompressedSettings(Settings):
    """Holds the settings of a checkpoint in compressed-tensors' formats."""

    format: str = "dense"
    quantization_status: str = "compressed"
    config_groups: dict[str, GroupSettings]
    sparsity_config: dict[str, Any] | None = None
    transform_config: dict[str, Any] | None = None

    @field_validator("format")
    @classmethod
    def _known_format(cls, name: str) -> str:
        if name not in _FORMATS:
            raise ValueError(f"the format '{name}' is not read; {', '.join(_FORMATS)} are")
        return name

    @field_validator("quantization_status")
    @classmethod
    def _known_status(cls, name: str) -> str:
        if name != "compressed":
            raise ValueError(f"weights that are '{name}' are not read; 'compressed' ones are")
        return name

    @field_validator("sparsity_config")
    @classmethod
    def _not_sparse(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value and value.get("format", "dense") != "dense":
            # "dense" says that nothing is left out.
            raise ValueError(f"weights of which zeros are left out ({value['format']}) are not read")
        return value

    @field_validator("transform_config")
    @classmethod
    def _not_rotated(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value and value.get("config_groups"):
            raise ValueError("weights that stand for rotated ones are not read")
        return value

    def of(self, path: str) -> GroupSettings:
        """Return the first group that a layer is in; raises `UsageError` where it is in none."""
        # In the file's order, as the library takes the first that fits.
        for group in self.config_groups.values():
            if group.weights is not None and group.has(path):
                return group
        raise UsageError(
            f"The weights hold {path} in codes, and no group of the model's quantization_config names it; get the model's "
            "files again."
        )


class CompressedLinear(CodedLinear):
    """Computes with a weight that files of compressed-tensors hold as it is: int8 or float8, one number a byte."""

    storage = "compressed_tensors"
    weight_scale: Tensor
    weight_zero_point: Tensor | None
    weight_g_idx: Tensor | None

    def __init__(self, module: nn.Module, stored: Stored, group: GroupSettings, dtype: torch.dtype) -> None:
        """Make the layer that stands for a Linear or Conv1D, on `meta`; raises `ValueError` for sizes that do not fit."""
        width_in, width = widths(module)
        bias = "bias" in stored.tensors
        super().__init__(width_in, width, bias=bias, dtype=dtype, conv=not isinstance(module, nn.Linear))
        assert group.weights is not None
        self.how, self.rounds_activations = group.weights, group.input_activations is not None
        self.block = _block(group.weights, width, width_in)
        # Rounded up: a block at the edge may be cut off.
        scales = -(-width // self.block[0]), -(-width_in // self.block[1])
        given = stored.shape("weight_scale")
        # One scale for a whole layer is written as a number or as a list of one.
        if given != scales and not (given in ((), (1,)) and scales == (1, 1)):
            raise ValueError(
                f"its scales are {given}, where one a {group.weights.strategy or 'tensor'} asks for {scales}"
            )
        self._take_codes(stored)
        self.register_buffer("weight_scale", torch.empty(given, dtype=stored.dtype("weight_scale"), device="meta"))
        zeros = None if group.weights.symmetric else self._zeros_like(stored, scales)
        self.register_buffer("weight_zero_point", zeros)
        index = torch.empty(width_in, dtype=torch.int32, device="meta") if "weight_g_idx" in stored.tensors else None
        self.register_buffer("weight_g_idx", index)
        for name in ("input_scale", "input_zero_point"):  # of activations, which are computed as they are
            # Kept so that the file's tensors all have a place, and read by nobody.
            if name in stored.tensors:
                self.register_buffer(name, torch.empty(stored.shape(name), dtype=stored.dtype(name), device="meta"))

    def dense(self) -> Tensor:
        scales = self._over_inputs(self.weight_scale.float())
        zeros = self._zeros()
        codes = self._codes().float()
        return codes * scales if zeros is None else (codes - self._over_inputs(zeros.float())) * scales

    def grouping(self) -> int | None:
        if self.how.type != "int" or self.how.strategy not in ("group", "channel") or self.weight_g_idx is not None:
            return None
        return self.block[1]

    def codes(self) -> Codes:
        # Files count from the middle, and codes from nothing.
        middle = 1 << (self.how.num_bits - 1)
        scales = self.weight_scale.float()
        zeros = torch.zeros_like(scales) if (stored := self._zeros()) is None else stored.float()
        return Codes(self.how.num_bits, (self._codes().short() + middle).to(torch.uint8), scales, zeros + middle)

    def draw(self) -> None:
        with torch.no_grad():
            for value in (self.weight, *self.buffers(), *([] if self.bias is None else [self.bias])):
                value.zero_()
            # Codes of zero with any scale are a weight that a pass can be timed with.
            self.weight_scale.fill_(0.02)

    def finish(self, path: str) -> str | None:
        check_finite(path, "weight_scale", self.weight_scale)
        return _ACTIVATIONS if self.rounds_activations else None

    def _take_codes(self, stored: Stored) -> None:
        kind = stored.dtype("weight")
        if kind not in (torch.int8, torch.float8_e4m3fn):
            raise ValueError(f"its codes are kept in {kind}, and only int8 and float8 (e4m3) are read")
        stored.check("weight", (self.out_features, self.in_features))
        empty = torch.empty(self.out_features, self.in_features, dtype=kind, device="meta")
        self.register_parameter("weight", nn.Parameter(empty, requires_grad=False))

    def _zeros_like(self, stored: Stored, scales: tuple[int, int]) -> Tensor:
        shape = stored.shape("weight_zero_point")
        if shape != scales and shape not in ((), (1,)):
            raise ValueError(f"its zeros are {shape}, where its scales are {scales}")
        return torch.empty(shape, dtype=stored.dtype("weight_zero_point"), device="meta")

    def _codes(self) -> Tensor:
        """Return the codes (D_out, D_in), less what packing adds."""
        return self.weight.detach()

    def _zeros(self) -> Tensor | None:
        """Return the zeros, shaped as the scales, or None where codes are symmetric."""
        return self.weight_zero_point

    def _over_inputs(self, values: Tensor) -> Tensor:
        """Return values of blocks, one each, for every weight (D_out, D_in), or in a shape that broadcasts to it."""
        # One value for all needs no spreading.
        if values.numel() == 1:
            return values.view(1, 1)
        rows, columns = self.block
        whole = values if rows == 1 else values.repeat_interleave(rows, 0)[: self.out_features]
        # Groups that are not in order: each input names its own.
        if self.weight_g_idx is not None:
            return whole[:, self.weight_g_idx.long()]
        # A row's scale spreads by itself, and the last block may be cut off.
        return whole if whole.shape[1] == 1 else whole.repeat_interleave(columns, 1)[:, : self.in_features]


class PackedLinear(CompressedLinear):
    """Computes with a weight that the files hold in 2, 4 or 8 bits, packed into words."""

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        return self.weight_packed

    def _take_codes(self, stored: Stored) -> None:
        bits = self.how.num_bits
        if bits not in (2, 4, 8):  # releases of the library packed the others in two ways
            raise ValueError(f"packed codes of {bits} bits are not read; of 2, 4 and 8 they are")
        words = torch.empty(self.out_features, words_for(self.in_features, bits), dtype=torch.int32, device="meta")
        stored.check("weight_packed", words.shape, torch.int32)
        self.weight_packed = nn.Parameter(words, requires_grad=False)
        self.register_buffer("weight_shape", torch.empty(2, dtype=stored.dtype("weight_shape"), device="meta"))

    def _zeros_like(self, stored: Stored, scales: tuple[int, int]) -> Tensor:
        words = torch.empty(words_for(scales[0], self.how.num_bits), scales[1], dtype=torch.int32, device="meta")
        stored.check("weight_zero_point", words.shape, torch.int32)
        return words

    def _codes(self) -> Tensor:
        bits = self.how.num_bits
        # Words lie along the inputs; `unpack` takes them along the first axis.
        return unpack(self.weight_packed.T.contiguous(), bits).T.short() - (1 << (bits - 1))

    def _zeros(self) -> Tensor | None:
        bits, zeros = self.how.num_bits, self.weight_zero_point
        return None if zeros is None else unpack(zeros, bits).short() - (1 << (bits - 1))


def _block(how: WeightSettings, width: int, width_in: int) -> tuple[int, int]:
    """Return how many outputs and inputs have a scale in common."""
    if how.strategy == "block":
        if how.block_structure is None:
            raise ValueError("its scales are those of blocks, whose size is not said")
        return how.block_structure[0], how.block_structure[1]
    if how.strategy == "group":
        size = how.group_size or 0
        if size < 1 or width_in % size:
            raise ValueError(f"its {width_in} inputs are no whole groups of {size}")
        return 1, size
    # A row has one scale over all inputs; a whole layer one over both.
    return (1, width_in) if how.strategy == "channel" else (width, width_in)


@storage("compressed_tensors")
class CompressedTensors(Coded):
    """Stores 2 to 8 bits a number, integers or float8."""

    methods = ("compressed-tensors",)
    code = "weight_scale"
    settings = CompressedSettings

    @classmethod
    def layer(
        cls, settings: CompressedSettings, stored: Stored, module: nn.Module, dtype: torch.dtype
    ) -> CompressedLinear:
        kind = PackedLinear if "weight_packed" in stored.tensors else CompressedLinear
        with fitting(stored.path, "read"):
            return kind(module, stored, settings.of(stored.path), dtype)

    @classmethod
    def like(cls, settings: CompressedSettings, module: nn.Module, dtype: torch.dtype) -> CompressedLinear | None:
        # The first group stands for all: of a shape alone it is not known which layer is in which.
        group = next((group for group in settings.config_groups.values() if group.weights is not None), None)
        if group is None or group.weights is None:
            return None
        how, (width_in, width) = group.weights, widths(module)
        try:
            rows, columns = _block(how, width, width_in)
            scales = -(-width // rows), -(-width_in // columns)
            tensors: dict[str, tuple[str, tuple[int, ...]]] = {
                "weight_scale": ("BF16", scales),
                "weight_zero_point": ("I8", scales),
            }
            if settings.format == "pack-quantized":
                words, zeros = (
                    words_for(width_in, how.num_bits),
                    () if how.symmetric else (words_for(width, how.num_bits),),
                )
                tensors |= {"weight_packed": ("I32", (width, words)), "weight_shape": ("I64", (2,))}
                tensors["weight_zero_point"] = ("I32", (*zeros, scales[1]))
            else:
                tensors["weight"] = ("I8" if how.type == "int" else "F8_E4M3", (width, width_in))
            if getattr(module, "bias", None) is not None:
                tensors["bias"] = ("BF16", (width,))
            return cls.layer(settings, Stored("", tensors), module, dtype)
        except (ValueError, UsageError):  # what fills no words or groups stays plain in such checkpoints
            return None
