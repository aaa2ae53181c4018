"""Register the forms in which an adapter's folder may be; to read one more is one file in `formats/`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from afina.adapters.adapter import Adapter
from afina.adapters.given_branches import GivenBranches
from afina.adapters.record import AdapterRecord
from afina.backbone.load import Backbone
from afina.errors import UsageError
from afina.methods.base import Method
from afina.registry import Registry

__all__ = ["FORMATS", "AdapterFormat", "Base", "FolderContents", "adapter_format", "format_of"]


@dataclass(frozen=True)
class Base:
    """Says what kind of model an adapter's folder asks for."""

    speaks: bool
    """True where the model keeps its language head."""
    tags: bool
    """True where the model labels each word, not each row."""


@dataclass(frozen=True)
class FolderContents:
    """Holds what was read of an adapter's folder beside its record."""

    adapter: Adapter
    task: Mapping[str, Any]
    """The state of its task."""
    notes: tuple[str, ...] = ()
    """Sentences on what was assumed, which commands show to who reads the answers."""


class AdapterFormat:
    """Reads one form of folders; only its class is asked, as it holds nothing."""

    name: ClassVar[str] = ""
    file: ClassVar[str] = "adapter_config.json"
    """The file by which a folder is known."""
    precedence: ClassVar[int] = 0
    """Place in the order of asking where a folder might be of several forms: the highest is asked first."""

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Return whether a folder is of this form, as far as can be said before it is read."""
        return (folder / cls.file).exists()

    @classmethod
    def record(cls, folder: Path) -> AdapterRecord:
        """Read what the folder says of itself, no weights; raises `UsageError` for what is not read."""
        raise NotImplementedError(f"{cls.name} has no record")

    @classmethod
    def method(cls, record: AdapterRecord) -> Method:
        """Return the method as it can be known before the weights are read."""
        return GivenBranches()

    @classmethod
    def base(cls, record: AdapterRecord) -> Base:
        """Return what kind of base model it is for."""
        return Base(speaks=False, tags=False)

    @classmethod
    def check_base(cls, folder: Path, record: AdapterRecord) -> None:
        """Raise `UsageError` where the base that the record names is not the one that would be loaded."""

    @classmethod
    def read(cls, folder: Path, backbone: Backbone, record: AdapterRecord) -> FolderContents:
        """Return the adapter and its task; raises `AfinaError` for a file that does not fit the model."""
        raise NotImplementedError(f"{cls.name} has no reader")

    @classmethod
    def peft_files(cls, folder: Path) -> tuple[str, ...]:
        """Return the files that PEFT reads as they are, none where they have to be written.

        Raises `UsageError` where PEFT has no word for what they hold.
        """
        return ()


FORMATS: Registry[type[AdapterFormat]] = Registry("form of adapters", "afina.adapters.formats", "adapter_format")
"""All forms by name."""

adapter_format = FORMATS.register


def format_of(folder: Path) -> type[AdapterFormat]:
    """Return the form of an adapter's folder; raises `UsageError` for a folder that is of none, or not there."""
    # The most particular first: Afina's own folder has PEFT's files too.
    ranked = sorted(FORMATS.values(), key=lambda kind: -kind.precedence)
    if (fitting := next((kind for kind in ranked if kind.recognises(folder)), None)) is not None:
        return fitting
    if not folder.is_dir():
        raise UsageError(f"{folder} does not exist; give the folder of an adapter.")
    files = " or ".join(dict.fromkeys(kind.file for kind in ranked))
    raise UsageError(f"{folder} is no adapter of Afina or another program: it has no {files}.")
