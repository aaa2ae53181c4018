"""Write with a GGUF file in llama.cpp, one text at a time."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from afina.export.gguf.llama_cpp import LlamaCpp

__all__ = ["opened"]


def opened(file: str, threads: str) -> Callable[[Mapping[str, np.ndarray]], Callable[[], Any] | None]:
    """Open a file with the server's own defaults."""
    cpp = LlamaCpp(Path(file), context=256, threads=int(threads)).start()

    def ready(batch: Mapping[str, np.ndarray]) -> Callable[[], Any] | None:
        if len(batch["input_ids"]) > 1:
            return None
        ids = batch["input_ids"][0][batch["attention_mask"][0].astype(bool)].tolist()
        # What was read is kept: each call adds one token behind the same text.
        return lambda: cpp.greedy(ids, 1)

    return ready
