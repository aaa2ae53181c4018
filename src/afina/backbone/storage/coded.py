"""Share what storages have in common that checkpoints bring: codes of a few bits, read as they are and never made here."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from afina.backbone.storage.base import Packed
from afina.errors import UsageError
from afina.ops.coded_linear import CodedLinear, Codes

__all__ = ["Coded", "Grouped", "Settings", "Stored", "check_finite", "checked_settings", "fitting"]

DTYPES = {
    "I8": torch.int8, "U8": torch.uint8, "I32": torch.int32, "I64": torch.int64, "F16": torch.float16,
    "BF16": torch.bfloat16, "F32": torch.float32, "F8_E4M3": torch.float8_e4m3fn,
}  # fmt: skip
"""Torch's types by the names that safetensors files give them."""


@dataclass(frozen=True)
class Stored:
    """Describes one layer's tensors in a checkpoint, as headers of its files tell them."""

    path: str
    tensors: Mapping[str, tuple[str, tuple[int, ...]]]
    """Types, as safetensors names them, and shapes, by the name behind the layer's path."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape; raises `UsageError` where the layer has none of that name."""
        if name not in self.tensors:
            raise UsageError(
                f"The weights hold {self.path} in codes, and lack its {name}: get the model's files again."
            )
        return self.tensors[name][1]

    def dtype(self, name: str) -> torch.dtype:
        """Return a tensor's type; raises `UsageError` for one that no codes are kept in."""
        self.shape(name)
        if (kind := self.tensors[name][0]) not in DTYPES:
            raise UsageError(f"{self.path}.{name} is kept in {kind}, of which Afina knows no meaning.")
        return DTYPES[kind]

    def check(self, name: str, wanted: Sequence[int], dtype: torch.dtype | None = None) -> None:
        """Raise `UsageError` for a tensor of another size or type than the layer's width, bits and groups ask for."""
        if (shape := self.shape(name)) != tuple(wanted):
            raise UsageError(
                f"{self.path}.{name} is of size {shape}, where the model's config.json asks for {tuple(wanted)}; one of the "
                "two files is another model's."
            )
        if dtype is not None and self.dtype(name) != dtype:
            raise UsageError(f"{self.path}.{name} is kept in {self.tensors[name][0]}, and should be {dtype}.")


class Settings(BaseModel):
    """Holds what a checkpoint's `quantization_config` says; a storage reads its keys from it, checked."""

    model_config = ConfigDict(extra="ignore", strict=True)


class Coded(Packed):
    """A storage that a checkpoint comes in: every method works on it, and only a checkpoint's own weights are kept so."""

    methods: ClassVar[tuple[str, ...]] = ()
    """The `quant_method` of such checkpoints."""
    code: ClassVar[str] = ""
    """The tensor that holds a layer's codes, by which its layers are found in the files."""
    beside: ClassVar[str] = ""
    """The file in which older checkpoints have their settings, beside a config.json that says nothing of them."""
    settings: ClassVar[type[Settings]]
    fractional: ClassVar[bool] = False
    """True for the one storage that is written where zeros are no whole numbers any more; it has the last two methods."""

    @classmethod
    def made(cls, configuration: dict[str, Any]) -> bool:
        return configuration.get("quant_method") in cls.methods

    @classmethod
    def configuration(cls, compute: torch.dtype, keep: Sequence[str]) -> Any:
        raise UsageError(
            f"precision: {cls.name} is that of a checkpoint whose weights are stored so, and this model's are plain; set "
            "precision: nf4 or int8, which are made of plain weights as they are read."
        )

    @classmethod
    def layer(cls, settings: Any, stored: Stored, module: nn.Module, dtype: torch.dtype) -> CodedLinear:
        """Return a layer on `meta` that takes a stored one's tensors by their names; `dtype` is that of its bias.

        Raises `UsageError` for sizes that do not fit the module, and for what is not understood.
        """
        raise NotImplementedError

    @classmethod
    def like(cls, settings: Any, module: nn.Module, dtype: torch.dtype) -> CodedLinear | None:
        """Return a layer on `meta` as such a checkpoint would have it, for a plan; None where it would stay plain."""
        raise NotImplementedError

    @classmethod
    def written(cls, codes: Codes) -> dict[str, Tensor]:
        """Return what a file holds of a weight; raises `ValueError` where it has no form for one of this size."""
        raise NotImplementedError

    @classmethod
    def configuration_of(cls, layers: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
        """Return the `quantization_config` of layers by path, each with its bits and the inputs of a group.

        Raises `ValueError` where such a file cannot say it.
        """
        raise NotImplementedError

    @classmethod
    def size_of(cls, module: nn.Module) -> int:
        tensors: list[Tensor] = [module.get_parameter("weight"), *module.buffers()]
        return sum(value.numel() * value.itemsize for value in tensors)

    @classmethod
    def full(cls, module: nn.Module) -> Tensor:
        # A coded layer says itself how it is stored; no other is asked here.
        assert isinstance(module, CodedLinear)
        return module.dense()


class Grouped(CodedLinear):
    """Computes with codes of which a group of inputs has a scale and a zero in common, as GPTQ and AWQ write them."""

    bits: int
    qweight: Tensor
    """The codes, int32 words."""
    qzeros: Tensor
    """The zeros of the groups, int32 words."""
    scales: Tensor
    """The scales of the groups (groups, D_out)."""

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        return self.qweight

    def draw(self) -> None:
        with torch.no_grad():
            for words in (self.qweight, self.qzeros):
                # The whole range of int32, as every bit belongs to a code.
                words.random_(-(1 << 31), 1 << 31)

            # About as large as the weights of a model that was trained, whatever the codes are.
            self.scales.fill_(0.02 / (1 << self.bits))
            if self.bias is not None:
                self.bias.zero_()


@contextmanager
def fitting(path: str, what: str) -> Iterator[None]:
    """Raise a size that does not fit (`ValueError`) as a `UsageError` of the layer; a refusal that is whole stays."""
    try:
        yield
    except UsageError:  # which is a ValueError too
        raise
    except ValueError as error:
        raise UsageError(f"{path} cannot be {what}: {error}.") from None


def check_finite(path: str, name: str, scales: Tensor) -> None:
    """Raise `UsageError` for scales of a layer that are no numbers."""
    if not bool(scales.float().isfinite().all()):
        raise UsageError(f"{path}.{name} holds numbers that are not finite; get the model's files again.")


def checked_settings(name: str, storage: type[Coded], configuration: Mapping[str, Any]) -> Any:
    """Return what a model's `quantization_config` says, checked; raises `UsageError` with the key that is wrong."""
    try:
        return storage.settings(**configuration)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "it"
        # pydantic's words stand before what is wrong.
        what = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
        raise UsageError(f"{name}: {key} in its quantization_config cannot be read: {what}.") from None
