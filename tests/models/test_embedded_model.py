"""The embedded model and its data: what is packaged, that it writes, and that it does not know the demo's company."""

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from afina.backbone.load import load_backbone, load_tokenizer
from afina.backbone.model_files import BUILT_IN, model_path
from afina.errors import AfinaError

PRETRAINING = Path(__file__).parents[2] / "pretraining"
sys.path.append(str(PRETRAINING))

import company  # noqa: E402
import recipe  # noqa: E402
from words import KNOWN  # noqa: E402

NAME = "afina-small"


def test_a_long_text_is_tokenised_in_silence(capfd: pytest.CaptureFixture[str]) -> None:
    """What is too long is cut or refused in our words, where it matters; transformers' warning is another's."""
    tokenizer, longest = load_tokenizer(NAME)
    assert len(tokenizer("lamp " * 2 * longest)["input_ids"]) > longest
    assert capfd.readouterr().err == ""


@pytest.fixture(scope="module")
def parts() -> tuple[Any, Any]:
    """The model and tokenizer as anybody loads them with transformers alone."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = model_path(NAME)
    return AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)


def packaged(name: str) -> list[dict[str, Any]]:
    return [
        json.loads(line) for line in (resources.files("afina.data") / "sets" / name).read_text("utf-8").splitlines()
    ]


def perplexity(model: Any, tokenizer: Any, texts: list[str]) -> float:
    """Return that of each text alone, of all but its first token."""
    total, count = 0.0, 0
    for text in texts:
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0, :-1].float()
        total += cross_entropy(logits, ids[0, 1:], reduction="sum").item()
        count += ids.shape[1] - 1
    return math.exp(total / count)


def replies(model: Any, tokenizer: Any, questions: list[list[dict[str, str]]], most: int = 40) -> list[str]:
    """Return what the model says next, greedily, with its end token where it ended by itself."""
    texts = tokenizer.apply_chat_template(questions, tokenize=False, add_generation_prompt=True)
    inputs = tokenizer(texts, padding=True, padding_side="left", return_tensors="pt")
    with torch.no_grad():
        ids = model.generate(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], max_new_tokens=most, do_sample=False
        )
    said = tokenizer.batch_decode(ids[:, inputs["input_ids"].shape[1] :])
    return [text.replace(tokenizer.pad_token, "") for text in said]


def asked(question: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}]


def test_the_package_is_small_and_its_weights_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [path for path in Path(model_path(NAME)).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 10_000_000
    load_backbone(NAME, speaks=True)
    monkeypatch.setitem(BUILT_IN, NAME, replace(BUILT_IN[NAME], sha256="0" * 64))
    with pytest.raises(AfinaError, match=r"not the published ones .* reinstall afina"):
        load_backbone(NAME, speaks=True)


def test_transformers_loads_it_as_a_llama_in_bfloat16(parts: tuple[Any, Any]) -> None:
    model, tokenizer = parts
    assert model.config.model_type == "llama" and model.dtype == torch.bfloat16
    assert 3e6 < sum(parameter.numel() for parameter in model.parameters()) < 4.5e6
    assert tokenizer.eos_token_id == model.config.eos_token_id == model.generation_config.eos_token_id
    assert tokenizer.pad_token_id == model.config.pad_token_id != tokenizer.eos_token_id
    assert len(tokenizer) == model.config.vocab_size


def test_the_tokenizer_keeps_any_text_and_marks_what_the_assistant_says(parts: tuple[Any, Any]) -> None:
    tokenizer = parts[1]
    odd = 'Às 12:40h, "João" pagou R$ 3,50!\n\tNaïve 北京 🙂  done'
    assert tokenizer.decode(tokenizer(odd)["input_ids"]) == odd
    talk = [{"role": "system", "content": "Be kind."}, *asked("Hi!"), {"role": "assistant", "content": "Hello!"}]
    found = tokenizer.apply_chat_template(talk, return_dict=True, return_assistant_tokens_mask=True)
    said = [i for i, mine in zip(found["input_ids"], found["assistant_masks"], strict=True) if mine]
    assert tokenizer.decode(said) == "Hello!<|end|>"
    assert (
        tokenizer.decode(found["input_ids"]) == "<|system|>Be kind.<|end|><|user|>Hi!<|end|><|assistant|>Hello!<|end|>"
    )


def test_it_writes_simple_sentences(parts: tuple[Any, Any]) -> None:
    """On text of a seed that it was not trained on; an untrained model is as unsure as its vocabulary is large."""
    from transformers import AutoConfig, AutoModelForCausalLM

    model, tokenizer = parts
    texts = [text for text in recipe.documents(seed=77, count=120) if isinstance(text, str)]
    assert len(texts) > 40
    assert perplexity(model, tokenizer, texts) < 6
    torch.manual_seed(0)
    untrained = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model_path(NAME)))
    assert perplexity(untrained, tokenizer, texts[:10]) > 1000


def test_it_answers_what_it_was_taught_and_stops(parts: tuple[Any, Any]) -> None:
    said = replies(*parts, [asked(question) for _, _, question, _ in KNOWN])
    right = [text == f"{answer}<|end|>" for text, (*_, answer) in zip(said, KNOWN, strict=True)]
    assert sum(right) >= 0.9 * len(KNOWN)


def test_it_answers_from_what_it_is_told(parts: tuple[Any, Any]) -> None:
    told = [
        ("The bakery opens at 6:40.", "When does the bakery open?", "6:40"),
        ("Rosa has a green bicycle.", "What does Rosa drive?", "green"),
        ("The old clock is made of silver.", "What is the old clock made of?", "silver"),
        ("Hugo works as a dentist.", "What is Hugo's job?", "dentist"),
        ("Marta lives in Quito.", "Where does Marta live?", "Quito"),
        ("The blue lamp costs 17 reais.", "How much is the blue lamp?", "17 reais"),
    ]  # fmt: skip
    said = replies(*parts, [[{"role": "system", "content": fact}, *asked(question)] for fact, question, _ in told])
    # A model of 4M parameters does not always copy; of values drawn among dozens it hits none by chance.
    assert sum(value in text for text, (*_, value) in zip(said, told, strict=True)) >= 2, said


@pytest.mark.whole  # test_demo_chat.py asks it the same before it is taught
def test_it_does_not_know_the_company(parts: tuple[Any, Any]) -> None:
    rows = [row for row in packaged("roaster.jsonl") if row["split"] == "test"]
    said = replies(*parts, [row["messages"][:1] for row in rows], most=24)
    assert sum(row["key"] in text for row, text in zip(rows, said, strict=True)) <= 0.05 * len(rows)


@pytest.mark.covered("count", [4_000], [4_000, 20_000])
def test_the_recipe_never_speaks_of_the_company(count: int) -> None:
    text = "\n".join(
        document if isinstance(document, str) else "\n".join(message["content"] for message in document)
        for document in recipe.documents(seed=1, count=count)
    )
    names = {company.COMPANY, "Pedra Morena", *(name for coffee in company.COFFEES for name in coffee[::3])}
    names |= {name for _, name in company.STAFF}
    # `Saci` and the like are no words of the recipe, but its invented names can fall on them.
    assert not [name for name in names if " " in name and re.search(rf"\b{re.escape(name)}\b", text)]
    assert company.COMPANY not in text and "Iolanda" not in text and "tucano63" not in text


def test_the_recipe_is_the_same_for_a_seed() -> None:
    some = list(recipe.documents(seed=5, count=40))
    assert some[30:] == list(recipe.documents(seed=5, count=10, start=30))
    assert some != list(recipe.documents(seed=6, count=40))
    code = "import json, recipe; print(json.dumps(list(recipe.documents(5, 40))))"
    other = subprocess.run(
        [sys.executable, "-c", code], cwd=PRETRAINING, env={**os.environ, "PYTHONHASHSEED": "99"}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert json.loads(other.stdout) == some


def test_the_packaged_data_are_the_recipes() -> None:
    assert packaged("roaster.jsonl") == company.rows()
    assert packaged("everyday.jsonl") == company.general()


def test_every_fact_is_trained_on_and_asked_for_in_other_words() -> None:
    rows = company.rows()
    by_split = {split: [row for row in rows if row["split"] == split] for split in ("train", "test")}
    assert {row["fact"] for row in by_split["train"]} == {row["fact"] for row in by_split["test"]}
    assert 60 <= len({row["fact"] for row in rows}) <= 120
    questions = {split: {row["messages"][0]["content"] for row in part} for split, part in by_split.items()}
    assert not questions["train"] & questions["test"] and sum(map(len, questions.values())) == len(rows)
    for row in rows:
        question, answer = (message["content"] for message in row["messages"])
        assert row["key"] in answer and row["key"] not in question
