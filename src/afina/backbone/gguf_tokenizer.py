"""The tokenizer that a GGUF file describes: its vocabulary and merges, and by name how texts are split before.

What is split how is in no file: `tokenizer.ggml.pre` names it, and llama.cpp knows (src/llama-vocab.cpp). A name that is not
in the table is refused: other splits give other tokens, and so another model, without a word.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from afina.backbone.gguf_file import GgufFile
from afina.backbone.gguf_rows import gguf_row
from afina.errors import UsageError, nearest, shown

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["SPLITS", "Splits", "eats_spaces", "end_tokens", "gguf_tokenizer", "splitter"]

_CONTROL, _OWN = 3, 4
"""Types of tokens: those that steer, and those that a text's own characters may be, whole."""
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


@dataclass(frozen=True)
class Splits:
    """Says how a text is split before its bytes are merged: at GPT-2's expression unless another is given."""

    expression: str | None = None
    digits: bool = False
    """True if each digit is split off by itself, before all else."""
    whole: bool = False
    """True if a piece that is a token is taken as it is, unmerged."""
    composed: bool = False
    """True if characters are composed first (NFC)."""


_GPT2, _DIGITS = Splits(), Splits(digits=True)
SPLITS: dict[str, Splits] = {
    "gpt-2": _GPT2, "phi-2": _GPT2, "olmo": _GPT2,
    "smollm": _DIGITS, "starcoder": _DIGITS, "refact": _DIGITS, "command-r": _DIGITS, "codeshell": _DIGITS,
    "llama-bpe": Splits(_LLAMA3, whole=True), "llama3": Splits(_LLAMA3, whole=True),
    "llama-v3": Splits(_LLAMA3, whole=True),
    "qwen2": Splits(_QWEN2, composed=True), "deepseek-r1-qwen": Splits(_QWEN2, composed=True),
}  # fmt: skip
"""Splits of byte-level vocabularies, by a file's `tokenizer.ggml.pre`."""


def gguf_tokenizer(file: GgufFile) -> Any:
    """Return transformers' tokenizer, with chat template and special tokens; raises `UsageError` for one that is not read."""
    from transformers import PreTrainedTokenizerFast

    says = {key.removeprefix("tokenizer.ggml."): value for key, value in file.settings.items()}
    tokens = says.get("tokens")
    if not isinstance(tokens, list) or not tokens:
        raise UsageError(f"{file.path} holds no vocabulary (tokenizer.ggml.tokens), so that it reads no text.")
    # Two places for one token: which of them is meant nothing says.
    if len(set(tokens)) < len(tokens):
        raise UsageError(f"{file.path} has a token twice in its vocabulary, which is not read.")

    # A model may have more vectors than tokens (padded to a round number), never fewer.
    rows = file.tensors["token_embd.weight"].shape[0]
    if len(tokens) > rows:
        raise UsageError(f"{file.path} is damaged: its vocabulary has {len(tokens):,} tokens, its model {rows:,}.")
    kind = says.get("model")
    # llama.cpp's names of the two kinds.
    makers = {"gpt2": _byte_level, "llama": _sentence_pieces}
    if kind not in makers:
        raise UsageError(
            f"{file.path} has a tokenizer of the kind {shown(kind)}, which is not read; gpt2 (byte-level) and llama "
            "(SentencePiece) are: give the model as a folder with safetensors."
        )
    backend = makers[kind](file, tokens, says)
    # Before the marks, which are looked up by their places in the finished vocabulary.
    _add_special(file, backend, tokens, says)
    special = {}
    for name, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        if (token := _token(file, tokens, says, f"{key}_token_id")) is not None:
            special[f"{name}_token"] = token
    _mark(backend, says, special)
    template = file.settings.get("tokenizer.chat_template")
    return PreTrainedTokenizerFast(
        # A template of another kind than text is none.
        tokenizer_object=backend, chat_template=template if isinstance(template, str) else None,
        clean_up_tokenization_spaces=False, **special,
    )  # fmt: skip


def end_tokens(file: GgufFile) -> list[int]:
    """Return the tokens at which a text, or a turn, ends."""
    ends = (file.settings.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom"))
    # A turn may end otherwise than a text, and some files have a third mark for calls of tools.
    return list(dict.fromkeys(place for place in ends if isinstance(place, int)))


def _byte_level(file: GgufFile, tokens: Sequence[str], says: Any) -> "Tokenizer":
    from tokenizers import Tokenizer, decoders, models, normalizers

    name = says.get("pre")
    if name not in SPLITS:
        problem = (
            "does not say how its texts are split"
            if name is None
            else f"splits its texts as {shown(name)}, which is not known"
        )
        raise UsageError(f"{file.path} {problem} (tokenizer.ggml.pre{nearest(str(name), SPLITS)})")
    splits = SPLITS[name]
    # Parts of a merge hold no spaces, which byte-level vocabularies write otherwise.
    merges = [tuple(merge.split(" ")) for merge in says.get("merges") or []]
    if not merges or any(len(merge) != 2 for merge in merges):
        raise UsageError(f"{file.path} holds no readable merges (tokenizer.ggml.merges).")
    try:
        model = models.BPE({token: place for place, token in enumerate(tokens)}, merges, ignore_merges=splits.whole)
    except Exception as error:  # the package raises a bare Exception
        raise UsageError(f"{file.path} is damaged: its merges do not fit its vocabulary ({error}).") from None
    backend = Tokenizer(model)
    if splits.composed:
        backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = splitter(splits, prefix=says.get("add_space_prefix") is True)
    backend.decoder = decoders.ByteLevel()
    return backend


def splitter(splits: Splits, *, prefix: bool = False) -> Any:
    """Return the step of `tokenizers` that splits a text so, with a space before it where there is to be a `prefix`."""
    from tokenizers import Regex, pre_tokenizers

    # Digits first, as they would otherwise be taken into the expression's runs.
    steps: list[Any] = [pre_tokenizers.Digits(individual_digits=True)] if splits.digits else []
    if splits.expression is not None:
        steps.append(pre_tokenizers.Split(Regex(splits.expression), behavior="isolated"))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=splits.expression is None))
    return pre_tokenizers.Sequence(steps)


def _sentence_pieces(file: GgufFile, tokens: Sequence[str], says: Any) -> "Tokenizer":
    from tokenizers import Tokenizer, decoders, models, normalizers

    place_first = gguf_row(file).by_place

    # A file whose tokens stand in the order of their merges gives no scores: the place is one.
    scores = list(range(0, -len(tokens), -1)) if place_first else says.get("scores")
    if not isinstance(scores, list) or len(scores) != len(tokens):
        raise UsageError(f"{file.path} holds no score of each token (tokenizer.ggml.scores).")
    if place_first:  # Gemma's files spell runs of spaces out
        tokens = ["▁" * len(token) if len(token) > 1 and not token.strip(" ") else token for token in tokens]
    unknown = _token(file, tokens, says, "unknown_token_id")
    backend = Tokenizer(
        models.BPE(
            {token: place for place, token in enumerate(tokens)}, _merges(tokens, scores), unk_token=unknown,
            # Unknown characters become bytes where the vocabulary has them, one unknown token where not.
            fuse_unk=True, byte_fallback=True,
        )
    )  # fmt: skip

    # SentencePiece puts a space before a text unless the file says otherwise; the decoder takes it off again.
    prefix = says.get("add_space_prefix", True) is not False and not place_first
    spaces = normalizers.Replace(" ", "▁")
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), spaces]) if prefix else spaces
    begin = [decoders.Strip(" ", 1, 0)] if prefix else []
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *begin])
    return backend


def _merges(tokens: Sequence[str], scores: Sequence[float]) -> list[tuple[str, str]]:
    """Return the merges that SentencePiece's scores mean: of two neighbours that make a token, the best token's first."""
    place = {token: index for index, token in enumerate(tokens)}
    merges = []
    for token, score in zip(tokens, scores, strict=True):
        halves = ((token[:cut], token[cut:]) for cut in range(1, len(token)))
        merges += sorted(
            ((score, left, right) for left, right in halves if left in place and right in place),
            key=lambda pair: (place[pair[1]], place[pair[2]]),
        )
    # Longer parts first among equals, so that the order is the same wherever it is made.
    merges.sort(key=lambda pair: (pair[0], len(pair[1]), len(pair[2])), reverse=True)
    return [(left, right) for _, left, right in merges]


def _token(file: GgufFile, tokens: Sequence[str], says: Any, key: str) -> str | None:
    """Return the token that a setting names by its place."""
    place = says.get(key)
    if place is None:
        return None
    if not isinstance(place, int) or not 0 <= place < len(tokens):
        raise UsageError(
            f"{file.path} is damaged: its tokenizer.ggml.{key} is {shown(place)} of {len(tokens):,} tokens."
        )
    return tokens[place]


def _add_special(file: GgufFile, backend: "Tokenizer", tokens: Sequence[str], says: Any) -> None:
    from tokenizers import AddedToken

    # A file without types has plain tokens alone.
    kinds = says.get("token_type") or [1] * len(tokens)
    if len(kinds) != len(tokens):
        raise UsageError(f"{file.path} is damaged: it has {len(tokens):,} tokens and the type of {len(kinds):,}.")
    pairs = list(zip(tokens, kinds, strict=True))
    eats = eats_spaces(str(file.settings.get("general.name", "")))
    # Tokens that steer are found in a text before all else, and not broken into pieces.
    for add, wanted in ((backend.add_special_tokens, _CONTROL), (backend.add_tokens, _OWN)):
        added = [token for token, kind in pairs if kind == wanted and token]
        add([AddedToken(token, normalized=False, rstrip=eats and token not in _KEEP) for token in added])


_KEEP = ("<unk>", "<s>", "<|endoftext|>")


def eats_spaces(name: str) -> bool:
    """Return whether llama.cpp lets special tokens take the spaces behind them, which it does by a model's name: of Phi-3."""
    return "phi-3" in name.lower() or "phi3" in name.lower()


def _mark(backend: "Tokenizer", says: Any, special: dict[str, str]) -> None:
    """Let a text begin and end with the marks that the file wants."""
    from tokenizers import processors

    # Files that do not say it follow llama.cpp's defaults by the kind of vocabulary.
    usual = says.get("model") == "llama" or says.get("pre") in ("llama-bpe", "llama3", "llama-v3")
    begins = says.get("add_bos_token", usual) and "bos_token" in special
    ends = says.get("add_eos_token", False) and "eos_token" in special
    before, after = ["bos_token"] * bool(begins), ["eos_token"] * bool(ends)
    if not before and not after:
        return
    used = {special[name]: backend.token_to_id(special[name]) for name in (*before, *after)}
    first, last = [special[name] for name in before], [special[name] for name in after]
    backend.post_processor = processors.TemplateProcessing(
        single=[*first, "$A", *last], pair=[*first, "$A", *last, *(f"{mark}:1" for mark in first), "$B:1",
                                             *(f"{mark}:1" for mark in last)],
        special_tokens=list(used.items()),
    )  # fmt: skip
