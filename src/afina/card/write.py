"""Write the README.md of an adapter or an export, around whatever a person wrote into it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from afina.adapters.record import AdapterRecord, read_record
from afina.card.blocks import CardContent, MergedCard, Parsed, merge, parse
from afina.card.form import Form, own_form
from afina.card.known import Known, known_of
from afina.card.metadata import metadata
from afina.card.sections import SECTIONS
from afina.errors import AfinaError, UsageError
from afina.results.material import Material
from afina.results.result import Result
from afina.whole_file import write_text
from afina.words.language import Words

__all__ = [
    "CARD",
    "WrittenCard",
    "audited_in",
    "generated",
    "language_of_card",
    "read_card",
    "write_card",
    "write_card_of",
    "write_cards",
    "write_own_card",
]

CARD = "README.md"


@dataclass(frozen=True)
class WrittenCard:
    """A card that was written, and what of a person's was kept in it."""

    path: Path
    note: str | None = None


def read_card(folder: Path) -> str | None:
    """Return a folder's card, None where it has none; raises `UsageError` for one that is no UTF-8 text."""
    try:
        # An editor may have put a mark of byte order before it, or Windows' ends of lines.
        return (folder / CARD).read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError:
        raise UsageError("it is not UTF-8 text") from None


def language_of_card(folder: Path) -> str:
    """Return the language in which a folder's card was written; English where there is none."""
    try:
        return parse(read_card(folder) or "").language or "en"
    except UsageError:
        return "en"


def generated(known: Known, form: Form, language: str, *, carried: Parsed | None = None) -> CardContent:
    """Return what Afina has to say; parts of which nothing is known any more are as an earlier card (`carried`) has them."""
    words = Words(language)
    blocks = {name: _private(text, known) for name, make in SECTIONS.items() if (text := make(known, form, words))}
    data = metadata(known, form)
    # An adapter that was moved out of its study: what the earlier card knew of the run is better than nothing.
    if known.run is None and carried is not None and carried.is_ours:
        earlier = {name: text for name, text in carried.blocks.items() if name not in _OF_THE_FORM}
        texts = {name: earlier.get(name) or blocks.get(name, "") for name in SECTIONS}
        blocks = {name: text for name, text in texts.items() if text}
        data = {**data, **{key: carried.metadata[key] for key in _OF_THE_RUN if key in carried.metadata}}
    return CardContent(data, blocks, language)


_OF_THE_FORM = ("notice", "title", "use", "export", "base")
"""Parts that say what stands in a folder, not what the adapter in it is."""
_OF_THE_RUN = ("datasets", "language", "metrics", "model-index")


def _private(text: str, known: Known) -> str:
    """Return a text with no path of the machine that it was made on: of a file or folder its name alone."""
    source = (known.record.facts.get("source") or {}).get("path")
    # A card goes to others: folders of this machine are nobody's business.
    for path in filter(None, (known.record.model, str(source or ""), known.run.model if known.run else "")):
        # Only whole paths: a name that has no folder before it is the hub's.
        if Path(path).is_absolute():
            text = text.replace(path, Path(path).name)
    return text.replace(f"{Path.home()}/", "~/")


def write_card(folder: Path, made: CardContent, *, old: str | None = None) -> WrittenCard:
    """Write a folder's card around what a person wrote into the `old` one, by default that which is there.

    One that cannot be read is left as it is, which the note says.
    """
    path = folder / CARD
    try:
        merged = merge(read_card(folder) if old is None else old, made)
    except UsageError as error:
        return WrittenCard(path, f"{path} was left as it is: {error}.")
    # The same text is not written again, so that a folder's times change only with its content.
    if merged.text != read_card(folder):
        write_text(path, merged.text)
    return WrittenCard(path, _kept(path, merged))


def _kept(path: Path, merged: MergedCard) -> str | None:
    parts = []
    if merged.kept:
        parts.append(f"what you changed of {', '.join(merged.kept)} was kept as you left it")
    if merged.left_out:
        parts.append(f"what you took out stays out ({', '.join(merged.left_out)})")
    return f"{path}: {'; '.join(parts)}." if parts else None


def write_own_card(
    folder: Path, *, language: str, material: Material | None = None, result: Result | None = None, audit: str = ""
) -> WrittenCard:
    """Write the card of an adapter; with a `result` its run has just ended, and its study's others are not there yet.

    What an audit found is `audit`, by default what the card that is there says of it: of weights that have not just been
    trained.
    """
    known = known_of(folder, read_record(folder, check_method=False), material=material, result=result)
    # Weights that were just trained have no earlier card: what lies there is of a run before.
    earlier = None if result is not None else _earlier(folder)
    if earlier is not None:
        audit = audit or audited_in(earlier)
    known = replace(known, audit=audit)
    return write_card(folder, generated(known, own_form(known), language, carried=earlier))


def write_card_of(folder: Path, record: AdapterRecord, *, language: str) -> WrittenCard:
    """Write the card of an adapter with this record, whoever made it and wherever it lies.

    Raises `UsageError` for an export, whose card says how near it is to its adapter.
    """
    earlier = _earlier(folder)
    # By the part that only an export's card has.
    if earlier is not None and "export" in earlier.digests.get("blocks", {}):
        raise UsageError(f"{folder} is an export, whose card `afina export --force` writes anew with it.")
    known = known_of(folder, record)
    known = replace(known, audit=audited_in(earlier) if earlier is not None else "")
    return write_card(folder, generated(known, own_form(known), language, carried=earlier))


def _earlier(folder: Path) -> Parsed | None:
    """Return a folder's card, None where none is there that can be read."""
    try:
        text = read_card(folder)
        return None if text is None else parse(text)
    except UsageError:
        return None


def audited_in(card: Parsed) -> str:
    """Return what a card says of an audit; nothing for a card of another's."""
    return card.blocks.get("audit", "") if card.is_ours else ""


def write_cards(material: Material, language: str) -> Sequence[str]:
    """Write the cards of all adapters of a study, and return what there is to say of them."""
    notes = []
    for result in material.results:
        folder = material.directory / str(result.adapter)
        if result.is_finished and result.adapter is not None and (folder / "afina.json").is_file():
            try:
                written = write_own_card(folder, language=language, material=material)
            except AfinaError as error:  # a damaged record: the table says what the run was worth all the same
                notes.append(f"{folder} got no card: {error}")
                continue
            if written.note is not None:
                notes.append(written.note)
    return notes
