"""Read no more of a very long text than the tokens that are taken of it: the rest would be read for seconds and cut off.

Of a pair the library also keeps what it cuts off, each piece of one text with each of the other's: two of 16,000 letters took
7 GB.
"""

from collections.abc import Sequence
from typing import Any

from afina.data.tokens.as_text import AS_TEXT

__all__ = ["beginnings", "ending", "letters_of"]

_LETTERS = 64
"""Letters of a token; nearly all have fewer. Where a text's have more, all of it is read as ever."""
_WORD = 1000
"""Letters within which a text is parted at a space: words that are whole have the tokens that they have in all of it."""


def letters_of(tokens: int) -> int:
    """Return how many letters are sure to have so many tokens, of nearly all texts."""
    return _LETTERS * tokens


def beginnings(tokenizer: Any, texts: Sequence[str], most: int, *, beyond: int | None = None) -> list[str]:
    """Return texts, and of those that are longer than `beyond` letters no more than their first `most` tokens need."""
    limit, parts = letters_of(most) if beyond is None else beyond, dict[int, str]()
    # Whoever cuts a text's start needs its end.
    if getattr(tokenizer, "truncation_side", "right") == "right":
        parts = {place: text[: letters_of(most)] for place, text in enumerate(texts) if len(text) > limit}
    if not parts:
        return list(texts)
    made = list(texts)
    read = tokenizer([*parts.values()], add_special_tokens=False, **AS_TEXT)
    for (place, part), encoding in zip(parts.items(), read.encodings, strict=True):
        # A text with few tokens for its letters, such as spaces, is read as it stands.
        if len(encoding.ids) > most:
            end = encoding.offsets[most][1]
            space = part.find(" ", end, end + _WORD)
            made[place] = part[: space if space > 0 else end + _WORD]
    return made


def ending(tokenizer: Any, text: str, most: int) -> str:
    """Return a text's end where that alone has more than `most` tokens; else all of it."""
    if len(text) <= letters_of(most):
        return text
    part = text[-letters_of(most) :]
    part = part[max(part.find(" ", 0, _WORD), 0) :]
    return part if len(tokenizer(part, add_special_tokens=False, **AS_TEXT)["input_ids"]) > most else text
