"""Write what a GGUF file says of a tokenizer: tokens and merges, how texts are split, what begins and ends them.

How a text is split is kept as a name that llama.cpp knows. It is found by trial: each way that the reader of such files has
(`gguf_tokenizer.py`) reads texts that tell these ways apart, and the one that gives the tokenizer's own tokens is written.
"""

import json
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from afina.backbone.gguf_file import GgufFile, TensorEntry
from afina.backbone.gguf_tokenizer import SPLITS, eats_spaces, gguf_tokenizer, splitter
from afina.errors import UsageError

__all__ = ["TEXTS", "Vocabulary", "vocabulary", "with_special"]

_PLAIN = (
    "", " ", "My parcel is late, and the kettle doesn't work!", "  Two  spaces\n\nand\ttabs \n",
    "We're sure: I'LL go, they'd not.", "Não há café às 7h; o João pagou R$ 1.234,56 à Conceição.",
    "In 1984, 12345678 of 3.14159 and 2026-11-29.", "line one\r\nline two\r\n\r\nline four",
    "\U0001f44d\U0001f3fd family \U0001f468\u200d\U0001f469\u200d\U0001f467 and \U0001f1e7\U0001f1f7!",
    "北京 こんにちは привет مرحبا हिन्दी", "e\u0301 naïve ﬁ ½ ①", "def f(x):\n    return {'a': [x**2, -1]}  # done\n",
    "HTTPServer fooBar snake_case CamelCASE", "...!!??--==>> <a href='x'>",
)  # fmt: skip
_PARTS = (
    "a", "Bc", "é", "e\u0301", "1", "23", "4567", " ", "  ", "    ", "\n", "\n\n", "\r\n", "\t", "\u00a0", "'s", "'LL", "'",
    ".", "!?", "-", "_", "$", "北", "ß", "\U0001f642", "½", "/", "the", " of",
)  # fmt: skip


def _mixed(count: int) -> tuple[str, ...]:
    """Return texts of parts in any order: what stands beside what is where splits differ."""
    drawn = random.Random(0)
    return tuple("".join(drawn.choices(_PARTS, k=drawn.randint(2, 9))) for _ in range(count))


TEXTS = (*_PLAIN, *_mixed(150))
"""Texts that tokenizers read differently: digits, spaces, line ends, marks, contractions, accents, other scripts, emoji."""
_NORMAL, _UNKNOWN, _CONTROL, _OWN, _UNUSED, _BYTE = range(1, 7)


class Vocabulary:
    """Holds what a file says of a tokenizer, and the same as that tokenizer is read from it again."""

    def __init__(self, settings: dict[str, Any], again: Any) -> None:
        self.settings, self.again = settings, again


def vocabulary(tokenizer: Any, rows: int, ends: Sequence[int], architecture: str, name: str = "") -> Vocabulary:
    """Return a tokenizer for an embedding of so many rows, with the tokens that end a text, the usual first.

    With it goes the model's `name`, by which llama.cpp knows some tokenizers' habits.

    Raises `UsageError` for a tokenizer that llama.cpp would read as another.
    """
    whole = _whole(tokenizer)
    tokens, kinds = _tokens(whole, rows)
    says: dict[str, Any] = {"tokens": tokens, "token_type": kinds} | _marks(tokenizer, ends, tokens)
    if whole["model"].get("byte_fallback"):
        choices = [says | _sentence_pieces(whole, tokens)]
    else:
        merges = [" ".join(merge) if isinstance(merge, list) else merge for merge in whole["model"]["merges"]]
        says |= {"model": "gpt2", "merges": merges}

        # Byte-level vocabularies say by a name alone how texts are split, and llama.cpp knows that name's expression.
        choices = [says | {"pre": name} for name in _likeliest(tokenizer, composed=whole["normalizer"] is not None)]
    named = {"general.name": _name(whole, name)}
    texts = [*TEXTS, *with_special(tokenizer)]
    wanted, wrong = [tokenizer(text)["input_ids"] for text in texts], ""

    # The proof is by reading: whichever way of splitting gives the same tokens on all texts is the tokenizer's.
    for choice in choices:
        settings = named | {f"tokenizer.ggml.{key}": value for key, value in choice.items() if value is not None}
        again = gguf_tokenizer(_as_file(settings, rows, architecture))
        parted = [text for text, ids in zip(texts, wanted, strict=True) if again(text)["input_ids"] != ids]
        if not parted:
            return Vocabulary(settings, again)
        wrong = wrong or parted[0]
    if len(choices) > 1:
        raise UsageError(
            "How this model's tokenizer splits texts is none of the ways that are known by name in GGUF files here "
            f"({', '.join(SPLITS)}), so that llama.cpp would read other tokens; export it --to merged."
        )
    raise UsageError(
        f"This model's tokenizer cannot be written as GGUF: of {wrong!r} llama.cpp would make other tokens; export it --to "
        "merged."
    )


def _name(whole: Mapping[str, Any], name: str) -> str:
    """Return a name by which llama.cpp reads special tokens as this tokenizer does: with the spaces behind them or not."""
    eats = any(entry["rstrip"] for entry in whole["added_tokens"])
    if eats == eats_spaces(name):
        return name
    return f"Phi-3 {name}".strip() if eats else re.sub("(?i)phi-?3", "Phi 3", name)


def _likeliest(tokenizer: Any, *, composed: bool) -> list[str]:
    """Return the names of ways to split, those first that split as this tokenizer does."""

    def unlike(name: str) -> int:
        pieces = _pieces(splitter(SPLITS[name]))
        return sum(own != other for own, other in zip(wanted, pieces, strict=True)) + (
            SPLITS[name].composed != composed
        )

    wanted = _pieces(tokenizer.backend_tokenizer.pre_tokenizer)
    return sorted(SPLITS, key=unlike)


def _pieces(step: Any) -> list[list[str]]:
    """Return how texts are split before their bytes are merged."""
    return [[piece for piece, _ in step.pre_tokenize_str(text)] for text in TEXTS]


def _whole(tokenizer: Any) -> dict[str, Any]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    whole: dict[str, Any] = {} if backend is None else json.loads(backend.to_str())
    kind = whole.get("model", {}).get("type")
    steps = json.dumps(whole.get("pre_tokenizer"))
    if kind != "BPE" or not (whole["model"].get("byte_fallback") or '"ByteLevel"' in steps):
        raise UsageError(
            f"This model's tokenizer is of the kind {kind or type(tokenizer).__name__}; as GGUF byte-level BPE and "
            "SentencePiece's BPE are written: export it --to merged."
        )
    return whole


def _tokens(whole: Mapping[str, Any], rows: int) -> tuple[list[str], list[int]]:
    """Return all tokens in their order, as many as the embedding has rows, and the type of each."""
    vocab: dict[str, int] = whole["model"]["vocab"]
    added = {entry["id"]: entry for entry in whole["added_tokens"]}
    named = {place: token for token, place in vocab.items()} | {
        place: entry["content"] for place, entry in added.items()
    }
    if named and max(named) >= rows:
        raise UsageError(
            f"This model's tokenizer has {max(named) + 1:,} tokens and its embedding {rows:,} rows, which llama.cpp does not "
            "take."
        )
    fallback, unknown = bool(whole["model"].get("byte_fallback")), whole["model"].get("unk_token")
    tokens, kinds = [], []
    for place in range(rows):
        token = named.get(place)

        # Rows of the embedding without a token get a name, as llama.cpp wants one for each.
        if token is None:
            token, kind = f"[PAD{place}]", _UNUSED
        elif token == unknown:
            kind = _UNKNOWN
        elif place in added:
            kind = _CONTROL if added[place]["special"] else _OWN
            if fallback and kind == _OWN:
                token = token.replace("▁", " ")
        else:
            kind = _BYTE if fallback and len(token) == 6 and token.startswith("<0x") else _NORMAL
        tokens.append(token)
        kinds.append(kind)
    return tokens, kinds


def _marks(tokenizer: Any, ends: Sequence[int], tokens: Sequence[str]) -> dict[str, Any]:
    """Return the special tokens, and with which of them a text begins and ends."""
    plain, marked = (tokenizer("a b", add_special_tokens=own)["input_ids"] for own in (False, True))
    begins = bool(marked) and marked[:1] == [tokenizer.bos_token_id] and marked[: len(plain)] != plain
    stops = marked[-1:] == [tokenizer.eos_token_id] and marked[int(begins) :] != plain

    # What the file can say has to give what the tokenizer does; anything else is refused.
    rebuilt = [*([tokenizer.bos_token_id] if begins else []), *plain, *([tokenizer.eos_token_id] if stops else [])]
    if rebuilt != marked:
        raise UsageError(
            "This model's tokenizer puts other marks around a text than its beginning and end tokens, which a GGUF file "
            "cannot say; export it --to merged."
        )
    marks: dict[str, Any] = {
        "bos_token_id": tokenizer.bos_token_id, "unknown_token_id": tokenizer.unk_token_id,
        "padding_token_id": tokenizer.pad_token_id, "add_bos_token": begins, "add_eos_token": stops,
    }  # fmt: skip
    for name, place in zip(("eos", "eot", "eom"), ends, strict=False):
        marks[f"{name}_token_id"] = place
    return marks


def _sentence_pieces(whole: Mapping[str, Any], tokens: Sequence[str]) -> dict[str, Any]:
    """Return the scores that a SentencePiece vocabulary's merges came from: the earlier a merge, the better its token."""
    ranks: dict[str, int] = {}
    for place, merge in enumerate(whole["model"]["merges"]):
        left, right = merge if isinstance(merge, list) else merge.split(" ")
        ranks.setdefault(left + right, place)
    last = float(len(whole["model"]["merges"]))
    steps = json.dumps([whole.get("normalizer"), whole.get("pre_tokenizer")])
    prefix = '"Prepend"' in steps or '"prepend_scheme": "first"' in steps or '"prepend_scheme": "always"' in steps
    return {
        "model": "llama", "scores": [-float(ranks.get(token, last)) for token in tokens], "add_space_prefix": prefix,
    }  # fmt: skip


def with_special(tokenizer: Any) -> list[str]:
    """Return texts with the tokenizer's special and added tokens in them."""
    added = list(dict.fromkeys([*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()]))[:20]
    return [f"before {token} after{token}{token}\n" for token in added]


def _as_file(settings: dict[str, Any], rows: int, architecture: str) -> GgufFile:
    entry = TensorEntry("token_embd.weight", (rows, 1), 0, 0)
    return GgufFile(Path("the file"), {"general.architecture": architecture, **settings}, {entry.name: entry})
