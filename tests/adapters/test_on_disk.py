"""Adapters on the disk: whole before anything says that they are there, and readable as any new file of their owner's."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import afina
from afina.adapters.adapter import partial_folder
from exports import folder_of
from studies import settings, write_splits


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Give the paths that are brought to the disk, in their order."""
    paths: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda file: paths.append(Path(f"/proc/self/fd/{file}").resolve()))
    return paths


@pytest.fixture(params=[0o022, 0o027, 0o077], ids=oct)
def mask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_weights_have_the_mode_of_any_new_file(mask: int, family_folder: Callable[..., Path], tmp_path: Path) -> None:
    """The library that writes them makes them for their owner alone, whatever the mask."""
    for path in folder_of("lora", "bert", family_folder, tmp_path).iterdir():
        assert path.stat().st_mode & 0o777 == 0o666 & ~mask, path.name


def test_a_folder_is_on_the_disk_before_it_has_its_name(tmp_path: Path, synced: list[Path]) -> None:
    with partial_folder(tmp_path / "adapter") as partial:
        (partial / "inner").mkdir()
        for name in ("weights", "inner/more"):
            (partial / name).write_bytes(b"x" * 9)
        assert not synced
    wanted = {partial / "weights", partial / "inner" / "more", partial / "inner", partial}
    assert set(synced[:-1]) == wanted, "all of it, under the name that it had while it was written"
    assert synced[-1] == tmp_path


def test_an_adapter_is_on_the_disk_before_its_result_is(
    family_folder: Callable[..., Path], tmp_path: Path, synced: list[Path]
) -> None:
    (data := tmp_path / "data").mkdir()
    write_splits(data, train=12, test=8)
    how: dict[str, Any] = settings(family_folder, data, methods=["bitfit"], epochs=1)
    study = afina.Study(tmp_path / "study", **how)
    study.run()
    names = [path.name for path in synced]
    last = max(place for place, name in enumerate(names) if name == "adapter_model.safetensors")
    result = next(place for place, name in enumerate(names) if name.startswith(".result.json."))
    listed = next(place for place, name in enumerate(names) if "results.jsonl" in name)
    assert last < result < listed
