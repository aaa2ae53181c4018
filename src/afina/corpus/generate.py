"""Interactions written by a model from a prompt and topics; every answer is on disk before the next is asked for.

Beside the result `NAME.jsonl` stand `NAME.rejects.jsonl` (what could not be used, with the reason) and `NAME.requests.jsonl`
(one line a request): a request counts once its line is there, so that a killed run goes on with the first that is missing.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from afina.corpus.clean import RuleReport, ruled
from afina.corpus.diversity import Diversity, collapse_warnings, diversity
from afina.corpus.ledger import Ledger
from afina.corpus.near_duplicates import PERMUTATIONS, signature, similar
from afina.corpus.rules import CleanSettings, rules_for
from afina.corpus.writers import GeneratedText, TextWriter
from afina.data.dialogues.conversations import Columns, Interaction, dialogue_text, interaction_of
from afina.data.dialogues.interaction import RawRow
from afina.data.dialogues.speakers import Speakers
from afina.errors import AfinaError, UsageError

__all__ = ["GenerateReport", "Wanted", "generate"]

_DRY = 20
"""Requests one after another that bring nothing new, after which it is of no use to go on."""
_LATEST = 100


@dataclass(frozen=True)
class GenerateReport:
    """Counts what was written so far."""

    out: Path
    rejects: Path | None
    rows: int
    requests: int
    reasons: dict[str, int]
    """Rejects by reason."""
    diversity: Diversity | None
    """None for fewer than two rows."""
    warnings: list[str]
    """Sentences on signs of a collapse of the model, or on why it ended early."""

    def as_dict(self) -> dict[str, Any]:
        figures = None if self.diversity is None else vars(self.diversity)
        rejects = None if self.rejects is None else str(self.rejects)
        return {**vars(self), "out": str(self.out), "rejects": rejects, "diversity": figures}


@dataclass(frozen=True)
class Wanted:
    """Says what a model is asked for; raises `UsageError` for what cannot be asked."""

    prompt: str
    """The prompt; `{topic}` in it is replaced by each topic in turn."""
    topics: Sequence[str] = ()
    count: int = 100
    """Interactions."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.prompt.strip():
            raise UsageError("The prompt is empty.")
        if self.topics and "{topic}" not in self.prompt:
            raise UsageError("There are topics, and the prompt has no {topic} to put them in.")
        if not self.topics and "{topic}" in self.prompt:
            raise UsageError("The prompt has a {topic} and there are no topics; give a file with one a line.")
        if self.count < 1:
            raise UsageError(f"{self.count} rows cannot be written; ask for at least 1.")

    def topic(self, number: int) -> str | None:
        """Return the topic of a request."""
        # In turn and not at random: the same number asks for the same thing when a run goes on.
        return self.topics[number % len(self.topics)] if self.topics else None

    def request(self, number: int) -> tuple[str, int]:
        """Return a request's prompt and seed."""
        # A seed for each request, so that the same topic asked twice brings two answers.
        return self.prompt.replace("{topic}", self.topic(number) or ""), self.seed + number


def generate(
    writer: TextWriter,
    wanted: Wanted,
    out: str | Path,
    settings: CleanSettings | None = None,
    *,
    speakers: Speakers | None = None,
    embed: Callable[[list[str]], np.ndarray] | None = None,
    observe: Callable[[Mapping[str, Any]], None] | None = None,
) -> GenerateReport:
    """Ask a model until `out` (.jsonl) holds what is wanted; called again, it goes on where it stopped.

    Answers are read as `User:`/`Assistant:` lines or as JSON; `settings` are the rules that each has to pass,
    near-duplicates of any earlier one among them. `embed` (one vector a text) is for the embeddings' spread; `observe` is
    told of every request. Raises `AfinaError` when the model stops answering: what was written stays.
    """
    out, count = Path(out), wanted.count
    # Rows are appended as they come, which a parquet file does not take.
    if out.suffix.lower() != ".jsonl":
        raise UsageError(
            f"{out}: rows are added as they are written, which takes a .jsonl file; `convert` makes parquet of it."
        )
    settings, speakers = settings or CleanSettings(), speakers or Speakers()
    topics = _hash("\n".join(wanted.topics))
    # What makes the rows another data set; a run with another of them is refused.
    record = {"model": writer.name, "prompt": _hash(wanted.prompt), "topics": topics, "seed": wanted.seed}
    with Ledger(out, record) as ledger:
        # What an earlier call wrote counts: new rows are told from those too.
        known = _Known(settings.near_duplicates)
        for row in ledger.rows():
            known.add(signature(dialogue_text(row["messages"])))
        dry, warnings = 0, []
        while known.count < count:
            # Not more at one time than are wanted, as each answer is paid for.
            numbers = ledger.next_numbers(min(writer.parallel, count - known.count))

            # One call's failure does not throw away what the others of the same moment brought.
            failed: BaseException | None = None
            for number, answer in _together(writer, {number: wanted.request(number) for number in numbers}):
                if isinstance(answer, BaseException):
                    failed = failed or answer
                    continue
                rows = _judged(answer, number, wanted.topic(number), settings, speakers, known, count)
                ledger.add(number, rows)
                dry = 0 if any(not row.problem for row in rows) else dry + 1
                if observe is not None:
                    done, rejected = len(ledger.done), ledger.rejected
                    observe({"rows": known.count, "count": count, "requests": done, "rejected": rejected})
            if failed is not None:
                raise _stopped(failed, known.count, count, out)

            # A model that repeats itself would be asked, and paid, for ever.
            if dry >= _DRY:
                warnings.append(f"ended early: the last {dry} requests brought nothing new")
                break
        return _report(ledger, out, embed, warnings)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# Errors that are not ours, an interrupt among them, go on as they are.
def _stopped(failed: BaseException, rows: int, count: int, out: Path) -> BaseException:
    if not isinstance(failed, AfinaError):
        return failed
    so_far = f"{rows:,} of {count:,} rows are in {out}, and the same call goes on from there"
    return type(failed)(f"{str(failed).rstrip('.')}; {so_far}.")


def _together(
    writer: TextWriter, calls: Mapping[int, tuple[str, int]]
) -> Iterator[tuple[int, GeneratedText | BaseException]]:
    """Make all calls at once and yield each one's answer or error, in order; on Ctrl-C those that are there, then that.

    The threads are daemons: a stalled endpoint does not keep a person from leaving.
    """
    results: dict[int, GeneratedText | BaseException] = {}

    def call(number: int) -> None:
        try:
            results[number] = writer.write(*calls[number])
        except BaseException as error:
            results[number] = error

    threads = [threading.Thread(target=call, args=(number,), daemon=True) for number in calls]
    for thread in threads:
        thread.start()
    interrupted: KeyboardInterrupt | None = None
    try:
        for thread in threads:
            thread.join()
    except KeyboardInterrupt as error:
        interrupted = error
    # By number, so that the file has the rows of one moment in an order that does not depend on the network.
    yield from sorted(results.items())
    if interrupted is not None:
        raise interrupted


# -- answers ---------------------------------------------------------------------------------------------------------


class _Known:
    """Signatures of the rows so far, to tell a new one from."""

    def __init__(self, threshold: float | None) -> None:
        self.threshold, self.count = threshold, 0
        self._signatures = np.empty((64, PERMUTATIONS), dtype=np.uint16)

    def add(self, new: np.ndarray) -> None:
        # Twice as long each time, which is a copy of every signature once on the average.
        if self.count == len(self._signatures):
            self._signatures = np.concatenate([self._signatures, np.empty_like(self._signatures)])
        self._signatures[self.count] = new
        self.count += 1

    def problem(self, new: np.ndarray) -> str:
        """Say why a row is no new one, or nothing."""
        alike = similar(new, self._signatures[: self.count]).max(initial=0.0)
        if alike == 1:
            return "duplicate of an earlier row"
        return "near-duplicate of an earlier row" if self.threshold is not None and alike >= self.threshold else ""


def _judged(
    written: GeneratedText,
    number: int,
    topic: str | None,
    settings: CleanSettings,
    speakers: Speakers,
    known: _Known,
    count: int,
) -> list[Interaction]:
    """Read an answer and return its interactions, those that cannot be used with their problem."""
    read = _read(written.text, speakers)
    if not written.whole:
        # Its last interaction may end in the middle of a word.
        read[-1] = replace(read[-1], problem="cut off at the most tokens that the model may write")
    # Counted for each answer and thrown away: what rules changed in generated rows is not reported.
    rules = rules_for(settings, None, plain=False)
    reports = {rule.name: RuleReport(rule.name, rule.does) for rule in rules}
    rows = []
    for one in read:
        for row in ruled(one, rules, reports):
            if not row.problem:
                marks = signature(row.all_text)
                problem = known.problem(marks) or ("more rows than were asked for" if known.count >= count else "")
                row = replace(row, problem=problem)
                if not problem:
                    known.add(marks)
            extra = {"request": number} | ({} if topic is None else {"topic": topic})
            rows.append(replace(row, place=f"request {number}", generated=True, extra=extra))
    return rows


def _read(text: str, speakers: Speakers) -> list[Interaction]:
    """Read what a model wrote: JSON, also between ``` fences or line by line, or lines of speakers; never nothing."""
    # Models put JSON between fences, or each object on a line with a comma behind it.
    inside = text.split("```")[1].removeprefix("json") if text.count("```") >= 2 else text
    lines = [line.strip().rstrip(",") for line in inside.strip().splitlines() if line.strip()]
    for candidate in ([inside], lines):
        try:
            values = [json.loads(each) for each in candidate]
        except (ValueError, RecursionError):
            continue
        # A list in one document, or an object a line.
        values = values[0] if len(values) == 1 and isinstance(values[0], list) else values
        if values and all(isinstance(value, Mapping) for value in values):
            # The messages of one dialogue, without the object around them.
            if all("role" in value and "content" in value for value in values):
                values = [{"messages": values}]
            return [interaction_of(RawRow("", value), speakers, Columns()) for value in values]
    dialogues = speakers.dialogues(text)
    if dialogues:
        return [Interaction(place="", messages=dialogue) for dialogue in dialogues]
    return [
        Interaction(place="", text=text, problem="no dialogue in the answer" if text.strip() else "an empty answer")
    ]


def _report(
    ledger: Ledger, out: Path, embed: Callable[[list[str]], np.ndarray] | None, warnings: list[str]
) -> GenerateReport:
    answers = [
        "\n".join(message["content"] for message in row["messages"] if message["role"] == "assistant")
        for row in ledger.rows()
    ]
    figures = diversity(answers, embed) if len(answers) > 1 else None
    if figures is not None:
        # The first and the last of them, as a model collapses while it writes.
        first, last = answers[:_LATEST], answers[-_LATEST:]
        parted = len(answers) >= 2 * _LATEST
        falling = collapse_warnings(diversity(last), diversity(first)) if parted else []
        warnings = warnings + collapse_warnings(figures) + [told for told in falling if told.startswith("it falls")]
    rejects = ledger.refused if ledger.rejected else None
    return GenerateReport(
        out, rejects, len(answers), len(ledger.done), dict(ledger.reasons.most_common()), figures, warnings
    )
