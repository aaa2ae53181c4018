"""Explain the words that follow a prompt, or those that a person gives: their log-probability, by the prompt's words."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from afina.data.tokens.sequences import encode
from afina.data.tokens.tokens import IGNORED
from afina.errors import UsageError
from afina.explanation.kinds.base import Kind, kind
from afina.explanation.question import ScoredQuestion, words_of_spans
from afina.predictor.writer import writer_of

__all__ = ["NextWords"]

_WRITTEN = 12
"""Tokens that are written to find the next word."""


@kind("writer")
class NextWords(Kind):
    """Explains the first word that the model writes, greedily, or the words that were asked for."""

    by_head = False

    def questions(self, texts: Sequence[str], pairs: Sequence[str] | None) -> list[ScoredQuestion]:
        if pairs is not None:
            raise UsageError(f"{self.predictor.folder} goes on from a text, and was given pairs.")
        if self.wanted.label is not None:
            raise UsageError(f"{self.predictor.folder} writes and has no labels; say by --next what is to follow.")
        if empty := [number for number, text in enumerate(texts, start=1) if not text.strip()]:
            raise UsageError(f"Text {empty[0]} of {len(texts)} is empty.")
        return [self._question(text) for text in texts]

    def _question(self, text: str) -> ScoredQuestion:
        writer, tokenizer = writer_of(self.predictor), self.predictor.tokenizer
        prompt = text if writer.task.template is None else [{"role": "user", "content": text}]
        read, _, marks = writer.worded(prompt)
        prompted = np.array(writer.request(prompt, writer).prompt, dtype=np.int64)
        ids, spans = encode(tokenizer, read, marks=marks)
        if len(prompted) < len(ids) or (prompted[: len(ids)] != ids).any():
            raise UsageError("The model's tokenizer does not tell where its tokens stand in this prompt.")
        # A template's own words are no words of the text, and are never taken away; an encoder's end mark is none.
        start = read.find(text)
        inside = (spans[:, 0] < start + len(text)) & (spans[:, 1] > max(start, 0)) & (spans[:, 1] > spans[:, 0])
        parts = [0 if own else None for own in inside] + [None] * (len(prompted) - len(ids))
        moved = np.concatenate([spans - max(start, 0), np.zeros((len(prompted) - len(ids), 2), dtype=np.int64)])
        words, word_of = words_of_spans((text,), parts, [(max(0, a), b) for a, b in moved.tolist()])
        following = self._following(prompt, prompted)
        return ScoredQuestion(
            (text,), words, np.concatenate([prompted, following]),
            np.concatenate([word_of, np.full(len(following), -1)]), None,
            np.concatenate([np.full(len(prompted) - 1, IGNORED), following, [IGNORED]]),
            told=tokenizer.decode(following.tolist()),
        )  # fmt: skip

    def _following(self, prompt: object, prompted: np.ndarray) -> np.ndarray:
        """Return the tokens that are to follow."""
        tokenizer = self.predictor.tokenizer
        if self.wanted.following is not None:
            ids = list(tokenizer(self.wanted.following, add_special_tokens=False)["input_ids"])
            if not ids:
                raise UsageError("--next should be a text of at least one word.")
            return np.array(ids, dtype=np.int64)
        (written,) = self.predictor.generate([prompt], max_new_tokens=_WRITTEN, temperature=0)  # type: ignore[list-item]
        tokens = [int(token) for token in written.tokens]
        if not tokens:
            # The end itself is what the model says.
            return np.array([tokenizer.eos_token_id], dtype=np.int64)
        # As many tokens as the first word has.
        whole = tokenizer.decode(tokens).split()
        count = next(
            (n for n in range(1, len(tokens) + 1) if whole and tokenizer.decode(tokens[:n]).split()[:1] == whole[:1]), 1
        )
        return np.array(tokens[:count], dtype=np.int64)

    def score(self, outputs: Tensor, questions: Sequence[ScoredQuestion]) -> Tensor:
        return -outputs[:, 0].float()
