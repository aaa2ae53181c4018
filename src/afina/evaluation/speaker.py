"""A language model that is evaluated, with an adapter on it or bare: how likely it finds texts, and what it writes."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from afina.adapters.adapter import Adapter
from afina.backbone.attachment import Attachment
from afina.backbone.incremental import places_taken
from afina.backbone.language import LanguageHead
from afina.backbone.load import Backbone
from afina.data.batching import IGNORED, evaluation_batches, padded_width
from afina.errors import UsageError
from afina.generation.generate import Request, write
from afina.generation.settings import GenerationSettings

__all__ = ["Speaker", "windows"]

_UNLIMITED = 1 << 30
_LONGEST = 2048
"""Tokens read at once by a model whose positions allow any number."""
_LOGITS = 1 << 25
"""Logits computed at once (128 MiB): so many places' that all words of the vocabulary have one."""

Pair = tuple[Sequence[int], Sequence[int]]
"""What was read and what is said after it, in tokens; both at least one."""
Tick = Callable[[int, int], None]
"""Is told how many requests are done, and of how many."""


class Speaker:
    """A backbone that speaks, with at most one adapter."""

    def __init__(
        self, backbone: Backbone, adapter: Adapter | None = None, *, batch_size: int = 16, context: int | None = None,
        tick: Tick = lambda done, total: None, tokenizer: Any = None,
    ) -> None:  # fmt: skip
        """`context` is the most tokens read at once; left out, what the model's positions and the adapter allow.

        `tokenizer` is the adapter's own, where it has one.

        Raises `UsageError` for a context too short to read and say anything, or longer than those allow.
        """
        assert backbone.language is not None, "only what was loaded to speak is evaluated"
        self.backbone, self.adapter, self.batch_size = backbone, adapter, batch_size
        self.tokenizer = tokenizer or backbone.tokenizer
        # An adapter may have brought a language head of its own.
        self.language: LanguageHead = getattr(adapter and adapter.head, "language", backbone.language)
        most = backbone.context - (0 if adapter is None else places_taken(adapter))
        self.context = context or (_LONGEST if backbone.context >= _UNLIMITED else most)
        if not 2 <= self.context <= most:
            raise UsageError(f"The tokens read at once are 2 to {most} here, not {self.context}.")
        self.tick = tick

    @property
    def reads_apart(self) -> bool:
        """Whether what is read and what is said are two texts to the model (an encoder-decoder)."""
        return bool(self.backbone.anatomy.row.further)

    @property
    def prefix(self) -> int:
        """The token that stands before a text that nothing precedes: the start mark, or else the end mark."""
        tokenizer = self.tokenizer
        found = next((one for one in (tokenizer.bos_token_id, tokenizer.eos_token_id) if one is not None), None)
        return int(tokenizer.pad_token_id if found is None else found)

    def likelihoods(self, pairs: Sequence[Pair]) -> tuple[np.ndarray, np.ndarray]:
        """Return the log-probability (N,) of what each pair says, and whether greedy decoding says it, (N,) bool.

        Of what is too long the start is cut. Requests that differ in their last token alone, as the letters of a multiple
        choice, are computed once. Raises `UsageError` where what is said fills more than the context.
        """
        rows: dict[tuple[tuple[int, ...], int], list[int]] = {}
        for index, (read, said) in enumerate(pairs):
            if len(said) > self.context:
                raise UsageError(
                    f"An answer of {len(said)} tokens is longer than the {self.context} that are read at once."
                )
            given = (*read, *said)[-self.context - 1 : -1]
            rows.setdefault((given, len(said)), []).append(index)
        unique = list(rows.items())
        total, greedy_too = np.zeros(len(pairs)), np.ones(len(pairs), dtype=bool)
        done = 0
        with self._attached() as attached, torch.inference_mode():
            for chosen in evaluation_batches(np.array([len(ids) for (ids, _), _ in unique]), self.batch_size):
                batch = [unique[row] for row in chosen]
                inputs = self._inputs([(ids, pairs[members[0]][1]) for (ids, _), members in batch])
                hidden = attached.hidden(inputs)
                assert hidden.targets is not None
                states = hidden.states[hidden.targets != IGNORED]  # (places, D), row by row
                starts = np.cumsum([0, *(count for (_, count), _ in batch)])
                owners = [
                    (index, start) for (_, members), start in zip(batch, starts, strict=False) for index in members
                ]
                for owner, of_token, best in self._spoken(states, [(i, s, pairs[i][1]) for i, s in owners]):
                    np.add.at(total, owner, of_token)
                    np.logical_and.at(greedy_too, owner, best)
                done += len(owners)
                self.tick(done, len(pairs))
        return total, greedy_too

    def write(self, prompts: Sequence[str], *, stop: Sequence[str], most: int, marks: bool | None = None) -> list[str]:
        """Return what the model writes after each prompt, up to its end mark, a stop string or `most` tokens.

        Of a prompt that is too long the start is cut. Raises `UsageError` where `most` leaves no room to read.
        """
        if most >= self.context:
            raise UsageError(
                f"To write {most} tokens leaves none of the {self.context} that the model takes to read a prompt."
            )
        ids = [self.encode(prompt, marks=marks)[most - self.context :] or [self.prefix] for prompt in prompts]
        written = [""] * len(prompts)
        done = 0
        for rows in evaluation_batches(np.array([len(own) + most for own in ids]), self.batch_size):
            requests = [
                Request(ids[row], self.adapter, tuple(filter(None, stop)), int(row), self.tokenizer) for row in rows
            ]
            for piece in write(self.backbone, requests, GenerationSettings(max_new_tokens=most)):
                if piece.written is not None:
                    # Decoded by itself, as the harness does: a tokenizer may leave out the space that it begins with.
                    text = self.tokenizer.decode(piece.written.tokens, skip_special_tokens=True)
                    ends = [place for mark in stop if mark and (place := text.find(mark)) >= 0]
                    written[piece.number] = text[: min(ends, default=len(text))]
            done += len(rows)
            self.tick(done, len(prompts))
        return written

    def encode(self, text: str, *, marks: bool | None = None) -> list[int]:
        """Return a text's tokens; with the tokenizer's own marks unless it starts with the start mark, or as told."""
        start = self.tokenizer.bos_token
        if marks is None:
            marks = not (start and text.startswith(start))
        found: list[int] = self.tokenizer.encode(text, add_special_tokens=marks)
        return found

    def _attached(self) -> Attachment:
        return Attachment(self.backbone, [] if self.adapter is None else [self.adapter])

    def _inputs(self, rows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> dict[str, Tensor]:
        """Model inputs for (all but the last token, what is said): padded behind, with what each place is to say."""
        width = padded_width(max(len(ids) for ids, _ in rows), self.context)
        ids = np.full((len(rows), width), self.tokenizer.pad_token_id, dtype=np.int64)
        targets = np.full((len(rows), width), IGNORED, dtype=np.int64)
        for place, (own, said) in enumerate(rows):
            ids[place, : len(own)] = own
            targets[place, len(own) - len(said) : len(own)] = said
        lengths = np.array([len(own) for own, _ in rows])
        arrays = {"input_ids": ids, "targets": targets}
        if (lengths != width).any():
            arrays["attention_mask"] = (np.arange(width) < lengths[:, None]).astype(np.int64)
        return {name: torch.from_numpy(array).to(self.backbone.device) for name, array in arrays.items()}

    def _spoken(
        self, states: Tensor, requests: Sequence[tuple[int, int, Sequence[int]]]
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield (owner, log-probability, is likeliest) of the tokens of requests (owner, first place, tokens), in parts."""
        owner = np.concatenate([np.full(len(said), index) for index, _, said in requests])
        place = np.concatenate([start + np.arange(len(said)) for _, start, said in requests])
        token = np.concatenate([np.asarray(said) for _, _, said in requests])
        words = self.language.linear.get_parameter("weight").shape[0]
        step = max(1, _LOGITS // words)
        for start in range(0, len(states), step):
            here = (place >= start) & (place < start + step)
            logits = self.language(states[start : start + step])
            at = torch.from_numpy(place[here] - start).to(logits.device)
            of = torch.from_numpy(token[here]).to(logits.device)
            best = logits.argmax(dim=-1)[at] == of
            of_token = logits.log_softmax(dim=-1)[at, of]
            yield owner[here], of_token.double().cpu().numpy(), best.cpu().numpy()


def windows(tokens: Sequence[int], prefix: int, size: int) -> Iterator[Pair]:
    """Cut a text into pairs that say each token once, each after as much of the text as `size` tokens hold."""
    for start in range(0, len(tokens), size):
        stop = min(start + size, len(tokens))
        yield tokens[max(0, stop - size - 1) : start] if start else [prefix], tokens[start:stop]
