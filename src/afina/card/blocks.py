"""Write a card beside what a person wrote in it: parts between marks are Afina's, as long as nobody changed them.

Each generated part stands between two marks that no page shows, and a record at the end has the digest of what was written
into each, and of each key of the metadata. A part or key whose digest is another was changed by a person, and stays; one
that is gone was taken out by a person, and stays out; an emptied part is written anew. All that stands outside is a person's.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from afina.errors import UsageError

__all__ = ["CardContent", "MergedCard", "Parsed", "changed", "merge", "parse", "united"]

_BLOCK = re.compile(r"<!-- afina: (?P<name>[a-z]+) -->\n(?P<text>.*?)<!-- afina: end -->\n?", re.DOTALL)
_END = "<!-- afina: end -->"
_RECORD = re.compile(r"<!-- afina: record (?P<record>\{.*\}) -->\s*$", re.MULTILINE)
_METADATA = re.compile(r"\A\s*---[ \t]*\n(?P<yaml>.*?)(?:^|\n)---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class CardContent:
    """Holds what Afina has to say: metadata, and parts by name in the order in which they are read."""

    metadata: Mapping[str, Any]
    blocks: Mapping[str, str]
    language: str = "en"
    files: Sequence[str] = ()
    """Names of the files beside the card, by which they are told later from a person's."""


@dataclass(frozen=True)
class MergedCard:
    """A card's text, and what a person changed of it, which was kept: names of parts, and keys of the metadata."""

    text: str
    kept: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parsed:
    """A card as it was read: metadata, its pieces (a part's name, or None for a person's text), and what had been written."""

    metadata: Mapping[str, Any] = field(default_factory=dict)
    pieces: Sequence[tuple[str | None, str]] = ()
    digests: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    language: str | None = None
    files: Sequence[str] = ()

    @property
    def is_ours(self) -> bool:
        """Return whether Afina wrote it."""
        return bool(self.digests)

    @property
    def blocks(self) -> dict[str, str]:
        """Return each part's text."""
        return {name: text for name, text in self.pieces if name is not None}

    def own_text(self) -> str:
        """Return what a person wrote outside of the parts."""
        return "\n\n".join(text.strip() for name, text in self.pieces if name is None and text.strip())


def parse(text: str) -> Parsed:
    """Read a card; raises `UsageError` for metadata that is no YAML mapping."""
    # A card may have been edited on any system; digests are of one form of it.
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    metadata: Any = {}
    if (match := _METADATA.match(text)) is not None:
        try:
            metadata = yaml.safe_load(match["yaml"]) or {}
        except (yaml.YAMLError, RecursionError) as error:
            raise UsageError(f"its metadata is no YAML ({' '.join(str(error).split())[:120]})") from None
        if not isinstance(metadata, dict):
            raise UsageError("its metadata is no mapping of keys to values")
        # The text begins behind the metadata, whose place is always at the top.
        text = text[match.end() :]
    record, text = _record(text)
    language, files = record.get("lang"), record.get("files")
    return Parsed(
        metadata, _pieces(text), {key: record.get(key, {}) for key in ("blocks", "metadata") if record},
        language if isinstance(language, str) else None, list(map(str, files)) if isinstance(files, list) else (),
    )  # fmt: skip


def _record(text: str) -> tuple[dict[str, Any], str]:
    """Return the record at the end of a card, empty where there is none, and the text without it."""
    match = _RECORD.search(text)
    if match is None:
        return {}, text
    try:
        record = json.loads(match["record"])
    except (ValueError, RecursionError):
        record = None
    rest = text[: match.start()] + text[match.end() :]
    # A record that a person has damaged counts as none: everything above it is then theirs, and stays.
    whole = isinstance(record, dict) and all(isinstance(record.get(key), dict) for key in ("blocks", "metadata"))
    return (record if whole else {}), rest


def _pieces(text: str) -> list[tuple[str | None, str]]:
    pieces: list[tuple[str | None, str]] = []
    at = 0
    for match in _BLOCK.finditer(text):
        if text[at : match.start()].strip():
            pieces.append((None, text[at : match.start()].strip("\n")))
        name = match["name"]

        # A part that stands there twice was copied by a person.
        again = any(name == other for other, _ in pieces)
        pieces.append((None, match[0].strip("\n")) if again else (name, match["text"].strip("\n")))
        at = match.end()
    if text[at:].strip():
        pieces.append((None, text[at:].strip("\n")))
    return pieces


def merge(old: str | None, new: CardContent) -> MergedCard:
    """Return the card with what Afina has to say now, and all that a person wrote into the `old` one.

    Raises `UsageError` for an old one whose metadata cannot be read.
    """
    before = parse(old or "")
    known = before.digests.get("blocks", {})
    pieces: list[tuple[str | None, str]] = []
    merged: list[str] = []
    digests: dict[str, str] = {}
    for name, text in before.pieces:
        # A person's own text, which stays where it stands.
        if name is None or name in digests:
            pieces.append((None, text))
        # Not what was written last time: a person changed it, and it stays as they left it.
        elif text.strip() and _digest(text) != known.get(name):
            pieces.append((name, text))
            merged.append(name)
            digests[name] = known.get(name, "")
        elif name in new.blocks:
            pieces.append((name, new.blocks[name]))
            digests[name] = _digest(new.blocks[name])

    # A part that was written once and is gone was taken out by a person, and stays out.
    left_out = [name for name in new.blocks if name in known and name not in before.blocks]
    digests |= {name: known[name] for name in left_out}
    for name, text in new.blocks.items():
        if name not in digests:
            pieces.insert(_place(name, list(new.blocks), pieces), (name, text))
            digests[name] = _digest(text)
    metadata, keys, changed, gone = _merged_metadata(before, new.metadata)
    record = {"lang": new.language, "metadata": keys, "blocks": digests}
    if new.files:
        record["files"] = sorted(new.files)
    text = "\n\n".join(body if name is None else _between(name, body) for name, body in pieces)
    yaml_text = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True, width=120)
    ending = f"<!-- afina: record {json.dumps(record, sort_keys=True)} -->\n"
    return MergedCard(f"---\n{yaml_text}---\n\n{text}\n\n{ending}", (*merged, *changed), (*left_out, *gone))


def united(there: str, here: str) -> MergedCard:
    """Return the card `here` with what a person wrote into another copy of it, which is `there`; raises as `merge` does."""
    parsed = parse(here)
    made = merge(there, CardContent(parsed.metadata, parsed.blocks, parsed.language or "en", parsed.files))
    text, before = made.text, None
    for name, piece in parsed.pieces:
        if name is None and piece.strip() not in text:
            # Behind the part that it stands behind here, at the beginning where it stands before all of them.
            mark = text.find(f"<!-- afina: {before} -->" if before else "<!-- afina: ")
            place = text.find(_END, mark) + len(_END) if before else mark
            text = "\n\n".join(filter(None, (text[:place].rstrip("\n"), piece, text[place:].lstrip("\n"))))
        before = name or before
    return replace(made, text=text)


def changed(card: str, name: str, change: Callable[[str, str], str]) -> str:
    """Return a card with one of its parts changed, given its text and the card's language, if it is as Afina wrote it."""
    parsed = parse(card)
    body, known = parsed.blocks.get(name), parsed.digests.get("blocks", {}).get(name)
    # A part that a person changed is theirs.
    if body is None or _digest(body) != known:
        return card
    new = change(body, parsed.language or "en")
    # Text and digest are changed together, or the next run would take this for a person's doing.
    return card.replace(body, new, 1).replace(f'"{name}": "{known}"', f'"{name}": "{_digest(new)}"', 1)


def _between(name: str, text: str) -> str:
    return f"<!-- afina: {name} -->\n{text.strip(chr(10))}\n<!-- afina: end -->"


def _place(name: str, order: list[str], pieces: Sequence[tuple[str | None, str]]) -> int:
    """Return where a new part goes: behind those that come before it, or else before the first part there is."""
    # The order of the parts is known, and which of them are there is not.
    before = order[: order.index(name)]
    places = [place for place, (other, _) in enumerate(pieces) if other in before]
    parts = [place for place, (other, _) in enumerate(pieces) if other is not None]
    return max(places) + 1 if places else min(parts, default=len(pieces))


def _merged_metadata(
    before: Parsed, new: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str], list[str], list[str]]:
    """Return the metadata, the digests of what is Afina's in it, the keys that a person changed, and those taken out."""
    known = before.digests.get("metadata", {})
    digests: dict[str, str] = {}
    result: dict[str, Any] = {}
    changed: list[str] = []
    for key, value in before.metadata.items():
        # As it was written: a key that is no longer known is taken out, any other gets its new value.
        if key in known and _value_digest(value) == known[key]:
            if key in new:
                result[key] = new[key]
                digests[key] = _value_digest(new[key])
        # Another value: a person's, and it stays, with the digest of what was theirs to change.
        else:
            result[key] = value
            if key in known:
                digests[key] = known[key]
            if key in new and new[key] != value:
                changed.append(key)
    # Written once and no longer there: a person took it out.
    gone = [key for key in new if key in known and key not in before.metadata]
    for key, value in new.items():
        if key not in before.metadata and key not in gone:
            result[key] = value
            digests[key] = _value_digest(value)
    return result, digests | {key: known[key] for key in gone}, changed, gone


def _digest(text: str) -> str:
    lines = [line.rstrip() for line in text.strip().splitlines()]
    # Twelve letters: it tells changes by hand, not forgeries. Spaces at lines' ends are no change, as editors remove
    # them.
    return hashlib.sha256("\n".join(lines).encode("utf-8", "replace")).hexdigest()[:12]


def _value_digest(value: Any) -> str:
    return _digest(json.dumps(value, sort_keys=True, ensure_ascii=False, default=str))
