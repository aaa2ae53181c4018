"""Ask a language model, with an adapter or bare, how likely it finds answers and what it writes to prompts."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from afina.backbone.attachment import Attachment
from afina.data.tokens.batching import evaluation_batches, padded_width
from afina.data.tokens.tokens import IGNORED
from afina.errors import UsageError
from afina.generation.asked import AskedModel, Pair
from afina.predictor.language_model import LanguageModel

__all__ = ["Speaker", "windows"]

_LOGITS = 1 << 25
"""Most logits computed at once, positions times vocabulary (128 MiB)."""


class Speaker(LanguageModel, AskedModel):
    """Scores and writes texts with a language model and at most one adapter."""

    @property
    def name(self) -> str:
        return self.backbone.name

    def likelihoods(self, pairs: Sequence[Pair]) -> tuple[np.ndarray, np.ndarray]:
        """Return each pair's log-probability of the scored tokens (N,), and whether greedy decoding gives them (N,) bool.

        What is read is cut at its start where it is too long. Pairs that differ only in their last token, such as the
        letters of a multiple choice, are computed once. Raises `UsageError` where the scored tokens exceed the context.
        """
        rows: dict[tuple[tuple[int, ...], int], list[int]] = {}
        for index, (read, continued) in enumerate(pairs):
            if len(continued) > self.context:
                raise UsageError(
                    f"An answer of {len(continued)} tokens is longer than the {self.context} that are read at once."
                )
            # The last token is what is asked about and is not read; what is too long loses its start.
            given = (*read, *continued)[-self.context - 1 : -1]
            rows.setdefault((given, len(continued)), []).append(index)
        unique = list(rows.items())
        total, greedy_too = np.zeros(len(pairs)), np.ones(len(pairs), dtype=bool)
        done = 0
        with self._attached() as attached, torch.inference_mode():
            # Batches of like length, as padding is computed with too.
            for chosen in evaluation_batches(np.array([len(ids) for (ids, _), _ in unique]), self.batch_size):
                batch = [unique[row] for row in chosen]
                inputs, targets = self._inputs([(ids, pairs[members[0]][1]) for (ids, _), members in batch])
                hidden = attached.hidden(inputs, targets=targets)

                # An encoder-decoder's are those of the answers alone.
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

    def _attached(self) -> Attachment:
        return Attachment(self.backbone, [] if self.adapter is None else [self.adapter])

    def _inputs(self, rows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> tuple[dict[str, Tensor], Tensor]:
        """Make model inputs and targets of rows (all tokens but the last, scored tokens), padded at the end."""
        width = padded_width(max(len(ids) for ids, _ in rows), self.context)
        ids = np.full((len(rows), width), self.tokenizer.pad_token_id, dtype=np.int64)
        targets = np.full((len(rows), width), IGNORED, dtype=np.int64)
        for place, (context, continued) in enumerate(rows):
            ids[place, : len(context)] = context
            targets[place, len(context) - len(continued) : len(context)] = continued
        lengths = np.array([len(own) for own, _ in rows])
        arrays = {"input_ids": ids}
        if (lengths != width).any():
            arrays["attention_mask"] = (np.arange(width) < lengths[:, None]).astype(np.int64)
        device = self.backbone.device
        inputs = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
        return inputs, torch.from_numpy(targets).to(device)

    def _spoken(
        self, states: Tensor, requests: Sequence[tuple[int, int, Sequence[int]]]
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield (owner, log-probability, is likeliest) of the tokens of requests (owner, start, tokens), in parts."""
        owner = np.concatenate([np.full(len(said), index) for index, _, said in requests])
        place = np.concatenate([start + np.arange(len(said)) for _, start, said in requests])
        token = np.concatenate([np.asarray(said) for _, _, said in requests])
        words = self.language.linear.get_parameter("weight").shape[0]
        # In parts, as the logits of all places would be the largest tensor by far.
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
    """Cut a text into pairs that score each token once, each after as much of the text as fits in `size` tokens."""
    for start in range(0, len(tokens), size):
        stop = min(start + size, len(tokens))
        # The first window begins with the start mark alone, every other with as much as fits before it.
        yield tokens[max(0, stop - size - 1) : start] if start else [prefix], tokens[start:stop]
