"""Answer with an adapter as it is used here: what an export of it is timed beside."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from afina.backbone.attachment import Attachment
from afina.backbone.head import mean_pool
from afina.backbone.incremental import Writing
from afina.export.graph import headless
from afina.predictor.load import load

__all__ = ["opened"]


def opened(folder: str, model: str, precision: str) -> Callable[[Mapping[str, np.ndarray]], Callable[[], Any]]:
    """Load an adapter on a model in a precision, attached for as long as the process lasts."""
    loaded = load(folder, model=model, precision=precision)
    embeds, writes = loaded.task.embeds, loaded.task.writes
    attached = Attachment(loaded.backbone, [headless(loaded, loaded.adapter) if embeds else loaded.adapter])
    attached.__enter__()
    torch.inference_mode(True).__enter__()

    def ready(batch: Mapping[str, np.ndarray]) -> Callable[[], Any]:
        inputs = {name: torch.from_numpy(value) for name, value in batch.items()}
        if not writes:
            return lambda: mean_pool(attached.hidden(inputs)) if embeds else attached(inputs)[0]
        rows = zip(batch["input_ids"], batch["attention_mask"].astype(bool), strict=True)
        prompts = [ids[own].tolist() for ids, own in rows]
        writing = Writing(attached, prompts, [slice(0, len(prompts))])
        # Each call adds the likeliest token to every row.
        return lambda: writing.go_on(writing.logits.argmax(dim=-1))

    return ready
