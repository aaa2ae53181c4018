"""What is exported is what was tested, and loads without Afina."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import afina
from afina.errors import UsageError
from afina.export.low_rank import as_lora
from afina.export.merge import merge
from afina.export.parity import check_parity, load_merged, load_peft
from afina.export.peft import write_peft
from afina.export.target import TARGETS
from afina.methods.base import registry
from afina.predictor.predictor import Predictor
from commands import afina as run_afina
from commands import refused
from exports import folder_of
from families import FAMILIES
from peft_adapters import lora, trained

Loader = Callable[[str], Path]
MERGEABLE = sorted(name for name, cls in registry().items() if cls.mergeable)
KNOWN = sorted(name for name, cls in registry().items() if cls.peft is not None and cls.peft.direct)
BIASLESS = ("llama", "mistral", "qwen3", "qwen3_moe", "gemma2", "gemma3_text", "phi3", "t5", "modernbert")


def sample(loaded: Predictor) -> Any:
    import numpy as np

    from afina.data.labelled import Rows

    texts = ["my parcel is late", "the login works not", "good film", "where is the kettle please"]
    return None if loaded.backbone.tokenizer is None else Rows(texts, None, np.array([0, 1, 0, 1]))


@pytest.mark.parametrize("family", BIASLESS)
def test_biases_that_a_model_has_no_place_for_are_not_merged(
    family: str, family_folder: Loader, tmp_path: Path
) -> None:
    loaded = afina.load(folder_of("bitfit", family, family_folder, tmp_path))
    with pytest.raises(UsageError, match=rf"bitfit adds .*\.bias, which {family} has not"):
        merge(loaded, tmp_path / "merged")


@pytest.mark.pairs(
    MERGEABLE,
    FAMILIES,
    fully=("bert", "gpt2", "t5"),
    unless=lambda name, family: name == "bitfit" and family in BIASLESS,
)
def test_merged_is_a_plain_model_with_the_same_logits(
    name: str, family: str, family_folder: Loader, tmp_path: Path
) -> None:
    loaded = afina.load(folder_of(name, family, family_folder, tmp_path))
    merge(loaded, tmp_path / "merged")
    parity = check_parity(loaded, loaded, *load_merged(loaded, tmp_path / "merged"), sample(loaded))
    assert parity.equal, parity
    assert parity.agreeing == parity.rows
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert config["id2label"] == {"0": "no", "1": "yes"}


def test_a_merged_model_that_does_not_fit_is_an_error_of_the_system(family_folder: Loader, tmp_path: Path) -> None:
    """A limit on the size of files stands for a disk without room."""
    import resource

    loaded = afina.load(folder_of("lora", "bert", family_folder, tmp_path))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            merge(loaded, tmp_path / "merged")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.pairs(KNOWN, ["bert", "gpt2", "t5", "phi3"], fully=("bert", "gpt2"))
@pytest.mark.filterwarnings("ignore:Unsupported layer type:UserWarning")
def test_peft_reads_an_export(name: str, family: str, family_folder: Loader, tmp_path: Path) -> None:
    loaded = afina.load(folder_of(name, family, family_folder, tmp_path))
    (tmp_path / "peft").mkdir()
    if not loaded.method.joins(loaded.adapter.sites):
        with pytest.raises(UsageError, match=f"PEFT has no {name} on slices of a fused projection"):
            write_peft(loaded, tmp_path / "peft")
        return
    write_peft(loaded, tmp_path / "peft")
    parity = check_parity(loaded, loaded, *load_peft(loaded, tmp_path / "peft"), sample(loaded))
    assert parity.equal, parity
    again = afina.load(tmp_path / "peft")
    assert again.predict(["my parcel is late"]) == loaded.predict(["my parcel is late"])


def test_adalora_of_unlike_slices_has_no_word_in_peft(family_folder: Loader, tmp_path: Path) -> None:
    targets = ["query", "value", "ffn_down"]
    folder = folder_of("adalora", "gpt2", family_folder, tmp_path, targets=targets)
    loaded = afina.load(folder)
    (tmp_path / "peft").mkdir()
    with pytest.raises(UsageError, match="PEFT has no adalora on slices of a fused projection"):
        write_peft(loaded, tmp_path / "peft")


@pytest.mark.pairs(["lora", "adalora", "dora", "ia3", "svd"], ["bert", "gpt2", "llama"], fully=("gpt2",))
def test_changes_of_weights_become_a_lora(name: str, family: str, family_folder: Loader, tmp_path: Path) -> None:
    """At full rank nothing is lost, by any method; what a lower one loses is measured."""
    folder = folder_of(name, family, family_folder, tmp_path)
    tested = afina.load(folder)
    (tmp_path / "whole").mkdir()
    assert max(as_lora(afina.load(folder), tmp_path / "whole", rank=64).values()) < 1e-4
    parity = check_parity(tested, tested, *load_peft(tested, tmp_path / "whole"), sample(tested))
    assert parity.equal, parity
    (tmp_path / "low").mkdir()
    loss = as_lora(afina.load(folder), tmp_path / "low", rank=1)
    assert 0.05 < max(loss.values()) < 1
    again = afina.load(tmp_path / "low")
    assert {branch.a.shape[0] for _, branch in again.adapter.placed() if hasattr(branch, "a")} == {1}


@pytest.mark.parametrize("kind", ["merged", "peft"])
def test_a_regression_leaves_in_its_own_unit(kind: str, family_folder: Loader, tmp_path: Path) -> None:
    task = {"name": "regression", "mean": 20.0, "deviation": 5.0}
    loaded = afina.load(folder_of("lora", "bert", family_folder, tmp_path, task))
    out = tmp_path / kind
    out.mkdir()
    (merge if kind == "merged" else write_peft)(loaded, out)
    outside = load_merged(loaded, out) if kind == "merged" else load_peft(loaded, out)
    assert check_parity(loaded, loaded, *outside, sample(loaded)).equal
    decoder = afina.load(folder_of("lora", "llama", family_folder, tmp_path / "llama", task))
    with pytest.raises(UsageError, match="no bias to hold the labels' mean 20"):
        merge(decoder, tmp_path / "no")


def test_an_adapter_of_peft_is_merged(family_folder: Loader, tmp_path: Path) -> None:
    settings = {"bias": "all", "target_modules": ["query", "word_embeddings"], "modules_to_save": ["pooler"]}
    _, folder = trained("bert", lora("bert", **settings), family_folder, tmp_path / "theirs")
    loaded = afina.load(folder)
    merge(loaded, tmp_path / "merged")
    assert check_parity(loaded, loaded, *load_merged(loaded, tmp_path / "merged"), sample(loaded)).equal


def test_the_command_checks_and_the_folder_needs_no_afina(family_folder: Loader, tmp_path: Path) -> None:
    folder = folder_of("lora", "roberta", family_folder, tmp_path)
    result = run_afina("export", folder, "--to", "merged", "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "largest difference of logits" in result.stdout
    code = (
        "import sys; sys.modules['afina'] = None\n"
        "from transformers import pipeline\n"
        f"print(pipeline('text-classification', model={str(tmp_path / 'out')!r})('my parcel is late'))"
    )
    alone = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert alone.returncode == 0, alone.stderr
    label = afina.load(folder).predict(["my parcel is late"])[0].label
    assert f"'label': '{label}'" in alone.stdout
    refused(run_afina("export", folder, "--to", "merged", "--out", tmp_path / "out"), "exists already")
    refused(run_afina("export", folder, "--to", "merge"), f"--to is {', '.join(TARGETS)}", "did you mean 'merged'")
    refused(run_afina("export", tmp_path, "--to", "peft", "--out", tmp_path / "x"), "no adapter")
    assert not (tmp_path / "x").exists()


def test_what_has_no_such_form_is_one_sentence(family_folder: Loader, tmp_path: Path) -> None:
    prefix = afina.load(folder_of("prefix", "bert", family_folder, tmp_path / "prefix"))
    with pytest.raises(UsageError, match="prefix has no merged form"):
        merge(prefix, tmp_path / "out")
    with pytest.raises(UsageError, match="prefix has no low-rank form"):
        as_lora(prefix, tmp_path / "out", 4)
    bitfit = afina.load(folder_of("bitfit", "bert", family_folder, tmp_path / "bitfit"))
    with pytest.raises(UsageError, match="PEFT has no bitfit"):
        write_peft(bitfit, tmp_path / "out")
    with pytest.raises(UsageError, match=r"bitfit changes .*, which is not a matrix"):
        as_lora(bitfit, tmp_path / "out", 4)
    full = afina.load(folder_of("full", "bert", family_folder, tmp_path / "full"))
    with pytest.raises(UsageError, match="full is no adapter beside a frozen model"):
        write_peft(full, tmp_path / "out")


def test_a_model_that_was_moved_is_asked_for(
    family_folder: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of("lora", "bert", family_folder, tmp_path / "lora")
    record = json.loads((folder / "afina.json").read_text())
    (folder / "afina.json").write_text(json.dumps(record | {"model": "./bert"}))
    monkeypatch.chdir(family_folder("bert").parent)
    expected = afina.load(folder).predict(["my parcel is late"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UsageError, match=r"adapts the model in \./bert, which is not there; say where it is now with --model"
    ):
        afina.load(folder)
    assert afina.load(folder, model=str(family_folder("bert"))).predict(["my parcel is late"]) == expected
