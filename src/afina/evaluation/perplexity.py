"""Compute perplexity: exp of the mean negative log-probability of tokens, each after as much text as fits."""

import re
from pathlib import Path

import numpy as np

from afina.data.files.tables import is_table, read_text
from afina.data.labelled import read_texts
from afina.errors import UsageError
from afina.evaluation.speaker import windows
from afina.generation.asked import AskedModel
from afina.measure.bootstrap import Measure, perplexity_of

__all__ = ["document_losses", "loss_measures", "perplexity", "read_documents"]

_BLANK_LINE = re.compile(r"\n[ \t\r]*\n")


def read_documents(path: Path, column: str | None = None) -> list[str]:
    """Read the texts of a table, or of any other file, where blank lines part texts (without any, each line is one).

    Raises `UsageError` for a file that is missing, not UTF-8, or without a text.
    """
    texts = [text for text, _ in read_texts(path, column, named_by="--column")]
    # In a table a row is a text, whatever blank lines it holds.
    if not is_table(path):
        whole = read_text(path, []).strip()
        if _BLANK_LINE.search(whole):
            texts = _BLANK_LINE.split(whole)
    if not (documents := [text.strip() for text in texts if text.strip()]):
        raise UsageError(f"{path} holds no text.")
    return documents


def perplexity(speaker: AskedModel, documents: list[str]) -> list[Measure]:
    """Return the perplexity per token over documents, and bits per byte, which compare across tokenizers.

    A document's first token comes after the tokenizer's start mark (or end mark, where it has none); marks do not count.
    """
    return loss_measures(*document_losses(speaker, documents))


def document_losses(speaker: AskedModel, documents: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return of each document (N,) the nats that it loses, its tokens and its bytes."""
    pairs, owners = [], []
    count = np.zeros(len(documents))
    for index, text in enumerate(documents):
        tokens = speaker.encode(text, marks=False)
        count[index] = len(tokens)
        # With as much of the text before each token as is read at once.
        pieces = list(windows(tokens, speaker.prefix, speaker.context))
        pairs += pieces
        owners += [index] * len(pieces)
    lost = np.zeros(len(documents))
    np.subtract.at(lost, owners, speaker.likelihoods(pairs)[0])
    return lost, count, np.array([len(text.encode()) for text in documents], dtype=np.float64)


def loss_measures(lost: np.ndarray, count: np.ndarray, size: np.ndarray) -> list[Measure]:
    """Return the measures of documents that lose so many nats, of so many tokens and bytes."""
    # Bits per byte and not per token alone: tokenizers that cut texts into fewer tokens have higher losses for each.
    return [
        perplexity_of("perplexity", lost, count),
        Measure("bits_per_byte", np.stack([lost, size], axis=1), lambda s: float(s[0] / s[1] / np.log(2)), False),
    ]
