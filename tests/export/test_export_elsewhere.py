"""Adapters that PEFT trained, exported: they need no data of ours, and what stands there is the same function."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import afina
import commands
from afina.export.merge import merge
from afina.predictor.predictor import Predictor
from families import language_model
from peft_writers import CASES, IDS, Speaker, ours, reference, saved, settings_of, stirred, with_more_words

Loader = Callable[[str], Path]
MERGED = (
    "plain",
    "pissa",
    "olora",
    "tokens",
    "head",
    "head, pissa",
    "head saved",
    "embedding",
    "embedding saved",
    "dora",
)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("case", "tied"),
    [
        *((case, False) for case in MERGED),
        *((case, True) for case in ("tokens", "head saved", "embedding", "embedding saved", "plain")),
    ],
)
def test_merged_is_what_peft_computes(case: str, tied: bool, speaker: Speaker, tmp_path: Path) -> None:
    assert case in CASES
    base, folder = saved("llama", speaker, tmp_path / "adapter", tied, **settings_of(case))
    wanted = reference("llama", base, folder, IDS)
    merge(afina.load(folder), tmp_path / "merged")
    model = language_model("llama").from_pretrained(tmp_path / "merged").eval()
    with torch.no_grad():
        torch.testing.assert_close(model(input_ids=IDS).logits, wanted, rtol=1e-4, atol=5e-5)
    apart = case not in ("plain", "tokens")
    assert model.config.tie_word_embeddings == (tied and not apart) or case == "tokens"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_merged_has_the_words_and_the_tokenizer_that_the_adapter_brought(speaker: Speaker, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoTokenizer

    base, folder = speaker("llama"), tmp_path / "adapter"
    words = with_more_words(base, folder)
    model = language_model("llama").from_pretrained(base)
    model.resize_token_embeddings(words)
    saves = ["embed_tokens", "lm_head"]
    config = LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"], modules_to_save=saves, r=2)
    model = stirred(get_peft_model(model, config))
    model.save_pretrained(folder)
    ids = torch.tensor([[5, words - 1, 9, words - 2]])
    with torch.no_grad():
        wanted = model(input_ids=ids).logits
    loaded = afina.load(folder)
    torch.testing.assert_close(ours(loaded, ids), wanted, rtol=1e-4, atol=5e-5)
    merge(loaded, tmp_path / "merged")
    merged = language_model("llama").from_pretrained(tmp_path / "merged").eval()
    with torch.no_grad():
        torch.testing.assert_close(merged(input_ids=ids).logits, wanted, rtol=1e-4, atol=5e-5)
    assert len(AutoTokenizer.from_pretrained(tmp_path / "merged")) == words


def texts(folder: Path) -> Path:
    path = folder / "texts.txt"
    path.write_text("my parcel is late\nthe lamp is broken\n")
    return path


def talks(folder: Path) -> Path:
    path = folder / "talks.jsonl"
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"where is my {what}"},
                {"role": "assistant", "content": "at the phone"},
            ]
        }
        for what in ("lamp", "kettle", "parcel", "order", "invoice", "cat")
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("to", "data"), [("merged", None), ("merged", texts), ("merged", talks), ("lora", None), ("peft", texts)]
)
def test_a_writer_is_compared_without_data_of_ours(to: str, data: Any, speaker: Speaker, tmp_path: Path) -> None:
    _, folder = saved("llama", speaker, tmp_path / "adapter", init_lora_weights="pissa")
    given = [] if data is None else ["--data", str(data(tmp_path))]
    found = commands.afina("export", str(folder), "--to", to, "--out", str(tmp_path / "out"), "--rows", "5", *given)
    assert found.returncode == 0, found.stderr
    assert "perplexity" in found.stdout
    assert (tmp_path / "out").is_dir()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_encoder_decoder_is_compared_too(speaker: Speaker, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"task_type": "SEQ_2_SEQ_LM", "target_modules": ["q", "v"]}
    _, folder = saved("t5", speaker, tmp_path / "adapter", **settings)
    found = commands.afina("export", str(folder), "--to", "merged", "--out", str(tmp_path / "out"), "--rows", "3")
    assert found.returncode == 0, found.stderr
    assert "perplexity" in found.stdout


def test_an_adapter_without_a_head_is_merged(family_folder: Loader, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel, AutoTokenizer

    base = family_folder("bert")
    model = get_peft_model(
        AutoModel.from_pretrained(base), LoraConfig(task_type="FEATURE_EXTRACTION", r=2, target_modules=["query"])
    )
    stirred(model).save_pretrained(tmp_path / "adapter")
    found = commands.afina(
        "export", str(tmp_path / "adapter"), "--to", "merged", "--out", str(tmp_path / "out"), "--rows", "3"
    )
    assert found.returncode == 0, found.stderr
    text = AutoTokenizer.from_pretrained(base)("my parcel", return_tensors="pt")
    with torch.no_grad():
        merged = AutoModel.from_pretrained(tmp_path / "out").eval()(**text).last_hidden_state
        torch.testing.assert_close(merged, model(**text).last_hidden_state, rtol=1e-4, atol=2e-5)


def test_what_was_exported_is_compared_in_truth(
    speaker: Speaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A merge that left the language head out is found, and nothing is written."""
    monkeypatch.setattr("afina.export.merge._take_language_head", lambda loaded, model: None)
    _, folder = saved("llama", speaker, tmp_path / "adapter", modules_to_save=["lm_head"])
    found = commands.afina("export", str(folder), "--to", "merged", "--out", str(tmp_path / "out"), "--rows", "3")
    assert found.returncode == 1 and "What was exported is not what was tested" in found.stderr
    assert not (tmp_path / "out").exists()
    assert isinstance(afina.load(folder), Predictor)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_tokenizer_goes_along_and_a_head_is_not_left_out(speaker: Speaker, tmp_path: Path) -> None:
    _, folder = saved("llama", speaker, tmp_path / "adapter", target_modules=["q_proj", "lm_head"])
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} </s>{% endfor %}"
    )
    found = commands.afina("export", str(folder), "--to", "peft", "--out", str(tmp_path / "out"), "--rows", "3")
    assert found.returncode == 0, found.stderr
    assert afina.load(tmp_path / "out").tokenizer.chat_template.startswith("{% for m in messages %}")
    found = commands.afina("export", str(folder), "--to", "lora", "--out", str(tmp_path / "lora"), "--rows", "3")
    assert found.returncode == 2 and "brought a language head of its own" in found.stderr
