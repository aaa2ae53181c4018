"""Explain a label, one of several labels that hold, or a number."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from afina.data.tokens.as_text import AS_TEXT
from afina.errors import UsageError, nearest
from afina.explanation.kinds.base import Kind, kind, log_odds
from afina.explanation.question import ScoredQuestion, words_of_spans

__all__ = ["AnsweredLabels"]


@kind("classifier")
class AnsweredLabels(Kind):
    """Explains what a head says of a text or a pair."""

    def questions(self, texts: Sequence[str], pairs: Sequence[str] | None) -> list[ScoredQuestion]:
        rows = self.predictor.rows(texts, pairs)
        tokens = self.predictor.tokens(rows)
        tokenizer = self.predictor.tokenizer
        if not getattr(tokenizer, "is_fast", False):
            raise UsageError(
                f"The tokenizer {type(tokenizer).__name__} does not tell where its tokens stand in a text; take a model with "
                "a tokenizer.json."
            )
        second = () if rows.text_pair is None else (rows.text_pair,)
        encoded = tokenizer(
            rows.text, *second, truncation=True, max_length=self.predictor.longest, padding=False, **AS_TEXT
        )
        logits = self.predictor.outputs(tokens, 32)
        # As they are answered: a threshold of a row's group may decide for another class than the larger logit.
        answers = self.predictor.task.decode_rows(tokens, logits).predictions
        made = []
        for number, encoding in enumerate(encoded.encodings):
            place = slice(int(tokens.offsets[number]), int(tokens.offsets[number + 1]))
            texts_of_row = (rows.text[number], *(each[number] for each in second))
            # A text that is no token to the model is one of padding to it.
            words, word_of = words_of_spans(texts_of_row, encoding.sequence_ids or [None], encoding.offsets or [(0, 0)])
            segments = getattr(tokens, "segments", None)
            question = ScoredQuestion(
                texts_of_row, words, tokens.ids[place].astype(np.int64), word_of,
                None if segments is None else segments[place], cut=bool(encoding.overflowing),
            )  # fmt: skip
            made.append(self._answered(question, logits[number : number + 1], answers[number]))
        return made

    def _answered(self, question: ScoredQuestion, logits: np.ndarray, answered: Any) -> ScoredQuestion:
        """Return a question with the answer that is explained."""
        task = self.predictor.task
        if task.judged == "number":
            if self.wanted.label is not None:
                raise UsageError(f"{self.predictor.folder} gives numbers and has no label {self.wanted.label!r}.")
            return replace(question, told=f"{float(answered):.6g}")
        names = list(task.label_names or [str(number) for number in range(task.outputs)])
        if self.wanted.label is not None and self.wanted.label not in names:
            raise UsageError(
                f"{self.predictor.folder} has no label {self.wanted.label!r}{nearest(self.wanted.label, names)}"
            )
        # Of several labels that hold it is the likeliest.
        likeliest = int(logits[0].argmax()) if task.several else int(answered)
        answer = likeliest if self.wanted.label is None else names.index(self.wanted.label)
        odds = float(self._odds(torch.from_numpy(logits), torch.tensor([answer]))[0])
        return replace(question, answer=answer, told=names[answer], probability=float(1 / (1 + np.exp(-odds))))

    def score(self, outputs: Tensor, questions: Sequence[ScoredQuestion]) -> Tensor:
        answers = torch.tensor([question.answer for question in questions], device=outputs.device)
        return self._odds(outputs.float(), answers)

    def _odds(self, logits: Tensor, answers: Tensor) -> Tensor:
        # A number, or a label that holds by itself, has no others beside it.
        if self.predictor.task.several or logits.shape[1] == 1:
            return logits.gather(1, answers[:, None])[:, 0]
        return log_odds(logits, answers)
