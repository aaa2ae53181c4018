"""Show a conversation: a person's lines, the answers as they come, and the commands between."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from afina.cli.standard_input import input_lines
from afina.errors import AfinaError, printable
from afina.words.conversation import HELP
from afina.words.language import Words

if TYPE_CHECKING:
    from afina.generation.settings import GenerationSettings
    from afina.generation.writes import Writes

__all__ = ["Conversation", "Wrapped", "system_language"]

_NONE = "none"


def system_language() -> str:
    """Return the language that the system's locale names, `en` if it is none of ours."""
    locale = next((os.environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(name)), "")
    return "pt" if locale.lower().startswith("pt") else "en"


@contextmanager
def _asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Yield whether Ctrl-C was pressed, to look at between tokens; a second press raises `KeyboardInterrupt` at once.

    So an answer is left between tokens, with what was written of it whole.
    """
    # A signal may come in the middle of a pass; looked at between tokens, nothing is left half done.
    presses: list[int] = []

    def press(number: int, frame: object) -> None:
        presses.append(number)
        # The second press is of a person who does not want to wait for the pass to end.
        if len(presses) > 1:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, press)
    # Only while an answer is written: at the prompt Ctrl-C is readline's.
    try:
        yield lambda: bool(presses)
    finally:
        signal.signal(signal.SIGINT, before)


class Wrapped:
    """Text that is written as it comes, whole words at a time, broken between them at a terminal's width."""

    def __init__(self, out: TextIO, width: int, column: int = 0) -> None:
        self.out, self.width, self.column = out, width, column
        self._word = self._space = ""

    def write(self, text: str) -> None:
        # Signs that command a terminal are taken out first, as a model may write any.
        for letter in printable(text):
            if not letter.isspace():
                self._word += letter
                continue
            self._flush_word()
            if letter == "\n":
                self.out.write("\n")
                self.column, self._space = 0, ""
            else:
                self._space += letter
        self.out.flush()

    def end(self) -> None:
        """Write what is left, and a line's end."""
        self._flush_word()
        self.out.write("\n")
        self.out.flush()

    def _flush_word(self) -> None:
        from rich.cells import cell_len

        if not self._word:
            return

        # By cells and not by letters: wide characters take two.
        taken = cell_len(self._space) + cell_len(self._word)
        # A word that is wider than the line begins on one of its own, and is broken by the terminal.
        if self.column + taken > self.width:
            self.out.write(f"\n{self._word}" if self.column else self._word)
            self.column = cell_len(self._word)
        else:
            self.out.write(self._space + self._word)
            self.column += taken

        # A full line is not yet the next one; a word longer than a line has gone on by itself.
        self.column = (self.column - 1) % self.width + 1
        self._word = self._space = ""


class Conversation:
    """Reads lines and writes answers until there are no more lines."""

    def __init__(self, folders: Mapping[str, Path], *, language: str, terminal: bool) -> None:
        """Take adapters by name, that of the first answer first; without a terminal only answers are written."""
        from rich.console import Console

        self.words = Words(language)
        self.folders, self.terminal = folders, terminal
        self.name = next(iter(folders))
        self.loaded: dict[str, Any] = {}
        # Answers alone are standard output, so that they can be piped; all else stands beside them.
        self.notes = Console(stderr=not terminal, soft_wrap=not terminal, highlight=False)
        self.left_out = 0

    def open(self, settings: "GenerationSettings", **how: Any) -> None:
        """Begin the conversation with the first adapter, as `api.chat` is told `how`."""
        from afina import api

        with self.notes.status(self.words("Loading {name} …", name=self.name)):
            self.chat = api.chat(self.folders[self.name], settings, **how)
        self.loaded[self.name] = self.chat.adapter
        # An adapter that is loaded later stands on the same base in the same form.
        self.base = {key: value for key, value in how.items() if key in ("model", "precision")}
        if self.terminal:
            on = self.chat.adapter.runs_on
            self.note("{name} on {model}. /help lists the commands, Ctrl-D leaves.", name=self.name, model=on)
        self._say_notes(self.chat.adapter)

    def run(self) -> None:
        """Answer line by line."""
        for line in self._lines():
            # What is left of a line may be nothing, which asks nothing.
            text = line.strip()
            if text in ("/quit", "/exit"):
                return
            try:
                if text.startswith("/"):
                    self._command(text)
                elif text:
                    self._answer(text)
            except AfinaError as error:
                self.say(str(error))

    def note(self, phrase: str, **values: object) -> None:
        """Say something that is no answer."""
        self.say(self.words(phrase, **values))

    def _say_notes(self, adapter: "Writes") -> None:
        for note in adapter.notes:
            self.say(self.words.sentence(note))

    def say(self, text: str) -> None:
        self.notes.print(text, style="dim", markup=False)

    def _lines(self) -> Iterator[str]:
        if not self.terminal:
            yield from input_lines()
            return
        import readline  # noqa: F401  (gives input() its editing and its history)

        # Between these marks readline counts no columns.
        prompt = f"\n\001\033[1;36m\002{self.words('you')}>\001\033[0m\002 "
        while True:
            try:
                yield input(prompt)
            except KeyboardInterrupt:
                print()
            except EOFError:
                print()
                return

    def _answer(self, text: str) -> None:
        from afina.serve.session import TooLong

        try:
            # Closed in any case, as a generator that is broken off has rows in the batch.
            with closing(self.chat.ask(text)) as pieces:  # type: ignore[type-var]
                self._write(pieces)
        except TooLong as error:
            self.note(
                "That is too long: {tokens} tokens, and the model takes {most}. Shorten it.",
                tokens=error.tokens, most=error.most,
            )  # fmt: skip
            return
        if self.chat.last is not None and self.chat.last.finish == "length":
            self.note("(cut off at {count} tokens)", count=len(self.chat.last.tokens))
        if self.chat.left_out > self.left_out:
            self.note("(the context is full: {count} oldest messages are no longer read)", count=self.chat.left_out)
        self.left_out = self.chat.left_out
        if (answer := self.chat.answer) is not None:
            from afina.cli.rag_ask import show_answer

            show_answer(self.notes, self.notes, answer, self.words)

    def _write(self, pieces: Iterator[str]) -> None:
        label = f"{self._label()}> " if self.terminal else ""
        # Without a terminal there is no width to break at: lines are as the model wrote them.
        out = Wrapped(sys.stdout, self.notes.width if self.terminal else sys.maxsize, len(label))
        stopped = any_text = False
        try:
            with _asked_to_stop() as asked:
                for piece in pieces:
                    if not any_text and label:
                        sys.stdout.write(f"\033[1;32m{label}\033[0m")
                    any_text = True
                    out.write(piece)
                    if stopped := asked():
                        break
        except KeyboardInterrupt:
            stopped = True
        # A program that reads answers line by line gets one even where there is none.
        if any_text or not self.terminal:
            out.end()
        if stopped:
            self.note("(stopped; the conversation is kept)")
        elif not any_text:
            self.note("(no answer)")

    def _label(self) -> str:
        return self.words("model") if self.chat.answering is None else self.name

    def _command(self, text: str) -> None:
        name, _, value = text.partition(" ")
        value = value.strip()
        if name == "/help":
            for phrase in HELP:
                self.note(phrase)
        elif name == "/reset":
            self.chat.reset()
            self.left_out = 0
            self.note("A new conversation.")
        elif name == "/save":
            self._save(value)
        elif name == "/adapter":
            self._switch(value)
        else:
            self.note("There is no command {name}; /help lists them.", name=name)

    def _save(self, file: str) -> None:
        if not file:
            self.note("/save wants a file's name, as in /save talk.jsonl")
        elif not self.chat.messages:
            self.note("There is nothing to save yet.")
        else:
            try:
                self.chat.save(Path(file).expanduser())
            except OSError as error:
                raise AfinaError(f"{file}: {error.strerror or error}.") from None
            self.note("Saved to {file}.", file=file)

    def _switch(self, name: str) -> None:
        names = [*self.folders, _NONE]
        now = _NONE if self.chat.answering is None else self.name
        if not name:
            self.note("Adapters: {names}", names=", ".join(f"[{own}]" if own == now else own for own in names))
        elif name not in names:
            self.note("There is no adapter {name}; there are: {names}", name=name, names=", ".join(names))
        elif name == _NONE:
            self.chat.adapter.request("?", None)  # that there is a model without one
            self.chat.answering = None
            self.note("Now answering: {name}.", name=self.words("the model without an adapter"))
        else:
            if name not in self.loaded:
                with self.notes.status(self.words("Loading {name} …", name=name)):
                    self.loaded[name] = self._loaded(name)
            self.chat.let(self.loaded[name])
            self.name = name
            self.note("Now answering: {name}.", name=name)
            self._say_notes(self.loaded[name])

    def _loaded(self, name: str) -> "Writes":
        """Load an adapter beside the first one that has its base in memory, or open what was exported."""
        from afina.api.prediction import opened
        from afina.export.runtime import is_run
        from afina.generation.writes import writes_of
        from afina.predictor.load import load
        from afina.predictor.writer import Writer

        if is_run(self.folders[name]):
            return writes_of(opened(self.folders[name]))
        first = next((own for own in self.loaded.values() if isinstance(own, Writer)), None)
        return writes_of(load(self.folders[name], beside=first, **self.base))
