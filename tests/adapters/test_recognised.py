"""An adapter knows its base by the weights: whatever the files are called and however they are kept, another is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

import afina
from afina.backbone.load import load_backbone
from afina.backbone.recognised import is_other, weight_print
from afina.errors import AfinaError, UsageError
from commands import afina as run
from commands import refused
from exports import folder_of

Loader = Callable[..., Path]
TEXTS = ["my parcel is late", "good film"]


@pytest.fixture(scope="module")
def base(family_folder: Loader) -> Path:
    return family_folder("bert")


@pytest.fixture(scope="module")
def adapter(family_folder: Loader, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of("lora", "bert", family_folder, tmp_path_factory.mktemp("made"))


def copied(base: Path, to: Path, change: Callable[[dict[str, torch.Tensor]], object] = lambda tensors: None) -> Path:
    """Copy a model's folder with its weights changed."""
    shutil.copytree(base, to)
    tensors = load_file(to / "model.safetensors")
    change(tensors)
    save_file(tensors, to / "model.safetensors", metadata={"format": "pt"})
    return to


def rounded(kind: torch.dtype) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda tensors: tensors.update({name: value.to(kind) for name, value in tensors.items()})


def test_the_same_base_is_recognised_wherever_it_is_and_however_it_is_kept(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    expected = [one.label for one in afina.load(adapter).predict(TEXTS)]
    model = AutoModelForSequenceClassification.from_pretrained(base)
    model.save_pretrained(tmp_path / "parts", max_shard_size="20KB")
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 2
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(base / name, tmp_path / "parts" / name)
    places = [
        tmp_path / "parts", copied(base, tmp_path / "moved"),
        copied(base, tmp_path / "bf16", rounded(torch.bfloat16)), copied(base, tmp_path / "fp16", rounded(torch.float16)),
    ]  # fmt: skip
    for place in places:
        loaded = afina.load(adapter, model=str(place))
        assert not loaded.notes
        assert [one.label for one in loaded.predict(TEXTS)] == expected
    for precision in ("bf16", "fp32"):
        assert not afina.load(adapter, precision=precision).notes


@pytest.mark.parametrize("part", ["attention.self.query.weight", "embeddings.word", "output.LayerNorm.bias", "every"])
def test_another_base_is_refused_unless_it_is_wanted(
    part: str, base: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where one kind of weight alone is another, as when something was merged into it."""

    def change(tensors: dict[str, torch.Tensor]) -> None:
        for name, value in tensors.items():
            if part in name or (part == "every" and value.is_floating_point()):
                tensors[name] = value + 0.01 * torch.randn_like(value)

    other = copied(base, tmp_path / "other", change)
    with pytest.raises(UsageError, match=r"was trained on other weights than those of .*--model.*AFINA_OTHER_BASE=1"):
        afina.load(adapter, model=str(other))
    if part == "every":
        rounding = copied(other, tmp_path / "rounded", rounded(torch.bfloat16))
        with pytest.raises(UsageError, match="other weights"):
            afina.load(adapter, model=str(rounding))
        refused(run("predict", adapter, "good film", "--model", other), "was trained on other weights")
    (note,) = afina.load(adapter, model=str(other), other_base=True).notes
    assert "as was wanted" in note
    monkeypatch.setenv("AFINA_OTHER_BASE", "1")
    assert afina.load(adapter, model=str(other)).notes == (note,)
    monkeypatch.setenv("AFINA_OTHER_BASE", "0")
    with pytest.raises(UsageError, match="other weights"):
        afina.load(adapter, model=str(other))


def test_an_adapter_of_before_loads_and_says_that_its_base_was_not_recognised(adapter: Path, tmp_path: Path) -> None:
    shutil.copytree(adapter, old := tmp_path / "old")
    record = json.loads((old / "afina.json").read_text())
    known = record["facts"]["base"]
    name, (shape, _) = next(iter(known["numbers"].items()))
    wrong = [{**known, "numbers": {name: value}} for value in (1, [shape], [shape, "?"], [shape, 1], [3, "AAAA"])]
    for damage in ({}, [], "x", 1, {"numbers": {"a": 1}}, *wrong, None):
        facts = {**record["facts"], "base": damage}
        (old / "afina.json").write_text(json.dumps({**record, "facts": facts}))
        if damage is not None:
            with pytest.raises(AfinaError, match=r"'facts\.base' is damaged"):
                afina.load(old)
    (note,) = afina.load(old).notes
    assert "does not say by which weights its base is known" in note
    (old / "afina.json").unlink()  # PEFT's files never say it
    assert not [note for note in afina.load(old).notes if "recognised" in note]


def test_what_a_base_is_told_by_is_small_and_comes_of_its_files_alone(base: Path) -> None:
    one, other = (load_backbone(str(base)) for _ in range(2))
    known = weight_print(one)
    assert len(json.dumps(known)) < 10_000
    assert json.loads(json.dumps(weight_print(other))) == json.loads(json.dumps(known))
    assert is_other(json.loads(json.dumps(known)), other) is False
    assert is_other({**known, "numbers": {}}, other) is None
    with torch.no_grad():  # a weight of few numbers, all of which are looked at
        other.model.get_parameter("encoder.layer.1.output.dense.bias").add_(0.001)
    assert is_other(known, other) is True
