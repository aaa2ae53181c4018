"""Ask a language model, with an adapter or bare, how likely it finds given tokens and how it goes on from others."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from afina.adapters.adapter import Adapter
from afina.backbone.attachment import Attachment
from afina.backbone.before_text import places_taken
from afina.backbone.head import Head
from afina.backbone.language_head import LanguageHead, TokenHead, spoken_by
from afina.backbone.load import Backbone
from afina.data.tokens.batching import evaluation_batches
from afina.data.tokens.tokens import Tokens
from afina.errors import UsageError
from afina.generation.generate import write
from afina.generation.rows import Request, Written
from afina.generation.settings import GenerationSettings
from afina.train.evaluate import predict_logits

__all__ = ["LanguageModel", "Tick"]

_UNLIMITED = 1 << 30
_LONGEST = 2048
"""Context, in tokens, for a model whose positions have no limit."""

Tick = Callable[[int, int], None]
"""Called with the number of requests done and the number of all."""


class LanguageModel:
    """Scores tokens and writes more, with at most one adapter."""

    def __init__(
        self, backbone: Backbone, adapter: Adapter | None = None, *, batch_size: int = 16, context: int | None = None,
        tick: Tick = lambda done, total: None, tokenizer: Any = None,
    ) -> None:  # fmt: skip
        """Take at most `context` tokens at once (None: all that model and adapter allow); `tokenizer` is the adapter's own.

        Raises `UsageError` for a context shorter than 2 tokens, or longer than model and adapter allow.
        """
        assert backbone.language is not None, "only what was loaded to speak is asked"
        self.backbone, self.adapter, self.batch_size = backbone, adapter, batch_size
        self.tokenizer = tokenizer or backbone.tokenizer
        self.language: LanguageHead = (
            backbone.language if adapter is None else spoken_by(adapter.head, backbone.language)
        )

        # Virtual tokens take their places from the text's.
        most = backbone.context - (0 if adapter is None else places_taken(adapter))
        # A model without a limit reads as far as memory goes, so that one is set.
        self.context = context or (_LONGEST if backbone.context >= _UNLIMITED else most)
        if not 2 <= self.context <= most:
            raise UsageError(f"The tokens read at once are 2 to {most} here, not {self.context}.")
        self.tick = tick

    @property
    def reads_apart(self) -> bool:
        """Return whether the model reads one text and writes another (an encoder-decoder)."""
        return bool(self.backbone.anatomy.row.further)

    def score(self, tokens: Tokens) -> np.ndarray:
        """Return of each row (N, 3): its targets' summed loss in nats, their number, and those that were likeliest."""
        with Attachment(self.backbone, [_Scored(self)]) as attached:
            (scores,) = predict_logits(attached, tokens, batch_size=self.batch_size)
        return scores

    def go_on(self, prompts: Sequence[Sequence[int]], most: Sequence[int], stop: Sequence[str] = ()) -> list[Written]:
        """Write greedily after each prompt's tokens, for at most as many tokens as `most` has for it."""
        written: dict[int, Written] = {}

        # Prompts of like length are written together, by what they may become.
        lengths = np.array([len(prompt) + room for prompt, room in zip(prompts, most, strict=True)])
        for rows in evaluation_batches(lengths, self.batch_size):
            requests = [
                Request(prompts[row], self.adapter, tuple(filter(None, stop)), int(row), self.tokenizer) for row in rows
            ]
            # The longest of the batch; what another one wrote beyond its own is cut by whoever asked.
            settings = GenerationSettings(max_new_tokens=max(most[row] for row in rows))
            for piece in write(self.backbone, requests, settings):
                if piece.written is not None:
                    written[piece.number] = piece.written
            self.tick(len(written), len(prompts))
        return [written[number] for number in range(len(prompts))]


class _Scored:
    """Stands for an adapter, or for none, with a head that scores every token."""

    def __init__(self, model: LanguageModel) -> None:
        self.head: Head = TokenHead(model.language, model.backbone.config)
        self._adapter = model.adapter

    def placed(self) -> Any:
        return () if self._adapter is None else self._adapter.placed()
