"""Carry a job out on another machine: what it is told and what it says are files in the study's folder, which both see.

The folder of an errand holds `job`, pickled; `events`, pickles one after another as they come; and `value`, which is there,
whole, when the job is done. The job runs in an interpreter of its own (`python -m afina.study.errand FOLDER`), which ends
when whoever started it there does.
"""

import os
import pickle
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import Popen
from typing import Any

from afina.backbone.team import Team, is_of_another, joined
from afina.errors import AfinaError, UsageError
from afina.measure.hardware import versions
from afina.ops.allocator import huge_pages_for_new_processes
from afina.study.events import Event
from afina.study.execute import ending, explain
from afina.whole_file import whole_file

__all__ = [
    "FOLDER",
    "NODE",
    "PATIENCE",
    "Ended",
    "Errand",
    "begin",
    "by_interpreter",
    "is_seen",
    "run",
    "sweep_errands",
    "this_node",
]

FOLDER = "errands"
"""The folder, in a study's, of errands that are under way."""
NODE = "AFINA_NODE"
"""The variable that tells a job the name of the machine that it runs on."""
_JOB, _EVENTS, _VALUE = "job", "events", "value"
PATIENCE = 10.0
"""Seconds that a folder written elsewhere may take to be seen."""
_DIFFER = ("afina", "torch", "transformers", "tokenizers", "numpy")
"""Packages of which two machines need the same version, or their results would differ."""


@dataclass(frozen=True)
class Ended:
    """Says what became of an errand's interpreter."""

    node: str
    code: int | None = None
    """Its exit code; None where it was never started."""
    why: str = ""
    """The reason why it was not."""
    unseen: bool = False
    """True where that machine does not see the study's folder."""
    made: bytes = b""
    """The parcel of what it made, where it does not."""


@dataclass(frozen=True)
class Errand:
    """Is a job that was written down for another machine."""

    folder: Path

    @property
    def study(self) -> Path:
        """Return the study's folder."""
        return self.folder.parents[1]

    @property
    def argument(self) -> Any:
        """Return what its job is given."""
        return pickle.loads((self.folder / _JOB).read_bytes())["argument"]

    @classmethod
    def written(cls, study: Path, target: Callable[..., Any], argument: Any) -> "Errand":
        """Write a job down in a study's folder."""
        folder = study.resolve() / FOLDER / uuid.uuid4().hex
        folder.mkdir(parents=True)
        job = {"target": target, "argument": argument, "directory": str(Path.cwd()), "versions": _versions()}
        with whole_file(folder / _JOB) as path:
            path.write_bytes(pickle.dumps(job))
        return cls(folder)

    def events(self) -> "Iterator[list[Event]]":
        """Yield, each time it is asked, the events that have come since."""
        place = 0
        while True:
            fresh: list[Event] = []
            with suppress(FileNotFoundError), (self.folder / _EVENTS).open("rb") as file:
                file.seek(place)
                # What is half written is read when it is whole.
                with suppress(EOFError, pickle.UnpicklingError):
                    while True:
                        fresh.append(pickle.load(file))
                        place = file.tell()
            yield fresh

    def value(self, ended: Ended) -> Any:
        """Return what the job gave; raises `AfinaError` with what it says, and `ProcessEnded` where it says nothing."""
        if ended.code is None:
            raise UsageError(f"{ended.node}: {ended.why}")
        until = time.monotonic() + (PATIENCE if ended.code == 0 else 0)
        while not (path := self.folder / _VALUE).exists():
            if time.monotonic() >= until:
                raise ending(ended.code)
            time.sleep(0.1)
        kind, value = pickle.loads(path.read_bytes())
        if kind != "value":
            raise value
        return value

    def forget(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # others are under way
            self.folder.parent.rmdir()


def sweep_errands(study: Path) -> None:
    """Remove what a study that was killed left under way; its lock has to be held."""
    shutil.rmtree(study / FOLDER, ignore_errors=True)


def _versions() -> dict[str, str]:
    return {name: version for name, version in versions().items() if name in _DIFFER}


def this_node() -> str | None:
    """Return the name of this machine where it carries out an errand, else None."""
    return os.environ.get(NODE)


# -- on the other machine --------------------------------------------------------------------------------------------


def run(folder: str, node: str = "") -> Ended:
    """Carry out the errand of a folder in an interpreter of its own, and wait for it."""
    node, errand = node or socket.gethostname(), Path(folder)
    if not is_seen(errand, PATIENCE):
        return Ended(node, unseen=True, why=f"it does not see {errand.parents[1]}: keep a study of several machines in a "
                     "folder that all of them share, by the same path")  # fmt: skip
    return by_interpreter(errand, node)


def is_seen(errand: Path, seconds: float) -> bool:
    """Return whether this machine sees an errand; what was written elsewhere may be seen a little later."""
    until = time.monotonic() + seconds
    while not (errand / _JOB).exists():
        if time.monotonic() >= until:
            return False
        time.sleep(0.1)
    return True


def by_interpreter(errand: Path, node: str, instead: Path | None = None) -> Ended:
    """Have an interpreter carry an errand out where its study was started, or in the directory `instead`."""
    directory = pickle.loads((errand / _JOB).read_bytes())["directory"]
    if not Path(directory).is_dir():
        if instead is None:
            return Ended(
                node, why=f"it has no {directory}, from which the study was started; start it from a shared folder"
            )
        directory = str(instead)
    with huge_pages_for_new_processes():
        process = begin(errand, directory, {NODE: node})
    with process:
        try:
            return Ended(node, process.wait())
        finally:
            process.kill()


def begin(folder: Path, directory: str | None = None, variables: Mapping[str, str] | None = None) -> Popen[bytes]:
    """Start an interpreter that carries out the errand of a folder, from a directory and with variables of its own."""
    return Popen(
        [sys.executable, "-m", "afina.study.errand", str(folder)], stdin=subprocess.PIPE, cwd=directory,
        env=os.environ | (variables or {}),
    )  # fmt: skip


def _carry_out(folder: Path) -> int:
    """Carry out the errand in this process, which was started for it, alone or as one of several; return its exit code."""
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    outcome: tuple[str, Any]
    try:
        job = pickle.loads((folder / _JOB).read_bytes())
        _check_versions(job["versions"])
        with joined() as team:
            if team.rank > 0:
                _take_part(job, team)
                return 0
            team.wait()
            with (folder / _EVENTS).open("ab", buffering=0) as events:

                def send(event: Event) -> None:
                    events.write(pickle.dumps(event))

                outcome = ("value", job["target"](job["argument"], send))
    except BaseException as error:
        if is_of_another(error):
            return 1  # which says why it ended, or was killed
        outcome = ("failed", _of_node(explain(error)))
    with whole_file(folder / _VALUE, make_folder=False) as path:
        path.write_bytes(pickle.dumps(outcome))
    return 0 if outcome[0] == "value" else 1


def _take_part(job: dict[str, Any], team: Team) -> None:
    """Carry out a run beside the first process, which tells and keeps what comes of it: what is written here is forgotten."""
    given = job["argument"]
    with tempfile.TemporaryDirectory(prefix="afina-") as scratch:
        apart = replace(given, directory=Path(scratch))

        # From the same checkpoint, before the first process goes on from it.
        if given.folder.exists():
            shutil.copytree(given.folder, apart.folder, ignore=shutil.ignore_patterns(".lock"))
        team.wait()
        job["target"](apart, lambda event: None)


def _of_node(error: AfinaError) -> AfinaError:
    """Return an error that says where it was where that may be its cause: a file that is not on this machine."""
    return UsageError(f"On {os.environ.get(NODE)}: {error}") if isinstance(error, UsageError) else error


def _check_versions(theirs: dict[str, str]) -> None:
    """Raise `UsageError` where this machine's packages are others than those of the machine that started the study."""
    ours = _versions()
    differing = [
        f"{name} {ours.get(name, 'none')} for {version}"
        for name, version in theirs.items()
        if ours.get(name) != version
    ]
    if differing:
        node = os.environ.get(NODE, "this machine")
        raise UsageError(
            f"{node} has other packages than the machine that started the study ({', '.join(differing)}); install the same."
        )


def _end_with_parent() -> None:
    """End this process when what started it is gone, as a run that is begun anew elsewhere may not have two writers."""
    waiting = select.poll()
    waiting.register(0, 0)
    waiting.poll()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(_carry_out(Path(sys.argv[1])))
