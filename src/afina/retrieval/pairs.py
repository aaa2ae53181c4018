"""Make questions for an index's passages, to tune its encoder on documents of which nobody has asked anything yet.

Inverse cloze (Lee et al., 2019, arXiv:1906.00300): one of a passage's sentences is the question, what is left of it the
passage; in one of ten it is left in, so that shared words count too. Or a model writes a question for each passage.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from afina.corpus.generate import Wanted, generate
from afina.corpus.languages import language_of
from afina.corpus.writers import TextWriter
from afina.errors import UsageError
from afina.retrieval.citations import sentence_spans
from afina.retrieval.edition import Chunk, read_text
from afina.retrieval.index import Index
from afina.whole_file import whole_file

__all__ = ["MadePairs", "cloze_pairs", "generated_path", "write_pairs"]

_FEWEST = 5
"""Fewest words of a sentence that is a question, and of what is left of its passage."""
_PROMPTS = {
    "en": "Here is a passage of a document. Write one question that a person might ask and that it answers, and the answer.\n"
    "Write two lines, the first beginning with User: and the second with Assistant:\n\n{topic}",
    "pt": "Aqui está um trecho de um documento. Escreva uma pergunta que alguém faria e que ele responde, e a resposta.\n"
    "Escreva duas linhas, a primeira começando com User: e a segunda com Assistant:\n\n{topic}",
}


@dataclass(frozen=True)
class MadePairs:
    """Says what was written, and of how many passages nothing could be made."""

    out: Path
    pairs: int
    passages: int
    """Passages that a question was made for."""
    left_out: int
    by: str
    """Either cloze, or the name of the model that wrote the questions."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return {**vars(self), "out": str(self.out)}


def write_pairs(
    index: Index, out: Path, *, writer: TextWriter | None = None, keep: float = 0.1, seed: int = 0,
    tell: Callable[[str, int, int | None], None] = lambda what, done, total: None,
) -> MadePairs:  # fmt: skip
    """Write questions with their passages into a .jsonl file, as `task: retrieval` reads them; each says how it was made.

    With `writer` a model is asked for each question: what it wrote is kept beside (`generated_path`), and the same call goes
    on where it was. Raises `UsageError` where no question can be made.
    """
    if out.suffix.lower() != ".jsonl":
        raise UsageError(f"{out}: pairs are written as .jsonl.")
    if not 0 <= keep <= 1:
        raise UsageError(f"The share of sentences that stay in their passage is 0 to 1, not {keep:g}.")
    rows = cloze_pairs(index, keep=keep, seed=seed) if writer is None else _asked(index, out, writer, seed, tell)
    count, passages = 0, set()
    # Whole or not at all, as half of the pairs would be trained on without a word.
    with whole_file(out) as partial, partial.open("w", encoding="utf-8") as file:
        for row, pair in rows:
            file.write(json.dumps(pair, ensure_ascii=False) + "\n")
            count += 1
            passages.add(row)
            tell("writing pairs", row, len(index))
        if not count:
            raise UsageError(
                f"No question can be made of {index.folder.path}: each passage would have to have two sentences of {_FEWEST} "
                "words."
                if writer is None
                else f"{writer.name} wrote no question that can be used; generated rows and rejects stand beside {out}."
            )
    by = "cloze" if writer is None else writer.name
    return MadePairs(out, count, len(passages), len(index) - len(passages), by)


def cloze_pairs(index: Index, *, keep: float = 0.1, seed: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield for each passage its row and a pair, a sentence that no neighbour shares and the rest; none of a short one."""
    random = np.random.default_rng(seed)
    for row in range(len(index)):
        chunk = index.edition.chunk(row)
        choices = _questions(
            chunk, [index.edition.chunk(near) for near in (row - 1, row + 1) if 0 <= near < len(index)]
        )
        draw, stays = random.random(2)  # for each row, so that a passage that goes leaves the others' as they are
        if not choices:
            continue
        start, stop = choices[int(draw * len(choices))]
        question = chunk.text[start:stop].strip()
        left = chunk.text if stays < keep else f"{chunk.text[:start].rstrip()} {chunk.text[stop:].lstrip()}".strip()
        yield row, {**_pair(chunk, question, left), "made_by": "cloze"}


def _questions(chunk: Chunk, near: Iterable[Chunk]) -> list[tuple[int, int]]:
    """Return the spans of a passage's sentences that may be asked: long enough, as is what is left, and of it alone.

    A neighbour that has the sentence too would answer it, and count as one that does not.
    """
    spans = [(start, len(chunk.text[:stop].rstrip())) for start, stop in sentence_spans(chunk.text)]
    words = len(chunk.text.split())
    # Neighbours overlap in a page alone.
    shared = [(other.start, other.stop) for other in near if (other.file, other.page) == (chunk.file, chunk.page)]
    return [
        (start, stop)
        for start, stop in spans
        if _FEWEST <= len(chunk.text[start:stop].split()) <= words - _FEWEST
        and not any(first <= chunk.start + start and chunk.start + stop <= last for first, last in shared)
    ]


def _pair(chunk: Chunk, question: str, passage: str) -> dict[str, Any]:
    return {
        "question": " ".join(question.split()), "passage": read_text(chunk.lead, passage), "file": chunk.file,
        "page": chunk.page, "start": chunk.start, "stop": chunk.stop,
    }  # fmt: skip


def generated_path(out: Path) -> Path:
    """Return where what a model wrote is kept, beside the pairs."""
    return out.with_name(f"{out.stem}.generated.jsonl")


def _asked(
    index: Index, out: Path, writer: TextWriter, seed: int, tell: Callable[[str, int, int | None], None]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield for each passage that a model wrote a question for its row and the pair, marked as generated."""
    chunks = [index.edition.chunk(row) for row in range(len(index))]
    language = "pt" if language_of(chunks[0].text) == "pt" or index.values["facts"].get("language") == "pt" else "en"
    # One line each, as a prompt has a topic in it.
    topics = tuple(" ".join(chunk.text.split()) for chunk in chunks)
    place = generated_path(out)
    generate(
        writer, Wanted(_PROMPTS[language], topics, len(topics), seed), place,
        observe=lambda event: tell("asking for questions", event["rows"], event["count"]),
    )  # fmt: skip
    for line in place.read_text("utf-8").splitlines():
        made = json.loads(line)
        question = next((each["content"] for each in made["messages"] if each["role"] == "user"), "").strip()
        if question:
            # Requests go round through the passages.
            row = made["extra"]["request"] % len(chunks)
            pair = _pair(chunks[row], question, chunks[row].text)
            yield row, {**pair, "made_by": writer.name, "generated": True}
