"""Folders of PEFT's as people bring them: with a tokenizer of their own, without a head, with more words, damaged."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import afina
from afina.errors import AfinaError, UsageError
from families import classifier, language_model, tokenizer
from peft_writers import IDS, Speaker, ours, saved, stirred, with_more_words

Loader = Callable[[str], Path]
TEXTS = ["my parcel is late", "where is the lamp please help"]


def lora(**settings: Any) -> Any:
    from peft import LoraConfig

    return LoraConfig(**{"r": 2, "target_modules": ["query", "value"]} | settings)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_folders_own_tokenizer_and_template_are_used(speaker: Speaker, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    base = speaker("llama")
    _, plain = saved("llama", speaker, tmp_path / "plain")
    folder = tmp_path / "more"
    words = with_more_words(base, folder)
    model = language_model("llama").from_pretrained(base)
    model.resize_token_embeddings(words)
    config = LoraConfig(
        task_type="CAUSAL_LM", target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"], r=2, lora_alpha=4
    )
    model = stirred(get_peft_model(model, config))
    model.save_pretrained(folder)
    first = afina.load(plain)
    loaded = afina.load(folder, beside=first)
    request = loaded.request([{"role": "user", "content": "my parcel"}], loaded)
    assert request.prompt[0] == words - 2 and request.prompt[-1] == words - 1
    with torch.no_grad():
        theirs = model(input_ids=torch.tensor([request.prompt])).logits[0, -1]
    written = loaded.generate([[{"role": "user", "content": "my parcel"}]], max_new_tokens=1, temperature=0)[0]
    assert written.tokens in ([int(theirs.argmax())], [])
    (tmp_path / "texts.txt").write_text("my lamp is late\n")
    (note,) = afina.evaluate(folder, text=[tmp_path / "texts.txt"]).notes
    assert "own tokenizer" in note and "bits per byte" in note
    # One that brings none, and the bare model, keep the base's tokenizer beside it, in one batch.
    chat = [{"role": "user", "content": "my parcel"}]
    both = first.generate([chat, "my lamp"], adapters=[loaded, first], max_new_tokens=3, temperature=0)
    assert both[1].tokens == first.generate(["my lamp"], max_new_tokens=3, temperature=0)[0].tokens
    assert both[0].tokens == loaded.generate([chat], max_new_tokens=3, temperature=0)[0].tokens
    assert max(first.request("<ask> parcel", None).prompt) < words - 2
    # Tokens without vectors are refused, not looked up beyond the end.
    with_more_words(base, plain)
    with pytest.raises(UsageError, match=rf"has {words} tokens, and .* has vectors for {words - 2}; give by --model"):
        afina.load(plain)


def test_a_base_is_measured_in_the_adapters_own_tokens(speaker: Speaker, tmp_path: Path) -> None:
    base, folder = saved("llama", speaker, tmp_path / "adapter")
    (tmp_path / "texts.txt").write_text("my lamp is late\nwhere is the lamp\n")

    def of_base() -> float:
        found = afina.evaluate(folder, text=[tmp_path / "texts.txt"])
        assert not found.notes
        return next(row.base.value for row in found.rows if row.measure == "perplexity" and row.base is not None)

    before = of_base()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(base / name, folder)
    assert of_base() == before
    mine = json.loads((folder / "tokenizer.json").read_text())
    words = mine["model"]["vocab"]
    words["lamp"], words["kettle"] = words["kettle"], words["lamp"]
    (folder / "tokenizer.json").write_text(json.dumps(mine))
    (tmp_path / "texts.txt").write_text("my kettle is late\nwhere is the kettle\n")
    assert of_base() == before


def test_a_chat_template_alone_is_used_with_the_bases_tokenizer(speaker: Speaker, tmp_path: Path) -> None:
    _, folder = saved("llama", speaker, tmp_path / "adapter")
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ 'my ' if m['role'] == 'user' }}{{ m['content'] }} please </s>{% endfor %}"
    )
    loaded = afina.load(folder)
    assert (
        loaded.request([{"role": "user", "content": "help"}], loaded).prompt
        == loaded.tokenizer("my help please </s>").input_ids
    )


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_an_adapter_without_a_head_gives_vectors(family: str, family_folder: Loader, tmp_path: Path) -> None:
    from peft import get_peft_model
    from transformers import AutoModel

    base = family_folder(family)
    targets = ["query"] if family == "bert" else ["q_proj"]
    model = get_peft_model(
        AutoModel.from_pretrained(base), lora(task_type="FEATURE_EXTRACTION", target_modules=targets)
    )
    stirred(model).save_pretrained(tmp_path)
    loaded = afina.load(tmp_path)
    inputs = tokenizer(family)(TEXTS[0], return_tensors="pt")
    with torch.no_grad():
        states = model(**inputs).last_hidden_state[0]
    np.testing.assert_allclose(loaded.embed(TEXTS)[0], states.mean(0), atol=2e-5)
    at = states[-1 if family == "llama" else 0]
    np.testing.assert_allclose(loaded.embed(TEXTS, pooling="cls")[0], at, atol=2e-5)
    said = loaded.predict(TEXTS)[0].as_dict()
    np.testing.assert_allclose(said["embedding"], states.mean(0), atol=2e-5)
    with pytest.raises(UsageError, match="no task head: it is an embedding adapter"):
        loaded.logits(TEXTS)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"task_type": None}))
    with pytest.raises(
        UsageError, match="no task head and is an embedding adapter; set task_type to FEATURE_EXTRACTION"
    ):
        afina.load(tmp_path)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_an_adapter_on_a_trained_head_is_folded_into_it(family: str, family_folder: Loader, tmp_path: Path) -> None:
    from peft import get_peft_model

    base = classifier(family).from_pretrained(family_folder(family))
    names = ["query", "classifier"] if family == "bert" else ["query", "classifier.dense", "out_proj"]
    model = stirred(get_peft_model(base, lora(target_modules=names)))
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"task_type": "SEQ_CLS"}))
    with torch.no_grad():
        theirs = model(**tokenizer(family)(TEXTS[0], return_tensors="pt")).logits
    np.testing.assert_allclose(afina.load(tmp_path).logits(TEXTS[:1]), theirs, atol=3e-5)


def changed(folder: Path, **tensors: Any) -> None:
    path = folder / "adapter_model.safetensors"
    own = load_file(path)
    for end, change in tensors.items():
        name = next(name for name in own if name.endswith(end.replace("__", ".")))
        own[name] = change(own[name])
    save_file(own, path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda x: x.fill_(float("nan")), r"lora_B.weight' holds numbers that are not finite \(NaN or infinity\)"),
        (lambda x: x.masked_fill(x == x[0, 0], float("inf")), "holds numbers that are not finite"),
        (lambda x: x.half().fill_(float("-inf")), "holds numbers that are not finite"),
        (lambda x: x.int(), "lora_B.weight' holds int32 where weights are real numbers"),
        (lambda x: x.bool(), "holds bool where"),
        (
            lambda x: x[:, :1].contiguous(),
            r"q_proj' has lora_B.weight of \(24, 1\) and .* needs \(24, 3\); it was trained on",
        ),
        (lambda x: x[:5].contiguous(), "it was trained on another base model"),
        (lambda x: x.flatten(), "it was trained on another base model"),
    ],
    ids=["nan", "inf", "half", "int", "bool", "rank", "rows", "flat"],
)
def test_tensors_that_cannot_be_are_refused(change: Any, sentence: str, speaker: Speaker, tmp_path: Path) -> None:
    _, folder = saved("llama", speaker, tmp_path / "adapter", target_modules=["q_proj"])
    changed(folder, lora_B__weight=change)
    with pytest.raises(AfinaError, match=sentence):
        afina.load(folder)


def renamed(folder: Path, old: str, new: str) -> None:
    path = folder / "adapter_model.safetensors"
    own = {name.replace(old, new): value for name, value in load_file(path).items()}
    save_file(own, path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("layers.0.", "layers.7.", "adapts 'model.layers.7.self_attn.q_proj', .* does not have: it was trained on another"),
        ("q_proj.lora_B.weight", "q_proj.oft_R.weight", "has 'oft_R.weight' at 'layers.0.self_attn.q_proj', a kind of"),
        ("q_proj.lora_B", "q_proj.lora_C", "a kind of adapter that is not read"),
        ("layers.0.self_attn.q_proj.lora_B", "layers.0.self_attn.v_proj.lora_B", "q_proj' lacks its lora_B.weight"),
        ("base_model.model.model.layers.1", "layers.1", "another base model|not read|embedding adapter"),
    ],
)  # fmt: skip
def test_a_tensor_without_a_place_is_no_other_models(
    old: str, new: str, sentence: str, speaker: Speaker, tmp_path: Path
) -> None:
    _, folder = saved("llama", speaker, tmp_path / "adapter", target_modules=["q_proj"])
    renamed(folder, old, new)
    with pytest.raises(AfinaError, match=sentence):
        afina.load(folder)


def test_a_pattern_that_explodes_is_refused(speaker: Speaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import afina.methods.lora_peft as modules

    monkeypatch.setattr(modules, "_SECONDS", 0.2)
    _, folder = saved("llama", speaker, tmp_path / "adapter", target_modules=["q_proj"])
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    for pattern, sentence in (
        ("((.|.)*)*m", r"the pattern '.*' in alpha_pattern takes more than 0.2 s"),
        ("((a{999}){999}){999}", "is longer, or repeats more often, than names of modules are"),
        ("q" * 3000, "is longer, or repeats more often"),
        ("(" * 900 + ")" * 900, "is no regular expression"),
        ("q_proj(", "in alpha_pattern is no regular expression"),
        ("(?P<a", "in alpha_pattern is no regular expression"),
    ):
        path.write_text(json.dumps(config | {"alpha_pattern": {pattern: 2}}))
        with pytest.raises(UsageError, match=sentence):
            afina.load(folder)


def test_a_revision_of_the_base_is_not_left_out(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "lora_alpha": 1, "base_model_name_or_path": "some/model", "revision": "v2"})
    )
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match=r"revision v2 of some/model, .* give its folder by --model"):
        afina.load(tmp_path)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_base_vectors_kept_beside_are_the_base(speaker: Speaker, tmp_path: Path) -> None:
    """PEFT keeps an adapted embedding's own weight; where it is the base's, it is not a second one."""
    _, folder = saved("llama", speaker, tmp_path / "adapter", target_modules=["q_proj", "embed_tokens"])
    loaded = afina.load(folder)
    assert any(name.endswith("base_layer.weight") for name in load_file(folder / "adapter_model.safetensors"))
    assert [type(branch).__name__ for site, branch in loaded.adapter.placed() if "embed" in site.module] == [
        "EmbeddingLowRank"
    ]
    before = ours(loaded, IDS)
    changed(folder, base_layer__weight=lambda x: x * 1.5)
    after = ours(afina.load(folder), IDS)
    assert not torch.allclose(before, after)
    shutil.rmtree(folder)


def test_what_is_no_layer_is_refused_by_name(family_folder: Loader, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageClassification

    model = AutoModelForImageClassification.from_pretrained(family_folder("vit"))
    config = LoraConfig(target_modules=["projection"], modules_to_save=["classifier"])
    get_peft_model(model, config).save_pretrained(tmp_path)
    with pytest.raises(
        UsageError, match=r"changes 'vit\.embeddings\.patch_embeddings\.projection', a Conv2d, of which"
    ):
        afina.load(tmp_path)
