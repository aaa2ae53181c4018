"""Run a `model.gguf` in llama.cpp, by the wheel xllamacpp."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from afina.export.gguf.llama_cpp import LlamaCpp
from afina.export.manifest import Manifest
from afina.export.runtime import Runtime, Session, runtime

__all__ = ["LlamaCppRuntime", "LlamaCppSession"]

_LEAST = -100.0
"""The logarithm of what llama.cpp holds for impossible, as it is compared."""


class LlamaCppSession(Session):
    """Asks llama.cpp for what comes next; the model is open as long as this is kept."""

    def __init__(self, model: LlamaCpp) -> None:
        self.model = model

    def outputs(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the logarithms of what may follow each row of `input_ids` (B, T), (B, V)."""
        return _stacked([self.model.log_probabilities(row.tolist()) for row in inputs["input_ids"]])

    def next_logits(self, tokens: Sequence[int]) -> np.ndarray:
        return _stacked([self.model.log_probabilities(tokens[: end + 1]) for end in range(len(tokens))])

    def greedy(self, tokens: Sequence[int], most: int, ends: Sequence[int]) -> list[int]:
        found = self.model.greedy(tokens, most).tokens
        return found[: next((place for place, token in enumerate(found) if token in ends), len(found))]


def _stacked(rows: list[np.ndarray]) -> np.ndarray:
    found: np.ndarray = np.maximum(np.stack(rows), _LEAST).astype(np.float32)
    return found


@runtime("llama.cpp")
class LlamaCppRuntime(Runtime):
    """Runs GGUF files."""

    package = "xllamacpp"
    extra = "llama-cpp"

    @classmethod
    def open(cls, folder: Path, manifest: Manifest) -> LlamaCppSession:
        context = min(int(manifest.reading["context"]), 1024)
        return LlamaCppSession(LlamaCpp(folder / "model.gguf", context=context, threads=1, exact=True).start())
