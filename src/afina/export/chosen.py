"""Take one adapter of an export that holds several: its task, what it reads, and a session that answers by it alone."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from afina.errors import UsageError, nearest
from afina.export.manifest import Manifest
from afina.export.runtime import Session

__all__ = ["CHOICE", "OneOfSeveral", "manifest_of"]

CHOICE = "adapter"
"""The input of a graph that says by number whose each row is."""


class OneOfSeveral(Session):
    """Answers by one of a graph's adapters."""

    def __init__(self, session: Session, number: int, outputs: int | None) -> None:
        """Take of what comes out as many `outputs` as it has; None for all."""
        self.session, self.number, self.count = session, number, outputs

    def outputs(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        # The number stands at each row, as a batch of a program's may be of several.
        rows = len(next(iter(inputs.values())))
        return self.session.outputs({**inputs, CHOICE: np.full(rows, self.number, np.int64)})[:, : self.count]


def manifest_of(manifest: Manifest, where: Any, name: str | None) -> tuple[Manifest, int | None]:
    """Return the manifest of an export's one adapter, and its number; None where it holds one without a choice.

    Raises `UsageError` where there is a choice and none is made, or the other way round.
    """
    names = list(manifest.adapters)
    # In the manifest's order, by which the graph numbers them.
    if not names:
        if name is not None:
            raise UsageError(f"{where} holds one adapter, {manifest.source.get('adapter')}; leave out --adapter.")
        return manifest, None
    if name is None:
        raise UsageError(f"{where} holds {', '.join(names)}; say by --adapter which one answers.")
    if name not in names:
        raise UsageError(f"{where} holds no adapter '{name}'{nearest(name, names)}")
    entry = manifest.adapters[name]
    chosen = replace(
        manifest, task=entry["task"], source=entry["source"], max_length=entry["max_length"], parity=entry.get("parity", {}),
        reading=manifest.reading | entry["reading"],
    )  # fmt: skip
    return chosen, names.index(name)
