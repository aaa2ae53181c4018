"""Put together what of a folder goes to a hub: weights, configuration, tokenizer and card, no row, prediction or path."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afina.backbone.model_files import BUILT_IN
from afina.card.blocks import changed, united
from afina.card.form import on_hub
from afina.card.write import CARD, read_card
from afina.errors import AfinaError, UsageError
from afina.export.manifest import MANIFEST
from afina.words.language import Words

__all__ = ["Parcel", "parcel_of"]

_KINDS = {
    ".bin", ".data", ".gguf", ".jinja", ".jpeg", ".jpg", ".json", ".md", ".mlmodel", ".model", ".onnx", ".onnx_data", ".png",
    ".pte", ".py", ".safetensors", ".svg", ".txt", ".webp", ".xml",
}  # fmt: skip
"""Kinds of files that are uploaded; rows and predictions are of none of them."""
_NAMES = {"LICENSE", "LICENCE", "NOTICE", "Modelfile"}
_PROBES = "probe*.npz"
"""Files of the inputs that an export, or each of its adapters, was asked when it was written."""
_WEIGHTS = {".safetensors", ".onnx", ".gguf", ".pte", ".bin", ".mlmodel"}
_VOCABULARIES = {"tokenizer.json", "vocab.json"}
"""Files of a tokenizer's words, among which nothing is a path."""


@dataclass(frozen=True)
class Parcel:
    """Holds what goes, by its path: a file as it is, or the bytes that take its place; and what stays."""

    files: Mapping[str, Path | bytes]
    stays: tuple[str, ...]
    changed: tuple[str, ...]
    """Files that go without a path of this machine, or with the model's name on the hub."""
    note: str | None = None


def parcel_of(folder: Path, name: str, card_there: str | None = None) -> Parcel:
    """Return what of a folder goes to a hub under a name, with what a person wrote into the card that is there already.

    Raises `UsageError` for a folder that holds no model, and for one without a card or with one that cannot be read.
    """
    files: dict[str, Path | bytes] = {}
    stays = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).as_posix()
        # A link may lead to a file that nobody meant to give away.
        if path.is_symlink() or any(part.startswith(".") for part in Path(inside).parts):
            stays.append(inside)
        elif path.is_file():
            if path.suffix.lower() in _KINDS or path.name in _NAMES or path.match(_PROBES):
                files[inside] = path
            else:
                stays.append(inside)
    if not any(Path(inside).suffix.lower() in _WEIGHTS for inside in files):
        raise UsageError(f"{folder} holds no weights to upload; give the folder of an adapter or of an export.")
    # A vocabulary has words that look like paths.
    names = [inside for inside in files if inside.endswith(".json") and Path(inside).name not in _VOCABULARIES]
    clean = {inside: text for inside in names if (text := _cleaned(folder / inside)) is not None}
    if MANIFEST in files:
        clean[MANIFEST] = _manifest(folder, clean, stays)
    card, note = _card(folder, name, card_there)
    files |= {inside: text.encode() for inside, text in clean.items()} | {CARD: card.encode()}
    return Parcel(files, tuple(stays), tuple(sorted(clean)), note)


def _card(folder: Path, name: str, there: str | None) -> tuple[str, str | None]:
    """Return the card as the hub is to have it, and what there is to say of it."""
    try:
        card = read_card(folder)
        if card is None:
            raise UsageError("it is not there; `afina card` writes an adapter's, `afina export` an export's")

        def there_lines(lines: str, language: str) -> str:
            # In the card's own language, as these lines are written by it.
            words = Words(language)
            before = words("Run these lines in this folder, or put its path in place of `.`.")
            after = words("`pip install` what the first lines name; the files are fetched from the hub.")
            return on_hub(lines.replace(before, after), name)

        card = changed(card, "use", there_lines)
        if there is None:
            return card, None
        both = united(there, card)
    except UsageError as error:
        raise UsageError(f"{folder / CARD} cannot go: {error}.") from None
    sections = [*both.kept, *both.left_out]
    return both.text, f"What was changed on the hub stays so in its card: {', '.join(sections)}." if sections else None


def _cleaned(path: Path) -> str | None:
    """Return a JSON file without a path of this machine, None where it has none; raises `AfinaError` for one that is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise AfinaError(f"{path} is damaged ({type(error).__name__}); nothing was uploaded.") from None
    clean = _without_paths(value)
    base = clean.get("base_model_name_or_path") if isinstance(clean, dict) else None
    if base in BUILT_IN and (hub := BUILT_IN[base].hub) is not None and not BUILT_IN[base].is_gguf:
        clean["base_model_name_or_path"] = hub  # the same weights, under the name by which others have them
    return None if clean == value else json.dumps(clean, indent=2, ensure_ascii=False) + "\n"


def _without_paths(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_paths(own) for key, own in value.items()}
    if isinstance(value, list):
        return [_without_paths(own) for own in value]
    # A path of this machine: a word with one slash may be a model's name.
    if isinstance(value, str) and "\n" not in value and Path(value).is_absolute() and len(Path(value).parts) > 2:
        return Path(value).name
    return value


def _manifest(folder: Path, clean: Mapping[str, str], stays: list[str]) -> str:
    """Return an export's manifest with the digests of what goes, and without what stays."""
    value = json.loads(clean.get(MANIFEST) or (folder / MANIFEST).read_text(encoding="utf-8"))
    listed = {inside: entry for inside, entry in value.get("files", {}).items() if inside not in stays}
    # Digests of what goes, so that whoever downloads it can hold it against them.
    for inside, text in clean.items():
        if inside in listed:
            listed[inside] = {"bytes": len(text.encode()), "sha256": hashlib.sha256(text.encode()).hexdigest()}
    return json.dumps({**value, "files": listed}, indent=2, ensure_ascii=False) + "\n"
