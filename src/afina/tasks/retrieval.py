"""Retrieval: an encoder learns to put a question near the passage that answers it, and far from the others of its batch.

    L = -log( exp(s(q, p+) / t) / sum over the different passages p of the batch of exp(s(q, p) / t) ),   s the cosine

Multiple-negatives ranking loss (Henderson et al., 2017, arXiv:1705.00652), with hard negatives among a batch's passages and
a temperature t that is set or, as in CLIP (Radford et al., 2021, arXiv:2103.00020), learned by its logarithm. A passage
that answers a question is never one of its wrong ones.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field

from afina.checked import Checked
from afina.data.files.text_files import tables_of_lines
from afina.data.hard_negatives import hard_negatives
from afina.data.passages import read_passages
from afina.data.rows import Passages, Rows, TextDataset
from afina.data.sources.presets import Preset
from afina.data.tokens.tokenize import tokenize, tokenize_passages
from afina.data.tokens.tokens import PassageTokens, Tokens
from afina.dataset_spec import DatasetSpec
from afina.tasks.base import task
from afina.tasks.embedding import Embedding
from afina.tasks.predictions import Decoded
from afina.tasks.source import Source
from afina.tasks.state import State

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Retrieval"]

_TEMPERATURE = 0.05
_LOWEST = 0.01
"""Below it a learned temperature does not fall; CLIP's bound."""
_AT_ONCE = 512
"""Questions whose similarity to all passages is held at one time."""
_LEARNED = "log_temperature"


class RetrievalSettings(Checked):
    """Has a study's keys for questions and passages."""

    temperature: Annotated[float, Field(gt=0, le=100)] | Literal["learned"] = _TEMPERATURE
    """For `task: retrieval`, what cosines are divided by in the loss, or `learned`, from 0.05 on."""
    hard_negatives: int = Field(default=1, ge=0, le=64)
    """For `task: retrieval`, passages a row that do not answer it: those of the data, and the rest by BM25."""
    negative_share: float = Field(default=0.95, gt=0, le=1)
    """For `task: retrieval`, the share of its right passage's BM25 score over which a passage is no negative."""


class _Learned(State):
    temperature: float = Field(gt=0)
    learned: bool
    hard_negatives: int = Field(ge=0)
    negative_share: float = Field(gt=0, le=1)


@task("retrieval")
class Retrieval(Embedding):
    """Gives one vector a text, learned from questions with passages.

    A row's outputs are the vectors of its texts. In an evaluation labels are those of `PassageTokens.evaluated`, predictions
    the rank of the first passage that answers, and scores the ranks of all that do.
    """

    pipeline_tag = "sentence-similarity"
    does = "It gives {input} a vector, by which the passages that answer a question are found."
    notes = (
        (
            "{count} passages that stand more than once, but for their spaces, are one each",
            "{count} passagens que aparecem mais de uma vez, salvo pelos espaços, contam como uma só",
        ),
        (
            "{count} passages, among which each question's are looked for",
            "{count} passagens, entre as quais se procuram as de cada pergunta",
        ),
        (
            "a passage is its '{text}' alone; '{title}' is not read",
            "uma passagem é só o seu '{text}'; '{title}' não é lido",
        ),
        ("{count} passages of {file} without a text left out", "{count} passagens de {file} sem texto ficam de fora"),
        (
            "questions of {split} without a passage that answers, left out: {count}",
            "perguntas de {split} sem passagem que responda, deixadas de fora: {count}",
        ),
        (
            "{count} passages stand as right and as wrong for one question, and are taken as right",
            "{count} passagens constam como certas e como erradas de uma mesma pergunta, e valem como certas",
        ),
        (
            "{where} has no test part: {train} questions to train on, {test} to test on (80/20, always the same)",
            "{where} não tem parte de teste: {train} perguntas para treinar, {test} para testar (80/20, sempre as mesmas)",
        ),
        (
            "questions of the test that are trained on too: {count}",
            "perguntas do teste que também são treinadas: {count}",
        ),
        (
            "{count} of {rows} test questions ask of a passage that train questions ask of too",
            "{count} de {rows} perguntas de teste tratam de uma passagem de que perguntas de treino também tratam",
        ),
        (
            "for {count} of {rows} train rows there are fewer than {wanted} hard negatives (passages of the words asked that "
            "surely do not answer); the other passages of their batch stand in for them",
            "para {count} de {rows} linhas de treino há menos de {wanted} negativos difíceis (passagens com as palavras da "
            "pergunta que certamente não a respondem); as outras passagens do lote ficam no lugar deles",
        ),
    )
    answers = "ranks"
    metric = "ndcg@10"
    trained = True
    stratified = False
    compares = True
    lines = "none"
    Settings = RetrievalSettings
    reads = ("negatives", "passages")
    State = _Learned

    def __init__(
        self, *, temperature: float = _TEMPERATURE, learned: bool = False, hard_negatives: int = 0,
        negative_share: float = 1.0, passages: Passages | None = None,
    ) -> None:  # fmt: skip
        """Take a study's settings, and the data's `passages` where rows are to be made tokens for training."""
        self.temperature, self.learned = temperature, learned
        self.hard_negatives, self.negative_share = hard_negatives, negative_share
        # A question, the passage that answers it, and the wrong ones.
        self.texts = 2 + hard_negatives
        self._passages = passages

    @classmethod
    def read(cls, source: Source) -> TextDataset:
        # A list, so that what reading notices is said after what finding did.
        parts, notes = source.parts, list(source.parts.notes)
        tables = tables_of_lines(parts.tables, cls.lines, parts.where, notes)
        parts = replace(parts, tables=tables, notes=tuple(notes))
        return read_passages(parts, cls.name, source.train_limit, source.test_limit)

    @classmethod
    def made_for(cls, data: TextDataset, settings: RetrievalSettings, spec: DatasetSpec, tokenizer: Any) -> Self:
        learned = settings.temperature == "learned"
        return cls(
            temperature=_TEMPERATURE if learned else float(settings.temperature), learned=learned,
            hard_negatives=settings.hard_negatives, negative_share=settings.negative_share, passages=data.passages,
        )  # fmt: skip

    @classmethod
    def published_outputs(cls, preset: Preset) -> int:
        return cls.outputs

    def tokenize(self, tokenizer: Any, rows: Rows, max_length: int, *, apart: bool = False) -> Tokens:
        """Return texts as tokens; of questions with passages all passages, and for each row its own and its negatives."""
        passages = self._passages
        # Texts to be embedded, for which nothing is right or wrong.
        if passages is None or rows.text_pair is None:
            return tokenize(tokenizer, rows, max_length)
        count, brought = self.hard_negatives, rows.label[:, None]
        if count:
            wrong = hard_negatives(rows.text, rows.label, passages, count=count, share=self.negative_share)
            # Where there are too few, the row's own stands in their place, which the loss passes over.
            filled = [
                (*few, *[answer] * (count - len(few))) for few, answer in zip(wrong, rows.label.tolist(), strict=True)
            ]
            brought = np.concatenate([brought, np.array(filled, dtype=np.int64)], axis=1)
        return tokenize_passages(tokenizer, rows.text, passages.texts, brought, passages.right, max_length)

    def noted(self, tokens: Tokens) -> tuple[str, ...]:
        if not isinstance(tokens, PassageTokens) or not self.hard_negatives:
            return ()
        # A row whose own passage stands again among its negatives had too few.
        brought = tokens.labels[:, : tokens.most]
        fewer = int((brought[:, 1:] == brought[:, :1]).any(axis=1).sum())
        if not fewer:
            return ()
        return (
            f"for {fewer:,} of {len(tokens):,} train rows there are fewer than {self.hard_negatives} hard negatives "
            "(passages of the words asked that surely do not answer); the other passages of their batch stand in for them",
        )

    # -- the loss

    def trained_beside(self) -> "dict[str, Tensor]":
        import torch

        return {_LEARNED: torch.tensor(math.log(self.temperature))} if self.learned else {}

    def with_trained(self, values: Mapping[str, float]) -> "Retrieval":
        # The bound of the loss itself, so that what is kept is what was computed with.
        temperature = max(_LOWEST, math.exp(values[_LEARNED]))
        return Retrieval(
            temperature=temperature, learned=True, hard_negatives=self.hard_negatives, negative_share=self.negative_share,
            passages=self._passages,
        )  # fmt: skip

    def loss(self, logits: "Tensor", labels: "Tensor", weights: Mapping[str, Any] | None = None) -> "Tensor":
        """Return the loss summed over the rows of `labels` (B, C + R), C passages and R that answer.

        `logits` (B * (1 + C), D) are the vectors of each row's question and of its passages.
        """
        import torch
        from torch.nn.functional import cross_entropy, normalize

        rows = len(labels)
        vectors = normalize(logits, dim=1).view(rows, -1, logits.shape[1])  # (B, 1 + C, D)
        count = vectors.shape[1] - 1
        passages = vectors[:, 1:].flatten(0, 1)  # (B * C, D)
        scores = vectors[:, 0] @ passages.T  # (B, B * C)
        learned = (weights or {}).get(_LEARNED)
        # By the logarithm: a step multiplies the temperature, which cannot become negative so.
        scores = scores / self.temperature if learned is None else scores * torch.exp(-learned).clamp(max=1 / _LOWEST)

        # Each passage is in the sum once, and of those that answer a question its row's own alone.
        brought, answer = labels[:, :count].reshape(-1), labels[:, count:]
        answers = (brought[None, :, None] == answer[:, None, :]).any(dim=2)  # (B, B * C)
        again = (brought[:, None] == brought[None, :]).tril(-1).any(dim=1)  # (B * C,)
        left_out = answers | again
        each = torch.arange(rows, device=labels.device)
        # The row's own passage is what all the others are compared with, wherever else it stands in the batch.
        left_out[each, each * count] = False
        return cross_entropy(scores.masked_fill(left_out, -math.inf), each * count, reduction="sum")

    # -- what it finds

    def decode_rows(self, tokens: Tokens, logits: np.ndarray) -> Decoded:
        """Return of each question the rank of the first passage that answers, and (Q, R) those of all, 0 where it has fewer.

        A passage has the rank behind all that are as near or nearer and do not answer, and all that answer and are nearer.
        """
        # Rows of a question have a passage that answers; those of passages have none.
        right = tokens.labels[(tokens.labels >= 0).any(axis=1)]
        lengths = np.linalg.norm(logits, axis=1, keepdims=True)
        # A vector of zeros is as far from everything as anything can be, and divides by nothing.
        unit = logits / np.maximum(lengths, 1e-12)
        questions, passages = unit[: len(right)], unit[len(right) :]
        ranks = np.zeros(right.shape, dtype=np.float64)
        # In parts: all questions by all passages is the largest table of an evaluation.
        for start in range(0, len(right), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            ranks[part] = _ranks(questions[part] @ passages.T, right[part])
        first = np.where(ranks > 0, ranks, np.inf).min(axis=1)
        return Decoded(first.astype(np.int64), ranks)

    def shown(self, values: np.ndarray) -> np.ndarray:
        """Return how many passages answer each question, of its labels; a prediction as it is."""
        if values.ndim == 1:
            return values
        count: np.ndarray = (values >= 0).sum(axis=1)
        return count[count > 0]

    def own_state(self) -> dict[str, Any]:
        return {
            "temperature": self.temperature, "learned": self.learned, "hard_negatives": self.hard_negatives,
            "negative_share": self.negative_share,
        }  # fmt: skip


def _ranks(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the ranks (Q, R) of the passages `right` (Q, R; -1 is none) by scores (Q, P); what is no number ranks last."""
    there = right >= 0
    scored = np.where(there, np.take_along_axis(scores, np.maximum(right, 0), axis=1), np.nan)
    rows, columns = np.nonzero(there)
    wrong = scores.copy()
    # Those that answer do not count before one another but by `nearer`.
    wrong[rows, right[rows, columns]] = -np.inf
    ranks = np.zeros(right.shape)
    for column in range(right.shape[1]):
        # A comparison with what is no number is false, so that such a passage comes behind all.
        mine = scored[:, column, None]
        before = scores.shape[1] - (wrong < mine).sum(axis=1)
        nearer = (scored > mine).sum(axis=1) + (scored == mine)[:, :column].sum(axis=1)
        ranks[:, column] = 1 + before + nearer
    return np.where(there, ranks, 0)
