"""Cleaning a file of dialogues: rules row by row, then duplicates; what goes is kept beside the result with the reason."""

import json
import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from afina.corpus.interaction_file import InteractionFile, as_values, check_output
from afina.corpus.lines import SourceFile
from afina.corpus.near_duplicates import PERMUTATIONS, digest, first_of_each, signature
from afina.corpus.reading import Reading, read_interactions
from afina.corpus.rules import CleanSettings, Rule, rules_for
from afina.data.dialogues.conversations import NO_MARKS, Interaction
from afina.data.dialogues.forms import NO_FORM
from afina.errors import UsageError
from afina.whole_file import beside, whole_file

__all__ = ["CleanReport", "RuleReport", "clean", "rejects_path", "ruled"]


@dataclass
class RuleReport:
    """Counts what a rule did."""

    name: str
    does: str
    changed: int = 0
    """Rows that it changed and kept."""
    added: int = 0
    """Rows more than there were, by dividing some."""
    removed: int = 0


@dataclass(frozen=True)
class CleanReport:
    """Counts what became of a file's rows."""

    source: Path
    out: Path
    rejects: Path | None
    """Rows that were removed, each with its `reason`; None where there are none."""
    read: int
    kept: int
    generated: int
    """Kept rows that a model wrote."""
    rules: list[RuleReport]
    forms: dict[str, int]
    """Rows by the form that they had."""
    seen: dict[str, int]
    """Counts of what was noticed and changed no row, by sentence."""

    def as_dict(self) -> dict[str, Any]:
        return {
            **vars(self),
            "source": str(self.source),
            "out": str(self.out),
            "rejects": None if self.rejects is None else str(self.rejects),
            "rules": [vars(rule) for rule in self.rules],
        }


def rejects_path(out: Path) -> Path:
    """Return where the rejects of a result are written."""
    return beside(out, f"{out.stem}.rejects{out.suffix}")


def clean(
    path: str | Path,
    out: str | Path,
    settings: CleanSettings | None = None,
    how: Reading | None = None,
    *,
    tokens: Callable[[str], int] | None = None,
    force: bool = False,
    tick: Callable[[int], None] | None = None,
) -> CleanReport:
    """Clean a file of any size into `out` (.parquet or .jsonl); `how` says how it is read: as dialogues unless as texts.

    `tokens` counts a text's tokens for `max_tokens`; `tick` is told the rows read. Neither file is there until both are
    whole. Raises `UsageError` for settings that cannot be, and where no row could be kept.
    """
    path, out, how = Path(path), Path(out), how or Reading()
    plain = bool(how.plain)
    settings = settings or CleanSettings()
    # Both files are named before the first row is read: a file of any size may take hours.
    check_output(out, rejects_path(out), path, force=force)
    rules = rules_for(settings, tokens, plain=plain)
    source = SourceFile(path)
    with ExitStack() as stack:
        # Both are written under other names until they are whole, so that a broken run leaves neither of them.
        partial, rejected = stack.enter_context(whole_file(out)), stack.enter_context(whole_file(rejects_path(out)))
        rejects = stack.enter_context(InteractionFile(rejected, out.suffix, plain=plain, rejects=True))
        # Rows that pass wait on the result's own disk: the system's place for temporary files may be in memory.
        sieve = stack.enter_context(_Sieve(path.name, out.parent, rules, rejects, settings.near_duplicates))
        for row in read_interactions(source, replace(how, plain=plain)):
            sieve.put(row)
            if tick is not None and sieve.read % 200 == 0:
                tick(sieve.read)
        # What kept nothing is more often read in the wrong way than a file of nothing.
        if not sieve.digests:
            raise UsageError(_nothing_kept(path, sieve.read, sieve.reasons))
        result = stack.enter_context(InteractionFile(partial, out.suffix, plain=plain))
        generated = 0
        for values in sieve.kept():
            result.write(values)
            generated += bool(values["generated"])
        count, without = result.rows, not rejects.rows
    # An empty file of rejects would have a person look into it.
    if without:
        rejects_path(out).unlink()
    return CleanReport(
        path, out, None if without else rejects_path(out), sieve.read, count, generated, list(sieve.reports.values()),
        dict(sieve.forms), dict(source.seen),
    )  # fmt: skip


class _Sieve:
    """Puts rows through the rules one by one; those that pass wait on disk until all are there to be compared."""

    def __init__(
        self, source: str, folder: Path, rules: list[Rule], rejects: InteractionFile, near_duplicates: float | None
    ) -> None:
        self.source, self.folder, self.rules, self.rejects = source, folder, rules, rejects
        self.near_duplicates = near_duplicates
        self.reports = {rule.name: RuleReport(rule.name, rule.does) for rule in rules}
        self.forms: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.digests, self.read = array("Q"), 0

    # Eight bytes a row, so that duplicates are found among more rows than memory would hold.
    def __enter__(self) -> "_Sieve":
        self._files = ExitStack()
        self._waiting = self._files.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", dir=self.folder))
        self._marks = self._files.enter_context(tempfile.TemporaryFile(dir=self.folder))
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def put(self, row: Interaction) -> None:
        """Take a row: what the rules remove becomes a reject, what is left waits."""
        self.read += 1
        self.forms[row.form] += 1
        for rest in ruled(row, self.rules, self.reports):
            if rest.problem:
                self.reasons[rest.problem] += 1
                self.rejects.write(as_values(rest, self.source, rest.problem))
                continue
            text = rest.all_text
            self.digests.append(digest(text))
            if self.near_duplicates is not None:
                # A signature of 256 bytes a row, on disk: it is looked at as a memory map.
                self._marks.write(signature(text).tobytes())
            self._waiting.write(json.dumps(as_values(rest, self.source)) + "\n")

    def kept(self) -> Iterator[dict[str, Any]]:
        """Yield the values of the rows that say nothing twice; the others become rejects."""
        self._marks.flush()
        # Mapped, not read: the file may be larger than memory.
        stored = np.memmap(self._marks, dtype=np.uint16).reshape(-1, PERMUTATIONS) if self.near_duplicates else None
        first = _first(np.frombuffer(self.digests, dtype=np.uint64), stored, self.near_duplicates)
        self.reports |= {name: RuleReport(name, does) for name, does in _DUPLICATES.items()}
        self._waiting.seek(0)
        for values, reason in _told_apart(self._waiting, self.digests, first):
            if reason is None:
                yield values
            else:
                # The kind stands before ` of `, and behind it the row that says the same.
                self.reports[reason.split(" of ")[0]].removed += 1
                self.rejects.write({**values, "reason": reason})


_DUPLICATES = {
    "duplicate": "says the same as an earlier row",
    "near-duplicate": "nearly the same as an earlier row",
}


def ruled(row: Interaction, rules: list[Rule], reports: dict[str, RuleReport]) -> Iterator[Interaction]:
    """Apply all rules to a row, count what each did, and yield what is left and what was removed."""
    rows = [row]
    for rule in rules:
        report, left = reports[rule.name], []
        for each in rows:
            given = rule.apply(each)
            good = [part for part in given if not part.problem]
            for part in given:
                if part.problem:
                    yield part
            report.removed += len(given) - len(good)
            # A rule that makes several rows of one says by how many there are more.
            report.added += max(0, len(given) - 1)
            # A rule gives a row back as the same object where it changed nothing.
            report.changed += any(part is not each for part in good)
            left += good
        rows = left
    yield from rows


def _first(digests: np.ndarray, signatures: np.ndarray | None, threshold: float | None) -> np.ndarray:
    """Return for each row the number of the first one that is kept and says (nearly) the same, or its own."""
    if signatures is not None and threshold is not None:
        return first_of_each(signatures, threshold)
    _, first, inverse = np.unique(digests, return_index=True, return_inverse=True)
    earliest: np.ndarray = first[inverse]
    return earliest


def _told_apart(waiting: Any, digests: "array[int]", first: np.ndarray) -> Iterator[tuple[dict[str, Any], str | None]]:
    """Yield each row's values, with the reason to drop it or None."""
    # Only of rows that another one repeats is the place kept.
    wanted = set(first[first != np.arange(len(first))].tolist())
    sources: dict[int, str] = {}
    for number, line in enumerate(waiting):
        values = json.loads(line)
        if number in wanted:
            sources[number] = values["source"]
        earlier = int(first[number])
        if earlier == number:
            yield values, None
        else:
            kind = "duplicate" if digests[earlier] == digests[number] else "near-duplicate"
            yield values, f"{kind} of {sources[earlier]}"


def _nothing_kept(path: Path, read: int, reasons: Counter[str]) -> str:
    if not reasons:
        return f"{path} holds no rows."
    reason, count = reasons.most_common(1)[0]
    hint = ""
    if reason.startswith(NO_MARKS):
        hint = "; name the speakers with --user and --assistant, or take the rows as plain texts with --plain"
    elif reason.startswith(NO_FORM):
        hint = "; name the columns with --question and --answer, or take the rows as plain texts with --plain"
    return f"{path}: none of its {read:,} rows can be kept, and nothing was written ({reason}: {count:,}{hint})."
