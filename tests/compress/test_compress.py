"""Smaller models: every way on every architecture is a plain checkpoint with equal outputs, or is refused by name."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import nn

import afina
from afina.api.compression import compress as compress_model
from afina.backbone.attachment import Attachment
from afina.backbone.load import load_backbone
from afina.backbone.row import key_heads
from afina.compress.calibration import calibration_texts
from afina.compress.way import WAYS
from afina.compress.ways.rank import nearest_of_rank
from afina.errors import UsageError
from commands import afina as command
from commands import refused
from families import FAMILIES
from studies import Loader

AMOUNTS: dict[str, Any] = {name: 1 if name == "drop-layers" else 5 if name == "rank" else 0.5 for name in WAYS}
REFUSED = {
    "drop-layers": {"albert", "t5", "bart", "mbart"},
    "heads": {
        "albert", "t5", "bart", "mbart", "bert", "distilbert", "modernbert", "roberta", "xlm-roberta", "camembert", "mpnet",
        "electra", "deberta-v2", "gpt2", "opt", "gte", "phi3",
    },
    "width": {"qwen3_moe"},
}  # fmt: skip
"""Architectures on which a way can do nothing; images and sound are refused by all."""
COVERING = list(dict.fromkeys([
    *product(WAYS, ("bert", "llama", "t5", "whisper")), *(("width", family) for family in FAMILIES),
    *(("heads", family) for family in ("qwen3", "gemma2", "qwen3_moe", "phi3")),
    *product(("rank", "drop-layers"), ("gpt2", "albert")),
]))  # fmt: skip
"""Every way on an architecture of each kind, and every architecture by the way that asks most of its layers' names."""


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("texts") / "mail.txt"
    path.write_text("my parcel is late\nthe kettle works when i login\n\na bad film and a good cat sat on the mat\n")
    return str(path)


@pytest.mark.covered(("name", "family"), COVERING, product(WAYS, FAMILIES))
def test_every_way_on_every_architecture_loads_plainly_or_is_refused(
    family: str, name: str, family_folder: Loader, texts: str, tmp_path: Path
) -> None:
    """What transformers loads gives what Afina's backbone gives, and holds fewer numbers where a way says that it shrinks."""
    folder, out = family_folder(family), tmp_path / "smaller"
    given = {name.replace("-", "_"): AMOUNTS[name]}
    if family in ("vit", "whisper") or family in REFUSED.get(name, set()):
        with pytest.raises(UsageError) as refusal:
            compress_model(folder, out, data=texts, **given)
        assert "\n" not in str(refusal.value)
        assert not out.exists()
        return
    made = compress_model(folder, out, data=texts, rows=3, **given)
    assert made.smaller == WAYS[name].shrinks == (made.parameters[1] < made.parameters[0])
    assert json.loads((out / "compressed.json").read_text())["way"] == name
    plain = transformers.AutoModel.from_pretrained(out, dtype=torch.float32).eval()
    backbone = load_backbone(str(out))
    inputs = {"input_ids": torch.arange(5, 29).reshape(2, 12), "attention_mask": torch.ones(2, 12, dtype=torch.long)}
    given_plain = dict(inputs)
    if plain.config.is_encoder_decoder:
        given_plain["decoder_input_ids"] = inputs["input_ids"]
    with torch.inference_mode():
        theirs = plain(**given_plain).last_hidden_state
        ours = (
            backbone.model(**given_plain, use_cache=False)
            if plain.config.is_encoder_decoder
            else backbone.model(**inputs)
        )
    torch.testing.assert_close(ours.last_hidden_state, theirs, rtol=1e-4, atol=1e-5)


def test_the_block_that_turns_its_input_least_goes(family_folder: Loader, texts: str, tmp_path: Path) -> None:
    """A layer whose weights are nothing hands its input on: it is the one that goes, and nothing changes but by its norms."""
    model = transformers.AutoModel.from_pretrained(family_folder("llama"))
    with torch.no_grad():
        for own in (model.layers[1].self_attn.o_proj, model.layers[1].mlp.down_proj):
            own.weight.zero_()
    model.save_pretrained(tmp_path / "idle")
    transformers.AutoTokenizer.from_pretrained(family_folder("llama")).save_pretrained(tmp_path / "idle")
    made = compress_model(tmp_path / "idle", tmp_path / "out", data=texts, drop_layers=1)
    assert made.kept["dropped"] == [1]
    angles = made.kept["angle_by_start"]
    assert angles[1] == pytest.approx(0, abs=1e-3)
    assert angles[0] > 0.01
    smaller = transformers.AutoModel.from_pretrained(tmp_path / "out")
    ids = torch.arange(5, 17)[None]
    torch.testing.assert_close(smaller(ids).last_hidden_state, model(ids).last_hidden_state, rtol=1e-4, atol=1e-5)


def test_neurons_that_nothing_reaches_are_those_that_go(family_folder: Loader, texts: str, tmp_path: Path) -> None:
    """With half of the neurons silent, the narrower model gives what the whole one gave."""
    model = transformers.AutoModel.from_pretrained(family_folder("bert"))
    silent = torch.randperm(37, generator=torch.Generator().manual_seed(0))[:19]
    with torch.no_grad():
        for layer in model.encoder.layer:
            layer.output.dense.weight[:, silent] = 0
    model.save_pretrained(tmp_path / "half")
    transformers.AutoTokenizer.from_pretrained(family_folder("bert")).save_pretrained(tmp_path / "half")
    made = compress_model(tmp_path / "half", tmp_path / "out", data=texts, width=18 / 37)
    assert all(not set(kept) & set(silent.tolist()) for kept in made.kept["neurons"])
    narrow, ids = transformers.AutoModel.from_pretrained(tmp_path / "out").eval(), torch.arange(5, 17)[None]
    assert narrow.config.intermediate_size == 18
    torch.testing.assert_close(narrow(ids).last_hidden_state, model.eval()(ids).last_hidden_state, rtol=1e-4, atol=1e-5)


def test_groups_of_heads_go_with_their_key_and_value(family_folder: Loader, texts: str, tmp_path: Path) -> None:
    model = transformers.AutoModel.from_pretrained(family_folder("llama"))
    width = model.config.head_dim * model.config.num_attention_heads // key_heads(model.config)
    with torch.no_grad():
        for layer in model.layers:
            layer.self_attn.o_proj.weight[:, :width] = 0  # of two groups the first says nothing
    model.save_pretrained(tmp_path / "half")
    transformers.AutoTokenizer.from_pretrained(family_folder("llama")).save_pretrained(tmp_path / "half")
    made = compress_model(tmp_path / "half", tmp_path / "out", data=texts, heads=0.5)
    assert made.kept["groups"] == [[1], [1]]
    fewer, ids = transformers.AutoModel.from_pretrained(tmp_path / "out"), torch.arange(5, 17)[None]
    assert (fewer.config.num_attention_heads, fewer.config.num_key_value_heads) == (2, 1)
    torch.testing.assert_close(fewer(ids).last_hidden_state, model(ids).last_hidden_state, rtol=1e-4, atol=1e-5)


def test_a_rank_is_nearest_in_what_comes_out() -> None:
    """Of a rank, over inputs that are not alike, no worse than plain truncation in outputs, and no better in weights."""
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(9, 12, generator=draw)
    inputs = torch.randn(400, 12, generator=draw) @ torch.randn(12, 12, generator=draw) ** 3
    near = nearest_of_rank(weight, 4, (inputs.double().T @ inputs.double()) / 400)
    u, s, v = torch.linalg.svd(weight, full_matrices=False)
    plain = (u[:, :4] * s[:4]) @ v[:4]
    assert torch.linalg.matrix_rank(near, rtol=1e-4) == 4
    assert (inputs @ (weight - near).T).norm() < 0.8 * (inputs @ (weight - plain).T).norm()
    assert (weight - near).norm() > (weight - plain).norm()


@pytest.mark.parametrize("name", ["magnitude", "random", "wanda"])
def test_baselines_set_as_many_weights_to_zero_as_asked(
    name: str, family_folder: Loader, texts: str, tmp_path: Path
) -> None:
    made = compress_model(family_folder("bert"), tmp_path / "out", data=texts, **{name: 0.25})
    assert "as large and as slow as before" in made.said and not made.smaller
    weights = load_file(tmp_path / "out" / "model.safetensors")
    before = load_file(Path(family_folder("bert")) / "model.safetensors")
    matrix = next(key for key in weights if key.endswith("intermediate.dense.weight"))
    gone = weights[matrix] == 0
    assert gone.float().mean() == pytest.approx(0.25, abs=0.02)
    assert torch.equal(weights[matrix][~gone], before[matrix][~gone])
    if name == "magnitude":
        assert before[matrix][gone].abs().max() <= before[matrix][~gone].abs().min()
    if name == "wanda":
        assert set(gone.sum(dim=1).tolist()) == {round(0.25 * gone.shape[1])}


def test_a_head_stays_and_the_smaller_model_is_a_base(family_folder: Loader, texts: str, tmp_path: Path) -> None:
    """A classifier that was tuned stays one; and the folder is a base like any other."""
    folder = tmp_path / "classifier"
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        family_folder("bert"), num_labels=3, ignore_mismatched_sizes=True
    )
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(family_folder("bert")).save_pretrained(folder)
    afina.compress_model(folder, tmp_path / "out", data=texts, drop_layers=1)
    smaller = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    assert torch.equal(smaller.classifier.weight, model.classifier.weight)
    backbone = load_backbone(str(tmp_path / "out"))
    assert backbone.anatomy.layer_count == 1
    from afina.adapters.adapter import build_adapter
    from afina.methods.base import make_method

    with Attachment(backbone, [build_adapter(make_method("lora", {"rank": 2}), backbone, 3, 0)]) as attached:
        assert attached({"input_ids": torch.arange(5, 11)[None], "attention_mask": torch.ones(1, 6)})[0].shape == (1, 3)


def test_texts_to_judge_by(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\n  \ntwo\nthree\n")
    assert calibration_texts(str(tmp_path / "a.txt"), 2) == [("one", None), ("two", None)]
    assert len(calibration_texts("tickets", 7)) == 7
    (tmp_path / "b.txt").write_text("\n \n")
    with pytest.raises(UsageError, match="no usable text"):
        calibration_texts(str(tmp_path / "b.txt"), 2)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "Give one of"),
        ({"width": 0.5, "rank": 4}, "not --width and --rank"),
        ({"drop_layers": 2}, "has 2 layers here; drop at most 1"),
        ({"drop_layers": 0}, "whole number from 1"),
        ({"width": 1.5}, "between 0 and 1"),
        ({"width": float("nan")}, "between 0 and 1"),
        ({"rank": 10_000}, "choose a smaller one"),
        ({"width": 0.5, "data": None}, "by --data"),
        ({"width": 0.5, "data": "nowhere.csv"}, "nowhere.csv"),
    ],
)
def test_what_cannot_be_is_refused(
    given: dict[str, Any], said: str, family_folder: Loader, texts: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said) as refusal:
        compress_model(family_folder("bert"), tmp_path / "out", **{"data": texts} | given)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_over(family_folder: Loader, texts: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    folder = family_folder("bert")
    for out, force, said in (
        (tmp_path / "mine", False, "exists already"), (tmp_path / "mine", True, "is left alone"),
        (folder, True, "the model that is read"), (tmp_path / "mine" / "thesis.txt", True, "is a file"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=said):
            compress_model(folder, out, data=texts, drop_layers=1, force=force)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "all of it"

    compress_model(folder, tmp_path / "made", magnitude=0.5)
    (tmp_path / "made" / "notes.txt").write_text("what I think of it")
    with pytest.raises(UsageError, match=r"holds notes\.txt, which Afina did not write"):
        compress_model(folder, tmp_path / "made", magnitude=0.5, force=True)
    assert (tmp_path / "made" / "notes.txt").read_text() == "what I think of it"


def test_the_command_says_what_it_did(family_folder: Loader, texts: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = command("compress", family_folder("bert"), "--width", "0.5", "--data", texts, "--out", out)
    assert said.returncode == 0, said.stderr
    assert "Kept 18 of 37 feed-forward neurons" in said.stdout.replace("\n", " ")
    assert isinstance(transformers.AutoModel.from_pretrained(out), nn.Module)
    refused(
        command("compress", family_folder("bert"), "--width", "0.5", "--data", texts, "--out", out), "exists already"
    )
    portuguese = command(
        "compress",
        family_folder("bert"),
        "--drop-layers",
        "1",
        "--data",
        texts,
        "--out",
        out,
        "--force",
        "--language",
        "pt",
    )
    assert "Removida a camada" in portuguese.stdout
