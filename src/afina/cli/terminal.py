"""Write what goes beside a command's answer: progress, notes and where files are; nothing of it where quiet is asked for."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afina.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from afina.words.language import Words

__all__ = [
    "console_for", "is_quiet", "note", "print_json", "quietly", "show_file", "stages_bar", "steps_bar", "working",
]  # fmt: skip

_QUIET = ContextVar("quiet", default=False)


@contextmanager
def quietly(wanted: bool) -> Iterator[None]:
    """Write nothing but answers and errors within, if that is wanted."""
    # A variable of the context and no global: commands may run beside each other in one process.
    before = _QUIET.set(wanted)
    try:
        yield
    finally:
        _QUIET.reset(before)


def is_quiet() -> bool:
    """Return whether the command at work was given --quiet."""
    return _QUIET.get()


def console_for(format: str, *, forms: tuple[str, ...] = ("table", "json")) -> "Console":
    """Return where a command writes what is no answer: standard error, where the answer is to be read by a program.

    Raises `UsageError` for a format that is none of the `forms`.
    """
    from rich.console import Console

    if format not in forms:
        raise UsageError(f"--format is {' or '.join(forms)}, not '{format}'.")
    return Console(stderr=format != "table")


def print_json(values: Mapping[str, Any]) -> None:
    """Print an answer for a program to read."""
    print(json.dumps(values, ensure_ascii=False, indent=2, default=str))


def note(console: "Console", text: str, style: str = "yellow") -> None:
    """Print a sentence that has to be known beside the answer, unless quiet is asked for."""
    if not is_quiet():
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def show_file(console: "Console", path: Path, remark: str = "") -> None:
    """Print where something was written; what has a remark is no main result and is dim."""
    shown = f"{path} ({remark})" if remark else str(path)
    console.print(shown, style="dim" if remark else "bold", markup=False, soft_wrap=True, highlight=False)


@contextmanager
def working(console: "Console", what: str, words: "Words") -> Iterator[Callable[[str], None]]:
    """Show at a terminal what is being done; yields what is told of each next thing, in English."""
    if is_quiet():
        yield lambda status: None
        return
    with console.status(what) as status:
        yield lambda text: status.update(words.note(text))


@contextmanager
def steps_bar(console: "Console", what: str, *, shown: bool = True) -> Iterator[Callable[[int, int | None], None]]:
    """Show at a terminal how much is done; yields what is told so, and of how much."""
    from rich.progress import Progress

    hidden = not shown or is_quiet() or not console.is_terminal
    with Progress(console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def stages_bar(console: "Console", words: "Words") -> Iterator[Callable[[str, int, int | None], None]]:
    """Show at a terminal what is being done of several things in turn; yields what is told of it, in English, and how far."""
    from rich.progress import Progress

    with Progress(console=console, transient=True, disable=is_quiet() or not console.is_terminal) as bar:
        task = bar.add_task(words("starting"), total=None)
        yield lambda what, done, total: bar.update(task, description=words.note(what), completed=done, total=total)
