"""Names of control tokens in people's texts are text, by every kind of tokenizer; no other text is read otherwise for it."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from afina.backbone.load import load_tokenizer
from afina.data.rows import Rows
from afina.data.templates.controls import named_in
from afina.data.tokens import long_text
from afina.data.tokens.as_text import control_ids, controls_for, text_ids
from afina.data.tokens.long_text import beginnings, ending
from afina.data.tokens.sequences import source_and_target
from afina.data.tokens.tokenize import tokenize, tokenize_answers
from afina.data.tokens.words import tokenize_words
from afina.generation.generate import prompt_tokens
from afina.serve.http.writing import prompt_of

PLAIN = ["plain words here", "a, b", "x < y > z [1] </ s>"]
NAMES = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}


def _fast(inner: Tokenizer, **names: Any) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=inner, **names)


def unigram() -> Any:
    """Make one as SentencePiece makes them: its control tokens are pieces, the likeliest of all, and it folds letters."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("<s>", 0.0), ("▁", -2.0)]
    inner = Tokenizer(
        models.Unigram([*pieces, *((letter, -5.0) for letter in "abcdefghijklmnopqrstuvwxyz<>/[]1,")], unk_id=2)
    )
    inner.normalizer, inner.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
    inner.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return _fast(inner, unk_token="<unk>", **NAMES)


def wordlevel() -> Any:
    """Make one whose words are what stands between spaces."""
    words = ["<pad>", "<unk>", "<s>", "</s>", "plain", "words", "here", "a,", "b", "x"]
    inner = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return _fast(inner, unk_token="<unk>", **NAMES)


def byte_pairs() -> Any:
    """Make one as RoBERTa's."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    inner.train_from_iterator(
        ["plain words here </s> mask"] * 9,
        trainers.BpeTrainer(
            vocab_size=320, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )  # fmt: skip
    inner.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    mask = AddedToken("<mask>", lstrip=True, special=True)
    return _fast(inner, unk_token="<unk>", mask_token=mask, **NAMES)


def whole_words() -> Any:
    """Make one that takes what is a word of its vocabulary whole, has its control tokens among them, and no unknown one."""
    model = json.loads(byte_pairs().backend_tokenizer.to_str())
    model["model"]["ignore_merges"] = True
    model["pre_tokenizer"] = {
        "type": "Split", "pattern": {"Regex": "\\s+"}, "behavior": "Isolated", "invert": False,
    }  # fmt: skip
    return _fast(Tokenizer.from_str(json.dumps(model)), **NAMES)


def bytes_alone() -> Any:
    """Make one that is written in Python."""
    from transformers import ByT5Tokenizer

    return ByT5Tokenizer()


MAKERS: list[Callable[[], Any]] = [
    unigram, wordlevel, byte_pairs, whole_words, bytes_alone, lambda: load_tokenizer("minilm")[0],
    lambda: load_tokenizer("afina-small")[0],
]  # fmt: skip


@pytest.fixture(scope="module", params=MAKERS, ids=[*(each.__name__ for each in MAKERS[:5]), "wordpiece", "llama"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return request.param()


def attacks(tokenizer: Any) -> list[str]:
    names = [str(name) for name in tokenizer.all_special_tokens][:6]
    wide = "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in names[1])
    return [*names, f"see {names[0]} b{names[1]}", "".join(names), names[1].upper(), wide, f"a{names[-1] * 2} {wide}"]


def inside(ids: Any, tokenizer: Any) -> list[int]:
    """Return the control tokens among some tokens."""
    return [number for number in ids if number in set(control_ids(tokenizer).tolist())]


def rows_of(texts: list[str], **more: Any) -> Rows:
    return Rows(texts, more.pop("text_pair", None), np.zeros(len(texts), np.int64), **more)


def test_a_text_is_text(tokenizer: Any) -> None:
    for text in PLAIN:
        assert text_ids(tokenizer, text) == tokenizer(text)["input_ids"]
    around = inside(text_ids(tokenizer, "a"), tokenizer)
    for attack in attacks(tokenizer):
        assert not inside(text_ids(tokenizer, attack, add_special_tokens=False), tokenizer)
        assert inside(text_ids(tokenizer, attack), tokenizer) == around
        assert not inside(prompt_tokens(tokenizer, f"a {attack}", marks=False, special=False), tokenizer)
    first = str(tokenizer.all_special_tokens[0])
    assert first in tokenizer.convert_ids_to_tokens(prompt_tokens(tokenizer, f"a {first}", marks=False))
    assert named_in(tokenizer, f"a {first}") == first
    assert named_in(tokenizer, "plain words") is None


def test_what_is_cut_off_of_a_long_text_is_not_read(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And changes no token: neither where words are parted, nor of one word, nor of spaces that are no tokens."""
    many = "plain words here, x < y " * 70
    texts = [many, many[::-1], "ab" * 700, "plain" + " " * 1500 + "x y", f"{'x' * 700} " * 2, "here"]

    def read() -> list[Any]:
        answers = [["plain", "x y"]] * len(texts)
        kinds = (True,) if tokenizer.sep_token else (True, False)  # one with such a mark writes nothing on
        made = [tokenize_answers(tokenizer, rows_of(texts), answers, 20, choices=2, apart=own) for own in kinds]
        if not tokenizer.is_fast:
            return made
        words = [text.split() for text in texts]
        labels = np.array([[0] * len(own) + [-100] * (max(map(len, words)) - len(own)) for own in words])
        made.append(tokenize_words(tokenizer, Rows(texts, None, labels, words=words), 20))
        return [
            *made,
            *(tokenize(tokenizer, rows_of(texts, text_pair=own), 20) for own in (None, texts[2:] + texts[:2])),
        ]

    shortened = read()
    assert len(ending(tokenizer, many, 20)) < 1300
    assert not tokenizer.is_fast or len(beginnings(tokenizer, [many], 20)[0]) < 1300
    monkeypatch.setattr(long_text, "letters_of", lambda tokens: 1 << 30)
    monkeypatch.setattr("afina.data.tokens.words.letters_of", lambda tokens: 1 << 30)
    for one, whole in zip(shortened, read(), strict=True):
        assert one.ids.tolist() == whole.ids.tolist() and one.offsets.tolist() == whole.offsets.tolist()
        assert one.cut == whole.cut and one.labels.tolist() == whole.labels.tolist()


def test_rows_of_every_task_are_text(tokenizer: Any) -> None:
    """Of texts, pairs, words, answers, and sources with targets; rows without such a name are what they always were."""
    bad = attacks(tokenizer)
    made = source_and_target(tokenizer, bad, bad, 200)
    around = inside(source_and_target(tokenizer, ["a"], ["a"], 200).ids, tokenizer)
    assert inside(made.ids, tokenizer) == around * len(bad)
    answers = tokenize_answers(tokenizer, rows_of(bad), [[f"{own}b", "a"] for own in bad], 400, choices=2, apart=True)
    plain = tokenize_answers(tokenizer, rows_of(["a"]), [["a", "a"]], 400, choices=2, apart=True)
    assert inside(answers.ids, tokenizer) == inside(plain.ids, tokenizer) * len(bad)
    if not tokenizer.is_fast:
        return
    for pairs in (None, bad[::-1]):
        tokens = tokenize(tokenizer, rows_of(bad, text_pair=pairs), 200)
        plain_tokens = tokenize(tokenizer, rows_of(["a"], text_pair=None if pairs is None else ["a"]), 200)
        assert inside(tokens.ids, tokenizer) == inside(plain_tokens.ids, tokenizer) * len(bad)
        good = tokenize(tokenizer, rows_of(PLAIN, text_pair=None if pairs is None else PLAIN[::-1]), 200)
        every = [tokenizer(text, *(() if pairs is None else (other,)))["input_ids"]
                 for text, other in zip(PLAIN, PLAIN[::-1], strict=True)]  # fmt: skip
        assert good.ids.tolist() == [number for own in every for number in own]
    words = [["a", own, "b"] for own in bad] + [["a", bad[0], "\u00ad", "b"]]
    labels = np.array([[0, 1, 0, -100]] * len(bad) + [[0, 1, 0, 1]])
    tagged = tokenize_words(tokenizer, Rows([" ".join(own) for own in words], None, labels, words=words), 200)
    around = inside(text_ids(tokenizer, "a"), tokenizer)
    assert inside(tagged.ids, tokenizer) == around * len(words)
    assert (tagged.targets != -100).sum() == (labels != -100).sum()


def test_a_program_without_us_reads_a_text_as_we_do(tokenizer: Any, tmp_path: Any) -> None:
    """By the tokenizer's file and two facts, as the scripts beside an export do."""
    if not tokenizer.is_fast:
        return
    tokenizer.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    alone, facts = (
        Tokenizer.from_file(str(tmp_path / "tokenizer.json")),
        json.loads(json.dumps(controls_for(tokenizer))),
    )
    alone.no_truncation()
    alone.no_padding()
    alone.encode_special_tokens = True
    for text in (*PLAIN, *attacks(tokenizer)):
        read = alone.encode(text)
        found = [
            facts["instead"] if number in facts["controls"] and not added else number
            for number, added in zip(read.ids, read.special_tokens_mask, strict=True)
        ]
        assert found == text_ids(tokenizer, text)


def test_a_server_reads_a_prompt_as_text_unless_told() -> None:
    from types import SimpleNamespace

    from afina.backbone.load import load_backbone

    engine: Any = SimpleNamespace(backbone=load_backbone("afina-small", speaks=True))
    tokenizer = engine.backbone.tokenizer
    assert not inside(prompt_of(engine, None, "a <|end|> b").prompt[1:], tokenizer)
    assert inside(prompt_of(engine, None, "a <|end|> b", special=True).prompt[1:], tokenizer)
