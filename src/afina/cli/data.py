"""`afina data`: dialogues and texts before anything is trained on them, and what these commands share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from afina.cli.command import PANELS, command
from afina.cli.terminal import working

if TYPE_CHECKING:
    from rich.console import Console

    from afina.words.language import Words

__all__ = ["columns_of", "counting", "data", "speakers_of"]


@command("data", panel=PANELS[3])
def data() -> None:
    """Look at dialogues and texts, clean, convert and generate them."""


def speakers_of(user: list[str] | None, assistant: list[str] | None, separator: str | None) -> Any:
    """Return who is who in a transcript, as a person named them."""
    from afina.data.dialogues.speakers import Speakers

    return Speakers(tuple(user or ()), tuple(assistant or ()), separator)


def columns_of(question: str | None, answer: str | None, text: str | None, label: str | None = None) -> Any:
    """Return which columns mean what, as a person named them."""
    from afina.data.dialogues.conversations import Columns
    from afina.errors import UsageError

    # One of the two columns alone would be guessed into a pair by its name.
    if (question is None) != (answer is None):
        raise UsageError("--question and --answer go together.")
    return Columns(question=question, answer=answer, text=text, label=label)


@contextmanager
def counting(console: "Console", what: str, words: "Words") -> Iterator[Callable[[int], None]]:
    """Show at a terminal how many rows were read; yields what is told so."""
    with working(console, what, words) as tell:
        yield lambda rows: tell(f"{what}: {words.counted(rows, '{count} row', '{count} rows')}")
