"""Let an adapter, or the bare base with a probe, answer texts with the probability of each class."""

from dataclasses import replace

import numpy as np

from afina.audit.bias.answers import Answerer, BiasRows, ClassAnswers
from afina.audit.bias.questions import BiasSettings
from afina.data.rows import Rows, stratified_rows
from afina.data.tokens.tokenize import tokenize
from afina.methods.classical import fit_classical
from afina.methods.learners.base import LEARNERS, FitSettings
from afina.predictor.loading import Loading
from afina.predictor.predictor import Predictor, rows_of
from afina.train.embed import embed

__all__ = ["answerer_of", "base_answerer"]

_BATCH = 32


def answerer_of(loaded: Predictor, material: BiasRows) -> Answerer:
    """Return what asks an adapter, which is told the rows' own groups where it decides by a column."""
    column = loaded.task.group_column

    def answer(texts: list[str], pairs: list[str] | None, rows: np.ndarray) -> ClassAnswers:
        made = rows_of(texts, pairs)
        if column is not None:
            made = replace(made, group=[material.decisive[column][row] for row in rows])
        tokens = loaded.tokens(made)
        return ClassAnswers(loaded.task.decode_rows(tokens, loaded.outputs(tokens, _BATCH)).scores)

    return answer


def base_answerer(loaded: Predictor, train: Rows, classes: int, settings: BiasSettings, loading: Loading) -> Answerer:
    """Return what asks the bare base: a logistic regression on its frozen embeddings of the rows that were trained on.

    The base has no classes of its own; what a linear probe finds in it is what tuning started from.
    """
    bare = loaded.bare(trust_remote_code=loading.trust_remote_code)

    def vectors(texts: list[str], pairs: list[str] | None) -> np.ndarray:
        tokens = tokenize(loaded.tokenizer, rows_of(texts, pairs), loaded.longest)
        return embed(bare, tokens, "mean", batch_size=_BATCH)

    sample = (
        train.take(stratified_rows(train.label, settings.rows, classes=True)) if len(train) > settings.rows else train
    )
    probe = fit_classical(
        LEARNERS["logistic"](),
        vectors(sample.text, sample.text_pair),
        sample.label,
        classes,
        FitSettings(c=1.0, trees=1, seed=settings.seed),
    )

    def answer(texts: list[str], pairs: list[str] | None, rows: np.ndarray) -> ClassAnswers:
        return ClassAnswers(loaded.task.decode(probe.logits(vectors(texts, pairs))).scores)

    return answer
