"""Compare models one beside another."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from afina.one_or_more import one_or_more

if TYPE_CHECKING:
    from afina.evaluation.beside import BesideCompared

__all__ = ["compare"]


def compare(
    models: str | Path | Sequence[str | Path],
    *,
    data: str | Path | Sequence[str | Path] = (),
    text: str | Path | Sequence[str | Path] = (),
    answers: str | Path | Sequence[str | Path] = (),
    at_most: float = 0.02,
    task: str = "auto",
    metrics: str | Sequence[str] | None = None,
    max_new_tokens: int = 64,
    limit: int | None = None,
    max_length: int = 256,
    batch_size: int = 32,
    device: str = "auto",
    trust_remote_code: bool = False,
    out: Path | None = None,
    force: bool = False,
    tell: Callable[[str], None] = lambda what: None,
) -> "BesideCompared":
    """Measure models or adapters on the same items, each in a process of its own, and weigh each against the first.

    `data` are data sets with labels, `text` files of texts and `answers` files of prompts with references; `at_most` is the
    share of the first's value that may be lost. Raises `UsageError` for what is not there or does not answer the items.
    """
    from afina.backbone.model_files import device_named
    from afina.evaluation.answers import Answering
    from afina.evaluation.beside import BesideItems, compare_models
    from afina.outputs import check_outputs
    from afina.whole_file import write_text

    models, metrics = one_or_more(models), one_or_more(metrics)
    data, text, answers = one_or_more(data), one_or_more(text), one_or_more(answers)
    reads = [*data, *text, *answers]
    check_outputs((out,), reads, force=force)
    items = BesideItems(
        data=list(map(str, data)), text=list(map(str, text)), answers=list(map(str, answers)), task=task,
        answering=Answering(max_new_tokens=max_new_tokens, metrics=metrics), limit=limit, max_length=max_length,
        batch_size=batch_size,
    )  # fmt: skip
    compared = compare_models(
        list(map(str, models)), items, at_most=at_most, device=device_named(device), trust_remote_code=trust_remote_code,
        tell=tell,
    )  # fmt: skip
    if out is not None:
        write_text(out, json.dumps(compared.as_dict(), ensure_ascii=False, indent=2) + "\n")
    return compared
