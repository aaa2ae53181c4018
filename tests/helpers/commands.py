"""The `afina` command as a user runs it, but in this process: to start an interpreter with torch takes seconds each time."""

import contextlib
import io
import os
import subprocess
import sys
import warnings
from functools import cache
from pathlib import Path

import pytest
import typer.main

from afina.cli.main import main

__all__ = ["afina", "afina_apart", "refused"]

# A process of its own makes its options once; made anew at every call, they take longer than most of what is called.
typer.main.get_command = cache(typer.main.get_command)


def afina(
    *arguments: object, cwd: Path | None = None, text: str | bytes | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command with `text` on its standard input; returns its exit code, standard output and standard error."""
    words = ["afina", *map(str, arguments)]
    stdin, stdout, stderr = (
        io.TextIOWrapper(io.BytesIO(content), encoding="utf-8")
        for content in (text if isinstance(text, bytes) else (text or "").encode(), b"", b"")
    )
    environment = dict(os.environ)
    code = 0
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(cwd or Path.cwd()), warnings.catch_warnings():
        warnings.simplefilter("default")  # as outside pytest
        for name, value in {"argv": words, "stdin": stdin, "stdout": stdout, "stderr": stderr}.items():
            patch.setattr(sys, name, value)
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        finally:
            os.environ.clear()
            os.environ.update(environment)
    written = []
    for stream in (stdout, stderr):
        stream.flush()
        written.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(words, code, *written)


def afina_apart(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in an interpreter of its own, for what is settled when libraries are first imported."""
    words = [sys.executable, "-m", "afina", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, cwd=cwd, check=False)


def refused(result: subprocess.CompletedProcess[str], *parts: str, code: int = 2) -> None:
    """The exit code is right, and standard error is one sentence with these parts, no traceback."""
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    for part in parts:
        assert part in result.stderr, result.stderr
