"""Hold what is exported beside what was trained: both read the same rows, the exported in its own library, loaded afresh."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from afina.backbone.attachment import Attachment
from afina.backbone.inputs import random_inputs
from afina.backbone.language_head import answer_scores, answers_apart
from afina.backbone.load import model_class
from afina.backbone.model_files import model_path
from afina.backbone.storage.bitsandbytes import quiet_bitsandbytes
from afina.data.images import image_tokens
from afina.data.rows import Rows
from afina.data.tokens.batching import Batch, collate
from afina.data.tokens.tokens import IGNORED, Tokens
from afina.errors import UsageError
from afina.export.merge import base_classifier
from afina.predictor.predictor import Predictor
from afina.tasks.base import Task

__all__ = ["TOLERANCE", "Parity", "check_parity", "load_merged", "load_peft", "parity_of"]

TOLERANCE = 1e-3
"""Largest difference of logits, relative to the largest logit and at least 1, that float32 may make."""


@dataclass(frozen=True)
class Parity:
    """Holds how near the exported model is to the adapter."""

    rows: int
    exact_difference: float
    """Largest difference of logits from the adapter in float32; `scale` says how large logits are."""
    scale: float
    difference: float
    """The same from the adapter in the precision that it was trained and tested in."""
    agreeing: int | None
    """Rows (of tags: words) whose label is the adapter's (tested precision); None for regression."""
    outputs: int
    """Number of rows (of tags: words) compared."""
    metrics: Mapping[str, tuple[float, float]]
    """Each metric's value of the tested adapter and of the exported model, where the rows have labels."""
    told: tuple[tuple[str, str], ...] = ()
    """Other comparisons, as rows of a table."""
    notes: tuple[str, ...] = ()
    """Notes on the exported model for a person."""
    narrowed: Any = None
    """Gains and losses of rounding the exported weights, if they were rounded."""

    @property
    def unit(self) -> str:
        """Say what has a label: rows, or words where words are tagged."""
        return "rows" if self.outputs == self.rows else "words"

    @property
    def figures(self) -> dict[str, Any]:
        """Return what a folder's manifest keeps of every comparison."""
        return {
            "rows": self.rows, "largest_difference": self.exact_difference, "largest_output": self.scale,
            "metrics": {name: list(values) for name, values in self.metrics.items()},
        }  # fmt: skip

    @property
    def equal(self) -> bool:
        return self.exact_difference <= TOLERANCE * max(1.0, self.scale)


def load_merged(tested: Predictor, folder: Path) -> tuple[Any, Any]:
    """Load a merged folder as anyone would: transformers alone."""
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    if tested.task.embeds:
        kind = AutoModel
    else:
        kind = model_class(AutoConfig.from_pretrained(folder), speaks=tested.task.speaks, tags=tested.task.tags)
    model = kind.from_pretrained(folder)
    has_tokenizer = any(folder.glob("tokenizer*"))
    return model.eval(), AutoTokenizer.from_pretrained(folder) if has_tokenizer else None


def load_peft(loaded: Predictor, folder: Path) -> tuple[Any, Any]:
    """Load a PEFT folder as anyone would: transformers and peft; raises `UsageError` when peft is not installed."""
    quiet_bitsandbytes()
    try:
        from peft import PeftModel
    except ImportError:
        raise UsageError("To check what is exported, peft has to be there: pip install 'afina[peft]'.") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it deprecates of transformers is not the user's to mend
        model = PeftModel.from_pretrained(base_classifier(loaded), str(folder))
    return model.eval(), loaded.tokenizer


def check_parity(tested: Predictor, exact: Predictor, model: Any, tokenizer: Any, rows: Rows | None) -> Parity:
    """Compare an exported model with the adapter on these rows (labels below 0: none), or on noise without texts."""
    tokens: Tokens | None = None
    if rows is not None and rows.pixels is not None:
        tokens = image_tokens(rows, tested.backbone.config, model_path(tested.record.model))
    elif rows is not None and tokenizer is not None:
        tokens = tested.tokens(rows)
    batches = list(_batches(tokens, tested))
    if tokens is not None and tokens.choices > 1:
        exact.adapter.head.outputs = tokens.choices
    outside = torch.cat([_outside(model, batch, tested.task) for batch in batches]).float()
    logits = {"tested": torch.cat([_inside(tested, batch) for batch in batches]).float()}
    logits["exact"] = (
        logits["tested"] if exact is tested else torch.cat([_inside(exact, batch) for batch in batches]).float()
    )
    task = tested.task
    outside = task.compared_outside(outside, len(batches))
    return parity_of(task, tokens, outside, {name: task.compared(value) for name, value in logits.items()})


def parity_of(task: Task, tokens: Tokens | None, outside: Tensor, logits: Mapping[str, Tensor]) -> Parity:
    """Return how near the outputs of an exported model are to the adapter's, "tested" and "exact", all in one unit."""
    metrics: dict[str, tuple[float, float]] = {}
    if tokens is not None and (tokens.output_labels() >= 0).all() and len(tokens) > 1:
        ours, theirs = (
            task.measure(tokens.labels, task.decode_compared(tokens, value.numpy()), scored=not task.writes)
            for value in (logits["tested"], outside)
        )
        metrics = {name: (ours[name], theirs[name]) for name in ours}
    return Parity(
        rows=len(outside) if tokens is None else len(tokens),
        exact_difference=float((outside - logits["exact"]).abs().max()),
        scale=float(logits["exact"].abs().max()),
        difference=float((outside - logits["tested"]).abs().max()),
        agreeing=None if (same := task.same(outside, logits["tested"])) is None else int(same.sum()),
        outputs=len(outside),
        metrics=metrics,
    )


def _batches(tokens: Tokens | None, tested: Predictor) -> Sequence[Batch]:
    """Return batches of one row each: padding, which libraries treat differently, stays out of the comparison."""
    if tokens is None:
        return [_noise(tested, seed) for seed in range(8)]
    return [_unpadded(tokens, row) for row in range(len(tokens))]


def _unpadded(tokens: Tokens, row: int) -> Batch:
    batch = collate([(tokens, np.array([row]))], 0, most=1)
    if tokens.choices > 1:
        return batch  # answers of unlike length, whose padding is behind them
    return replace(batch, inputs={name: value for name, value in batch.inputs.items() if name != "attention_mask"})


def _noise(tested: Predictor, seed: int) -> Batch:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Batch(random_inputs(tested.backbone.config, 1, 16), [], [], [])


def _outside(model: Any, batch: Batch, task: Task) -> Tensor:
    given, targets = batch.inputs, batch.targets
    with torch.inference_mode():
        if targets is None:
            output = model(**given)
            if "logits" not in output:
                return output.last_hidden_state.flatten(0, 1)  # type: ignore[no-any-return]
            logits: Tensor = output.logits

            # PEFT gives the places of a prompt outputs too.
            return task.labelled_outputs(logits, batch.labels)
        if model.config.is_encoder_decoder:
            answers = answers_apart(given, targets)
            targets = answers.targets
            given = answers.inputs | {"labels": targets}
        return answer_scores(model(**given).logits[targets != IGNORED].float(), targets)


def _inside(loaded: Predictor, batch: Batch) -> Tensor:
    with Attachment(loaded.backbone, [loaded.adapter]) as attached, torch.inference_mode():
        if loaded.task.embeds:
            return attached.hidden(batch.inputs).states.flatten(0, 1)
        logits = attached(batch.inputs, targets=batch.targets)[0]
    return loaded.task.labelled_outputs(logits, batch.labels)
