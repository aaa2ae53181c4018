"""Learn every token of a text, after those before it (causal language modelling)."""

from collections import Counter
from typing import Any, Self

import pyarrow as arrow

from afina.data.rows import Rows, TextDataset
from afina.data.tokens.sequences import whole_texts
from afina.data.tokens.tokens import WrittenTokens
from afina.data.written import whole_rows
from afina.dataset_spec import DatasetSpec
from afina.tasks.base import task
from afina.tasks.writing import WritingTask

__all__ = ["Language"]


@task("language")
class Language(WritingTask):
    """Learns every token of a text."""

    pipeline_tag = "text-generation"
    does = "It goes on with a text."
    lines = "texts"

    @classmethod
    def rows_of(cls, table: arrow.Table, spec: DatasetSpec, place: str, seen: Counter[str] | None = None) -> Rows:
        return whole_rows(table, spec, place, seen)

    @classmethod
    def made_for(cls, data: TextDataset, settings: Any, spec: DatasetSpec, tokenizer: Any) -> Self:
        return cls()

    def tokens(self, tokenizer: Any, rows: Rows, max_length: int) -> WrittenTokens:
        return whole_texts(tokenizer, rows.text, max_length)
