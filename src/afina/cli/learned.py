"""Show at the terminal what is about to be learned: texts with their trained tokens coloured, and the counts."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from afina.data.tokens.preview import Learned
    from afina.words.language import Words

__all__ = ["show_learned"]

_LONGEST = 600
"""Characters of an example that are shown."""


def show_learned(console: "Console", learned: "Learned", title: str, words: "Words") -> None:
    """Print a few rows, what is trained in green and bold (in brackets where there is no colour), and what they add up to."""
    from rich.panel import Panel
    from rich.text import Text

    # In a file or a pipe brackets say what colour says at a terminal.
    plain = console.color_system is None
    for number, row in enumerate(learned.examples, start=1):
        text = Text()
        for piece, trained in row:
            text.append(f"[{piece}]" if plain and trained else piece, style="bold green" if trained else "dim")
        if len(text) > _LONGEST:
            text = text[:_LONGEST].append(" …", style="dim")
        head = words("{title}: row {number}, trained in green", title=title, number=number)
        console.print(Panel(text, title=Text(head), title_align="left"))
    for sentence in learned.sentences():
        console.print(Text(f"  {words.note(sentence)}"), soft_wrap=True)
