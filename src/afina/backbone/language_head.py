"""The language head of a model that writes, and what it says of given answers or texts.

`Hidden.targets` (B, T) has, at each place whose next token the model is to say, that token, and -100 everywhere else: for
one question with one of its answers behind it, at the places before the answer's tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from afina.backbone.head import Head, Hidden
from afina.data.tokens.batching import padded_width
from afina.data.tokens.tokens import IGNORED
from afina.ops.dropout import DropoutSource
from afina.ops.vocabulary import VocabularyHead, token_losses

__all__ = [
    "AnswerHead",
    "AnswersApart",
    "LanguageHead",
    "SpeakingHead",
    "TokenHead",
    "answer_scores",
    "answers_apart",
    "bare_language_model",
    "language_head_of",
    "question_mask",
    "spoken_by",
]


@dataclass(frozen=True)
class LanguageHead:
    """The pretrained layer from states to next-token logits; frozen, and no part of any adapter."""

    linear: nn.Module
    scale: float = 1.0
    bias: Tensor | None = None
    softcap: float | None = None

    def __call__(self, states: Tensor) -> Tensor:
        """Return float32 logits (N, V) for states (N, D)."""
        weight = self.linear.get_parameter("weight")
        logits: Tensor = self.linear((states * self.scale).to(weight.dtype)).float()
        if self.bias is not None:
            logits = logits + self.bias
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)

    def losses(self, states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss (N,) of each target at its state (N, D), and whether it was the likeliest (N,)."""
        head = self.multiplied()
        return token_losses(states, targets, head.weight, scale=head.scale, bias=head.bias, softcap=head.softcap)

    def multiplied(self, temperature: float = 1.0) -> VocabularyHead:
        """Return what states are multiplied by, with a temperature of the softmax behind it."""
        # BART's lies outside of the layer and may be there besides the layer's own.
        biases = [bias for bias in (self.bias, getattr(self.linear, "bias", None)) if bias is not None]
        bias = torch.stack(biases).sum(dim=0).float() if biases else None
        return VocabularyHead(self.linear.get_parameter("weight"), self.scale, bias, self.softcap, temperature)


def language_head_of(model: Any) -> LanguageHead:
    """Return the head of a transformers language model."""
    config = model.config
    bias = getattr(model, "final_logits_bias", None)  # BART's
    return LanguageHead(
        model.lm_head,
        scale=_scale_of(config),
        bias=None if bias is None else bias[0].float(),
        softcap=getattr(config, "final_logit_softcapping", None),  # Gemma's
    )


def _scale_of(config: Any) -> float:
    if getattr(config, "scale_decoder_outputs", False):  # T5's, where the words share the input's vectors
        return float(config.d_model**-0.5)
    # Cohere multiplies by one, Granite divides by the other; a model has one of them at most.
    return float(getattr(config, "logit_scale", None) or 1.0) / float(getattr(config, "logits_scaling", None) or 1.0)


def bare_language_model(model: Any) -> tuple[str, Any]:
    """Return the model under the language head with its name there; T5's, whose parts have no name, is put together."""
    prefix = model.base_model_prefix
    if hasattr(model, prefix):
        return prefix, getattr(model, prefix)
    from transformers import AutoModel

    # Only its outline is wanted: the parts that it is made of are the loaded model's own.
    with torch.device("meta"):
        bare = AutoModel.from_config(model.config, attn_implementation=model.config._attn_implementation)
    for name, part in model.named_children():
        # By the names of the outline, which has no language head.
        if name in dict(bare.named_children()):
            setattr(bare, name, part)
    return "", bare


@dataclass(frozen=True)
class AnswersApart:
    """Answers apart from their questions, for a model that reads the one and writes the other."""

    inputs: dict[str, Tensor]
    """The questions alone, (B, Q), with a mask that has 1 on their tokens."""
    ids: Tensor
    """(B, A): the answers' tokens, 0 behind them."""
    mask: Tensor
    """(B, A): 1 on them."""
    targets: Tensor
    """(B, A): the same tokens, `IGNORED` behind them."""


def question_mask(targets: Tensor, mask: Tensor | None) -> Tensor:
    """Return (B, T): 1 on what stands before the first token that a row is to say, by its targets (B, T)."""
    # As long as the targets so far count nothing, a token is the question's; the first one that has a target ends it.
    places = (targets != IGNORED).long()
    before = (places.cumsum(dim=1) == places).long()
    return before if mask is None else before * mask


def answers_apart(inputs: Mapping[str, Tensor], targets: Tensor) -> AnswersApart:
    """Take rows of question and answer apart by their targets (B, T)."""
    places = targets != IGNORED
    count = places.sum(dim=1, keepdim=True)
    last = places.int().argmax(dim=1, keepdim=True)  # of the question: what it says next is the answer's first token
    columns = torch.arange(targets.shape[1], device=targets.device)
    # One at least, so that shapes are never empty.
    steps = columns[: max(1, int(count.max()))]

    # Answers stand at different places of their rows and are moved to the beginning, (B, T) -> (B, A).
    answers = targets.gather(1, (last + steps).clamp(max=targets.shape[1] - 1))
    mask = steps < count
    width = padded_width(int(last.max()) + 1, targets.shape[1])
    questions = {name: value[:, :width] for name, value in inputs.items()}
    return AnswersApart(
        inputs=questions | {"attention_mask": (columns[:width] <= last).long()},
        ids=answers.masked_fill(~mask, 0),
        mask=mask.long(),
        targets=answers.masked_fill(~mask, IGNORED),
    )


def answer_scores(logits: Tensor, targets: Tensor) -> Tensor:
    """Return of each row (B, 4): mean and sum of its answer's log-probabilities, sum of log(1 - p), tokens.

    `logits` (N, V) are those of the places that have a target in `targets` (B, T), in order. A row without an answer has
    a mean and a sum of minus infinity.
    """
    places = targets != IGNORED
    of_token = torch.log_softmax(logits, dim=-1).gather(1, targets[places][:, None])[:, 0]

    # log(1 - p) from log p; a p of 1 in float32 would have no finite one.
    other = torch.log1p(-of_token.exp().clamp(max=1 - 1e-6))
    rows = places.nonzero()[:, 0]
    count = places.sum(dim=1)
    total, against = (
        torch.zeros(targets.shape[0], device=logits.device).index_add(0, rows, x) for x in (of_token, other)
    )

    # A row has fewer answers than others: its missing ones score minus infinity, and are never chosen.
    mean = total / count.clamp(min=1)
    none = count == 0
    return torch.stack([mean.masked_fill(none, -torch.inf), total.masked_fill(none, -torch.inf), against, count], dim=1)


class SpeakingHead(Head):
    """Holds a language head and no layer of its own: what it says of tokens is what its kinds give."""

    def __init__(self, language: LanguageHead, config: Any, outputs: int = 0) -> None:
        super().__init__(config, outputs)
        self._language = [language]  # in a list, lest its weights become this module's

    @property
    def language(self) -> LanguageHead:
        """Return the head that speaks: the model's, unless an adapter brought one of its own."""
        return self._language[0]


def spoken_by(head: Head, otherwise: LanguageHead) -> LanguageHead:
    """Return the language head with which an adapter of this head speaks: its own, or else the model's."""
    return head.language if isinstance(head, SpeakingHead) else otherwise


class AnswerHead(SpeakingHead):
    """Says how likely the language head finds each answer; `outputs` rows in a row are the answers to one question."""

    def forward(self, hidden: Hidden, source: DropoutSource | None = None) -> Tensor:
        """Return the scores (B / answers, answers, 4) of all answers (`answer_scores`)."""
        assert hidden.targets is not None, "a language head needs answers"
        states = hidden.states[hidden.targets != IGNORED]
        scores = answer_scores(self.language(states), hidden.targets)
        return scores.reshape(-1, self.outputs, scores.shape[1])


class TokenHead(SpeakingHead):
    """Says how likely the language head finds the tokens of each text."""

    per_token = True

    def looked_at(self, hidden: Hidden) -> Tensor:
        """Return the states (N, D) of the places that have a target, row by row."""
        assert hidden.targets is not None, "a language head needs targets"
        places = (hidden.targets.flatten() != IGNORED).nonzero()[:, 0]
        return hidden.states.flatten(0, 1).index_select(0, places)

    def forward(self, hidden: Hidden, source: DropoutSource | None = None) -> Tensor:
        """Return of each row (B, 3): the sum of its targets' losses in nats, their number, and those that were likeliest.

        Places without a target do not go through the language head.
        """
        assert hidden.targets is not None, "a language head needs targets"
        targets = hidden.targets.flatten()
        # Of a language head's products those of texts' padding would be the most costly part.
        places = (targets != IGNORED).nonzero()[:, 0]
        losses, hits = self.language.losses(self.looked_at(hidden), targets[places])
        figures = torch.stack([losses, torch.ones_like(losses), hits.to(losses.dtype)], dim=1)
        # Which row a place is of, in the flattened batch.
        rows = places // hidden.targets.shape[1]
        return figures.new_zeros(hidden.targets.shape[0], 3).index_add(0, rows, figures)
