"""Sequence to sequence: an encoder-decoder reads one text and writes another, as in translation and summarisation."""

from typing import Any

from afina.data.batching import Tokens
from afina.data.rows import Rows
from afina.data.sequences import source_and_target
from afina.errors import UsageError
from afina.tasks.language import Language

__all__ = ["Seq2Seq"]


class Seq2Seq(Language):
    """The target's tokens, its end among them, after the source."""

    name = "seq2seq"
    reads_apart = True

    def __init__(self, prompt: str | None = None) -> None:
        """`prompt` is what the model reads, with the source as {text} in it (`summarize: {text}`)."""
        self.prompt = prompt or "{text}"
        if "{text}" not in self.prompt:
            raise UsageError(f"prompt: {prompt!r} should hold {{text}}.")

    def tokens(self, tokenizer: Any, rows: Rows, max_length: int) -> Tokens:
        assert rows.text_pair is not None, "rows of this task have a source and a target"
        sources = [self.prompt.replace("{text}", text) for text in rows.text]
        return source_and_target(tokenizer, sources, rows.text_pair, max_length)

    def own_state(self) -> dict[str, Any]:
        return {"name": self.name, "prompt": self.prompt}
