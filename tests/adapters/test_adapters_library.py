"""Checkpoints that the `adapters` library wrote (adapters_library/make.py): the logits are those it computes."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from afina.backbone.attachment import Attachment
from afina.errors import AfinaError, UsageError
from afina.export.peft import write_peft
from afina.predictor.load import load as load_adapter
from afina.predictor.predictor import Predictor

MADE = Path(__file__).parent / "adapters_library"
CHECKPOINTS = sorted(path.parent.name for path in MADE.glob("*/adapter.safetensors"))


@pytest.fixture
def with_tokenizer(tmp_path: Path) -> Path:
    """The checkpoints and their models, which need a tokenizer to load; any will do, as token ids are given."""
    from families import tokenizer

    shutil.copytree(MADE, tmp_path / "made")
    for family in ("bert", "distilbert", "gpt2"):
        tokenizer(family).save_pretrained(tmp_path / "made" / family)
    return tmp_path / "made"


def load(folder: Path) -> Predictor:
    return load_adapter(folder, model=str(folder.parent / folder.name.split("-")[0]))


@pytest.mark.parametrize("name", [name for name in CHECKPOINTS if name != "gpt2-parallel-own"])
def test_logits_are_those_of_the_library(name: str, with_tokenizer: Path) -> None:
    loaded = load(with_tokenizer / name)
    expected = load_file(with_tokenizer / name / "expected.safetensors")
    with Attachment(loaded.backbone, [loaded.adapter]) as attached, torch.no_grad():
        (logits,) = attached({"input_ids": expected["input_ids"]})
    torch.testing.assert_close(logits, expected["logits"], rtol=1e-5, atol=1e-5)
    names = ("red", "green", "blue") if name.endswith("flexible") else ("LABEL_0", "LABEL_1", "LABEL_2")
    assert tuple(loaded.record.task["label_names"]) == names
    with pytest.raises(UsageError, match="PEFT has no word for"):
        write_peft(loaded, with_tokenizer)


def test_what_is_another_function_here_is_refused(with_tokenizer: Path) -> None:
    with pytest.raises(UsageError, match="look at the residual stream here"):
        load(with_tokenizer / "gpt2-parallel-own")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [("ln_before", True, "with ln_before set"), ("non_linearity", "leakyrelu", "nonlinearity 'leakyrelu'"),
     ("scaling", "learned", "scaling 'learned'")],
)  # fmt: skip
def test_variants_that_are_not_read_are_named(key: str, value: object, said: str, with_tokenizer: Path) -> None:
    path = with_tokenizer / "bert-houlsby-own" / "adapter_config.json"
    config = json.loads(path.read_text())
    config["config"][key] = value
    path.write_text(json.dumps(config))
    with pytest.raises(UsageError, match=said):
        load(path.parent)


def test_pickles_and_other_models_are_refused(with_tokenizer: Path) -> None:
    folder = with_tokenizer / "bert-houlsby-own"
    with pytest.raises(AfinaError, match="trained on another base model"):
        load_adapter(folder, model="minilm")
    (folder / "adapter.safetensors").rename(folder / "pytorch_adapter.bin")
    with pytest.raises(UsageError, match="pickles weights, which can run code, unless"):
        load(folder)
    shutil.copytree(with_tokenizer / "bert-pfeiffer-own", folder, dirs_exist_ok=True)
    (folder / "head_config.json").unlink()
    with pytest.raises(UsageError, match="no classification head"):
        load(folder)


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("own", {"num_labels": "three"}, "head_config.json: 'num_labels' is of the wrong kind"),
        ("own", {"label2id": {"a": 0, "b": 0, "c": 1}}, "label2id should number the labels from 0 on, each once"),
        ("own", {"label2id": {"a": 0, "b": 1}}, "names 2 labels and its head has 3"),
        ("flexible", {"config": {"head_type": ["classification"]}}, "'config.head_type' is of the wrong kind"),
        ("flexible", {"config": {"head_type": "classification", "label2id": {"a": "x"}}}, "'config.label2id.a' is of"),
        ("flexible", {"config": {"head_type": "tagging"}}, "heads of the type 'tagging' are not read"),
    ],
)
def test_a_head_that_cannot_be_is_one_sentence(
    kind: str, change: dict[str, object], said: str, with_tokenizer: Path
) -> None:
    path = with_tokenizer / f"bert-houlsby-{kind}" / "head_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(AfinaError, match=said):
        load(path.parent)
    path.write_text("[" * 90_000)
    with pytest.raises(AfinaError, match="is damaged"):
        load(path.parent)
