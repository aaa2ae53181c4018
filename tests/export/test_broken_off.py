"""Exports that are broken off: by a kill, by a full disk; nothing half-written stands, and the next one begins anew."""

import json
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from afina.errors import AfinaError
from afina.export.export import export_adapter
from afina.export.graph_target import GraphTarget
from afina.export.target import TARGETS
from exports import chatting, folder_of
from readied import run_ready


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Give an adapter that chats, and rows for it."""
    folder = tmp_path_factory.mktemp("chat")
    rows = [{"messages": [{"role": "user", "content": "Where is it?"}, {"role": "assistant", "content": "Here."}]}] * 9
    (folder / "talks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return chatting("afina-small", folder), str(folder / "talks.jsonl")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a disk of 96 kB, or where none may be mounted a folder while files may have no more."""
    place, limits = tmp_path / "disk", resource.getrlimit(resource.RLIMIT_FSIZE)
    place.mkdir()
    mount = shutil.which("mount")
    mounted = mount is not None and not subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=96k", "none", str(place)], capture_output=True, check=False
    ).returncode  # fmt: skip
    if not mounted:
        resource.setrlimit(resource.RLIMIT_FSIZE, (98_304, limits[1]))
    try:
        yield place
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        if mounted:
            subprocess.run(["umount", str(place)], check=True)


@pytest.mark.covered("to", ["gguf", "gguf-lora", "merged", "onnx"], list(TARGETS))
def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    to: str, made: tuple[Path, str], small_disk: Path, one_layer: Callable[..., Path], tmp_path: Path
) -> None:
    for module in TARGETS[to].needs:
        if find_spec(module) is None:
            pytest.skip(f"--to {to} needs {module}")
    writes = not issubclass(TARGETS[to], GraphTarget)
    adapter = made[0] if writes else folder_of("lora", "bert", one_layer, tmp_path)
    with pytest.raises(AfinaError, match=r"cannot be written .*; make room there") as caught:
        export_adapter(adapter, to, out=small_disk / "out", data=made[1] if writes else None, rows=2)
    assert "\n" not in str(caught.value) and str(small_disk) in str(caught.value)
    assert not list(small_disk.iterdir())


def test_a_killed_export_leaves_no_folder_and_the_next_one_what_it_left(made: tuple[Path, str], tmp_path: Path) -> None:
    """The kill comes at the worst moment: all files are written, and none is compared."""
    program = (
        "import os, sys\n"
        "from afina.export.export import export_adapter\n"
        "from afina.export.targets.gguf import GgufTarget\n"
        "GgufTarget.compare = lambda *_: os.kill(os.getpid(), 9)\n"
        "export_adapter(sys.argv[1], 'gguf', out=sys.argv[2], data=sys.argv[3], rows=2)\n"
    )
    out = tmp_path / "out"
    done = run_ready(program, made[0], out, made[1])
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".out.") and (left / "model.gguf").is_file()
    export_adapter(made[0], "peft", out=out, data=made[1], rows=2)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
