"""Texts as vectors: what an adapter without a head gives.

It is nothing to train on here: adapters of this kind are made elsewhere (PEFT's FEATURE_EXTRACTION).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from afina.data.rows import TextDataset
from afina.data.tokens.tokens import Tokens
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.tasks.base import Task, task
from afina.tasks.predictions import Decoded, Prediction, Shown
from afina.tasks.source import Source

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Embedded", "Embedding"]


@dataclass(frozen=True)
class Embedded(Prediction):
    """A text's vector, from an adapter without a head; `label` shows how it begins."""

    vector: tuple[float, ...] = ()

    @classmethod
    def of(cls, vector: np.ndarray) -> "Embedded":
        numbers = tuple(map(float, vector))
        # A few numbers tell two vectors apart in a terminal; all of them would fill it.
        begin = ", ".join(f"{number:.3f}" for number in numbers[:4])
        return cls(f"[{begin}, ...] ({len(numbers)} numbers)", None, numbers)

    def as_dict(self) -> dict[str, Any]:
        return {"embedding": list(self.vector)}

    def shown(self, at_least: float | None) -> Shown:
        # As many digits as float32 holds.
        vector = [float(f"{value:.6g}") for value in self.vector]
        return Shown({"embedding": vector}, {"embedding": vector})


@task("embedding")
class Embedding(Task):
    """Gives one vector a text."""

    pipeline_tag = "feature-extraction"
    does = "It gives {input} a vector."
    answers = "vectors"
    metric = "none"
    trained = False
    embeds = True
    has_head = False
    answer_form = "vector"
    predictor = "embedder"
    answers_with = "a vector"
    outputs = 0

    @classmethod
    def read(cls, source: Source) -> TextDataset:
        raise UsageError(
            f"task: {cls.name} is what adapters without a head give; there is nothing to train it on here."
        )

    @classmethod
    def made_for(cls, data: TextDataset, settings: Any, spec: DatasetSpec, tokenizer: Any) -> Self:
        return cls()

    @classmethod
    def of_labels(cls, names: Sequence[str]) -> Self:
        return cls()

    def loss(self, logits: "Tensor", labels: "Tensor", weights: Mapping[str, Any] | None = None) -> "Tensor":
        raise _headless()

    def decode(self, logits: np.ndarray) -> Decoded:
        raise _headless()

    def predictions(
        self, texts: Sequence[Any], tokens: Tokens, logits: np.ndarray, choices: Sequence[Sequence[str]] | None = None
    ) -> Sequence[Prediction]:
        """Return each text's vector, which its "logits" are."""
        return [Embedded.of(vector) for vector in logits]

    @classmethod
    def auto_class(cls, inputs: str, *, reads_apart: bool) -> str:
        return "AutoModel"

    @classmethod
    def asked(cls, tokens: str) -> str:
        return f"model(**{tokens}).last_hidden_state"

    def example(self, *, pairs: bool) -> str:
        return 'embed(["A text."])'

    def fields(self, choices: Sequence[str] | None, *, unsure: bool) -> tuple[str, ...]:
        return ("embedding",)

    def nothing(self, *, unsure: bool) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"embedding": None}, {}

    # Vectors are the same only to rounding, which the largest difference says.
    def same(self, first: "Tensor", second: "Tensor") -> None:
        return None


def _headless() -> UsageError:
    return UsageError("This is an embedding adapter: it has no task head, so that it gives vectors, and no labels.")
