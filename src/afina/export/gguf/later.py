"""Keep what llama.cpp gave when a file was written, so that it can be asked again at any later time, without the adapter."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from afina.export.gguf.llama_cpp import LlamaCpp
from afina.export.held import TEXTS
from afina.export.manifest import PROBE
from afina.export.parity import Parity
from afina.predictor.predictor import Predictor

__all__ = ["asked_again", "keep_answers", "told_later"]

_LEAST = -100.0


def asked_again(loaded: Predictor) -> list[list[int]]:
    """Return the prompts that are asked: of our own texts, as others are given the folder, and not a person's rows."""
    # Short ones, as they are asked again of a model that may be large.
    most = min(loaded.backbone.context, 64) - 1
    prompts = [loaded.tokenizer(text)["input_ids"][:most] for text in TEXTS[:4]]
    return [ids for ids in prompts if ids]


def keep_answers(folder: Path, prompts: Sequence[Sequence[int]], logits: Sequence[Tensor], cpp: LlamaCpp) -> None:
    """Write what llama.cpp finds may follow prompts, beside what transformers' logits (T, V) of the same weights say."""
    values: dict[str, np.ndarray] = {}
    for index, (prompt, scores) in enumerate(zip(prompts, logits, strict=True)):
        values[f"{index}.input_ids"] = torch.tensor([list(prompt)]).numpy()
        values[f"{index}/adapter"] = scores[-1].log_softmax(-1)[None].clamp(min=_LEAST).numpy()
        # Minus infinity has no difference from itself.
        values[f"{index}/export"] = np.maximum(cpp.log_probabilities(prompt)[None], _LEAST).astype(np.float32)
    with (folder / PROBE).open("wb") as file:
        np.savez_compressed(file, **values)  # type: ignore[arg-type]


def told_later(parity: Parity, kind: str, **reading: Any) -> dict[str, Any]:
    """Return what a folder's manifest says of weights of a type, and of what a runtime has to know to read with them."""
    compared = parity.figures | {"told": [list(row) for row in parity.told]}
    return {"inputs": ["input_ids"], "reading": reading, "precision": kind, "parity": compared}
