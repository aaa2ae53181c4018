"""Tokens that a tokenizer knows and its model has no vector for."""

from collections.abc import Iterable
from typing import Any

from afina.errors import UsageError

__all__ = ["check_tokens", "surplus_note"]


def check_tokens(name: str, tokenizer: Any, vectors: int | None, tokens: Iterable[int], where: str) -> None:
    """Raise `UsageError` where one of these tokens has no vector in a model of so many."""
    largest = max(map(int, tokens), default=0)
    # A shape of a model alone has no vectors to count.
    if vectors is not None and largest >= vectors:
        token = tokenizer.convert_ids_to_tokens(largest)
        # A number that somebody gave, which no text has.
        if token is None:
            raise UsageError(f"There is no token {largest:,}, which stands {where}: {name} has {vectors:,}, from 0 on.")
        raise UsageError(
            f"The tokenizer of {name} has {_size(tokenizer):,} tokens and the model vectors for {vectors:,}: "
            f"'{token}' {where} has none; resize the model's embeddings and save it, or "
            "use the model's own tokenizer."
        )


def surplus_note(name: str, tokenizer: Any, vectors: int | None) -> str | None:
    """Return what to say of a tokenizer with more tokens than its model has vectors.

    Raises `UsageError` where a token that the tokenizer itself adds to texts is one of them.
    """
    if vectors is None or (size := _size(tokenizer)) <= vectors:
        return None

    # Tokens of rare words may lack a vector and never come; those that stand in every text may not.
    marks = ("bos", "eos", "cls", "sep", "pad", "unk")
    places = (getattr(tokenizer, f"{mark}_token_id", None) for mark in marks)
    special = [place for place in places if place is not None]
    check_tokens(name, tokenizer, vectors, special, "as a mark of its own")
    known = sorted((place, token) for token, place in tokenizer.get_vocab().items() if place >= vectors)
    shown = ", ".join(token for _, token in known[:3]) + (", ..." if len(known) > 3 else "")
    return f"the tokenizer has {size:,} tokens, the model vectors for {vectors:,}: texts with {shown} cannot be read"


def _size(tokenizer: Any) -> int:
    # By the highest place and not by count: numbers may have gaps.
    return 1 + max(tokenizer.get_vocab().values(), default=0)
