"""Ask a model how likely it finds sentences and answers: one that writes, or an encoder with its masked-language head.

A model that writes gives a sentence's log-likelihood, sum_i log p(t_i | start, t_1 ... t_{i-1}). An encoder gives, as Nangia
et al. (2020, arXiv:2010.00133) define it for two sentences that differ in a few words, the pseudo-log-likelihood of the
tokens U that both have, given the tokens M that are modified: sum_{u in U} log p(u | U without u, M), each u masked alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from afina.adapters.adapter import Adapter
from afina.backbone.attachment import Attachment
from afina.backbone.head import Head
from afina.backbone.language_head import LanguageHead, TokenHead
from afina.backbone.load import Backbone
from afina.backbone.model_files import model_path
from afina.backbone.weights import read_weights
from afina.data.tokens.tokens import IGNORED, WrittenTokens
from afina.errors import UsageError
from afina.predictor.language_model import LanguageModel
from afina.train.evaluate import predict_logits

__all__ = ["MaskedScorer", "Scorer", "WritingScorer", "masked_head"]

_BATCH = 32


class Scorer:
    """Scores texts; `continues` is True of what can say how likely an answer is after a question."""

    continues: bool

    def pairs(self, first: Sequence[str], second: Sequence[str]) -> np.ndarray:
        """Return (N, 2): what speaks for the first and for the second sentence of each pair."""
        raise NotImplementedError

    def options(self, prompts: Sequence[str], options: Sequence[Sequence[str]]) -> np.ndarray:
        """Return (N, most options): the log-likelihood of each option after its prompt, -inf where there is none."""
        raise NotImplementedError


@dataclass(frozen=True)
class WritingScorer(Scorer):
    """Scores with a model that writes, and with an adapter or none."""

    model: LanguageModel
    continues = True

    def pairs(self, first: Sequence[str], second: Sequence[str]) -> np.ndarray:
        sums = self._sums([([], self._tokens(text)) for text in (*first, *second)])
        return sums.reshape(2, len(first)).T

    def options(self, prompts: Sequence[str], options: Sequence[Sequence[str]]) -> np.ndarray:
        asked, places = [], []
        for row, (prompt, answers) in enumerate(zip(prompts, options, strict=True)):
            read = self._tokens(prompt)
            for place, option in enumerate(answers):
                # Tokenised as one text, which is how a model has read such texts; what follows the prompt is the option's.
                asked.append((read, self._tokens(f"{prompt} {option}")[len(read) :]))
                places.append((row, place))
        scores = np.full((len(prompts), max(map(len, options))), -np.inf)
        scores[tuple(np.array(places).T)] = self._sums(asked)
        return scores

    def _tokens(self, text: str) -> list[int]:
        tokens: list[int] = self.model.tokenizer.encode(text, add_special_tokens=False)
        return tokens

    def _sums(self, asked: Sequence[tuple[list[int], list[int]]]) -> np.ndarray:
        """Return the log-likelihood of tokens, each after the start mark and what is read before them."""
        tokenizer = self.model.tokenizer
        marks = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
        start = next((int(mark) for mark in marks if mark is not None), 0)
        rows = []
        for read, scored in asked:
            if not scored:
                raise UsageError("A sentence or an option gives no token of its own to this model's tokenizer.")
            # Of what is too long the beginning is left out, as the question stands at the end.
            whole = [start, *read, *scored][-self.model.context - 1 :]
            targets = [IGNORED] * max(0, len(whole) - 1 - len(scored)) + whole[max(1, len(whole) - len(scored)) :]
            rows.append((whole[:-1], targets))
        return -self.model.score(_written(rows))[:, 0].astype(np.float64)


class MaskedScorer(Scorer):
    """Scores pairs with an encoder under its masked-language head, and with an adapter or none."""

    continues = False

    def __init__(self, backbone: Backbone, head: "MaskedHead", adapter: Adapter | None, tokenizer: Any) -> None:
        self.backbone, self.adapter, self.tokenizer = backbone, adapter, tokenizer
        self.head: Head = TokenHead(head, backbone.config)

    def placed(self) -> Any:
        """Return what the adapter places, as whatever is attached says it."""
        return () if self.adapter is None else self.adapter.placed()

    def pairs(self, first: Sequence[str], second: Sequence[str]) -> np.ndarray:
        mask, rows, owner = int(self.tokenizer.mask_token_id), [], []
        for pair, texts in enumerate(zip(first, second, strict=True)):
            both = [
                self.tokenizer(text, truncation=True, max_length=self.backbone.context)["input_ids"] for text in texts
            ]
            for place, (ids, shared) in enumerate(zip(both, _shared(*both), strict=True)):
                for at in shared:
                    targets = [IGNORED] * len(ids)
                    targets[at] = ids[at]
                    rows.append(([*ids[:at], mask, *ids[at + 1 :]], targets))
                    owner.append((pair, place))
        scores = np.zeros((len(first), 2))
        if rows:
            with Attachment(self.backbone, [self]) as attached:
                (losses,) = predict_logits(attached, _written(rows), batch_size=_BATCH)
            np.add.at(scores, tuple(np.array(owner).T), -losses[:, 0].astype(np.float64))
        return scores


def _shared(first: list[int], second: list[int]) -> tuple[list[int], list[int]]:
    """Return the places, in each of two token sequences, of the tokens that both have, without the marks at both ends."""
    equal = [code for code in SequenceMatcher(None, first, second).get_opcodes() if code[0] == "equal"]
    places = [place for _, start, end, _, _ in equal for place in range(start, end)]
    others = [place for _, _, _, start, end in equal for place in range(start, end)]
    return places[1:-1], others[1:-1]


def _written(rows: Sequence[tuple[list[int], list[int]]]) -> WrittenTokens:
    offsets = np.concatenate([[0], np.cumsum([len(ids) for ids, _ in rows])])
    ids, targets = (np.array([token for row in rows for token in row[part]], dtype=np.int64) for part in (0, 1))
    counts = np.array([sum(target != IGNORED for target in targets) for _, targets in rows])
    return WrittenTokens(ids, offsets, counts, targets=targets)


class _Given(nn.Module):
    """Stands in the place of an encoder: what it is given for words' vectors is what it says."""

    def forward(self, *inputs: Any, inputs_embeds: Tensor, **settings: Any) -> Any:
        from transformers.modeling_outputs import BaseModelOutput

        return BaseModelOutput(last_hidden_state=inputs_embeds)


@dataclass(frozen=True)
class MaskedHead(LanguageHead):
    """The masked-language head of an encoder: `linear` is transformers' whole model, its encoder replaced by `_Given`."""

    def losses(self, states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        dtype = next(self.linear.parameters()).dtype
        logits = self.linear(inputs_embeds=states[None].to(dtype)).logits[0].float()
        of_target = torch.log_softmax(logits, dim=-1).gather(1, targets[:, None])[:, 0]
        return -of_target, logits.argmax(dim=-1) == targets


def masked_head(backbone: Backbone, *, trust_remote_code: bool = False) -> MaskedHead:
    """Load the masked-language head of a backbone's checkpoint.

    Raises `UsageError` for an architecture that has none, and for weights that hold none.
    """
    from transformers import AutoModelForMaskedLM
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING

    if type(backbone.config) not in MODEL_FOR_MASKED_LM_MAPPING:
        raise UsageError(f"'{backbone.name}' ({backbone.config.model_type}) has no masked-language head.")
    settings = {"dtype": torch.float32, "attn_implementation": "eager"}
    read = read_weights(
        backbone.name, model_path(backbone.name), AutoModelForMaskedLM, settings, trust_remote_code=trust_remote_code,
        speaks=True,
    )  # fmt: skip
    setattr(read.model, read.prefix.rstrip("."), _Given())
    return MaskedHead(read.model.requires_grad_(False).eval().to(backbone.device))
