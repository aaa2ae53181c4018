"""Build an index, or bring it up to its documents: what changed is read, what is gone goes, what moved keeps its vectors.

An index is what its documents and settings make it, whatever was there before: an edition is written beside the one that
stands and takes its place in one step, so that a reader, a kill or a full disk never meets half of one.
"""

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from afina.errors import AfinaError, UsageError
from afina.retrieval.collecting import Collected, collect, digest_of
from afina.retrieval.cutting import Cutter
from afina.retrieval.duplicates import mark_duplicates
from afina.retrieval.edition import Edition, EditionWriter, FileRow
from afina.retrieval.encoder import base_of, resolved_precision, tokenizer_of
from afina.retrieval.folder import FORMAT, TERMS, IndexFolder, discard, locked, settings_that_differ, weights_of
from afina.retrieval.journal import IndexJournal
from afina.retrieval.parsing import ParsedFile, parse
from afina.retrieval.readers.base import endings
from afina.retrieval.representations.base import REPRESENTATIONS, Corpus, Representation
from afina.retrieval.settings import IndexSettings
from afina.retrieval.terms import Terms, language_among

__all__ = ["BuildReport", "build_index"]

Tell = Callable[[str, int, int | None], None]
_AROUND = 66
"""Tokens that an encoder reads beside a chunk's own: the headings before it, and its marks."""


@dataclass
class BuildReport:
    """Says what a run found and did."""

    index: Path
    settings: IndexSettings
    changed: bool = True
    """False where the index was up to date and stands as it was."""
    counts: dict[str, int] = field(default_factory=dict)
    """Files, pages and chunks in the index, and `same`, the chunks whose text stood there already."""
    files: dict[str, int] = field(default_factory=dict)
    """Counts of files that are new, changed, moved, gone and as they were."""
    problems: list[tuple[str, str]] = field(default_factory=list)
    """Files that could not be read, each with the reason."""
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return {
            "index": str(self.index), "settings": self.settings.as_dict(), "changed": self.changed, "counts": self.counts,
            "files": self.files, "problems": [list(each) for each in self.problems], "notes": self.notes,
            "facts": self.facts,
        }  # fmt: skip


def build_index(
    places: Sequence[str | Path], out: str | Path, *, device: str = "auto", force: bool = False,
    tell: Tell = lambda what, done, total: None, **changes: Any,
) -> BuildReport:  # fmt: skip
    """Index the documents in some places, or bring an index up to them; `changes` are settings by name.

    An index keeps the settings that it was made with; with `force` one of other settings, or of other documents, is made
    anew. Raises `UsageError` in one sentence for what cannot be, before what stands is touched.
    """
    folder = IndexFolder(Path(out))
    folder.check_place()
    # Before the lock, so that a folder that is none is refused without being touched.
    before = folder.read()
    roots = [str(Path(place).resolve()) for place in places]
    collected = collect([Path(place) for place in places], folder.path)
    folder.path.mkdir(parents=True, exist_ok=True)
    with locked(folder.path):
        # Once more under the lock: another process may have built meanwhile.
        before = folder.read() if not force else None
        settings = _settled(before, changes, device, folder)
        run = _Run(folder, settings, collected, device, tell)
        run.digest_files()
        if before is not None:
            # What was asked of other folders would replace all that is there.
            if force is False and not (set(before["roots"]) & set(roots)):
                run.check_same_documents(before["roots"], roots)
            if run.is_up_to_date():
                return run.report
        try:
            return run.build(roots)
        except sqlite3.Error as error:
            raise AfinaError(
                f"{folder.path} cannot be written ({error}): where the disk is full, free some space and give the same "
                "command again. What was indexed before stays."
            ) from None


def _settled(before: dict[str, Any] | None, changes: dict[str, Any], device: str, folder: IndexFolder) -> IndexSettings:
    """Return the settings of a run: the index's own where there is one; raises `UsageError` for others."""
    if before is not None:
        # Settings that are not given again are the index's own.
        settings = IndexSettings.read(before["settings"])
        if unlike := settings_that_differ(settings, settings.changed(**changes)):
            raise UsageError(
                f"{folder.path} was made with {unlike}; give --force to make it anew, or another --out, or leave that out."
            )
        folder.check_weights(before, settings)
        return settings
    settings = IndexSettings().changed(**changes)
    if settings.adapter is not None:
        # Absolute, as a later run may start from elsewhere.
        settings = settings.changed(model=base_of(settings), adapter=str(Path(settings.adapter).resolve()))
    elif Path(settings.model).is_dir():
        settings = settings.changed(model=str(Path(settings.model).resolve()))
    context = tokenizer_of(settings.model)[1]
    if settings.tokens + _AROUND > context:
        # A size that was asked for is refused, one that was usual is made to fit.
        if changes.get("tokens") is not None:
            raise UsageError(
                f"Chunks of {settings.tokens} tokens do not fit {settings.model}, which reads {context}: at most "
                f"{context - _AROUND}."
            )
        tokens = max(8, context - _AROUND)
        settings = settings.changed(tokens=tokens, overlap=min(settings.overlap, tokens // 5))
    return settings.changed(precision=resolved_precision(settings.precision, settings.model, device))


class _Run:
    """Carries out one run over the documents."""

    def __init__(
        self, folder: IndexFolder, settings: IndexSettings, collected: Collected, device: str, tell: Tell
    ) -> None:
        self.folder, self.settings, self.collected = folder, settings, collected
        self.device, self.tell = device, tell
        self.report = BuildReport(folder.path, settings)
        self.representation: Representation = REPRESENTATIONS[settings.ranked_by](settings)
        self.standing = folder.edition()
        self.rows = {row.name: row for row in self.standing.files()} if self.standing else {}
        self.digests: dict[str, str] = {}
        for ending, count in sorted(collected.others.items()):
            self.report.notes.append(f"files of a kind that is not read, {ending}: {count:,}")
        if collected.links:
            self.report.notes.append(f"links, which are not followed: {collected.links:,}")

    def digest_files(self) -> None:
        """Look at every file's bytes: names and times may lie."""
        for number, file in enumerate(self.collected.files):
            self.tell("looking at files", number, len(self.collected.files))
            self.digests[file.name] = digest_of(file.path)
        known = {name: row.digest for name, row in self.rows.items()}
        gone = [name for name in known if name not in self.digests]
        new = [name for name in self.digests if name not in known]
        left = [known[name] for name in gone]
        moved = 0
        for name in new:
            # The same bytes under another name: moved, and not new.
            if self.digests[name] in left:
                left.remove(self.digests[name])
                moved += 1
        changed = sum(self.digests[name] != known[name] for name in known if name in self.digests)
        self.report.files = {
            "new": len(new) - moved, "changed": changed, "moved": moved, "gone": len(gone) - moved,
            "same": len(self.digests) - len(new) - changed,
        }  # fmt: skip

    def check_same_documents(self, before: list[str], now: list[str]) -> None:
        """Raise `UsageError` where an index of some documents was to be made of others: all of it would go."""
        if self.rows and not {row.digest for row in self.rows.values()} & set(self.digests.values()):
            raise UsageError(
                f"{self.folder.path} holds {', '.join(before)}, of which nothing is in {', '.join(now)}: give another --out, "
                "or --force to have these documents in their place."
            )

    def is_up_to_date(self) -> bool:
        """Return whether nothing is to be done, and say what the index holds."""
        same = self.standing is not None and self.digests == {name: row.digest for name, row in self.rows.items()}
        if same:
            assert self.standing is not None
            self.report.changed, self.report.counts = False, self.standing.counts()
            self._say_files(self.rows.values())
        return same

    def build(self, roots: list[str]) -> BuildReport:
        """Write an edition and put it in the place of the one that stands."""
        folder = self.folder
        number = folder.next_number()
        made = folder.path / f"building-{number}"
        discard(made)  # what a kill left
        made.mkdir()
        # A journal of other settings would hold what was cut otherwise.
        key = json.dumps([FORMAT, self.settings.as_dict(), weights_of(self.settings)])
        journal = IndexJournal(folder.path / "journal.db", key)
        writer = EditionWriter(made)
        self._read(journal, writer)
        near = mark_duplicates(writer, self.standing, made, self.settings.near, self.tell)
        count = writer.number()
        self.report.facts["near"] = near
        edition = Edition(made, base=writer.base)
        self.report.counts = edition.counts()
        self._say_files(edition.files())
        if not count:
            writer.base.close()
            discard(made)
            raise UsageError(self._nothing())
        corpus = self._corpus(edition, count, journal)
        place = made / self.settings.representation
        place.mkdir()
        self.report.facts |= self.representation.build(corpus, place)
        self.report.notes += corpus.notes
        # SQLite lets go of its file before the folder is renamed.
        writer.base.close()
        if self.standing:
            self.standing.close()
        folder.publish(made, number, self.settings, roots, self.report)
        # Only when the edition stands: until then a kill loses nothing of it.
        journal.remove()
        return self.report

    def _read(self, journal: IndexJournal, writer: EditionWriter) -> None:
        """Read each file whose bytes were not read before, and write all of them into the edition."""
        cutter: list[Cutter] = []
        total = len(self.collected.files)
        readers = endings()
        for number, file in enumerate(self.collected.files):
            self.tell("reading files", number, total)
            digest, reader = self.digests[file.name], readers[file.path.suffix.lower()]
            # What the edition or the journal has need not be read and cut again.
            parsed = self.standing.parsed(digest, reader) if self.standing else None
            parsed = parsed or journal.parsed(f"{digest} {reader}")
            if parsed is None:
                # The tokenizer is loaded only if there is anything to cut.
                if not cutter:
                    settings = self.settings
                    tokenizer = tokenizer_of(settings.model)[0]
                    cutter.append(Cutter(tokenizer, tokens=settings.tokens, overlap=settings.overlap))
                parsed = parse(file, cutter[0], self.settings.columns)
                # What changed while it was read is of neither state.
                if digest_of(file.path) != digest:
                    parsed = ParsedFile(
                        reader, problem="it was being written while it was read; give the command again"
                    )
                else:
                    journal.keep_parsed(f"{digest} {reader}", parsed)
            writer.add(file.name, digest, file.size, parsed)
        self.tell("reading files", total, total)

    def _corpus(self, edition: Edition, count: int, journal: IndexJournal) -> Corpus:
        language = self.settings.text_language
        notes: list[str] = []
        terms = Terms("none")
        # Only words have a language that is to be known.
        if any(part.lexical for part in self.representation.parts):
            if language == "auto":
                language, note = language_among(edition.texts(), count)
                notes.append(note)
            terms = Terms(language)
            if language != "none":
                terms.learn(edition.texts())
        self.settings, why = self.settings.settled(terms.language)
        self.report.settings = self.settings
        self.representation = REPRESENTATIONS[self.settings.representation](self.settings)
        notes += [] if why is None else [why]
        terms.save(edition.folder / TERMS)
        self.report.facts["language"] = terms.language
        before = self.standing.folder if self.standing else None
        return Corpus(edition, count, terms, self.settings, before, journal, self.device, self.tell, notes)

    def _say_files(self, rows: Any) -> None:
        """Say which files could not be read, and what was assumed of the others."""
        row: FileRow
        for row in rows:
            if row.problem:
                self.report.problems.append((row.name, row.problem))
            self.report.notes += [f"{row.name}: {note}" for note in row.notes if not row.problem]

    def _nothing(self) -> str:
        first = "; ".join(f"{name}: {why}" for name, why in self.report.problems[:2])
        return f"None of the {len(self.digests):,} documents holds text that can be read ({first})."
