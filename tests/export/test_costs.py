"""What an export takes is told beside what its adapter takes: bytes, time and memory, each in a process of its own."""

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import afina
from afina import api
from afina.export import costs
from afina.export.costs import Cost, cost_in, costs_of, timed_rows, weights_in
from afina.export.sample import sample_rows
from afina.export.targets.merged import MergedTarget
from afina.words.notes import said_note
from commands import afina as run_afina
from exports import chatting, folder_of, rewriting, save_pairs, save_talks
from gguf_files import save_speaker
from readied import run_ready

Loader = Callable[..., Path]


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(costs.VARIABLE)


@pytest.fixture
def readied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time what imports torch in processes that have done so already; what is `whole` starts interpreters."""

    def run(command: list[str], **given: Any) -> subprocess.CompletedProcess[str]:
        return run_ready(*command[2:]) if "afina.export.timing" in command[2] else subprocess.run(command, **given)

    monkeypatch.setattr(costs, "subprocess", SimpleNamespace(run=run))


@pytest.mark.covered("started", ["readied"], ["readied", "whole"])
def test_a_graph_is_told_beside_its_adapter(
    started: str, one_layer: Loader, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if started == "readied":
        request.getfixturevalue("readied")
    source = folder_of("lora", "bert", one_layer, tmp_path)
    done = run_afina("export", source, "--to", "onnx", "--out", tmp_path / "out", "--rows", "9", "--language", "pt")
    assert done.returncode == 0, done.stderr
    card = (tmp_path / "out" / "README.md").read_text()
    for words in ("arquivos de pesos", "tempo de uma linha", "tempo de 32 linhas", "memória do processo"):
        assert words in done.stdout and words in card


@pytest.mark.usefixtures("readied")
@pytest.mark.parametrize("to", ["gguf", "merged"])
def test_what_writes_is_timed_by_the_token(to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The adapter's side is the same for both, and measured once; graphs that write are timed in test_int8.py."""
    alone, real = Cost(10**9, 0.5, 4.0, 10**9), costs.cost_in
    if to != "merged":
        monkeypatch.setattr(costs, "cost_in", lambda kind, *given: alone if kind == "adapter" else real(kind, *given))
    source = chatting("afina-small", tmp_path)
    made = api.export(source, to, tmp_path / "out", data=save_talks(tmp_path / "talks.jsonl"), rows=3)
    assert made.costs is not None and made.costs.writes
    ours, theirs = made.costs.adapter, made.costs.exported
    assert (
        theirs.size == sum(path.stat().st_size for path in made.folder.glob("model*.*")) > ours.size * (to == "merged")
    )
    assert theirs.one > 0 and 2e7 < theirs.memory < 4e9
    assert (theirs.many is None) == (to == "gguf")  # which has one text at a time
    told = dict(made.rows())
    assert "adapter" in told["time of a token more"]
    assert ("time of one more of 32 texts" in told) == (to != "gguf")
    if to == "merged":  # the same model in two programs, each with its libraries
        assert 0.1 < ours.one / theirs.one < 10 and 0.5 < ours.memory / theirs.memory < 2


@pytest.mark.usefixtures("readied")
def test_an_adapter_of_two_halves_is_timed(tmp_path: Path) -> None:
    source = rewriting(save_speaker("t5", tmp_path / "base"), tmp_path)
    loaded = afina.load(source)
    rows, _ = sample_rows(loaded, save_pairs(tmp_path / "pairs.jsonl"), 3)
    assert rows is not None
    batch = timed_rows(loaded, rows)
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (3, batch["input_ids"].shape[1])
    found = cost_in("adapter", (str(source), loaded.record.model, "fp32"), batch, weights_in(source))
    assert found.size > 1000 and found.many is not None and min(found.one, found.many) > 0


def test_what_cannot_be_timed_is_a_note(family_folder: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = afina.load(folder_of("lora", "bert", family_folder, tmp_path))
    rows, _ = sample_rows(loaded, None, 9)
    monkeypatch.setattr(costs, "_BY_MODULE", "raise SystemExit('no such program')\n")

    def exported(batch: Mapping[str, np.ndarray]) -> Cost | None:
        return MergedTarget().cost(loaded, tmp_path, batch)

    found, note = costs_of(loaded, rows, exported)
    assert found is None
    assert note == f"What it takes was not measured: {tmp_path} cannot be timed (no such program)."
    assert said_note(note, "pt").startswith("O que ele toma não foi medido: ")
    monkeypatch.setattr(costs.psutil, "virtual_memory", lambda: SimpleNamespace(available=1))
    assert "too little memory" in str(costs_of(loaded, rows, exported)[1])


def test_the_longest_rows_are_timed(family_folder: Loader, tmp_path: Path) -> None:
    loaded = afina.load(folder_of("lora", "bert", family_folder, tmp_path))
    rows, _ = sample_rows(loaded, None, 50)
    assert rows is not None
    batch, lengths = timed_rows(loaded, rows), loaded.tokens(rows).lengths
    assert len(batch["input_ids"]) == 32
    assert int((batch["input_ids"][-1] != loaded.tokenizer.pad_token_id).sum()) == lengths.max()
    assert np.sort(lengths)[-32:].sum() == int(batch["attention_mask"].sum())
