"""A model that writes: it reads its prompts once and goes on token by token, from the keys and values that it keeps.

The prompts are read as texts are in training: padding behind, virtual tokens before, positions from each text's start. Then
what was kept is moved to the end of the batch's width, so that the tokens that follow stand behind each row's own; sliding
windows, which count places, then see what they would see of the row alone.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from afina.backbone.attachment import Attachable, Attachment
from afina.backbone.branch import PromptBranch
from afina.backbone.flight import Pass, Read
from afina.backbone.given import moves_of
from afina.backbone.language import spoken_by
from afina.data.tokens.batching import collate
from afina.data.tokens.tokens import LabelledTokens

__all__ = ["Writing", "places_taken"]


def places_taken(adapter: Attachable) -> int:
    """Return how many of the model's positions an adapter takes from a text: virtual tokens, or a prefix that counts."""
    lengths = [branch.length for _, branch in adapter.placed() if isinstance(branch, PromptBranch)]
    return max([*lengths, moves_of([branch for _, branch in adapter.placed()])])


class Writing:
    """The rows of one batch that an attached model writes: what is kept of their tokens from one pass to the next."""

    def __init__(self, attached: Attachment, prompts: Sequence[Sequence[int]], rows: Sequence[slice]) -> None:
        """Read prompts' tokens, whose `rows` belong to the adapters in order; `logits` (B, V) are then of what follows."""
        from transformers import DynamicCache, EncoderDecoderCache

        self._attached, self._backbone, self._rows = attached, attached.backbone, list(rows)
        names = inspect.signature(self._backbone.model.forward).parameters
        # transformers 5.24 gave what is kept another name.
        self._past_name = "cache" if "cache" in names else "past_key_values"
        apart = bool(self._backbone.anatomy.row.further)
        # Without a configuration: a cache that knows of windows would keep padding and forget tokens.
        self._past: Any = EncoderDecoderCache(DynamicCache(), DynamicCache()) if apart else DynamicCache()
        self._mask: Tensor | None = None
        """(B, S) of what is kept, or None if all is seen; of an encoder-decoder that of the encoder's states."""
        self._encoded: Tensor | None = None
        """An encoder's states (B, S, D)."""
        given = attached.given(self._inputs(prompts), self._rows)
        if apart:
            given.inputs["decoder_input_ids"] = given.inputs["decoder_input_ids"][:, :1]
        output = attached.run(Pass(self._rows, given.read, Read(None, 1)), given.inputs, self._kept())
        mask, length = given.read.mask, given.read.length
        if apart:
            self._encoded, self._mask = output.encoder_last_hidden_state, mask
            self.logits = self._say(output.last_hidden_state[:, 0])
            return
        counts = torch.full((len(prompts),), length) if mask is None else mask.sum(dim=1).cpu()
        last = (counts - 1).to(self._backbone.device)
        moved = torch.tensor(attached.moves).repeat_interleave(torch.tensor([part.stop - part.start for part in rows]))
        self._positions = (counts + moved).to(self._backbone.device)
        """(B,) of the next tokens."""
        self._move_behind(counts.to(self._backbone.device), int(counts.max()))
        self.logits = self._say(output.last_hidden_state[torch.arange(len(last)), last])

    def go_on(self, tokens: Tensor) -> Tensor:
        """Add a token (B,) to each row; return logits (B, V) of the next."""
        nothing = Read(torch.zeros(len(tokens), 1, dtype=torch.long, device=tokens.device), 1)
        if self._encoded is not None:
            given: dict[str, Any] = {"decoder_input_ids": tokens[:, None], "encoder_outputs": (self._encoded,)}
        else:
            given = {"input_ids": tokens[:, None], "position_ids": self._positions[:, None]}
            self._positions = self._positions + 1
            if self._mask is not None:
                self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], dim=1)
        given["attention_mask"] = self._mask
        output = self._attached.run(Pass(self._rows, nothing, nothing, goes_on=True), given, self._kept())
        self.logits = self._say(output.last_hidden_state[:, -1])
        return self.logits

    def _kept(self) -> dict[str, Any]:
        """Return what the model is called with to go on from its cached keys and values."""
        return {self._past_name: self._past, "use_cache": True}

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone, in their order."""
        chosen = torch.tensor(rows, device=self._backbone.device)
        self._past.batch_select_indices(chosen)
        if self._mask is not None:
            self._mask = self._mask[chosen]
        if self._encoded is not None:
            self._encoded = self._encoded[chosen]
        else:
            self._positions = self._positions[chosen]
        stops = np.cumsum([sum(part.start <= row < part.stop for row in rows) for part in self._rows]).tolist()
        self._rows = [slice(start, stop) for start, stop in zip([0, *stops], stops, strict=False)]

    def _inputs(self, prompts: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        backbone = self._backbone
        ids = np.concatenate([np.array(prompt, dtype=np.int32) for prompt in prompts])
        offsets = np.cumsum([0, *map(len, prompts)])
        tokens = LabelledTokens(ids, offsets, np.zeros(len(prompts), dtype=np.int64))
        most = max(max(map(len, prompts)), backbone.context - max(map(places_taken, self._attached.adapters)))
        rows = np.arange(len(prompts))
        return dict(collate([(tokens, rows)], backbone.tokenizer.pad_token_id, backbone.device, most=most).inputs)

    def _say(self, states: Tensor) -> Tensor:
        """Return logits (B, V) of states (B, D), each row's by its adapter's language head; of words it has not, none."""
        assert self._backbone.language is not None, "the model was not loaded to speak"
        heads = [spoken_by(adapter.head, self._backbone.language) for adapter in self._attached.adapters]
        if all(head is self._backbone.language for head in heads):
            return self._backbone.language(states)
        parts = [head(states[own]) for head, own in zip(heads, self._rows, strict=True) if own.stop > own.start]
        words = max(part.shape[1] for part in parts)
        return torch.cat([torch.nn.functional.pad(own, (0, words - own.shape[1]), value=-torch.inf) for own in parts])

    def _move_behind(self, counts: Tensor, width: int) -> None:
        """Move each row's first `counts` (B,) kept places to the end of `width` places; what is before them is not seen."""
        places = torch.arange(width, device=counts.device)
        source = (places - (width - counts)[:, None]).clamp(min=0)  # (B, width)
        for layer in self._past.layers:
            index = source[:, None, :, None].expand(-1, layer.keys.shape[1], -1, layer.keys.shape[3])
            layer.keys, layer.values = layer.keys.gather(2, index), layer.values.gather(2, index)
        self._mask = None if int(counts.min()) == width else (places >= (width - counts)[:, None]).long()
