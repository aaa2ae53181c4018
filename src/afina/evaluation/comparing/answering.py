"""Have questions answered in one way, each answer on the disk before the next are asked for, and judge the answers.

A way's answers lie in `answers/`, a line a question below a line that says what was asked of whom: a run that was broken off
goes on with the first question that has none.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afina.corpus.ledger import whole_lines
from afina.generation.settings import GenerationSettings
from afina.generation.writes import Writes
from afina.links import open_unfollowed
from afina.measure.metrics.answers import OF_ANSWERS
from afina.measure.text import contains, exact_match, token_f1
from afina.results.ways import AnswerWay
from afina.retrieval.asking import QuestionPrompt, answered, build_prompt, refusal_to, refuses
from afina.retrieval.citations import plain_answer
from afina.retrieval.index import Hit, Index
from afina.retrieval.questions import DocumentQuestion
from afina.retrieval.telling import hits_of
from afina.retrieval.threshold import limit_of
from afina.whole_file import write_text

__all__ = ["Asking", "WayAnswer", "answers_of", "judged"]

_UNKNOWING = re.compile(
    r"\b(?:(?:i|we) (?:do not|don['’]t|cannot|can['’]t) (?:know|tell|say)"
    r"|(?:eu )?não sei|não tenho (?:essa |esta )?informaç)",
    re.IGNORECASE,
)
"""Words by which a model refuses that was not asked to refuse in words of ours."""


@dataclass(frozen=True)
class WayAnswer:
    """Holds an answer as it was written, with what it cost."""

    text: str
    seconds: float
    processor_seconds: float
    prompt_tokens: int
    written_tokens: int
    found: bool | None
    """True if a passage that tells was in the prompt; None where there are no passages, or none tells."""
    given: int
    cites: bool | None
    """True if it cites passages, all of them given and with the words that they are cited for; None without passages."""


@dataclass(frozen=True)
class Asking:
    """Holds what is asked, and how."""

    questions: Sequence[DocumentQuestion]
    telling: Sequence[Sequence[int]]
    """The rows of the index that tell each question's answer."""
    index: Index | None
    passages: int
    threshold: float | str | None
    settings: GenerationSettings
    batch_size: int

    def hits(self, place: int, way: AnswerWay) -> list[Hit]:
        """Return the passages that stand before a question, none where it is refused as the documents do not tell.

        For the right ones those that are found, where none is known.
        """
        # Only ways with passages come here.
        assert self.index is not None
        right = way.given == "right"
        if right and self.telling[place]:
            return hits_of(self.index, self.telling[place][: self.passages])
        (passages,) = self.index.found([self.questions[place].text], self.passages)
        limit = limit_of(self.index, None if right else self.threshold)
        return passages.hits if limit.tells(passages.best) else []


def answers_of(
    asking: Asking, way: AnswerWay, load: Callable[[], Writes], path: Path, whose: Mapping[str, Any],
    tell: Callable[[int, int], None],
) -> list[WayAnswer]:  # fmt: skip
    """Return a way's answers, those that are in its file and the others now; `whose` says who is asked, by digests.

    A file of another model, index or settings is begun anew. `load` gives who answers, if anything is left to be asked.
    """
    texts = hashlib.sha256("\n".join(each.text for each in asking.questions).encode()).hexdigest()[:16]
    how: dict[str, Any] = {"most": asking.settings.max_new_tokens}
    if way.given != "none":
        assert asking.index is not None
        how |= {"passages": asking.passages, "threshold": vars(limit_of(asking.index, asking.threshold))}
    # What a way does not look at may change without its answers being asked again.
    whose = {name: value for name, value in whose.items() if name != "index" or way.given != "none"}
    # As JSON gives it back, so that it is compared alike.
    record = json.loads(json.dumps({"way": [way.who, way.given], "questions": texts, **how, **whose}))
    known = _known(path, record)
    left = [place for place in range(len(asking.questions)) if place not in known]
    if left:
        writer = load()
        # A file of another record is begun anew, and not gone on with.
        if not path.is_file() or not known:
            write_text(path, json.dumps(record, ensure_ascii=False) + "\n")
        for start in range(0, len(left), asking.batch_size):
            tell(len(known), len(asking.questions))
            some = left[start : start + asking.batch_size]
            made = dict(zip(some, _batch(asking, way, writer, some), strict=True))
            _append(path, made)
            known |= made
    return [known[place] for place in range(len(asking.questions))]


def _known(path: Path, record: Mapping[str, Any]) -> dict[int, WayAnswer]:
    """Return the answers that a file holds, nothing of one of another record; a torn last line is cut off."""
    lines: Iterator[dict[str, Any]] = whole_lines(path)
    # The first line says whose answers these are.
    if next(lines, None) != record:
        return {}
    known = {line.pop("place"): WayAnswer(**line) for line in lines}
    whole = path.read_bytes()
    # A line that a kill tore off is asked again.
    if not whole.endswith(b"\n"):
        write_text(path, whole[: whole.rfind(b"\n") + 1].decode("utf-8"))
    return known


def _append(path: Path, made: Mapping[int, WayAnswer]) -> None:
    lines = [json.dumps({"place": place, **vars(each)}, ensure_ascii=False) + "\n" for place, each in made.items()]
    # Not through a link, as the folder may be others' to write in.
    with open_unfollowed(path, "ab") as file:
        file.write("".join(lines).encode())
        file.flush()
        # On the disk before the next are asked: what was paid for is not lost.
        os.fsync(file.fileno())


def _batch(asking: Asking, way: AnswerWay, writer: Writes, places: Sequence[int]) -> list[WayAnswer]:
    """Ask some questions together; their seconds are shared out evenly."""
    started, processor = time.perf_counter(), time.process_time()
    prompts: dict[int, QuestionPrompt | str] = {}
    for place in places:
        text = asking.questions[place].text
        if way.given == "none":
            prompts[place] = text
            continue
        # Without a passage that is like it, the question is refused and no model asked.
        if hits := asking.hits(place, way):
            prompts[place] = build_prompt(writer, text, hits, asking.settings)
    messages = [
        prompt.messages if isinstance(prompt, QuestionPrompt) else [{"role": "user", "content": prompt}]
        for prompt in prompts.values()
    ]
    written = writer.generate(messages, asking.settings, batch_size=asking.batch_size) if messages else []
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    by_place = dict(zip(prompts, written, strict=True))
    made = []
    for place in places:
        # What was not asked has the refusal for its answer, and cost nothing.
        text, read, wrote = refusal_to(asking.questions[place].text, asking.index), 0, 0
        if place in by_place:
            text, wrote, read = by_place[place].text.strip(), len(by_place[place].tokens), by_place[place].prompt_tokens
        holds, shown, given = _held(asking, place, prompts.get(place), text)
        made.append(WayAnswer(text, seconds / len(places), processor / len(places), read, wrote, shown, given, holds))
    return made


def _held(
    asking: Asking, place: int, prompt: QuestionPrompt | str | None, text: str
) -> tuple[bool | None, bool | None, int]:
    """Return whether an answer's citations hold, whether a passage that tells was given, and how many were."""
    tells = asking.telling[place]
    if isinstance(prompt, str):
        return None, None, 0
    if prompt is None:
        return None, False if tells else None, 0
    assert asking.index is not None
    shown = any(each.hit.row in tells for each in prompt.given) if tells else None
    answer = answered(asking.questions[place].text, text, prompt, asking.index.terms)
    # A citation holds if its passage was given and has the words.
    holds = bool(answer.citations) and not answer.wrong and not any(each.is_weak for each in answer.citations)
    return holds, shown, len(prompt.given)


def judged(question: DocumentQuestion, asked: WayAnswer) -> list[float]:
    """Return what an answer adds to numerator and denominator of each of the metrics of answers."""
    # Words of its own count as a refusal, unless they cite something.
    refused = refuses(asked.text) or (bool(_UNKNOWING.search(asked.text)) and not asked.cites)
    plain = plain_answer(asked.text)
    counts = float(question.is_told)
    cites = asked.cites is not None and not refused
    holds = max((contains(asked.text, words) for words in question.holds), default=0.0)
    parts = {
        "right_answers": (holds if question.is_told else float(refused), 1.0),
        "answer_contains": (holds, counts),
        "answer_exact": (max((exact_match(plain, each) for each in question.answers), default=0.0), counts),
        "answer_f1": (max((token_f1(plain, each) for each in question.answers), default=0.0), counts),
        "refusals": (float(refused) * (1 - counts), 1 - counts),
        "wrong_refusals": (float(refused) * counts, counts),
        "held_citations": (float(cites and bool(asked.cites)), float(cites)),
    }
    return [value for name in OF_ANSWERS for value in parts[name]]
