"""A finished study whose files were damaged: every reader says which and what to do, or makes a cache again."""

import contextlib
import errno
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import safetensors.torch
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as bounded
from hypothesis import strategies as st
from safetensors import SafetensorError

from afina.backbone.tensor_file import save_tensors
from afina.errors import AfinaError
from afina.report.write import terminal_report, write_report
from afina.results.recommend import recommend
from afina.results.results_jsonl import read_results
from afina.study.study import Study
from afina.train.checkpoint import write_checkpoint
from commands import afina, refused
from studies import settings, write_splits

Loader = Callable[..., Path]


@pytest.fixture(scope="module")
def done(family_folder: Loader, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A finished study with a cohort, embeddings and a run that failed."""
    folder = tmp_path_factory.mktemp("damaged")
    write_splits(folder, train=30, test=20)
    methods = ["head", "lora", "features", {"lora": {"rank": 500}}]
    study = settings(family_folder, folder, methods=methods, epochs=1, cohort=2)
    results = Study(folder / "study", **study).run()
    assert sorted(result["status"] for result in results) == ["failed", "ok", "ok", "ok"]
    return folder / "study", study


KINDS = {
    "results": "results.jsonl", "study": "study.yaml", "result": "runs/*/result.json",
    "predictions": "runs/*/predictions.parquet", "plan": "cohorts/*/plan.json", "cohort": "cohorts/*/cohort.json",
    "tokens": "cache/tokens-*.npz", "embeddings": "cache/embeddings-*.npz", "digests": "cache/digests.json",
    "events": "runs/*/events.jsonl", "rows": "cache/test-*.parquet", "figures": "cache/figures-*.npz",
    "examined": "cache/examined-*.json",
}  # fmt: skip
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "garbage": lambda content: random.Random(0).randbytes(300),
    "null": lambda content: b"null\n",
    "list": lambda content: b"[1, 2]\n",
    "text": lambda content: b'"text"\n',
    "deep": lambda content: b"[" * 100_000,
    "digits": lambda content: b'{"run": ' + b"9" * 6000 + b"}\n",
    "latin": lambda content: "{a: ação}".encode("latin-1"),
    "null line": lambda content: content + b"null\n",
    "of another": lambda content: b'{"runs": ["another"], "run": "another", "study": {"model": ["a"]}}\n',
}


def files(folder: Path) -> list[tuple[str, Path]]:
    return [(kind, path) for kind, pattern in KINDS.items() for path in sorted(folder.glob(pattern))[:1]]


def acts(folder: Path, study: dict[str, Any]) -> Iterator[Callable[[], Any]]:
    """What reads a study's folder; the study itself last, for it mends what is a cache."""
    yield lambda: write_report(folder)
    yield lambda: terminal_report(folder, language="pt")
    yield lambda: recommend(folder)
    yield lambda: Study(folder, **study).run()


def says_so(act: Callable[[], Any]) -> str | None:
    try:
        act()
    except AfinaError as error:
        assert "\n" not in str(error).strip()
        return str(error)
    return None


def test_every_kind_of_file_is_there_to_be_damaged(done: tuple[Path, dict[str, Any]]) -> None:
    kinds = {path.name.split("-")[0] for path in done[0].rglob("*") if path.is_file() and "adapter" not in path.parts}
    kinds -= {".lock"}
    known = {Path(pattern).name.split("-")[0] for pattern in KINDS.values()}
    assert kinds <= known, f"{kinds - known}: a new file of a study's folder has to be in KINDS"


@pytest.mark.parametrize(
    "kind", ["results", "study", "result", "predictions", "cohort", "digests", "events", "rows", "examined"]
)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named(kind: str, damage: str, done: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder = tmp_path / "study"
    shutil.copytree(done[0], folder)
    path = dict(files(folder))[kind]
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    for act in list(acts(folder, done[1]))[:3]:
        said = says_so(act)
        if said is not None and kind != "results":  # of which what is left may be too little for the question
            assert path.name in said, said


@pytest.mark.parametrize(
    ("kind", "damage"),
    [("study", "cut"), ("study", "latin"), ("study", "null"), ("plan", "null"), ("plan", "of another"), ("plan", "cut"),
     ("tokens", "garbage"), ("embeddings", "cut"), ("digests", "list"), ("results", "null line")],
)  # fmt: skip
def test_a_study_goes_on_or_says_what_to_do(
    kind: str, damage: str, done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """With one run left to be done, in a cohort that a kill had interrupted."""
    folder = tmp_path / "study"
    shutil.copytree(done[0], folder)
    path = dict(files(folder))[kind]
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    gone = {"tokens": "lora", "plan": "lora", "embeddings": "features"}.get(kind, "head")
    for run in folder.glob(f"runs/*-{gone}-seed0"):
        shutil.rmtree(run)
    if kind == "plan":
        (path.parent / "checkpoint.safetensors").write_bytes(b"cut")
    seen: list[dict[str, Any]] = []
    said = says_so(lambda: Study(folder, **done[1]).run(lambda event: seen.append(dict(event))))
    if kind in ("tokens", "embeddings", "digests"):
        assert said is None
        assert all(result["status"] != "failed" or "rank" in result["error"] for result in read_results(folder))
        notes = [note for event in seen for note in event.get("notes", ())]
        told = [note for note in notes if "damaged" in note] + [event for event in seen if event["kind"] == "remade"]
        assert len(told) == (kind != "digests")
    else:
        assert said is not None
        assert path.name in said
        assert "delete" in said or "put back" in said


def test_the_steps_that_decided_a_precision_are_no_damage(
    tmp_path: Path, family_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a machine with bfloat16 arithmetic writes it, and one without."""
    import afina.study.precision as module
    from afina.backbone.storage.bf16 import BFloat16
    from afina.results.json_object import plain
    from afina.results.study_file import read_study_file

    model = str(family_folder("bert"))
    for there in (True, False):
        monkeypatch.setattr(BFloat16, "here", classmethod(lambda cls, device, there=there: there))
        # Seven steps of each: those in fp32 take a quarter of a second, those in bf16 an eighth.
        took = iter([0.25] * 7 + [0.125] * 7)
        watch = SimpleNamespace(seconds=took.__next__)
        monkeypatch.setattr(module, "Stopwatch", lambda device, watch=watch: watch)
        chosen = module.choose_precision(model=model, device="cpu", batch_size=2, length=8)
        said = "0.125 s in bf16 and 0.25 s in fp32" if there else "the hardware has no bfloat16 arithmetic"
        assert (chosen["precision"], said in chosen["reason"]) == ("bf16" if there else "fp32", True)
        stored = {"study": {"model": ["m"]}, "resolved": {"precision": {"m": plain(chosen)}}}
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(stored))
        assert read_study_file(tmp_path)["resolved"]["precision"]["m"] == chosen


def test_a_damaged_checkpoint_is_named(done: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Cut, and whole but of something else."""
    import torch

    from afina.train.checkpoint import write_checkpoint

    study = Study(tmp_path / "study", **{**done[1], "methods": ["lora"], "cohort": "off"})
    path = study.directory / "runs" / study.runs[0].id / "checkpoint.safetensors"
    with contextlib.suppress(KeyboardInterrupt):
        study.run(_stop)  # the folder is the study's, and nothing is done
    path.parent.mkdir(parents=True)
    for content in ("cut", "of another"):
        path.write_bytes(b"\x10\0\0\0\0\0\0\0{}")
        if content == "of another":
            write_checkpoint(path, {"random": torch.zeros(3)}, {"members": [{"run": "another"}]})
        (result,) = study.run()
        assert result["status"] == "failed"
        assert "is damaged" in result["error"]
        assert str(path) in result["error"]
        assert "delete it" in result["error"]


def _stop(event: Any) -> None:
    if event["kind"] == "unit":
        raise KeyboardInterrupt


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where in a JSON value something stands."""
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from places(part, (*path, key))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    if new is ... and len(path) == 1:
        del copy[path[0]]
        return copy
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


ODD = st.sampled_from([..., None, "x", -1, 1e308, float("nan"), True, [], {}, [[]], {"a": None}, "9" * 5000, "../.."])


@bounded(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_value_of_a_result_ends_in_a_traceback(data: st.DataObject, done: tuple[Path, dict[str, Any]]) -> None:
    """Whatever stands where in the line of a run, in what its cohort took, and in study.yaml as it was resolved."""
    folder = done[0].parent / "fuzzed"
    if not folder.exists():
        shutil.copytree(done[0], folder)
    whole = {path: path.read_bytes() for _, path in files(folder)}
    kind = data.draw(st.sampled_from(["results", "cohort"]))
    path = dict(files(folder))[kind]
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        row = data.draw(st.integers(0, len(lines) - 1))
        place = data.draw(st.sampled_from([own for own in places(lines[row]) if own]))
        lines[row] = changed(lines[row], place, data.draw(ODD))
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        for act in list(acts(folder, done[1]))[1:3]:
            says_so(act)
    finally:
        for path, content in whole.items():
            path.write_bytes(content)


def test_the_command_says_it_in_one_sentence(done: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder = tmp_path / "study"
    shutil.copytree(done[0], folder)
    (folder / "results.jsonl").write_bytes((folder / "results.jsonl").read_bytes() + b"null\n")
    refused(afina("report", folder), "results.jsonl, line 5, is damaged", "delete that line")
    refused(afina("recommend", folder), "results.jsonl, line 5, is damaged")
    (folder / "study.yaml").write_text("study: [cut")
    refused(afina("study", folder / "study.yaml", "--out", folder), "study.yaml is not valid YAML")


def test_a_full_disk_is_told_from_tensors_that_cannot_be_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """safetensors puts the system's error into words of its own, which was taken for a fault of ours."""

    def full(*_: Any, **__: Any) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        save_tensors({}, tmp_path / "a")
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(AfinaError, match=r"cannot be written \(No space left on device\); the last checkpoint is kept"):
        write_checkpoint(tmp_path / "c", {}, {})
