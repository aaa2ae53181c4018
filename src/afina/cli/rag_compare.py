"""`afina rag compare`: set ways of answering from documents beside one another, on the same questions."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from afina.cli.command import PANELS, command
from afina.cli.options import Format, Language
from afina.cli.terminal import console_for, print_json, show_file, stages_bar

if TYPE_CHECKING:
    from rich.console import Console

    from afina.words.language import Words

__all__ = ["rag_compare"]


@command("rag compare", panel=PANELS[2])
def rag_compare(
    file: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="What to compare; docs/rag.md says its keys.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The comparison's folder; by default named after the file."),
    ] = None,
    language: Language = "en",
    format: Format = "table",
) -> None:
    """Compare retrieving, tuning and both on your documents: which way is worth it, and when the data cannot decide.

    Example: `afina rag compare manual.yaml --out results/manual`

    The same questions are answered from memory, with retrieval and with the right passage, by the base, by a model tuned on
    questions and answers, and by one tuned for reading. The same command goes on where it stopped.
    """
    from afina import api
    from afina.words.language import Words

    console, words = console_for(format), Words(language)
    shown = _Shown(console, words, language, as_table=format == "table")
    try:
        made = api.rag.compare(file, out, language=language, observer=shown.observe, tell=shown.tell)
    finally:
        shown.close()
    if format == "json":
        print_json(made.ways.as_dict())
        return
    from afina.report.ways import terminal_ways

    console.print(terminal_ways(made.directory, language=language))
    show_file(console, made.report.html)
    show_file(console, made.report.html.parent / "tables", "Markdown, CSV, LaTeX")


class _Shown:
    """Shows by turns the bars of the studies and what is done between them: a terminal has one of them at a time."""

    def __init__(self, console: "Console", words: "Words", language: str, *, as_table: bool) -> None:
        from afina.cli.progress import shown_progress

        self.console, self.words = console, words
        self.progress = shown_progress(language) if as_table else lambda event: None
        self.stack: ExitStack | None = None
        self.bar: Any = None

    def tell(self, what: str, done: int, total: int | None) -> None:
        """Show what is being done, and how far."""
        if self.stack is None:
            self.stack = ExitStack()
            self.bar = self.stack.enter_context(stages_bar(self.console, self.words))
        self.bar(what, done, total)

    def observe(self, event: Any) -> None:
        """Show what happens in a study."""
        self.close()
        self.progress(event)

    def close(self) -> None:
        """Take the bar away."""
        if self.stack is not None:
            self.stack.close()
            self.stack = None
