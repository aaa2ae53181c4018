"""Feature-based: make one vector of each text without tuning anything, and fit a classical model on them.

On embeddings of the frozen backbone, computed once (Peters et al., 2019, arXiv:1903.05987, call the choice between this and
fine-tuning "to tune or not to tune"); or on words, which a person can read: `representation: tfidf`, `words` (a dictionary's
categories) or `word2vec`. These run no model; they read the text as its tokenizer cuts it at `max_length`.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from afina.data.lexicons import read_lexicon
from afina.errors import UsageError, nearest, shown
from afina.methods.base import method
from afina.methods.classical import Classical, FittedMethod, fit_classical
from afina.methods.learners.base import LEARNERS, FitSettings, Learner, Vectors
from afina.methods.representations.base import REPRESENTATIONS, OfTexts

__all__ = ["Features"]


@method("features")
@dataclass(frozen=True, kw_only=True)
class Features(FittedMethod):
    """Fits a classical model on frozen, cached embeddings, or on words.

    For regression its regressor twin is fitted.
    """

    portuguese = "Ajusta um modelo clássico sobre vetores congelados e guardados, ou sobre palavras."

    model: str = "logistic"
    """`logistic` regression (for numbers: ridge), random `forest`, or `xgboost` (an extra)."""
    representation: str = "embeddings"
    """The frozen model's `embeddings`, `tfidf`, `words` by category, or `word2vec` of the train rows (extra `rag`)."""
    lexicon: str | None = None
    """A person's dictionary for `words` (.dic, .yaml, .json, .csv, .tsv); left out, one is induced from the train rows."""
    terms: int = 20_000
    """Most words and pairs of words that `tfidf` counts, the most frequent."""
    pooling: Literal["mean", "cls"] = "mean"
    """One vector a text: the mean over its tokens, or the first (decoders: the last) token's."""
    c: float = 1.0
    """Inverse strength of logistic regression's and ridge's penalty; scikit-learn's default."""
    trees: int = 200
    """Trees of the forest, rounds of XGBoost."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.trees < 1 or self.c <= 0 or self.terms < 1:
            raise UsageError(
                f"{self.name}: trees and terms should be at least 1 and c above 0, not {self.trees}, {self.terms} and "
                f"{self.c}."
            )
        for key, known in (("model", LEARNERS), ("representation", REPRESENTATIONS)):
            if (name := getattr(self, key)) not in known:
                raise UsageError(f"{self.name}: unknown {key} {shown(name)}{nearest(name[:80], known)}")
        kind = REPRESENTATIONS[self.representation]
        if self.lexicon is not None and not kind.takes_lexicon:
            takers = ", ".join(name for name, own in REPRESENTATIONS.items() if own.takes_lexicon)
            raise UsageError(f"{self.name}: a lexicon is for representation: {takers}, not for {self.representation}.")

    @property
    def reads_model(self) -> bool:
        return REPRESENTATIONS[self.representation].reads_model

    @property
    def texts(self) -> OfTexts | None:
        kind = REPRESENTATIONS[self.representation]
        return kind(asdict(self)) if issubclass(kind, OfTexts) else None

    @property
    def learner(self) -> Learner:
        return LEARNERS[self.model]()

    def remarks(self, written: Collection[str]) -> list[str]:
        if self.lexicon is None:
            return []
        # Before anything starts: a dictionary that cannot be read would fail the run after all others.
        read = read_lexicon(Path(self.lexicon))
        return [
            f"{self.name}: the dictionary {self.lexicon} has {len(read):,} entries in {len(read.categories):,} categories"
        ]

    def fit(self, vectors: Vectors, labels: np.ndarray, classes: int, seed: int) -> Classical:
        settings = FitSettings(c=self.c, trees=self.trees, seed=seed)
        return fit_classical(self.learner, vectors, labels, classes, settings)
