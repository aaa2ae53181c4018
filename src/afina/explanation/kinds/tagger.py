"""Explain the tag of a word, by all words of its text."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from afina.data.labels.tags import spans, untagged, words_of
from afina.data.tokens.as_text import control_ids
from afina.data.tokens.tokens import IGNORED, TaggedTokens
from afina.errors import UsageError, nearest
from afina.explanation.kinds.base import Kind, kind, log_odds
from afina.explanation.question import ScoredQuestion, TextWord

__all__ = ["TagsOfWords"]


@kind("tagger")
class TagsOfWords(Kind):
    """Explains a question for each word with a tag, or for the one word that is asked about."""

    def questions(self, texts: Sequence[str], pairs: Sequence[str] | None) -> list[ScoredQuestion]:
        if pairs is not None:
            raise UsageError(f"{self.predictor.folder} tags the words of one text, and was given pairs.")
        given = words_of(list(texts))
        tokens = self.predictor.tokens(untagged(given))
        assert isinstance(tokens, TaggedTokens)
        logits, done = self.predictor.outputs(tokens, 32), 0
        made: list[ScoredQuestion] = []
        for number, text in enumerate(texts):
            place = slice(int(tokens.offsets[number]), int(tokens.offsets[number + 1]))
            begins = tokens.targets[place] != IGNORED
            word_logits = logits[done : done + int(begins.sum())]
            done += len(word_logits)
            made += self._of_text(text, tokens, place, begins, word_logits)
        if not made:
            raise UsageError(
                f"{self.predictor.folder} found no word with a tag here; say which word is meant by --word."
                if self.wanted.word is None
                else f"No text has the word {self.wanted.word!r}."
            )
        return made

    def _of_text(
        self, text: str, tokens: TaggedTokens, place: slice, begins: np.ndarray, logits: np.ndarray
    ) -> list[ScoredQuestion]:
        ids = tokens.ids[place].astype(np.int64)
        # A word has the tokens from its first to the next word's; marks are nobody's.
        word_of = np.where(np.isin(ids, control_ids(self.predictor.tokenizer)), -1, np.cumsum(begins) - 1)
        words = tuple(TextWord(text[start:end], 0, start, end) for start, end in spans(text))[: len(logits)]
        segments = None if tokens.segments is None else tokens.segments[place]
        whole = ScoredQuestion((text,), words, ids, word_of, segments, cut=len(spans(text)) > len(logits))
        names = list(self.predictor.task.label_names or ())
        if self.wanted.label is not None and self.wanted.label not in names:
            raise UsageError(
                f"{self.predictor.folder} has no tag {self.wanted.label!r}{nearest(self.wanted.label, names)}"
            )
        firsts, made = np.flatnonzero(begins), []
        for number, word in enumerate(words):
            answer = int(logits[number].argmax()) if self.wanted.label is None else names.index(self.wanted.label)
            asked = word.text == self.wanted.word if self.wanted.word is not None else names[answer] != "O"
            if asked:
                row = torch.from_numpy(logits[number : number + 1])
                odds = float(log_odds(row, torch.tensor([answer]))[0])
                made.append(
                    replace(whole, place=int(firsts[number]), answer=answer, told=names[answer], about=word.text,
                            probability=float(1 / (1 + np.exp(-odds))))
                )  # fmt: skip
        return made

    def score(self, outputs: Tensor, questions: Sequence[ScoredQuestion]) -> Tensor:
        places = torch.tensor([question.place for question in questions], device=outputs.device)
        answers = torch.tensor([question.answer for question in questions], device=outputs.device)
        rows = outputs.float()[torch.arange(len(questions), device=outputs.device), places]
        return log_odds(rows, answers)
