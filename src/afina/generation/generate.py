"""Write what follows prompts: one batch, each row with its own adapter, until every row has ended."""

from collections.abc import Iterator, Sequence
from typing import Any

from afina.backbone.load import Backbone
from afina.data.tokens.as_text import text_ids
from afina.data.tokens.long_text import letters_of
from afina.errors import AfinaError
from afina.generation.batch import WritingBatch
from afina.generation.rows import Beginning, Piece, Request, Row
from afina.generation.settings import GenerationSettings

__all__ = ["encode_prompt", "prompt_tokens", "write"]


def write(backbone: Backbone, requests: Sequence[Request], settings: GenerationSettings) -> Iterator[Piece]:
    """Continue all prompts in one batch, and yield pieces of text as they come.

    A row's answer does not depend on the rest of the batch. Raises `UsageError` for a prompt that is empty or leaves no
    room in the model's context, and `AfinaError` while another text is being written on the same backbone.
    """
    with WritingBatch(backbone) as batch:
        # All rows are made first: a prompt that is wrong is refused before any text is written.
        for row in [Row(backbone, request, settings) for request in requests]:
            batch.add(row)
        while batch.rows:
            for _, piece in batch.turn():
                if piece.written is not None and piece.written.problem:
                    raise AfinaError(piece.written.problem)
                # A piece without text says only that something is held back.
                if piece.text or piece.written is not None:
                    yield piece


def encode_prompt(
    backbone: Backbone, text: str, *, marks: bool = True, tokenizer: Any = None, words: int = 0, special: bool = True
) -> list[int]:
    """Return a prompt's tokens, all of which the backbone, or an adapter's `words`, have vectors for.

    With `special` the names of control tokens in it, which a template writes, are those tokens; else they are text. Of a
    text far beyond the context it is the `Beginning`, which is too long as well.
    """
    tokenizer = tokenizer or backbone.tokenizer
    # The tokenizer's padding and cutting are its state: one thread at a time.
    with backbone.turns.reading():
        part = text[: letters_of(backbone.context)]
        apart = bool(backbone.anatomy.row.further)
        tokens = prompt_tokens(tokenizer, part, marks=marks, apart=apart, special=special)
        if part != text:
            # Few tokens for many letters, such as spaces: only all of it says how many.
            if len(tokens) > backbone.context:
                return Beginning(tokens)
            tokens = prompt_tokens(tokenizer, text, marks=marks, apart=apart, special=special)
        backbone.check_tokens(tokens, "in the prompt", tokenizer, words)
        return tokens


def prompt_tokens(
    tokenizer: Any, text: str, *, marks: bool = True, apart: bool = False, special: bool = True
) -> list[int]:
    """Return a prompt's tokens: with the tokenizer's start marks (`marks`) unless the text has them, without an end mark.

    A text that is read `apart` from its answer keeps its end mark; `special` as `encode_prompt` has it.
    """

    def read(**settings: bool) -> list[int]:
        ids: list[int] = tokenizer(text, **settings)["input_ids"] if special else text_ids(tokenizer, text, **settings)
        return ids

    plain = read(add_special_tokens=False)
    if not marks or (special and tokenizer.bos_token and text.startswith(tokenizer.bos_token)):
        return plain
    marked = read()
    # An end mark behind a prompt would say that there is nothing to go on with.
    ends = not apart and marked[-1:] == [tokenizer.eos_token_id] != plain[-1:]
    return marked[:-1] if ends else marked
