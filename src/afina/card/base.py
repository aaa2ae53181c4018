"""Tell of a base model what its own files say: its name on the hub, its licence, its languages."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from afina.backbone.model_files import BUILT_IN, model_path
from afina.backbone.rows import row_of
from afina.card.blocks import parse
from afina.errors import AfinaError, UsageError
from afina.json_files import read_json_object

__all__ = ["BaseModel", "base_of", "is_hub_name"]

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+|[A-Za-z0-9][\w.-]*")
_LICENCES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING")


@dataclass(frozen=True)
class BaseModel:
    """A base model as a card names it."""

    name: str
    """Its name on the hub, or that of its folder or file: no path of anybody's machine."""
    hub: str | None = None
    """Its name on the hub, where it has one."""
    same_weights: bool = True
    """True where the hub's weights are those that were trained on, and no conversion of them."""
    licence: str | None = None
    """The licence in the words of the model's own card, or the first line of its file."""
    licence_key: str | None = None
    """The licence as metadata name it."""
    languages: tuple[str, ...] = ()
    inputs: str = "text"
    """The model's kind of input: `text`, `image` or `sound`."""
    reads_apart: bool = False
    """True for an encoder-decoder."""


def is_hub_name(name: str) -> bool:
    """Return whether this may be the name of a model on the hub: no folder or file of this machine."""
    return _HUB_NAME.fullmatch(name) is not None and not Path(name).exists()


def base_of(name: str) -> BaseModel:
    """Return what is known of a base model without its weights, and nothing that would have to be asked of the hub."""
    built_in = BUILT_IN.get(name)
    hub = built_in.hub if built_in is not None else name if is_hub_name(name) else None
    folder = _folder(name, hub if built_in is None else None)
    metadata = _metadata(folder)
    licence = _licence(folder, metadata)
    inputs, apart = _shape(folder)
    languages = metadata.get("language")
    return BaseModel(
        name=hub or Path(name.rstrip("/\\")).name or name, hub=hub, same_weights=built_in is None or not built_in.is_gguf,
        licence=licence, licence_key=metadata.get("license") if isinstance(metadata.get("license"), str) else None,
        languages=tuple(map(str, languages if isinstance(languages, list) else [languages] if languages else [])),
        inputs=inputs, reads_apart=apart,
    )  # fmt: skip


def _folder(name: str, hub: str | None) -> Path | None:
    """Return where the model's files are, as far as they are here."""
    if hub is not None:  # a model of the hub: what its cache holds, and no question to the hub itself
        from huggingface_hub import try_to_load_from_cache

        files = [try_to_load_from_cache(hub, file) for file in ("README.md", "config.json")]
        return next((Path(file).parent for file in files if isinstance(file, str)), None)
    try:
        return Path(model_path(name, weights=False))
    except AfinaError:
        return None


def _metadata(folder: Path | None) -> Mapping[str, Any]:
    """Return the metadata of the model's own card; nothing of one that is not there or cannot be read."""
    try:
        return {} if folder is None else parse((folder / "README.md").read_text(encoding="utf-8")).metadata
    except (OSError, ValueError, UsageError):
        return {}


def _licence(folder: Path | None, metadata: Mapping[str, Any]) -> str | None:
    key, name, link = (metadata.get(part) for part in ("license", "license_name", "license_link"))
    if isinstance(key, str):
        return f"{name or key}{f' ({link})' if link else ''}"
    if folder is None:
        return None
    for file in _LICENCES:
        try:
            lines = (folder / file).read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            continue
        return next((" ".join(line.strip("# *").split())[:120] for line in lines if line.strip("# *")), None)
    return None


def _shape(folder: Path | None) -> tuple[str, bool]:
    """Return what the model takes, and whether it reads one text and writes another, by its configuration."""
    try:
        kind = read_json_object((folder or Path()) / "config.json", what_to_do="").get("model_type")
    except (AfinaError, OSError):
        return "text", False
    # By the table of architectures, which tells without a model's weights what it reads.
    row = row_of(SimpleNamespace(model_type=kind))
    return ("text", False) if row is None else (row.inputs, bool(row.further))
