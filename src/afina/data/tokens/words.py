"""Tokenise words that have a label each, and say at which token each word begins."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from afina.data.rows import Rows
from afina.data.tokens.as_text import AS_TEXT, ids_as_text
from afina.data.tokens.long_text import letters_of
from afina.data.tokens.tokens import IGNORED, TaggedTokens
from afina.errors import UsageError

__all__ = ["tokenize_words", "words_with_space"]


def tokenize_words(tokenizer: Any, rows: Rows, max_length: int) -> TaggedTokens:
    """Tokenise rows of words, whose labels (N, W) stand at each word's first token; words behind `max_length` have none.

    A word's tokens are those that it has in the text, its words joined by spaces. Raises `UsageError` for a tokenizer
    that does not tell which word a token is of.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise UsageError(
            f"The tokenizer {type(tokenizer).__name__} does not tell which word a token is of; take a model with a "
            "tokenizer.json."
        )
    spaced = words_with_space(tokenizer)

    def encode(given: list[list[str]], how: Mapping[str, bool] = AS_TEXT) -> list[Any]:
        encoded = tokenizer(
            given, is_split_into_words=True, truncation=True, max_length=max_length, padding=False, **how
        )
        return list(encoded.encodings)

    uses_segments = "token_type_ids" in tokenizer.model_input_names
    ids: list[np.ndarray] = []
    segments: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    cut = 0
    assert rows.words is not None
    for start in range(0, len(rows), 5000):
        # Each word is a token at least, so that no more of them, nor of a word's letters, can be read.
        first, letters = max_length + 1, letters_of(max_length)
        words = [[word[:letters] for word in own[:first]] for own in rows.words[start : start + 5000]]
        given = [[own[0], *(f" {word}" for word in own[1:])] if spaced else list(own) for own in words]
        encodings = encode(given)
        for index, encoding in enumerate(encodings):
            # What some tokenizers make nothing of, as a soft hyphen, is a word like others, and has a tag.
            blank = set(range(len(given[index]))) - set(encoding.word_ids)
            last = max((word for word in encoding.word_ids if word is not None), default=-1)
            if blank := {word for word in blank if word < last or not encoding.overflowing}:
                unknown = tokenizer.unk_token or "?"
                # The unknown token is meant here; any other that a word may name is put out below.
                encodings[index] = encode([[unknown if i in blank else w for i, w in enumerate(given[index])]], {})[0]
        read = zip(encodings, ids_as_text(tokenizer, encodings), rows.label[start : start + 5000], strict=True)
        for encoding, row_ids, labels in read:
            of_word = np.array([-1 if word is None else word for word in encoding.word_ids] or [-1])
            # Where the word's number changes a word begins.
            begins = (of_word >= 0) & (np.diff(of_word, prepend=-1) != 0)
            ids.append(np.array(row_ids or [tokenizer.pad_token_id], dtype=np.int32))
            segments.append(np.array(encoding.type_ids or [0], dtype=np.int8))
            targets.append(np.where(begins, labels[of_word], IGNORED).astype(np.int32))
            cut += bool(encoding.overflowing)
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in ids])])
    return TaggedTokens(
        np.concatenate(ids), offsets, rows.label, cut, np.concatenate(segments) if uses_segments else None,
        targets=np.concatenate(targets),
    )  # fmt: skip


def words_with_space(tokenizer: Any) -> bool:
    """Return whether words are given with the space before them.

    Byte-level tokenizers (GPT-2, RoBERTa, ModernBERT) know a word by it, which a word alone lacks.
    """
    plain = {"add_special_tokens": False}
    alone, together = tokenizer(["a", "a"], is_split_into_words=True, **plain), tokenizer("a a", **plain)
    # A word that is told by its space has other tokens alone than behind one.
    return bool(alone["input_ids"] != together["input_ids"])
