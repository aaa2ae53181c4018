"""Show what a study's models are about to learn to write, before anything is trained."""

from typing import Any

import numpy as np

from afina.backbone.configuration import context_of
from afina.backbone.load import load_tokenizer
from afina.backbone.shapes import read_shape
from afina.config import StudyConfig
from afina.data.tokens.preview import Learned, learned
from afina.data.tokens.tokens import WrittenTokens
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.methods.base import method_names
from afina.study.data import class_asked, read_data
from afina.study.prepare import reads_apart, task_of

__all__ = ["preview"]

_MOST_ROWS = 2000


def preview(
    study: StudyConfig | None = None, *, rows: int = _MOST_ROWS, **settings: Any
) -> dict[tuple[str, str], Learned | str]:
    """Return by model and data set what is learned, of the first train `rows`, or why that cannot be said.

    Takes a study, or a study file's keys (all but the methods). Data sets of tasks that write no text are left out.
    """
    config: StudyConfig = study or StudyConfig.parse({"methods": method_names()[:1], **settings}, "study")
    previews: dict[tuple[str, str], Learned | str] = {}
    for model in config.model:
        for spec in config.dataset:
            learned: Learned | str | None
            try:
                learned = _learned(config, spec, model, rows)
            except UsageError as error:
                learned = str(error)
            if learned is not None:
                previews[config.called(model), spec.label_name] = learned
    return previews


def _learned(config: StudyConfig, spec: DatasetSpec, model: str, rows: int) -> Learned | None:
    asked = class_asked(config, spec)
    if asked is None or not asked.writes:
        return None
    data = read_data(config, spec)
    tokenizer, _ = load_tokenizer(model, trust_remote_code=config.trust_remote_code)
    made, shape = task_of(config, spec, data, tokenizer), read_shape(model)
    sample = data.train.take(np.arange(min(rows, len(data.train))))
    limit = min(config.length_of(spec), context_of(shape))
    tokens = made.tokenize(tokenizer, sample, limit, apart=reads_apart(shape))
    return learned(tokens, tokenizer, made.stop) if isinstance(tokens, WrittenTokens) else None
