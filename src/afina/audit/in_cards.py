"""Write what an audit found into the cards of the adapters that it looked at: its verdict, and no row."""

from collections.abc import Sequence
from pathlib import Path

from afina.audit.findings import Leak
from afina.card.write import WrittenCard, language_of_card, write_own_card
from afina.words.language import Words

__all__ = ["write_into_cards"]


def write_into_cards(leaks: Sequence[Leak]) -> list[WrittenCard]:
    """Write each finding into its adapter's card, in that card's language, and return the cards."""
    written = []
    for leak in leaks:
        folder = Path(leak.adapter)
        # A card stays in the language that its reader has had it in.
        language = language_of_card(folder)
        written.append(write_own_card(folder, language=language, audit=_part(leak, Words(language))))
    return written


def _part(leak: Leak, words: Words) -> str:
    member = leak.membership
    begin = words(
        "`afina audit leak` looked at {rows} rows that it was trained on and at {others} that it was not:",
        rows=words.number(member.train_rows), others=words.number(member.held_out_rows),
    )  # fmt: skip
    sentences = "\n".join(f"- {sentence}" for sentence in leak.told(words))
    return f"## {words('What it gives away')}\n\n{begin}\n\n{sentences}"
