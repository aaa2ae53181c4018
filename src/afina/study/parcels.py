"""Send a study's folder along with a job to a machine that does not see it, and bring back what the job made there.

A parcel is an archive of what a job may read: the folder without other runs' folders and errands. It is unpacked at the same
path, by which the job names its files; when the job is over, what is new or changed comes back and the copy is removed.
"""

import fcntl
import io
import shutil
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from afina.errors import UsageError
from afina.study.carry_out import CohortJob
from afina.study.errand import FOLDER, PATIENCE, Ended, Errand, by_interpreter, is_seen
from afina.study.job import Job
from afina.whole_file import is_partial, whole_file

__all__ = ["Visit", "packed", "put_back", "run_there"]

_RUNS, _COPY = "runs", ".copy"
"""The folder of a study's runs, and the file that marks a copy of a study."""
_PATIENCE = 2.0
"""Seconds that another job may take to mark the copy that it began."""


def packed(errand: Errand) -> bytes:
    """Return the parcel of an errand that lies in its study's folder."""
    runs = {job.run.id for job in _jobs(errand.argument)}
    return _archive(errand.study, [*_files(errand.folder), *_read_by(errand.study, runs)])


def put_back(parcel: bytes, study: Path) -> None:
    """Put a parcel's files into the study's folder, each whole before it has its name."""
    with tarfile.open(fileobj=io.BytesIO(parcel)) as archive:
        for member in archive.getmembers():
            content = archive.extractfile(member)
            assert content is not None, "a parcel has files alone"
            with whole_file(study / member.name) as path, path.open("wb") as file:
                shutil.copyfileobj(content, file)


def run_there(folder: str, node: str, parcel: bytes) -> Ended:
    """Carry out the errand of a folder on this machine, with what its parcel has where it does not see the folder."""
    errand = Errand(Path(folder))
    if is_seen(errand.folder, PATIENCE if errand.study.exists() else 0):
        return by_interpreter(errand.folder, node)
    try:
        visit = Visit(errand, parcel)
    except UsageError as error:
        return Ended(node, why=str(error))
    try:
        return replace(by_interpreter(errand.folder, node, errand.study), made=visit.made())
    finally:
        visit.end()


class Visit:
    """A copy of a study's folder on a machine that does not see it, for as long as jobs are there."""

    def __init__(self, errand: Errand, parcel: bytes) -> None:
        """Put the files of an errand's parcel where they lie on the machine that it comes from.

        Raises `UsageError` where the study's folder cannot be made, and where something else has its name.
        """
        self.errand, self.study = errand.folder, errand.study
        try:
            with self._alone():
                put_back(parcel, self.study)
        except OSError as error:
            raise UsageError(
                f"it does not see {self.study} and cannot make a copy there ({error.strerror or error}); choose an --out "
                "that every machine can make, or a folder that all of them share"
            ) from None
        with tarfile.open(fileobj=io.BytesIO(parcel)) as archive:
            self._runs = {run for name in archive.getnames() if (run := _run_of(Path(name))) is not None}
        self._before = self._state()

    def made(self) -> bytes:
        """Return the parcel of what is new or changed since it came."""
        now = self._state()
        return _archive(self.study, [path for path, state in now.items() if self._before.get(path) != state])

    def end(self) -> None:
        """Remove the errand, and with the last one the copy."""
        with self._alone():
            shutil.rmtree(self.errand, ignore_errors=True)
            if not any(self.errand.parent.iterdir()):
                shutil.rmtree(self.study, ignore_errors=True)

    def _state(self) -> Mapping[Path, tuple[int, int]]:
        paths = [*_files(self.errand), *_read_by(self.study, self._runs)]
        states = {path: path.stat() for path in paths}
        return {path: (state.st_size, state.st_mtime_ns) for path, state in states.items()}

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the copy, which is made where it is not there, for this job alone."""
        mark = self.study / _COPY
        until = time.monotonic() + _PATIENCE
        while True:
            with suppress(FileExistsError):
                self.study.mkdir(parents=True)
                mark.touch()
            held = _opened(mark)
            if held is not None:
                with held:
                    fcntl.flock(held, fcntl.LOCK_EX)
                    # Another job's end may have removed it while this one waited.
                    if mark.exists():
                        yield
                        return
            if time.monotonic() >= until:
                raise UsageError(
                    f"it has another folder by the name of {self.study}; choose an --out that is free there, or a folder "
                    "that all machines share"
                )
            time.sleep(0.05)


def _opened(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _jobs(argument: Any) -> Iterator[Job]:
    """Yield the jobs of runs within a job's argument."""
    if isinstance(argument, Job):
        yield argument
    elif isinstance(argument, CohortJob):
        yield from argument.jobs
    elif isinstance(argument, tuple | list):
        for part in argument:
            yield from _jobs(part)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _read_by(study: Path, runs: Set[str]) -> Iterator[Path]:
    """Yield the files of a study that a job of these runs reads; those of all runs where it names none."""
    for path in _files(study):
        inside = path.relative_to(study)
        run = _run_of(inside)
        other = run is not None and bool(runs) and run not in runs
        if not other and inside.parts[0] not in (FOLDER, _COPY) and path.name != ".lock" and not is_partial(path.name):
            yield path


def _run_of(inside: Path) -> str | None:
    """Return the run in whose folder a file lies, of a study as of the one within it that searches rates."""
    parts = inside.parts
    return next((parts[place + 1] for place, part in enumerate(parts[:-2]) if part == _RUNS), None)


def _archive(study: Path, files: Iterable[Path]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for path in files:
            archive.add(path, arcname=str(path.relative_to(study)), recursive=False)
    return made.getvalue()
