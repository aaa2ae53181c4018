"""Ask a model the same question many times: with words taken away, or with their vectors on the way to a baseline.

A word that is taken away gives way to the baseline's token (the mask, else the unknown token, else padding), so that nothing
else moves. Vectors are changed where they are looked up, by hooks on the embeddings: an encoder and a decoder that read one
text have it changed alike, and no architecture has code of its own here.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from afina.backbone.attachment import Attachment
from afina.data.tokens.batching import evaluation_batches
from afina.data.tokens.tokens import LabelledTokens, Tokens, WrittenTokens
from afina.errors import UsageError
from afina.explanation.kinds.base import Kind
from afina.explanation.question import ScoredQuestion
from afina.predictor.predictor import Predictor

__all__ = ["Asker", "baseline_token"]

_TOKENS = 4096
"""Tokens of a pass, about."""


def baseline_token(tokenizer: Any, padding: int | None) -> int:
    """Return the token that stands for a word that is taken away; `padding` is the model's."""
    # What is padding to the model counts for no place (RoBERTa): the words behind it would move.
    ends = {tokenizer.eos_token_id, tokenizer.bos_token_id, padding}
    if tokenizer.mask_token_id is not None:
        return int(tokenizer.mask_token_id)
    # An end in the middle of a text would say that another text begins.
    if tokenizer.unk_token_id is not None and tokenizer.unk_token_id not in ends:
        return int(tokenizer.unk_token_id)
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id not in ends:
        return int(tokenizer.pad_token_id)
    # A decoder without any of them: a sign that says little.
    return int(tokenizer("...", add_special_tokens=False)["input_ids"][0])


class Asker:
    """Scores answers to questions; a context in which the adapter is on its backbone."""

    def __init__(
        self, predictor: Predictor, kind: Kind, questions: Sequence[ScoredQuestion], *, bare: bool = False
    ) -> None:
        """Take questions, and whether to ask the bare base under the adapter's head in the place of the adapter."""
        self.predictor, self.kind, self.questions = predictor, kind, list(questions)
        self.baseline = baseline_token(predictor.tokenizer, _padding(predictor))
        self._bare = bare
        self.passes = 0
        """Rows that were asked so far."""

    def __enter__(self) -> "Asker":
        self._stack = ExitStack()
        backbone = self.predictor.bare() if self._bare else self.predictor.backbone
        (site,) = backbone.anatomy.of_kind("embedding")
        # Before the adapter's own hooks: a prompt's vectors are put beside what was looked up, and are no word's.
        self._lookup = _Lookup(backbone.model, backbone.model.get_submodule(site.module), self.baseline)
        self._stack.enter_context(self._lookup)
        worn = _Headed(self.predictor.adapter) if self._bare else self.predictor.adapter
        self._attached = self._stack.enter_context(Attachment(backbone, [worn]))
        self._attached.train(False)
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def scores(self, asked: Sequence[tuple[int, np.ndarray]]) -> np.ndarray:
        """Return the score (N,) of each question, by its number, with those of its words alone that are kept (W,)."""
        rows = []
        for number, staying in asked:
            question = self.questions[number]
            gone = (question.word_of >= 0) & ~np.append(staying, False)[question.word_of]
            rows.append(np.where(gone, self.baseline, question.ids))
        scores = np.zeros(len(rows), dtype=np.float64)
        with torch.inference_mode():
            for places, questions, batch in self._batches([number for number, _ in asked], rows):
                outputs = self._outputs(batch)
                scores[places] = self.kind.score(outputs, questions).double().cpu().numpy()
        return scores

    def gradients(self, asked: Sequence[tuple[int, float]], *, of: str) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the score (N,) of each question with its words' vectors at a share of the way from the baseline to theirs.

        And the gradient at each word (N of (W,)), summed over its tokens, by their vector (`of` "vector"), or by their
        vector less the baseline's ("way"). Raises `UsageError` for a model that has no gradients.
        """
        scores, by_word = np.zeros(len(asked)), [np.zeros(0)] * len(asked)
        rows = [self.questions[number].ids for number, _ in asked]
        frozen = [value for value in self.predictor.adapter.parameters() if value.requires_grad]
        try:
            for value in frozen:
                value.requires_grad_(False)  # by what was read alone: nothing is learned here
            for places, questions, batch in self._batches([number for number, _ in asked], rows):
                shares = torch.tensor([asked[place][1] for place in places], dtype=torch.float32)
                batch_scores, grads = self._graded(batch, questions, shares, of)
                scores[places] = batch_scores
                for place, question, row in zip(places, questions, grads, strict=True):
                    by_word[place] = _by_word(question, row[: len(question.ids)])
        finally:
            for value in frozen:
                value.requires_grad_(True)
        return scores, by_word

    def _graded(
        self, batch: Any, questions: Sequence[ScoredQuestion], shares: Tensor, of: str
    ) -> tuple[np.ndarray, np.ndarray]:
        ids = batch.inputs["input_ids"]
        words = torch.zeros(ids.shape, dtype=torch.bool)
        for row, question in enumerate(questions):
            # What is padding to the model has to stay so, or its places would be counted otherwise.
            staying = (question.word_of >= 0) & (question.ids != _padding(self.predictor))
            words[row, : len(question.ids)] = torch.from_numpy(staying)
        with torch.enable_grad(), self._lookup.changed(ids, words.to(ids.device), shares.to(ids.device)) as change:
            scores = self.kind.score(self._outputs(batch, change.ids), questions)
            if not scores.requires_grad:
                raise UsageError(
                    f"{self.predictor.folder} answers without gradients ({self.predictor.method.name}, "
                    f"{self.predictor.record.precision}); take --way occlusion or --way shapley, which need none."
                )
            (grad,) = torch.autograd.grad(scores.sum(), change.moved)
        by = change.vectors if of == "vector" else change.vectors - self._lookup.baseline
        dots = (grad.float() * by.float()).sum(-1).view(ids.shape) * words.to(ids.device)
        return scores.detach().double().cpu().numpy(), dots.cpu().numpy()

    def _outputs(self, batch: Any, ids: Tensor | None = None) -> Tensor:
        inputs = batch.inputs if ids is None else {**batch.inputs, "input_ids": ids}
        (outputs,) = self._attached(inputs, targets=batch.targets)
        return outputs

    def _batches(
        self, numbers: Sequence[int], rows: Sequence[np.ndarray]
    ) -> Iterator[tuple[np.ndarray, list[ScoredQuestion], Any]]:
        """Yield places among the rows, their questions and their batch, rows of like length together."""
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        for places in evaluation_batches(lengths, 256, tokens=_TOKENS):
            questions = [self.questions[numbers[place]] for place in places]
            tokens = _tokens(questions, [rows[place] for place in places])
            self.passes += len(places)
            yield places, questions, self._attached.batch([(tokens, np.arange(len(places)))])


def _padding(predictor: Predictor) -> int | None:
    padding: int | None = getattr(predictor.backbone.config, "pad_token_id", None)
    return padding


class _Headed:
    """Stands for an adapter's head on the bare base."""

    def __init__(self, adapter: Any) -> None:
        self.head = adapter.head

    def placed(self) -> Any:
        return ()


def _by_word(question: ScoredQuestion, dots: np.ndarray) -> np.ndarray:
    sums = np.zeros(len(question.words) + 1)
    np.add.at(sums, question.word_of, dots.astype(np.float64))
    return sums[:-1]


def _tokens(questions: Sequence[ScoredQuestion], rows: Sequence[np.ndarray]) -> Tokens:
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    ids = np.concatenate(rows).astype(np.int64)
    given = [question.segments for question in questions if question.segments is not None]
    segments = np.concatenate(given) if given else None
    spoken = [question.targets for question in questions if question.targets is not None]
    if spoken:
        return WrittenTokens(ids, offsets, np.zeros(len(rows)), 0, segments, targets=np.concatenate(spoken))
    return LabelledTokens(ids, offsets, np.zeros(len(rows), dtype=np.int64), 0, segments)


class _Change:
    """Holds what is looked up in the place of words: numbers of their own, which the hooks know."""

    def __init__(self, ids: Tensor, words: Tensor, shares: Tensor, first: int, like: Tensor) -> None:
        count, width = ids.shape
        self.real, self.first = ids.flatten(), first
        self.ids = torch.where(words, first + torch.arange(count * width, device=ids.device).view(ids.shape), ids)
        self.shares = shares.to(like.dtype).repeat_interleave(width)
        self.moved = torch.zeros(count * width, like.shape[-1], dtype=like.dtype, device=ids.device, requires_grad=True)
        self.vectors = torch.zeros_like(self.moved)


class _Lookup:
    """Changes what a model's embeddings give for words; a context."""

    def __init__(self, model: nn.Module, module: nn.Module, baseline: int) -> None:
        weight = module.get_parameter("weight")
        # BART's decoder has a module of its own with the same weights; T5's encoder and decoder share one.
        self._modules: list[nn.Module] = [
            own
            for own in model.modules()
            if isinstance(own, nn.Embedding) and own.weight.data_ptr() == weight.data_ptr()
        ] or [module]
        with torch.no_grad():
            self.baseline: Tensor = module(torch.tensor([[baseline]], device=weight.device))[0, 0]
        self._first = int(weight.shape[0])
        self._now: _Change | None = None
        self._asked: list[Tensor] = []

    def __enter__(self) -> "_Lookup":
        self._handles = [own.register_forward_pre_hook(self._before) for own in self._modules]
        self._handles += [own.register_forward_hook(self._after) for own in self._modules]
        return self

    def __exit__(self, *error: Any) -> None:
        for handle in self._handles:
            handle.remove()

    @contextmanager
    def changed(self, ids: Tensor, words: Tensor, shares: Tensor) -> Iterator[_Change]:
        self._now = change = _Change(ids, words, shares, self._first, self.baseline)
        try:
            yield change
        finally:
            self._now = None
            self._asked.clear()

    def _before(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self._now is None:
            return None
        self._asked.append(args[0])
        places = (args[0] - self._first).clamp(min=0)
        return (torch.where(args[0] >= self._first, self._now.real[places], args[0]), *args[1:])

    def _after(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        if self._now is None:
            return None
        ids, change = self._asked.pop(), self._now
        ours, places = ids >= self._first, (ids - self._first).clamp(min=0)
        change.vectors[places[ours]] = output[ours].detach()
        between = self.baseline + change.shares[places].unsqueeze(-1) * (output - self.baseline)
        return torch.where(ours.unsqueeze(-1), between + change.moved[places], output)
