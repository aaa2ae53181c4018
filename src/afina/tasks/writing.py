"""Share what tasks that teach a model to write have: -log p(token | those before it), summed over what is to be written."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as arrow

from afina.data.columns import joined
from afina.data.files.text_files import tables_of_lines
from afina.data.rows import Rows, TextDataset
from afina.data.sources.presets import Preset
from afina.data.tokens.tokens import Tokens, WrittenTokens
from afina.data.written import read_written
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.tasks.base import TASKS
from afina.tasks.predictions import Decoded
from afina.tasks.source import Source
from afina.tasks.speaking import SpeakingTask

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["WritingTask", "writer_named"]

_LOSS = 0


class WritingTask(SpeakingTask):
    """Text to write, each token scored; its "logits" are (B, 3), what `backbone/language_head.py` says of each row's targets.

    A row's label is how many tokens it has to say, its prediction their summed loss in nats.
    """

    answers = "tokens"
    metric = "perplexity"
    writes = True
    embedded = False
    predictor = "writer"
    taught_by = frozenset({"answers", "states"})
    unfolds: ClassVar[bool] = False
    """True where questions that stand in a text's own form are rows of it (data/question_forms.py)."""
    few_rows: ClassVar[str] = ""
    """Advice where there are too few rows, behind the sentence that says so."""
    outputs = 0

    @classmethod
    def rows_of(cls, table: arrow.Table, spec: DatasetSpec, place: str, seen: Counter[str] | None = None) -> Rows:
        """Return the rows of a table, called `place` in errors; what is noticed is counted in `seen`."""
        raise NotImplementedError

    @classmethod
    def read(cls, source: Source) -> TextDataset:
        parts, notes = source.parts, list(source.parts.notes)
        parts = replace(parts, tables=tables_of_lines(parts.tables, cls.lines, parts.where, notes))
        if parts.spec.joined:
            # Parts of a conversation in columns of their own are one text from here on.
            tables, spec = joined(parts.tables, parts.spec, parts.where, notes)
            parts = replace(parts, tables=tables, spec=spec)
        return read_written(
            parts.tables, parts.place, parts.spec, cls, parts.where, notes, source.train_limit, source.test_limit
        )

    @classmethod
    def published_outputs(cls, preset: Preset) -> int:
        return 0

    def tokenize(self, tokenizer: Any, rows: Rows, max_length: int, *, apart: bool = False) -> Tokens:
        """Return rows as tokens with their targets; raises `UsageError` where the model reads and writes otherwise."""
        # Which task fits which kind of model is said both ways, with the key that would do.
        if apart and not self.reads_apart:
            raise UsageError(
                f"An encoder-decoder reads one text and writes another: set task: seq2seq, not {self.name}."
            )
        if self.reads_apart and not apart:
            raise UsageError(
                f"task: {self.name} is for encoder-decoders; with a decoder set task: chat and template: plain."
            )
        tokens = self.tokens(tokenizer, rows, max_length)
        if not len(tokens):
            raise UsageError(f"No row has a token to train on within {max_length} tokens; raise max_length.")
        return tokens

    def tokens(self, tokenizer: Any, rows: Rows, max_length: int) -> WrittenTokens:
        """Return the rows that have a target; there may be none."""
        raise NotImplementedError

    def loss(self, logits: "Tensor", labels: "Tensor", weights: Mapping[str, float] | None = None) -> "Tensor":
        return logits[:, _LOSS].sum()

    def decode(self, logits: np.ndarray) -> Decoded:
        # In float64: the losses of a long text are added to those of many others.
        return Decoded(logits[:, _LOSS].astype(np.float64), logits)

    def compared(self, outputs: "Tensor") -> "Tensor":
        return outputs[:, :1]

    def compared_outside(self, outputs: "Tensor", rows: int) -> "Tensor":
        """Return the summed loss of each text's tokens (N, 1)."""
        # An exported graph gives the sum of log-probabilities, of which the loss is the negative.
        return -outputs[:, 1:2]

    def decode_compared(self, tokens: Tokens, values: np.ndarray) -> Decoded:
        return Decoded(values[:, 0], values)

    def same(self, first: "Tensor", second: "Tensor") -> None:
        return None


def writer_named(name: str) -> type[WritingTask]:
    """Return a task that writes by its name; raises `UsageError` for another."""
    cls = TASKS.named(name)
    if not issubclass(cls, WritingTask):
        raise UsageError(f"task: {name} teaches a model to label, not to write.")
    return cls
