"""Programs in processes of their own that have imported torch and all of Afina: a fresh interpreter takes seconds for that.

They are forked from the server from which studies fork their workers, so that nothing that a test left is in them. What is
about an interpreter's start, or about what is not imported, needs one of its own.
"""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from afina.study.execute import start_server

__all__ = ["AFINA", "run_ready", "start_clean_server", "starting"]

_AT_FIRST = dict(os.environ)
"""The environment before any test changed it: what the server is started in is that of all later tests' processes."""

AFINA = """
import os, sys

from afina.cli.main import main

os.chdir(sys.argv[1])
sys.argv[:2] = ["afina"]
main()
"""
"""The `afina` command, in the directory that is its first argument."""


def start_clean_server() -> None:
    """Start the server from which processes are forked, if it is not there, as it is started where no test set a variable."""
    now = dict(os.environ)
    os.environ.clear()
    os.environ.update(_AT_FIRST)
    try:
        start_server()
    finally:
        os.environ.clear()
        os.environ.update(now)


def run_ready(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python's text with these arguments, as `python -c` would, and return how it ended and what it wrote."""
    with tempfile.TemporaryDirectory() as scratch:
        written = Path(scratch) / "stdout", Path(scratch) / "stderr"
        with starting(program, *arguments, written=written) as process:
            process.join()
            texts = [path.read_text(encoding="utf-8") for path in written]
        return subprocess.CompletedProcess([program, *map(str, arguments)], process.exitcode, *texts)


@contextlib.contextmanager
def starting(program: str, *arguments: object, written: tuple[Path, Path] | None = None) -> Iterator[Any]:
    """Give the process of a program that has been started; what it writes goes into two files, or nowhere."""
    start_clean_server()
    given = (program, [str(own) for own in arguments], written, dict(os.environ))
    process = multiprocessing.get_context("forkserver").Process(target=_program, args=given)
    process.start()
    try:
        yield process
    finally:
        if process.is_alive():
            process.kill()
        process.join()


def _program(
    program: str, arguments: list[str], written: tuple[Path, Path] | None, environment: dict[str, str]
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, path in enumerate(written or (os.devnull, os.devnull), start=1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
    sys.argv = ["-c", *arguments]
    exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})
    sys.stdout.flush()
