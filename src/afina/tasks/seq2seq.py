"""Sequence to sequence: an encoder-decoder reads one text and writes another, as in translation and summarisation."""

from collections import Counter
from typing import Any, Self

import pyarrow as arrow

from afina.data.rows import Rows, TextDataset
from afina.data.tokens.sequences import source_and_target
from afina.data.tokens.tokens import WrittenTokens
from afina.data.written import pairs
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.tasks.base import task
from afina.tasks.state import State
from afina.tasks.writing import WritingTask

__all__ = ["Seq2Seq"]


class _Read(State):
    prompt: str | None


@task("seq2seq")
class Seq2Seq(WritingTask):
    """The target's tokens, its end among them, after the source."""

    pipeline_tag = "text2text-generation"
    does = "It reads a text and writes another."
    reads_apart = True
    lines = "none"
    reads = ("prompt",)
    unfolds = True
    State = _Read

    def __init__(self, prompt: str | None = None) -> None:
        """Take what the model reads, with the source as {text} in it (`summarize: {text}`)."""
        self.prompt = prompt or "{text}"
        if "{text}" not in self.prompt:
            raise UsageError(f"prompt: {prompt!r} should hold {{text}}.")

    @classmethod
    def rows_of(cls, table: arrow.Table, spec: DatasetSpec, place: str, seen: Counter[str] | None = None) -> Rows:
        return pairs(table, spec, place, seen)

    @classmethod
    def made_for(cls, data: TextDataset, settings: Any, spec: DatasetSpec, tokenizer: Any) -> Self:
        return cls(spec.prompt)

    def tokens(self, tokenizer: Any, rows: Rows, max_length: int) -> WrittenTokens:
        assert rows.text_pair is not None, "rows of this task have a source and a target"
        # `replace`, as a source may hold braces that `format` would trip over.
        sources = [self.prompt.replace("{text}", text) for text in rows.text]
        return source_and_target(tokenizer, sources, rows.text_pair, max_length)

    def own_state(self) -> dict[str, Any]:
        return {"prompt": self.prompt}
