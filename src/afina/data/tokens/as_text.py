"""Tokenise what people wrote as the text that it is: `[SEP]` or `</s>` in it are letters, and no control tokens.

Tokenizers look for the names of their control tokens in every text. They are told not to; and where a vocabulary has such a
name among its words all the same (SentencePiece's unigrams do), the unknown token stands in its place.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["AS_TEXT", "control_ids", "controls_for", "ids_as_text", "text_ids", "texts_of_ids"]

AS_TEXT: Mapping[str, bool] = {"split_special_tokens": True}
"""Setting of a tokenizer of transformers that reads a text as text."""


def control_ids(tokenizer: Any) -> np.ndarray:
    """Return the numbers of a tokenizer's control tokens, without that which stands for what is unknown: text has that."""
    added: Mapping[int, Any] = getattr(tokenizer, "added_tokens_decoder", {})
    ids = {*tokenizer.all_special_ids, *(number for number, token in added.items() if token.special)}
    return np.array(sorted(ids - {tokenizer.unk_token_id}), dtype=np.int64)


def controls_for(tokenizer: Any) -> dict[str, Any]:
    """Return what else a program needs to read a text as text: numbers of control tokens, and what stands instead."""
    return {"controls": control_ids(tokenizer).tolist(), "instead": _instead(tokenizer)}


def ids_as_text(tokenizer: Any, encodings: Sequence[Any]) -> list[list[int]]:
    """Return the tokens of texts that were read `AS_TEXT`, with no control token but those that the tokenizer put around."""
    controls = control_ids(tokenizer)
    every = [encoding.ids for encoding in encodings]
    ids = np.fromiter((one for own in every for one in own), np.int64)
    added = np.fromiter((one for encoding in encodings for one in encoding.special_tokens_mask), np.int64)
    # Of nearly all tokenizers nothing is found: one look at all texts together is what it costs.
    wrong = np.flatnonzero(np.isin(ids, controls) & (added == 0))
    if not len(wrong):
        return every
    ids[wrong] = _instead(tokenizer)
    ends = np.cumsum([len(own) for own in every])
    return [own.tolist() for own in np.split(ids, ends[:-1])]


def text_ids(tokenizer: Any, text: str | None = None, **settings: Any) -> list[int]:
    """Return one text's tokens, read as text by any tokenizer, with those that it puts around unless told otherwise.

    `settings` are the tokenizer's own; with `text_target` among them there is no text.
    """
    encoded = tokenizer(text, return_special_tokens_mask=True, **AS_TEXT, **settings)
    ids: list[int] = encoded["input_ids"]
    controls = set(control_ids(tokenizer).tolist())
    if not controls.intersection(ids):
        return ids
    pairs = zip(ids, encoded["special_tokens_mask"], strict=True)
    return [_instead(tokenizer) if number in controls and not added else number for number, added in pairs]


def _instead(tokenizer: Any) -> int:
    """Return the token that stands for a control token in a text: the unknown one, or a question mark's."""
    if tokenizer.unk_token_id is not None:
        return int(tokenizer.unk_token_id)
    return int(tokenizer("?", add_special_tokens=False, **AS_TEXT)["input_ids"][-1])


def texts_of_ids(tokenizer: Any, rows: Iterable[np.ndarray]) -> list[tuple[str, ...]]:
    """Return the texts that rows of tokens were made of, as far as the tokenizer kept them: two where marks divide a pair.

    A mask in a word's place, as where words are taken away to see what they did, is no such mark: the text goes on behind it.
    """
    ends = {tokenizer.eos_token_id, tokenizer.sep_token_id, tokenizer.bos_token_id, tokenizer.cls_token_id}
    nothing = list({tokenizer.unk_token_id, tokenizer.mask_token_id, tokenizer.pad_token_id} - {None} - ends)
    controls = np.setdiff1d(control_ids(tokenizer), nothing)
    texts: list[tuple[str, ...]] = []
    for ids in rows:
        mark = np.isin(ids, controls)
        # Each run between marks is a text of its own.
        bounds = np.flatnonzero(np.diff(np.concatenate([[True], mark, [True]]).astype(np.int8)))
        runs = [ids[start:stop] for start, stop in zip(bounds[::2], bounds[1::2], strict=True)]
        texts.append(tuple(tokenizer.decode(run[~np.isin(run, nothing)].tolist()) for run in runs) or ("",))
    return texts
