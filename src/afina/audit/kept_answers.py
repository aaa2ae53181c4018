"""Keep what models answered to an audit, so that one that is broken off, or made again, asks no model twice.

Answers are arrays in a file for each adapter, known by a digest of all that they depend on: with anything of it changed they
are asked for anew. The folder is a study's cache, which may be deleted at any time.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from afina.whole_file import whole_file

__all__ = ["KeptAnswers"]

_KEY = "key"
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class KeptAnswers:
    """Keeps answers in a folder, or nowhere."""

    folder: Path | None = None

    def answers(self, name: str, parts: Iterable[object], ask: Callable[[], Arrays]) -> dict[str, np.ndarray]:
        """Return what is kept under a name and depends on the same `parts`, else what `ask` returns, which is kept."""
        if self.folder is None:
            return dict(ask())
        digest = hashlib.sha256()
        for part in parts:
            digest.update(repr(part).encode())
            digest.update(b"\0")
        # Names of runs and models, which may hold what no file's name does.
        plain = re.sub(r"[^\w.-]+", "-", name)[:120]
        path, key = self.folder / f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}.npz", digest.hexdigest()
        try:
            with np.load(path, allow_pickle=False) as stored:
                if str(stored[_KEY]) == key:
                    return {own: stored[own] for own in stored.files if own != _KEY}
        except Exception:  # not there yet, or damaged in whichever way a zip file can be: it is asked again
            pass
        answers = dict(ask())
        with whole_file(path) as partial, partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **{_KEY: np.array(key)}, **answers)
        return answers
