"""How likely tokens were is told of each by a name of its own: two of one text, or two parts of a letter, are two."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from afina.backbone.model_files import model_path
from afina.generation.rows import ChosenToken
from afina.serve.http.spelling import Spelling
from families import tokenizer
from served import save, served

CHOICES = {"name": "choices", "answers": 2, "label_names": None, "prompt": None}
TEXT = "Olá, ação 🎛 日本"


def pieces() -> Any:
    """A tokenizer as SentencePiece's are: a space before a word is its own, what it has no piece for is bytes."""
    words = ["<unk>", "<s>", "▁", "▁the", "the", "▁lamp", "lamp", *(f"<0x{byte:02X}>" for byte in range(256))]
    inner = Tokenizer(
        models.BPE({word: place for place, word in enumerate(words)}, [], unk_token="<unk>", byte_fallback=True)
    )
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    inner.decoder = decoders.Sequence(steps)
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", bos_token="<s>")


def test_tokens_of_bytes_are_told_by_their_bytes() -> None:
    own = AutoTokenizer.from_pretrained(model_path("afina-small"))
    spelling, ids = Spelling(own), own.encode(TEXT)
    each = [spelling.spelled(token) for token in ids]
    assert bytes(byte for _, raw in each for byte in raw or ()) == TEXT.encode()
    assert any(text.startswith("bytes:\\xf0") for text, _ in each)
    # All of a vocabulary is told apart.
    texts = [spelling.spelled(token)[0] for token in range(len(own))]
    assert len(set(texts)) == len(texts)


def test_pieces_keep_their_spaces_and_bytes() -> None:
    own = pieces()
    names = {token: Spelling(own).spelled(token) for token in range(len(own))}
    said = {own.convert_ids_to_tokens(token): found for token, found in names.items()}
    assert said["▁the"] == (" the", [32, 116, 104, 101]) and said["the"][0] == "the" and said["▁"][0] == " "
    assert said["<0xF0>"] == ("bytes:\\xf0", [0xF0]) and said["<0x41>"] == ("A", [65])
    one = ChosenToken(own.convert_tokens_to_ids("▁the"), -0.5, ((own.convert_tokens_to_ids("the"), -0.1),))
    assert Spelling(own).completion([one])["top_logprobs"] == [{"the": -0.1, " the": -0.5}]


def test_two_tokens_of_one_text_are_two() -> None:
    own = tokenizer("llama")
    own.add_tokens(["Lamp", "lAMP"])
    own.backend_tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("Lamp", "lamp"), decoders.Replace("lAMP", "lamp")]
    )
    lamp, *others = own.convert_tokens_to_ids(["lamp", "Lamp", "lAMP"])
    choice = ChosenToken(others[1], -3.0, ((lamp, -1.0), (others[0], float("-inf"))))
    (found,) = Spelling(own).completion([choice])["top_logprobs"]
    assert found == {"lamp": -1.0, f"token_id:{others[0]}": -9999.0, f"token_id:{others[1]}": -3.0}
    # Where a tokenizer says nothing of bytes, none are made up.
    odd = own.convert_tokens_to_ids("a")
    own.backend_tokenizer.decoder = decoders.Replace("a", "\ufffd")
    assert Spelling(own).spelled(odd)[1] is None


@pytest.mark.parametrize("model", ["llama", "afina-small"])
def test_offsets_lead_to_the_tokens_streamed_or_not(model: str, speaker: Callable[[str], Path], tmp_path: Path) -> None:
    base = model if model == "afina-small" else speaker(model)
    adapters = {} if model == "afina-small" else {"adapters": tmp_path}
    if adapters:
        save(speaker(model), tmp_path / "own", "lora", CHOICES)
    with served(base, **adapters) as (_, client):
        body = {"model": "own" if adapters else model, "prompt": "Olá, the lamp 🎛", "max_tokens": 24, "logprobs": 5,
                "temperature": 2, "seed": 5}  # fmt: skip
        whole = client.post("/v1/completions", json=body).json()["choices"][0]
        streamed = client.post("/v1/completions", json=body | {"stream": True}).text
        events = [json.loads(line[6:])["choices"][0] for line in streamed.splitlines() if line.startswith("data: {")]
    told = whole["logprobs"]
    assert {key: [one for event in events for one in event["logprobs"][key]] for key in told} == told
    assert len(told["tokens"]) > 8 and told["text_offset"] == sorted(told["text_offset"])
    for token, offset, top in zip(told["tokens"], told["text_offset"], told["top_logprobs"], strict=True):
        if not token.startswith("bytes:"):
            at = whole["text"][offset:]
            assert at.startswith((token.lstrip(), token)), (token, offset, whole["text"])
        assert token in top and len(top) in (5, 6)
