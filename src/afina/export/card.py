"""Write the card of an export: that of its adapter, with how it is loaded here and how near it is to what was tested."""

import json
import os
import re
import shutil
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from afina.card.blocks import Parsed, parse
from afina.card.form import Form
from afina.card.known import known_of
from afina.card.write import CARD, WrittenCard, audited_in, generated, read_card, write_card
from afina.errors import UsageError
from afina.export.manifest import MANIFEST
from afina.export.target import ExportTarget
from afina.predictor.predictor import Predictor
from afina.words.language import Words

__all__ = ["ExportFigures", "write_export_card"]


@dataclass(frozen=True)
class ExportFigures:
    """Holds what an export says of itself: how near it is to its adapter, on so many rows, and what else, in sentences."""

    compared: Sequence[tuple[str, str]]
    rows: int
    sentences: Sequence[str] = ()


def write_export_card(
    folder: Path, adapter: Predictor, target: ExportTarget, remarks: ExportFigures, words: Words, *, before: Path,
    ways: Mapping[str, str] | None = None,
) -> WrittenCard:  # fmt: skip
    """Write the card of an export into its folder, which stands nowhere yet.

    A person's words are those in the card of the export that it takes the place of (`before`), else in the adapter's own.
    It is loaded in the target's own `ways` unless others are given.
    """
    earlier = [place for place in (before, adapter.folder) if (place / CARD).is_file()]
    texts: list[str] = []
    cards: list[Parsed] = []
    problem: str | None = None
    try:
        texts = [text for place in earlier if (text := read_card(place)) is not None]
        cards = [parse(text) for text in texts]
    except UsageError as error:
        problem = f"{earlier[0] / CARD} was not taken over: {error}."
        texts, cards = [], []
    form = Form(
        target=target.name, library=target.library, has_base=target.has_base,
        ways=target.ways_of(adapter) if ways is None else ways,
        compared=remarks.compared, rows=remarks.rows, said=[*remarks.sentences, _held(folder, words)],
    )  # fmt: skip
    # The last of them is the adapter's own, which knows of its run where the export's has been overwritten.
    carried = cards[-1] if cards else None
    known = replace(known_of(adapter.folder, adapter.record), audit=audited_in(carried) if carried else "")
    made = replace(generated(known, form, words.language, carried=carried), files=_files(folder))
    keep_strangers(before, folder)
    written = write_card(folder, made, old=texts[0] if texts else "")
    return WrittenCard(before / CARD, problem or written.note)


def keep_strangers(before: Path, folder: Path) -> None:
    """Bring what a person put into an export, which another is to take the place of, over into that one.

    What the earlier one had itself written, its card says; a card of before that was kept, by the names that exports have.
    """
    if not before.is_dir():
        return
    card = read_card(before)
    written = set(parse(card).files) if card is not None else set()
    for path in sorted(before.rglob("*")):
        name = path.relative_to(before).as_posix()
        ours = name in written if written else bool(_EXPORTED.fullmatch(name))
        place = folder / name
        if ours or name == CARD or os.path.lexists(place) or (path.is_dir() and not path.is_symlink()):
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, place, follow_symlinks=False)


_EXPORTED = re.compile(
    r".*\.(?:safetensors|onnx|onnx_data|data|gguf|xml|bin|pte|npz|jinja|model|tiktoken)|Modelfile|(?:vocab|merges)\.txt"
    r"|(?:.*_)?(?:config|map|tokens|tokenizer|vocab|index|export|afina|template)(?:\.json)|(?:predict|generate)\.py"
)


def _files(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def _held(folder: Path, words: Words) -> str:
    """Say how large a folder is and of which kinds of number its weights are, as far as its files tell."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    kinds = sorted({kind for path in folder.rglob("*.safetensors") for kind in _kinds(path)})
    if (folder / MANIFEST).is_file():
        kinds.append(str(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["precision"]))
    if not kinds:
        return words("In this folder: {size} MB.", size=words.compact(size))
    return words("In this folder: {size} MB, weights in {kinds}.", size=words.compact(size), kinds=", ".join(kinds))


def _kinds(path: Path) -> set[str]:
    """Return the kinds of number in a safetensors file, by its header: its length, and a JSON object."""
    # By the header alone, as weights may be larger than memory.
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return {entry["dtype"].lower() for name, entry in header.items() if name != "__metadata__"}
