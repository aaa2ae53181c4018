"""What was exchanged, deleted, linked or left lying under a study's folder: noticed, and said with what to do."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from afina.adapters.adapter import partial_folder
from afina.errors import UsageError
from afina.report.write import write_report
from afina.results.recommend import recommend
from afina.results.results_jsonl import append_result, read_results
from afina.study import originals
from afina.study.data import data_key
from afina.study.execute import locked
from afina.study.study import Study
from afina.whole_file import whole_file
from commands import afina, refused
from studies import settings, write_splits

Loader = Callable[..., Path]


@pytest.fixture(scope="module")
def done(family_folder: Loader, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A finished study beside its own model and data: `study` is its folder."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "mail").mkdir()
    write_splits(folder / "mail", train=30, test=20)
    shutil.copytree(family_folder("bert"), folder / "model")
    study = settings(family_folder, folder / "mail", methods=["head", "features"], epochs=1)
    study["model"] = str(folder / "model")
    assert {result["status"] for result in Study(folder / "study", **study).run()} == {"ok"}
    return folder, study


@pytest.fixture
def mine(done: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """The same, to be changed: its folder, model and data moved to where they are the test's own."""
    folder, given = done
    for name in ("mail", "model", "study"):
        shutil.copytree(folder / name, tmp_path / name)
    study = {**given, "model": str(tmp_path / "model"), "dataset": str(tmp_path / "mail")}
    text = (tmp_path / "study" / "study.yaml").read_text()
    (tmp_path / "study" / "study.yaml").write_text(text.replace(str(folder), str(tmp_path)))
    results = (tmp_path / "study" / "results.jsonl").read_text()
    (tmp_path / "study" / "results.jsonl").write_text(results.replace(str(folder), str(tmp_path)))
    return Study(tmp_path / "study", **study)


def observed(study: Study) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    seen: list[dict[str, Any]] = []
    return study.run(lambda event: seen.append(dict(event))), seen


def test_what_is_the_same_elsewhere_is_taken_for_the_same(mine: Study) -> None:
    """Moved or copied, with other times and inodes, and other files beside it."""
    (Path(mine.config.model[0]) / "README.md").write_text("words")
    results, seen = observed(mine)
    assert {result["status"] for result in results} == {"ok"}
    assert not [event for event in seen if event["kind"] in ("unit", "missing", "unread")]


def _other_rows(study: Study) -> str:
    write_splits(Path(study.config.dataset[0].path), train=31)
    return "rows of mail have changed"


def _other_names(study: Study) -> str:
    for path in Path(study.config.dataset[0].path).iterdir():
        path.write_text(path.read_text().replace("complaint", "blame"))
    return "rows of mail have changed"


def _other_weights(study: Study) -> str:
    """Of the same size and time."""
    path = Path(study.config.model[0]) / "model.safetensors"
    before, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return "weights of"


def _other_tokenizer(study: Study) -> str:
    path = Path(study.config.model[0]) / "tokenizer.json"
    path.write_text(path.read_text() + " ")
    return "tokenizer of"


def _other_config(study: Study) -> str:
    path = Path(study.config.model[0]) / "config.json"
    path.write_text(path.read_text().replace("{", "{ ", 1))
    return "configuration of"


@pytest.mark.parametrize("change", [_other_rows, _other_names, _other_weights, _other_tokenizer, _other_config])
@pytest.mark.parametrize("finished", [True, False])
def test_what_was_exchanged_under_a_study_is_refused(
    change: Callable[[Study], str], finished: bool, mine: Study
) -> None:
    if not finished:
        lines = (mine.directory / "results.jsonl").read_text().splitlines()
        (mine.directory / "results.jsonl").write_text(lines[0] + "\n")
        shutil.rmtree(mine.directory / "runs" / mine.runs[1].id)
    mine.run()  # so that digests are known of files that are not new
    said = change(mine)
    with pytest.raises(UsageError, match=said) as refusal:
        mine.run()
    assert "another --out" in str(refusal.value)
    assert "put back" in str(refusal.value)


def _exchanged_while_training(study: Study) -> Callable[[Any], None]:
    """Exchange the weights when the first run's first epoch has ended."""
    left = [1]

    def observe(event: Any) -> None:
        if event["kind"] == "epoch" and left:
            left.clear()
            _other_weights(study)

    return observe


def test_a_model_that_is_exchanged_while_a_study_runs_is_noticed(mine: Study) -> None:
    """Neither what was trained meanwhile nor what would come after it is listed."""
    shutil.rmtree(mine.directory / "runs")
    (mine.directory / "results.jsonl").unlink()
    with pytest.raises(UsageError, match="weights of"):
        mine.run(_exchanged_while_training(mine))
    assert not read_results(mine.directory)


def test_a_checkpoint_of_another_model_or_data_is_not_gone_on_with(family_folder: Loader, tmp_path: Path) -> None:
    """Also where nothing else knows what it was begun with: it was copied, or study.yaml is of another time."""
    (tmp_path / "mail").mkdir()
    write_splits(tmp_path / "mail", train=30, test=20)
    shutil.copytree(family_folder("bert"), tmp_path / "model")
    given = settings(family_folder, tmp_path / "mail", methods=["lora"], epochs=2, checkpoint_seconds=0)
    given |= {"model": str(tmp_path / "model"), "cohort": "off"}

    def stop(event: Any) -> None:
        if event["kind"] == "epoch":
            raise KeyboardInterrupt

    study = Study(tmp_path / "study", **given)
    with pytest.raises(KeyboardInterrupt):
        study.run(stop)
    path = next((tmp_path / "study" / "runs").rglob("checkpoint.safetensors"))
    _other_weights(study)
    shutil.copytree(path.parent, tmp_path / "other" / "runs" / path.parent.name)
    shutil.copy(tmp_path / "study" / "study.yaml", tmp_path / "other")
    text = (tmp_path / "other" / "study.yaml").read_text()
    (tmp_path / "other" / "study.yaml").write_text(text[: text.index("resolved:")])
    (result,) = Study(tmp_path / "other", **given).run()
    assert result.status == "failed"
    assert "is of another model or other data than are there now" in str(result.error)


def test_a_first_start_that_was_stopped_early_goes_on_with_what_is_there_now(mine: Study, tmp_path: Path) -> None:
    """Nothing was trained yet, and what was kept of the old tokens is not taken."""
    for name in ("runs", "results.jsonl"):
        shutil.rmtree(mine.directory / name) if name == "runs" else (mine.directory / name).unlink()
    kept = set((mine.directory / "cache").glob("tokens-*"))
    _other_tokenizer(mine)
    assert {result["status"] for result in mine.run()} == {"ok"}
    assert set((mine.directory / "cache").glob("tokens-*")) > kept


def test_data_that_are_gone_are_no_reason_to_hide_results(mine: Study) -> None:
    mine.run()
    shutil.rmtree(mine.config.dataset[0].path)
    results, seen = observed(mine)
    assert {result["status"] for result in results} == {"ok"}
    (event,) = [event for event in seen if event["kind"] == "unread"]
    assert "does not exist" in event["why"]


def test_a_files_digest_is_not_taken_from_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"one")
    known = originals.Originals(tmp_path)
    first = known.digest(path)
    path.write_bytes(b"two")  # within the tick of a clock, perhaps
    assert originals.Originals(tmp_path).digest(path) != first
    monkeypatch.setattr(originals, "_SETTLED_SECONDS", -1.0)
    second = known.digest(path)
    assert (tmp_path / "cache" / "digests.json").exists()
    (tmp_path / "new").write_bytes(b"six")
    (tmp_path / "new").replace(path)
    assert originals.Originals(tmp_path).digest(path) not in (first, second)
    (tmp_path / "cache" / "digests.json").write_text("[" * 100_000)
    assert originals.Originals(tmp_path).digest(path) == known.digest(path)


def test_a_finished_run_without_its_adapter_says_so(mine: Study) -> None:
    head, features = (result["run"] for result in read_results(mine.directory))
    shutil.rmtree(mine.directory / "runs" / head / "adapter")
    results, seen = observed(mine)
    assert [(event["run"], event["again"]) for event in seen if event["kind"] == "missing"] == [(head, False)]
    said = afina("report", mine.directory)
    assert said.returncode == 0
    assert "Adapters that are gone" in said.stdout
    assert head in (mine.directory / "tables" / "missing.md").read_text()
    assert features not in (mine.directory / "tables" / "missing.md").read_text()
    # As it says: without its folder it is trained again.
    shutil.rmtree(mine.directory / "runs" / head)
    results, seen = observed(mine)
    assert [(event["run"], event["again"]) for event in seen if event["kind"] == "missing"] == [(head, True)]
    assert [event["result"]["run"] for event in seen if event["kind"] == "finished"] == [head]
    assert (mine.directory / "runs" / head / "adapter" / "afina.json").exists()
    assert len(results) == 2


# -- links -------------------------------------------------------------------------------------------------------------


def _cached(folder: Path) -> Path:
    return next((folder / "cache").glob("tokens-*"))


def _adapter(folder: Path) -> Path:
    return next((folder / "runs").glob("*/adapter"))


PLACES: dict[str, Callable[[Path], Path]] = {
    "lock": lambda folder: folder / ".lock",
    "results": lambda folder: folder / "results.jsonl",
    "study": lambda folder: folder / "study.yaml",
    "tokens": _cached,
    "cache": lambda folder: folder / "cache",
    "runs": lambda folder: folder / "runs",
    "adapter": _adapter,
    "weights": lambda folder: _adapter(folder) / "adapter_model.safetensors",
    "predictions": lambda folder: _adapter(folder).with_name("predictions.parquet"),
    "a run's lock": lambda folder: _adapter(folder).with_name(".lock"),
    "report": lambda folder: folder / "report.html",
    "tables": lambda folder: folder / "tables",
}


@pytest.mark.parametrize("place", PLACES)
def test_a_link_in_a_study_is_not_followed(place: str, mine: Study, tmp_path: Path) -> None:
    path, elsewhere = PLACES[place](mine.directory), tmp_path / "elsewhere"
    if path.exists():
        path.rename(elsewhere)
    elif place == "tables":
        elsewhere.mkdir()
    else:
        elsewhere.write_text("precious")
    path.symlink_to(elsewhere)
    before = elsewhere.read_bytes() if elsewhere.is_file() else sorted(elsewhere.iterdir())
    for act in (mine.run, lambda: write_report(mine.directory), lambda: recommend(mine.directory)):
        with pytest.raises(UsageError, match="is a link") as refusal:
            act()
        assert str(path) in str(refusal.value)
    assert path.is_symlink()
    assert before == (elsewhere.read_bytes() if elsewhere.is_file() else sorted(elsewhere.iterdir()))


def test_a_pipe_in_a_study_is_not_waited_for(mine: Study) -> None:
    (mine.directory / ".lock").unlink(missing_ok=True)
    os.mkfifo(mine.directory / ".lock")
    refused(afina("report", mine.directory), "is no ordinary file")
    with pytest.raises(UsageError, match="no ordinary file"):
        mine.run()


def test_a_studys_folder_may_itself_be_a_link(mine: Study, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(mine.directory)
    assert len(Study(tmp_path / "link", mine.config).run()) == 2
    write_report(tmp_path / "link")


def test_nothing_is_written_over_a_link(tmp_path: Path) -> None:
    """Files and folders alike, those of exports and data tools too; the lines of results are not added to one."""
    (tmp_path / "precious").write_text("precious")
    for name in ("file", "results.jsonl"):
        (tmp_path / name).symlink_to(tmp_path / "precious")
    with pytest.raises(UsageError, match="is a link"), whole_file(tmp_path / "file") as partial:
        partial.write_text("other")
    with pytest.raises(UsageError, match="is a link"), partial_folder(tmp_path / "file"):
        pass
    with pytest.raises(UsageError, match="is a link"):
        append_result(tmp_path, {"run": "a"})
    assert (tmp_path / "precious").read_text() == "precious"
    # Nor where it stands in the way of what is being written.
    (tmp_path / f".new.{os.getpid()}.part").symlink_to(tmp_path / "precious")
    with whole_file(tmp_path / "new") as partial:
        partial.write_text("other")
    assert (tmp_path / "precious").read_text() == "precious"


# -- what killed processes left ----------------------------------------------------------------------------------------


def _dead() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_what_killed_processes_left_half_written_is_swept(mine: Study) -> None:
    dead, run = _dead(), mine.directory / "runs" / mine.runs[0].id
    left = [
        *(run / f".{name}.{dead}.part" for name in ("checkpoint.safetensors", "result.json", "predictions.parquet")),
        mine.directory / "cache" / f".tokens-0.npz.{dead}.part",
        mine.directory / f".study.yaml.{os.getpid()}.part",
    ]
    for path in left:
        path.write_text("half")
    (run / f".adapter.{dead}.part").mkdir()
    (run / f".adapter.{dead}.part" / "adapter_config.json").write_text("half")
    kept = [run / f".result.json.{os.getppid()}.part", mine.directory / ".notes", mine.directory / "cache" / "tokens.1"]
    for path in kept:
        path.write_text("another's")
    mine.run()
    assert not [path for path in [*left, run / f".adapter.{dead}.part"] if path.exists()]
    assert all(path.exists() for path in kept)


def test_what_is_held_by_another_is_not_swept(tmp_path: Path) -> None:
    (tmp_path / f".result.json.{_dead()}.part").write_text("half")
    with locked(tmp_path):
        (again := tmp_path / f".result.json.{_dead()}.part").write_text("half")
        with pytest.raises(UsageError, match="in use"), locked(tmp_path):
            pass
        assert again.exists()


def test_what_an_export_left_is_swept_by_the_next(tmp_path: Path) -> None:
    (left := tmp_path / f".out.{_dead()}.part").mkdir()
    (left / "weights").write_text("half")
    (other := tmp_path / f".other.{_dead()}.part").mkdir()
    with partial_folder(tmp_path / "out") as partial:
        (partial / "weights").write_text("whole")
    assert not left.exists()
    assert other.exists()
    assert (tmp_path / "out" / "weights").read_text() == "whole"


def test_two_models_in_folders_of_one_name_have_data_of_their_own(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "model": ["one/base", "two/base", "three/other"],
        "dataset": "data.csv",
        "methods": ["lora"],
    }
    study = Study(tmp_path, **settings)
    keys = [data_key(study.config, model, 0) for model in study.config.model]
    assert keys == ["one/base / data.csv", "two/base / data.csv", "other / data.csv"]
