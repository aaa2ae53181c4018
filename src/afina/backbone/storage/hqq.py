"""Read weights that HQQ rounded: 1 to 8 bits, a scale and a zero, which need be no whole number, for each group.

Badri and Shaji, 2023, "Half-Quadratic Quantization of Large Machine Learning Models"; the files are those that
transformers and `save_to_safetensors` of the package hqq write. A weight (D_out, D_in) is a matrix whose rows (`axis` 1) or
columns (`axis` 0) are groups of neighbours: `W_q` holds its codes in planes (`ops/planes.py`), `scale` and `zero` a number a
group. The weight is (code - zero) * scale. What else such files hold of a layer repeats its settings.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from afina.backbone.storage.base import storage
from afina.backbone.storage.coded import Coded, Settings, Stored, check_finite, fitting
from afina.errors import UsageError
from afina.ops.coded_linear import CodedLinear, Codes
from afina.ops.linear import widths
from afina.ops.planes import PARTS, pack_planes, plane_words, unpack_planes

__all__ = ["Hqq", "HqqLinear"]

_EVERY = "*"
"""The tag under which settings are kept that a file says for all layers."""
_SETTINGS = (
    "nbits", "group_size", "axis", "shape", "packing", "view_as_float", "quant_scale", "quant_zero", "unpack_view_dtype",
    "compute_dtype", "offload_meta", "encoded_state_dict", "stores_quant_config", "channel_wise", "optimize", "round_zero",
)  # fmt: skip
"""Tensors of a layer that say how it is stored, a number or the characters of a word each."""


class HqqWeight(Settings):
    """Holds how a layer's weight is kept, by HQQ's names."""

    nbits: float
    group_size: int | None = Field(default=64, ge=1)
    axis: Literal[0, 1] = 1
    channel_wise: Literal[True] = True
    view_as_float: bool = False

    @field_validator("nbits")
    @classmethod
    def _known_bits(cls, bits: float) -> float:
        if bits not in PARTS:
            raise ValueError(f"{bits:g} bits are not read; {', '.join(map(str, sorted(PARTS)))} are")
        return bits

    @field_validator("view_as_float")
    @classmethod
    def _whole_words(cls, value: bool) -> bool:
        if value:
            raise ValueError(
                "codes that are stored as if they were floating-point numbers (view_as_float) are not read"
            )
        return value


class HqqLayer(Settings):
    """Holds how one kind of layer is kept."""

    weight_quant_params: HqqWeight
    scale_quant_params: dict[str, Any] | None = None
    zero_quant_params: dict[str, Any] | None = None

    @field_validator("scale_quant_params", "zero_quant_params")
    @classmethod
    def _plain(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value:
            raise ValueError("scales or zeros that are codes themselves are not read")
        return value


class HqqSettings(Settings):
    """Holds the settings of an HQQ checkpoint, for all layers or by a layer's tag, such as `self_attn.q_proj`."""

    quant_config: dict[str, HqqLayer | None]

    @field_validator("quant_config", mode="before")
    @classmethod
    def _by_tag(cls, value: Any) -> Any:
        return {_EVERY: value} if isinstance(value, dict) and "weight_quant_params" in value else value

    def of(self, path: str) -> HqqWeight:
        """Return how a layer is kept; raises `UsageError` where nothing is said of it."""
        tag = _tag(path)
        layer = self.quant_config.get(tag) or self.quant_config.get(_EVERY)
        if layer is None:
            raise UsageError(
                f"The weights hold {path} in codes, and the model's quantization_config says nothing of {tag}; get the "
                "model's files again."
            )
        return layer.weight_quant_params


class HqqLinear(CodedLinear):
    """Computes with a weight that HQQ's files hold."""

    storage = "hqq"
    W_q: Tensor
    scale: Tensor
    zero: Tensor

    def __init__(self, module: nn.Module, settings: HqqWeight, stored: Stored, dtype: torch.dtype) -> None:
        """Make the layer that stands for a Linear, on `meta`; raises `ValueError` for sizes that do not fit."""
        width_in, width = widths(module)
        super().__init__(width_in, width, bias="bias" in stored.tensors, dtype=dtype)
        if not isinstance(module, nn.Linear):
            raise ValueError(f"it is a {type(module).__name__}, where HQQ keeps nothing but Linear in codes")
        self.bits, self.by_rows = int(settings.nbits), settings.axis == 1
        self.group = settings.group_size or (width_in if self.by_rows else width)
        groups, rest = divmod(width * width_in, self.group)
        if rest:
            raise ValueError(f"its {width * width_in} weights are no whole groups of {self.group}")
        self.rows, columns = (groups, self.group) if self.by_rows else (self.group, groups)
        words, kind = plane_words(self.rows, self.bits)
        self.W_q = nn.Parameter(torch.empty(words, columns, dtype=kind, device="meta"), requires_grad=False)
        shape = (groups, 1) if self.by_rows else (1, groups)
        for name in ("scale", "zero"):
            self.register_buffer(name, torch.empty(shape, dtype=stored.dtype(name), device="meta"))

        # Kept so that the file's tensors all have a place, until `finish` has held them against the settings.
        for name in (name for name in _SETTINGS if name in stored.tensors):
            empty = torch.empty(stored.shape(name), dtype=stored.dtype(name), device="meta")
            self.register_buffer(name, empty)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        return self.W_q

    def dense(self) -> Tensor:
        codes = unpack_planes(self.W_q, self.bits, self.rows)
        return ((codes - self.zero.float()) * self.scale.float()).view(self.out_features, self.in_features)

    def grouping(self) -> int | None:
        # Groups that go over a row's end are of two outputs.
        return self.group if self.by_rows and self.in_features % self.group == 0 else None

    def codes(self) -> Codes:
        codes = unpack_planes(self.W_q, self.bits, self.rows).view(self.out_features, self.in_features)
        scales, zeros = (value.float().view(self.out_features, -1) for value in (self.scale, self.zero))
        return Codes(self.bits, codes, scales, zeros)

    def draw(self) -> None:
        with torch.no_grad():
            # Every bit that belongs to a code: of a word of 32 the two highest do not.
            self.W_q.random_(0, 1 << (30 if self.bits == 3 else 8))
            # About as large as the weights of a model that was trained, whatever the codes are.
            self.scale.fill_(0.02 / (1 << self.bits))
            self.zero.fill_((1 << self.bits) / 2)
            if self.bias is not None:
                self.bias.zero_()

    def finish(self, path: str) -> str | None:
        """Hold what the files say of the layer against its settings, and let it go.

        Raises `UsageError` where the two differ, and for scales and zeros that are no numbers.
        """
        wanted = {
            "nbits": [self.bits], "group_size": [self.group], "axis": [int(self.by_rows)], "quant_scale": [0],
            "shape": [self.out_features, self.in_features], "packing": [*_packing(self.bits).encode()],
            "view_as_float": [0], "quant_zero": [0],
        }  # fmt: skip
        for name in _SETTINGS:
            value = self._buffers.pop(name, None)
            if value is not None and name in wanted and value.flatten().tolist() != wanted[name]:
                raise UsageError(
                    f"{path}.{name} says of its codes what is not read, or not what the model's quantization_config says; "
                    "get the files that belong together."
                )
        check_finite(path, "scale", self.scale)
        check_finite(path, "zero", self.zero)
        return None


@storage("hqq")
class Hqq(Coded):
    """Stores 1 to 8 bits a number."""

    methods = ("hqq",)
    code = "W_q"
    settings = HqqSettings
    fractional = True

    @classmethod
    def layer(cls, settings: HqqSettings, stored: Stored, module: nn.Module, dtype: torch.dtype) -> HqqLinear:
        with fitting(stored.path, "kept in HQQ's codes"):
            made = HqqLinear(module, settings.of(stored.path), stored, dtype)
        stored.check("W_q", made.W_q.shape, made.W_q.dtype)
        for name in ("scale", "zero"):
            stored.check(name, getattr(made, name).shape)
        return made

    @classmethod
    def like(cls, settings: HqqSettings, module: nn.Module, dtype: torch.dtype) -> HqqLinear | None:
        # The first stands for all: of a shape alone it is not known which layer has which tag.
        first = next((one for one in settings.quant_config.values() if one is not None), None)
        if first is None:
            return None
        # float16 is what HQQ computes in unless told otherwise, and keeps scales in.
        tensors: dict[str, tuple[str, tuple[int, ...]]] = dict.fromkeys(("scale", "zero"), ("F16", ()))
        if getattr(module, "bias", None) is not None:
            tensors["bias"] = ("F16", ())
        try:
            return HqqLinear(module, first.weight_quant_params, Stored("", tensors), dtype)
        except ValueError:  # what is no Linear, or fills no groups, stays plain in such checkpoints
            return None

    @classmethod
    def written(cls, codes: Codes) -> dict[str, Tensor]:
        groups, (width, width_in) = codes.scales.shape[1], codes.codes.shape
        matrix = codes.codes.reshape(width * groups, -1)
        _, kind = plane_words(len(matrix), codes.bits)
        numbers = {"nbits": codes.bits, "group_size": matrix.shape[1], "axis": 1}
        texts = {"packing": _packing(codes.bits), "unpack_view_dtype": str(kind), "compute_dtype": "torch.float32"}
        flags = {
            **dict.fromkeys(
                ("view_as_float", "quant_scale", "quant_zero", "offload_meta", "optimize", "round_zero"), 0
            ),
            **dict.fromkeys(("encoded_state_dict", "stores_quant_config", "channel_wise"), 1),
        }
        return {
            "W_q": pack_planes(matrix, codes.bits),
            "scale": codes.scales.reshape(-1, 1).contiguous(),
            "zero": codes.zeros.reshape(-1, 1).contiguous(),
            "shape": torch.tensor([width, width_in]),
            **{name: torch.tensor(value, dtype=torch.int32) for name, value in numbers.items()},
            **{name: torch.tensor([*word.encode()], dtype=torch.uint8) for name, word in texts.items()},
            **{name: torch.tensor(value, dtype=torch.uint8) for name, value in flags.items()},
        }

    @classmethod
    def configuration_of(cls, layers: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
        by_tag: dict[str, Any] = {}
        for path, (bits, group) in layers.items():
            weights = {
                "nbits": bits, "channel_wise": True, "group_size": group, "optimize": False, "round_zero": False, "axis": 1,
                "view_as_float": False,
            }  # fmt: skip
            one = {
                "weight_quant_params": weights, "scale_quant_params": None, "zero_quant_params": None,
                "offload_meta": False,
            }  # fmt: skip
            if by_tag.setdefault(_tag(path), one) != one:
                raise ValueError(f"layers called {_tag(path)} are in codes of several sizes")
        first = next(iter(by_tag.values()))
        alike = all(one == first for one in by_tag.values())
        return {"quant_method": "hqq", "quant_config": first if alike else by_tag, "skip_modules": []}


def _tag(path: str) -> str:
    """Return what layers at the same place of all layers are called: `self_attn.q_proj`."""
    return ".".join(part for part in path.split(".") if part not in ("model", "layers") and not part.isdigit())


def _packing(bits: int) -> str:
    """Return HQQ's word for how numbers of so many bits are packed."""
    return "3bit_32" if bits == 3 else f"{8 if PARTS[bits] == 1 else bits}bit_u8"
