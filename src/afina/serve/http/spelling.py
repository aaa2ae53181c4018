"""Spell tokens: as they stand within a text, with their bytes, so that no two of one place are told by one name."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from afina.generation.rows import ChosenToken

__all__ = ["Spelling"]

_INCOMPLETE = "\ufffd"
_LEAST = -9999.0
"""The number that stands in JSON for the logarithm of nothing, as OpenAI has it."""


class Spelling:
    """Knows how a tokenizer's tokens are written."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", None)
        decoder = None if backend is None else backend.decoder
        self._kinds = set() if decoder is None else _kinds(json.loads(decoder.__getstate__()))
        """Decoders by their types: those of bytes say of a token what bytes it is."""

    def spelled(self, token: int) -> tuple[str, list[int] | None]:
        """Return a token's text, and its bytes; a part of a character is told by its bytes: `bytes:\\xf0\\x9f`.

        The bytes are None where the tokenizer does not say them.
        """

        def read(*ids: int) -> str:
            text: str = self.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
            return text

        # Behind another, as some tokenizers take the space from before a text's first word.
        text = read(token, token)[len(read(token)) :]
        if _INCOMPLETE not in text:
            return text, list(text.encode("utf-8"))
        raw = self._bytes(token)
        if raw is None:
            return text, None
        try:
            return raw.decode("utf-8"), list(raw)
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw), list(raw)

    def _bytes(self, token: int) -> bytes | None:
        name: str = self.tokenizer.convert_ids_to_tokens(token)
        if "ByteLevel" in self._kinds and all(letter in _letters() for letter in name):
            return bytes(_letters()[letter] for letter in name)
        if "ByteFallback" in self._kinds and len(name) == 6 and name.startswith("<0x"):
            return bytes([int(name[3:5], 16)])
        return None

    def chat(self, choice: ChosenToken) -> dict[str, Any]:
        """Return how likely a token was, as OpenAI's chats have it."""

        def one(token: int, log_probability: float) -> dict[str, Any]:
            text, raw = self.spelled(token)
            return {"token": text, "logprob": max(log_probability, _LEAST), "bytes": raw}

        top = [one(*each) for each in choice.likeliest]
        return {**one(choice.token, choice.log_probability or 0.0), "top_logprobs": top}

    def completion(self, choices: Sequence[ChosenToken]) -> dict[str, Any]:
        """Return how likely tokens were, as OpenAI's completions have it; offsets count letters of the answer."""
        chosen = [(one.token, one.log_probability or 0.0) for one in choices]
        return {
            "tokens": [self.spelled(token)[0] for token, _ in chosen],
            "token_logprobs": [max(value, _LEAST) for _, value in chosen],
            # The chosen one is always among them, as OpenAI has it.
            "top_logprobs": [self._by_text([*one.likeliest, pair]) for one, pair in zip(choices, chosen, strict=True)],
            "text_offset": [one.begins for one in choices],
        }  # fmt: skip

    def _by_text(self, tokens: Sequence[tuple[int, float]]) -> dict[str, float]:
        """Return tokens' values by their texts; of a text that two tokens have the second is told by its number."""
        values: dict[str, float] = {}
        for token, value in dict(tokens).items():
            text = self.spelled(token)[0]
            values[f"token_id:{token}" if text in values else text] = max(value, _LEAST)
        return values


def _kinds(state: Mapping[str, Any]) -> set[str]:
    """Return the types of a decoder and of those that it is made of."""
    return {str(state.get("type"))}.union(*(_kinds(each) for each in state.get("decoders", ())))


@cache
def _letters() -> dict[str, int]:
    """Return the bytes by the letters that stand for them where a vocabulary is one of bytes."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return {letter: byte for byte, letter in bytes_to_unicode().items()}
