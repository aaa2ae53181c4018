"""Reading a GGUF file: what it says of itself, and its tensors as plain numbers.

A file is: `GGUF`, version, counts of tensors and of settings, the settings (key, type, value), of each tensor its name,
sizes (the last first), type and place, and then the tensors' bytes, from a multiple of the alignment on. All numbers are
little-endian (github.com/ggml-org/ggml, docs/gguf.md). Nothing that a file says is believed before it is held against the
file's own length.
"""

import mmap
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from afina.errors import AfinaError, UsageError, shown

__all__ = ["GgufFile", "TensorEntry", "read_gguf"]

_VERSIONS = (2, 3)
_PLAIN = {0: ("F32", 4), 1: ("F16", 2), 30: ("BF16", 2)}
"""Types that hold numbers one by one: name and bytes of each."""
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _LIST = 8, 9
_LONGEST = 200
"""Characters that a name has (a tensor's at most 64 by GGUF's own rule), and that a value shows of itself."""


@dataclass(frozen=True)
class TensorEntry:
    """Says where one tensor is, and in which type it is stored."""

    name: str
    shape: tuple[int, ...]
    """Sizes in torch's order."""
    kind: int
    start: int
    """Bytes from the beginning of the file."""


@dataclass(frozen=True)
class GgufFile:
    """Holds what is known of a file before its tensors are read."""

    path: Path
    settings: Mapping[str, Any]
    tensors: Mapping[str, TensorEntry]

    @property
    def architecture(self) -> str:
        return str(self.settings.get("general.architecture", ""))

    @cached_property
    def kinds(self) -> dict[str, int]:
        """Return how many tensors are stored in each type, by its name."""
        return dict(sorted(Counter(_kind_name(self.path, entry.kind) for entry in self.tensors.values()).items()))

    @property
    def quantised(self) -> list[str]:
        """Return the types in which weights are quantised."""
        return [name for name in self.kinds if name not in {plain for plain, _ in _PLAIN.values()}]

    def read(self, name: str) -> Any:
        """Return a tensor of torch: in its own type where that is plain, else in bfloat16."""
        import torch

        entry = self.tensors[name]
        block, size = _block(self.path, entry.kind)
        if entry.shape[-1] % block:
            raise AfinaError(f"{self.path} is damaged: the rows of its tensor '{name}' are no whole number of blocks.")

        # One tensor at a time, so that a model is never in memory twice.
        raw = np.fromfile(self.path, np.uint8, count=_bytes(self.path, entry), offset=entry.start)
        if entry.kind in _PLAIN:
            dtype = {0: torch.float32, 1: torch.float16, 30: torch.bfloat16}[entry.kind]
            # Through bytearray: torch warns of memory that it may not write into.
            return torch.frombuffer(bytearray(raw.tobytes()), dtype=dtype).reshape(entry.shape)
        package = _package(self.path)
        try:
            values = package.dequantize(
                raw.reshape(-1, entry.shape[-1] // block * size), package.GGMLQuantizationType(entry.kind)
            )
        except NotImplementedError:
            raise UsageError(
                f"{self.path} keeps '{name}' in {_kind_name(self.path, entry.kind)}, which the package gguf does not "
                "dequantise; give the model in another form, such as Q8_0, F16 or a folder with safetensors."
            ) from None
        return torch.from_numpy(np.ascontiguousarray(values)).reshape(entry.shape).to(torch.bfloat16)


def read_gguf(path: Path) -> GgufFile:
    """Return a file's settings and where its tensors are; raises `AfinaError` for what is no whole GGUF file."""
    try:
        # Mapped and not read: a header is at the beginning of gigabytes.
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(path, data).file()
    except FileNotFoundError:
        raise UsageError(f"The model file {path} does not exist.") from None
    # UsageError is a ValueError too; what was said already is not said again.
    except (OSError, ValueError) as error:
        if isinstance(error, AfinaError):
            raise
        raise AfinaError(f"{path} cannot be read as a GGUF file: {error}.") from error


class _Reader:
    """A place in a file, that moves on with all that is read, and never over its end."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.at = path, data, 0

    def take(self, count: int) -> bytes:
        # Checked before it is taken: a damaged count would otherwise ask for more memory than there is.
        if count > len(self.data) - self.at:
            raise AfinaError(f"{self.path} ends before its header does: it is damaged, or was not fetched as a whole.")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, form: str) -> Any:
        (value,) = struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))
        return value

    def text(self) -> str:
        # The tokens of some vocabularies are bytes that are no whole characters.
        return self.take(self.number("Q")).decode("utf-8", errors="replace")

    def name(self) -> str:
        """Return a text that may be shown to a person."""
        name = self.text()
        if not name.isprintable() or not 0 < len(name) <= _LONGEST:
            raise AfinaError(f"{self.path} is damaged: a setting or tensor has {name[:20]!r}... for a name.")
        return name

    def value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self.text()
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind != _LIST:
            raise AfinaError(f"{self.path} is damaged: it has a setting of the unknown type {kind}.")
        inner, count = self.number("I"), self.number("Q")
        # A list of texts has no fixed width, so that a count that lies can only be found out by reading.
        if inner == _TEXT:
            return [self.text() for _ in range(min(count, len(self.data)))]  # each of which takes bytes
        if inner not in _SCALARS:
            raise AfinaError(f"{self.path} is damaged: it has a list of the unknown type {inner}.")
        width = struct.calcsize(f"<{_SCALARS[inner]}")
        return np.frombuffer(self.take(count * width), dtype=np.dtype(_SCALARS[inner]).newbyteorder("<")).tolist()

    def file(self) -> GgufFile:
        if self.take(4) != b"GGUF":
            raise UsageError(f"{self.path} is no GGUF file.")
        version = self.number("I")
        # Version 1 had numbers of another width.
        if version not in _VERSIONS:
            raise UsageError(f"{self.path} is a GGUF file of version {version}; versions 2 and 3 are read.")
        tensors, settings = self.number("Q"), self.number("Q")
        values = {}
        for _ in range(settings):
            key = self.name()
            values[key] = self.value(self.number("I"))
        entries = [self._entry() for _ in range(tensors)]
        alignment = values.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise AfinaError(f"{self.path} is damaged: general.alignment is {shown(alignment)}.")
        # What is there twice would be one thing to one reader and another to the next.
        if len({entry.name for entry in entries}) < tensors or len(values) < settings:
            raise AfinaError(f"{self.path} is damaged: a setting or a tensor is there twice.")

        # Tensors begin at the next multiple of the alignment; their own places count from there.
        start = -(-self.at // alignment) * alignment
        placed = {
            entry.name: TensorEntry(entry.name, entry.shape, entry.kind, start + entry.start) for entry in entries
        }
        for entry in placed.values():
            if entry.start + _bytes(self.path, entry) > len(self.data):
                raise AfinaError(
                    f"{self.path} ends before its tensor '{entry.name}' does: it is damaged, or was not fetched as a whole."
                )
        return GgufFile(self.path, values, placed)

    def _entry(self) -> TensorEntry:
        name, count = self.name(), self.number("I")
        if not 1 <= count <= 4:
            raise AfinaError(f"{self.path} is damaged: its tensor '{name}' has {count} dimensions.")
        sizes = [self.number("Q") for _ in range(count)]
        # GGUF counts axes from the fastest to the slowest, torch the other way round.
        return TensorEntry(name, tuple(reversed(sizes)), self.number("I"), self.number("Q"))


def _bytes(path: Path, entry: TensorEntry) -> int:
    block, size = _block(path, entry.kind)
    # Whole blocks, as the last one is written full.
    return -(-prod(entry.shape) // block) * size


def _block(path: Path, kind: int) -> tuple[int, int]:
    """Return the numbers in a block of this type, and its bytes."""
    if kind in _PLAIN:
        return 1, _PLAIN[kind][1]
    # Plain files need no package; only what is quantised does.
    package = _package(path)
    try:
        block, size = package.GGML_QUANT_SIZES[package.GGMLQuantizationType(kind)]
    except (KeyError, ValueError):
        raise UsageError(f"{path} keeps weights in type {kind}, which the package gguf does not know.") from None
    return int(block), int(size)


def _kind_name(path: Path, kind: int) -> str:
    return _PLAIN[kind][0] if kind in _PLAIN else str(_package(path).GGMLQuantizationType(kind).name)


def _package(path: Path) -> Any:
    try:
        import gguf
    except ImportError:
        raise UsageError(f"{path} holds quantised weights; to read them: pip install 'afina[gguf]'") from None
    return gguf
