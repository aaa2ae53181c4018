"""Texts become tokens: alone, in pairs, or each with every answer to choose from behind it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from afina.data.rows import Rows
from afina.data.tokens.as_text import AS_TEXT, ids_as_text, text_ids
from afina.data.tokens.long_text import beginnings, ending
from afina.data.tokens.tokens import AnswerTokens, LabelledTokens, PassageTokens
from afina.errors import UsageError, shown

__all__ = ["tokenize", "tokenize_answers", "tokenize_passages"]


def tokenize(tokenizer: Any, rows: Rows, max_length: int) -> LabelledTokens:
    """Tokenise all rows; texts longer than `max_length` tokens are cut (of a pair the longer first) and counted."""
    uses_segments = "token_type_ids" in tokenizer.model_input_names
    ids: list[np.ndarray] = []
    segments: list[np.ndarray] = []
    cut = 0
    # Some thousand at a time: the tokenizer's own results are many times as large as the tokens.
    for start in range(0, len(rows), 5000):
        part = slice(start, start + 5000)
        columns = [rows.text] if rows.text_pair is None else [rows.text, rows.text_pair]

        # What is cut off of a pair is kept by the library as often as its texts have pieces, the one's times the other's.
        beyond = None if rows.text_pair is None else 8 * max_length
        given = [beginnings(tokenizer, own[part], max_length, beyond=beyond) for own in columns]
        encoded = tokenizer(*given, truncation=True, max_length=max_length, padding=False, **AS_TEXT)
        encodings = encoded.encodings
        for encoding, row_ids in zip(encodings, ids_as_text(tokenizer, encodings), strict=True):
            # A tokenizer that adds no marks makes nothing of a blank text; one token stands for it.
            ids.append(np.array(row_ids or [tokenizer.pad_token_id], dtype=np.int32))
            segments.append(np.array(encoding.type_ids or [0], dtype=np.int8))
            # The library tells only here that it cut something.
            cut += bool(encoding.overflowing)
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in ids])])
    return LabelledTokens(
        np.concatenate(ids), offsets, rows.label, cut, np.concatenate(segments) if uses_segments else None
    )


def tokenize_answers(
    tokenizer: Any, rows: Rows, answers: Sequence[Sequence[str]], max_length: int, *, choices: int, apart: bool
) -> AnswerTokens:
    """Tokenise each row's text with each of its at most `choices` answers behind it; of what is too long, the text's
    start is cut.

    With `apart` (an encoder-decoder's) text and answer are tokenised as texts of their own; else the answer follows a space
    and is what the two together have more tokens than the text alone. Raises `UsageError` for an answer of no token.
    """
    ids: list[np.ndarray] = []
    counts: list[int] = []
    cut = texts_cut = 0
    end = [tokenizer.eos_token_id] if apart and tokenizer.eos_token_id is not None else []

    def encode(text: str, **settings: Any) -> list[int]:
        ids = text_ids(tokenizer, text, **settings)
        # What writes on must not have read an end.
        return ids[:-1] if not apart and ids and ids[-1] == tokenizer.eos_token_id else ids

    start = 0 if apart else len(encode(""))  # marks that stay where a text's start is cut
    for number, (text, row_answers) in enumerate(zip(rows.text, answers, strict=True), start=1):
        text = ending(tokenizer, text, max_length)
        question, before = encode(text), cut
        # Together, as a word behind a space has other tokens than alone.
        for answer in row_answers:
            # Of one that is far too long its beginning tells that.
            (begun,) = beginnings(tokenizer, [answer], max_length)
            if len(begun) < len(answer):
                raise _unfit(answer, number, f"fills all {max_length} tokens")
            plain = encode(answer, add_special_tokens=False) if apart else encode(f"{text} {answer}")[len(question) :]
            continued, context = plain + end, question or [tokenizer.pad_token_id]
            if not plain or len(continued) >= max_length:
                raise _unfit(answer, number, f"fills all {max_length} tokens" if plain else "is no token of the model")
            room = max_length - len(continued)
            cut += len(context) > room
            # The question's end is nearest to the answer; its marks stay in front.
            if len(context) > room:
                context = context[:start] + context[len(context) - room + start :]
            ids.append(np.array(context + continued, dtype=np.int32))
            counts.append(len(continued))
        texts_cut += cut > before
        missing = choices - len(row_answers)
        # Questions with fewer answers get empty ones, so that all have as many sequences.
        ids += [np.array([tokenizer.pad_token_id], dtype=np.int32)] * missing
        counts += [0] * missing
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in ids])])
    answered = np.array(counts, dtype=np.int32)
    return AnswerTokens(
        np.concatenate(ids), offsets, rows.label, cut, answers=answered, most=choices, rows_cut=texts_cut
    )


def _unfit(answer: str, row: int, problem: str) -> UsageError:
    return UsageError(f"The answer {shown(answer)} to row {row} {problem}; change it, or max_length.")


def tokenize_passages(
    tokenizer: Any, questions: Sequence[str], passages: Sequence[str], brought: np.ndarray,
    right: Mapping[str, Sequence[int]], max_length: int,
) -> PassageTokens:  # fmt: skip
    """Tokenise the questions of rows and all passages, each once; texts longer than `max_length` are cut and counted.

    `brought` (N, C) has the numbers of each row's passages, the first of which answers; `right` all that do, by question.
    """
    # A question that several rows ask is one text.
    number = {question: place for place, question in enumerate(dict.fromkeys(questions))}
    texts = [*number, *passages]
    tokens = tokenize(tokenizer, Rows(texts, None, np.zeros(len(texts), dtype=np.int64)), max_length)
    answer = np.full((len(questions), max(len(right[question]) for question in number)), -1, dtype=np.int64)
    for row, question in enumerate(questions):
        answer[row, : len(right[question])] = right[question]
    return PassageTokens(
        tokens.ids, tokens.offsets, np.concatenate([brought, answer], axis=1), tokens.cut, tokens.segments,
        questions=np.array([number[question] for question in questions]), asked=len(number), most=brought.shape[1],
    )  # fmt: skip
