"""Turn tokens into text one by one: whole characters only, and nothing of a stop text."""

from collections.abc import Sequence
from typing import Any

__all__ = ["TextStream"]

_INCOMPLETE = "\ufffd"
"""The replacement character, which a decoder writes for bytes that do not (yet) make a character."""
_WINDOW = 64
"""Tokens that are decoded together; decoding the whole answer each time would take ever longer."""
_ANCHOR = 8
"""Tokens that stay when the window moves on, because the text of a token may depend on those before it."""


class TextStream:
    """Streams the text of one row; `text` holds what has been given out so far."""

    def __init__(self, tokenizer: Any, stop: Sequence[str] = (), before: Sequence[int] = ()) -> None:
        """Start after the tokens `before`, so that a space between them and the first word is part of the text."""
        self.text = ""
        self.stopped = False
        """True once one of the texts in `stop` has been written."""
        self._tokenizer, self._stop = tokenizer, tuple(stop)
        self._ids = list(before[-_ANCHOR:])
        # The anchor may begin within a letter; all tokens together do not.
        if _INCOMPLETE in self._decoded():
            self._ids = list(before)
        self._given = len(self._decoded())
        self.seen = 0
        """Characters of the text by now, with those that are held back."""

    def add(self, token: int) -> str:
        """Return the text that has become final with this token; nothing after a stop."""
        if self.stopped:
            return ""
        self._ids.append(token)
        decoded = self._decoded()

        # A replacement character at the end may be the first bytes of a letter whose others are in the next token.
        certain = decoded.rstrip(_INCOMPLETE)
        places = [(place + len(own), place) for own in self._stop if (place := certain.find(own, self._given)) >= 0]
        self.stopped = bool(places)

        # Of several stop texts the one that was whole first ends it, also where one token brings them all. What may be the
        # beginning of one waits until it is one or cannot be one any more.
        end = min(places)[1] if places else len(certain) - self._could_stop(certain[self._given :])
        self.seen = len(self.text) + len(certain) - self._given
        piece = self._give(certain[self._given : end])

        # Only where nothing is held back: the new window has to begin where the text that was given out ends.
        if len(self._ids) > _WINDOW and self._given == len(decoded):
            self._move_on()
        return piece

    def end(self, *, cut: bool) -> str:
        """Return the text held back so far; nothing if the answer was `cut` off, as it might have become a stop text."""
        return "" if self.stopped or cut else self._give(self._decoded()[self._given :])

    def _give(self, piece: str) -> str:
        self._given += len(piece)
        self.text += piece
        return piece

    def _could_stop(self, fresh: str) -> int:
        """Return the length of the longest end of `fresh` that may be the beginning of a stop text."""
        # One less than the longest stop: a whole one has been found already.
        longest = min(len(fresh), max(map(len, self._stop), default=1) - 1)
        return next((n for n in range(longest, 0, -1) if any(s.startswith(fresh[-n:]) for s in self._stop)), 0)

    def _move_on(self) -> None:
        ids, self._ids = self._ids, self._ids[-_ANCHOR:]
        decoded = self._decoded()
        # The window would begin within a letter; it moves on at one of the next tokens.
        if _INCOMPLETE in decoded:
            self._ids = ids
        else:
            self._given = len(decoded)

    def _decoded(self) -> str:
        if not self._ids:
            return ""
        # As it stands: tidying up of spaces would change text that was given out already.
        decoded: str = self._tokenizer.decode(self._ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return decoded
