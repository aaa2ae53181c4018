"""Texts that a model learns to write, as tokens with the target of each: the token that follows it, where that is trained."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from afina.data.dialogues.messages import Message
from afina.data.templates.chat_template import ChatTemplate
from afina.data.tokens.as_text import text_ids
from afina.data.tokens.tokens import IGNORED, WrittenTokens
from afina.errors import UsageError

__all__ = ["conversations", "encode", "source_and_target", "whole_texts"]


def whole_texts(tokenizer: Any, texts: Sequence[str], max_length: int) -> WrittenTokens:
    """Return texts whose every token but the first is a target, the end token behind them too.

    One of more than `max_length` tokens becomes several sequences, each of which begins with the last token of the one
    before it: so every token is a target once.
    """
    made = _Rows(turns=len(texts))
    for text in texts:
        ids = _ended(encode(tokenizer, text)[0], tokenizer)
        # One token in common: each piece's first is only read.
        for start in range(0, len(ids) - 1, max_length - 1):
            piece = ids[start : start + max_length]
            made.add(piece, np.append(piece[1:], IGNORED))
    return made.tokens()


def conversations(
    tokenizer: Any, rows: Sequence[Sequence[Message]], template: ChatTemplate, max_length: int
) -> WrittenTokens:
    """Return conversations whose targets are the assistant's tokens; of a long one the end is cut.

    A token that holds both what is trained and what is not is trained. Conversations without a target are left out.
    """
    made = _Rows()
    for number, messages in enumerate(rows, start=1):
        try:
            pieces = template.render(messages)
        except UsageError as error:
            raise UsageError(f"Conversation {number}: {error}") from None
        # In one text, as a token may reach over the border of two pieces.
        ids, spans = encode(tokenizer, "".join(text for text, _ in pieces), marks=template.marks)
        trained, place = np.zeros(len(ids), dtype=bool), 0
        for text, learned in pieces:
            if learned:
                made.turns += 1
                # Marks without a place in the text are nobody's answer.
                inside = (spans[:, 1] > place) & (spans[:, 0] < place + len(text)) & (spans[:, 1] > spans[:, 0])
                trained |= inside
                made.endless += bool(inside[max_length:].any())
            place += len(text)
        targets = np.where(np.append(trained[1:], False), np.append(ids[1:], IGNORED), IGNORED)[:max_length]
        if len(ids) > max_length:
            targets[-1] = IGNORED  # what it would say is beyond
        if (targets != IGNORED).any():
            made.cut += len(ids) > max_length
            made.add(ids[:max_length], targets)
    return made.tokens()


def source_and_target(tokenizer: Any, sources: Sequence[str], targets: Sequence[str], max_length: int) -> WrittenTokens:
    """Return sources with their targets behind them, at most `max_length` tokens of each; of a long one the end is cut.

    Both are tokenised as texts of their own, with the marks that the tokenizer gives each.
    """
    made = _Rows(turns=len(targets))
    for source, target in zip(sources, targets, strict=True):
        # An encoder reads at least one token.
        read = text_ids(tokenizer, source) or [tokenizer.pad_token_id]
        if len(read) > max_length:
            made.cut += 1
            read = text_ids(tokenizer, source, truncation=True, max_length=max_length)
        written = _ended(np.array(text_ids(tokenizer, text_target=target), dtype=np.int32), tokenizer)
        made.endless += len(written) > max_length
        written = written[:max_length]
        # The source's tokens have no target, but the last, which says how the answer begins.
        aligned = np.concatenate([np.full(len(read) - 1, IGNORED), written, [IGNORED]])
        made.add(np.concatenate([read, written]), aligned)
    return made.tokens()


def encode(tokenizer: Any, text: str, *, marks: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Return tokens (N,) and their spans in the text (N, 2); with `marks` the tokenizer's own start mark is before them.

    An end mark is not put behind: what is written goes on. Raises `UsageError` for a tokenizer that knows no spans.
    """
    try:
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    except NotImplementedError:
        raise UsageError(
            "The model's tokenizer is written in Python and cannot say where its tokens stand in a text; save it as a fast "
            "tokenizer (tokenizer.json)."
        ) from None
    ids = np.array(encoded["input_ids"], dtype=np.int32)
    spans = np.array(encoded["offset_mapping"], dtype=np.int64).reshape(-1, 2)
    before = list(tokenizer("")["input_ids"]) if marks else []
    # Some tokenizers put an end behind an empty text too.
    if before and before[-1] == tokenizer.eos_token_id:
        before.pop()
    return (
        np.concatenate([np.array(before, dtype=np.int32), ids]),
        np.concatenate([np.zeros((len(before), 2), dtype=np.int64), spans]),
    )


def _ended(ids: np.ndarray, tokenizer: Any) -> np.ndarray:
    """Put the end token behind, unless it is there, before a language mark maybe."""
    end = tokenizer.eos_token_id
    # mBART's language mark stands behind the end.
    return ids if end is None or end in ids[-2:] else np.append(ids, np.int32(end))


@dataclass
class _Rows:
    """Sequences that become `WrittenTokens`; a row's label is how many targets it has."""

    cut: int = 0
    turns: int = 0
    endless: int = 0
    ids: list[np.ndarray] = field(default_factory=list)
    targets: list[np.ndarray] = field(default_factory=list)

    def add(self, ids: np.ndarray, targets: np.ndarray) -> None:
        self.ids.append(ids.astype(np.int32))
        self.targets.append(targets.astype(np.int32))

    def tokens(self) -> WrittenTokens:
        def joined(parts: list[np.ndarray]) -> np.ndarray:
            return np.concatenate([np.zeros(0, dtype=np.int32), *parts])

        offsets = np.cumsum([0, *(len(ids) for ids in self.ids)])
        labels = np.array([(own != IGNORED).sum() for own in self.targets], dtype=np.float64)
        return WrittenTokens(
            joined(self.ids), offsets, labels, cut=self.cut, targets=joined(self.targets), turns=self.turns,
            endless=self.endless,
        )  # fmt: skip
