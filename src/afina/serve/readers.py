"""Say how texts are read, and what is asked of them: an adapter's head, or vectors of its states or the bare model's."""

from collections.abc import Hashable, Sequence
from typing import Any

from afina.backbone.load import Backbone
from afina.data.tokens.tokenize import tokenize
from afina.data.tokens.tokens import Tokens
from afina.errors import UsageError
from afina.predictor.predictor import Predictor, rows_of
from afina.serve.passes import Reader

__all__ = ["TextTooLong", "reads_labels", "reads_states"]

_FURTHER = 4
"""Times as many tokens as are read up to which it is counted how many a text has."""


class TextTooLong(UsageError):
    """Refuses a text that is longer than is read, where it is not to be cut."""

    def __init__(self, tokens: Tokens, most: int) -> None:
        more = "more than " if tokens.cut else ""
        super().__init__(f"A text has {more}{tokens.lengths.max()} tokens, and the model takes {most}; shorten it.")


def reads_labels(predictor: Predictor) -> Reader:
    """Return what asks an adapter's head; raises `UsageError` for one that writes."""

    def read(texts: Sequence[Any], pairs: Sequence[str] | None) -> Tokens:
        tokens: Tokens | None = predictor.read(texts, pairs, None)  # type: ignore[attr-defined]
        assert tokens is not None, "a request has a text at least"
        return tokens

    def whole(texts: Sequence[Any], pairs: Sequence[str] | None) -> Tokens:
        return predictor.task.tokenize(predictor.tokenizer, rows_of(texts, pairs), _FURTHER * predictor.longest)

    pooling, task = "mean" if predictor.task.embeds else None, predictor.task
    # Tasks that read a text as it stands, and adapters with the base's tokenizer, make the same tokens of it.
    alike = _alike(predictor.backbone, predictor) if task.reads_plainly else None
    return Reader(predictor.backbone, predictor.adapter, pooling, read, whole, predictor.longest, alike)


def reads_states(predictor: Predictor | None, backbone: Backbone, pooling: str) -> Reader:
    """Return what makes vectors of texts, with an adapter or by the bare model."""
    tokenizer = backbone.tokenizer if predictor is None else predictor.tokenizer
    words, most = (0, backbone.context) if predictor is None else (predictor.adapter.words, predictor.longest)

    def cut(texts: Sequence[Any], pairs: Sequence[str] | None, longest: int) -> Tokens:
        # Whole or cut, it is the same tokenizer and the same check.
        tokens = tokenize(tokenizer, rows_of(texts, pairs), longest)
        backbone.check_tokens([tokens.ids.max(initial=0)], "in a text", tokenizer, words)
        return tokens

    adapter = None if predictor is None else predictor.adapter
    return Reader(
        backbone, adapter, pooling, lambda texts, pairs: cut(texts, pairs, most),
        lambda texts, pairs: cut(texts, pairs, _FURTHER * most), most,
        None if predictor is None else _alike(backbone, predictor),
    )  # fmt: skip


def _alike(backbone: Backbone, predictor: Predictor) -> Hashable:
    return id(backbone), id(predictor.tokenizer), predictor.longest, predictor.adapter.words
