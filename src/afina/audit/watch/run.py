"""Watch an adapter: read what came after release, look at it window by window, and judge each."""

import importlib.metadata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from afina.adapters.record import AdapterRecord
from afina.audit.watch.looking import Look, Unlike
from afina.audit.watch.rows import NewRow, RowSource, labels_by_id, sources_of
from afina.audit.watch.settings import WatchSettings
from afina.audit.watch.watched import WatchAudit, findings_of
from afina.audit.watch.windows import windows_of
from afina.data.labels.given import NUMBERED
from afina.data.predicting.remembered import remembered
from afina.drift.answering import check_watched, make_reference, named_truth
from afina.drift.reference import read_reference
from afina.drift.timeline import Judge, JudgedWindow
from afina.errors import UsageError
from afina.predictor.load import told_by
from afina.predictor.loading import Loading
from afina.results.findings.finding import Subject
from afina.tasks.base import restore

__all__ = ["reference_of_rows", "watch_adapter"]

_SHOWN = 8
"""Rows that are shown as the most unlike."""
_LETTERS = 300
"""Letters of a row that are shown."""
_MOST_ROWS = 20_000
"""Rows of a file that a reference is made of, at the most."""


def watch_adapter(
    folder: Path, paths: Sequence[Path], settings: WatchSettings, *, loading: Loading | None = None,
    cache_folder: Path | None = None, tell: Callable[[str], None] = lambda status: None,
) -> WatchAudit:  # fmt: skip
    """Return what is found in rows that came after release; `cache_folder` keeps what was looked at for the next time.

    Raises `UsageError` for an adapter without a reference, or with another's, and for rows that cannot be read.
    """
    loading = loading or Loading()
    record = told_by(folder, loading.model).record
    task = restore(record.task)
    check_watched(task, str(folder))
    reference = read_reference(folder)
    label = _label_column(record)
    sources, late_notes = _sources(folder, paths, settings, label), list[str]()
    later = {} if settings.labels is None else labels_by_id(Path(settings.labels), settings.columns, label, late_notes)

    load = cache(lambda: loading.load(folder))
    look = Look(reference, task, load, later, cache_folder, settings.batch_size)
    judge = Judge(reference.seen, settings.watching)
    judged: list[JudgedWindow] = []
    unlike: list[Unlike] = []
    open_windows: list[str] = []
    for row_window in windows_of(sources, settings.dividing):
        if row_window.is_open:
            open_windows.append(row_window.name)
            continue
        tell(f"window {row_window.name}")
        window, rows = look.at(row_window)
        judged.append(judge.judge(window))
        # Of the last window that differs, or of the last at all where none does.
        if judged[-1].alarms or not any(each.alarms for each in judged):
            unlike = _quoted(look.unlike(window, rows, _SHOWN), settings, sources)
    if not open_windows and not any(each.rows for each in judged):
        raise UsageError(f"{', '.join(map(str, paths))}: there is no row with a text.")

    counted = judged if settings.last is None else judged[-settings.last :]
    subject = Subject(
        name=folder.parent.name if folder.name == "adapter" else folder.name, adapter=str(folder), model=record.model,
        dataset=str(record.facts.get("dataset", "")) or None, method=record.method, seed=record.seed,
    )  # fmt: skip
    return WatchAudit(
        audit="watch", target=str(folder), findings=findings_of(subject, counted, settings.watching, unlike),
        notes=[*late_notes, *_notes(sources, look, judged, open_windows, settings)], windows=judged,
        watching=settings.watching,
        shifts=None if judge.estimator is None else judge.estimator.shifts, unlike=unlike,
        facts=_facts(paths, settings, reference.facts),
    )  # fmt: skip


def reference_of_rows(
    folder: Path, rows: Path, settings: WatchSettings, *, train: Path | None = None, loading: Loading | None = None
) -> Path:
    """Make an adapter's reference of rows that it was not trained on, and write it into its folder; return its path.

    Of more than 20,000 rows of a file the first so many are taken. Raises `UsageError` for rows that cannot be read, and for
    adapters that are not watched.
    """
    loading = loading or Loading()
    record = told_by(folder, loading.model).record
    task, label = restore(record.task), _label_column(record)
    check_watched(task, str(folder))
    given = _read(folder, rows, settings, label)
    learned = [] if train is None else _read(folder, train, settings, label)
    later = {} if settings.labels is None else labels_by_id(Path(settings.labels), settings.columns, label, [])
    truth = [row.label if row.label is not None else later.get(row.id or "") for row in given]
    pairs = [row.text_pair or "" for row in given] if any(row.text_pair is not None for row in given) else None
    reference = make_reference(
        loading.load(folder), [row.text for row in given], pairs, named_truth(task, truth),
        train=[row.text if row.text_pair is None else f"{row.text}\n{row.text_pair}" for row in learned],
        source=str(rows), batch_size=settings.batch_size,
    )  # fmt: skip
    return reference.save(folder)


def _read(folder: Path, path: Path, settings: WatchSettings, label: str | None) -> list[NewRow]:
    rows: list[NewRow] = []
    for source in _sources(folder, [path], settings, label):
        for row in source.rows():
            rows.append(row)
            if len(rows) == _MOST_ROWS:
                return rows
    return rows


def _sources(folder: Path, paths: Sequence[Path], settings: WatchSettings, label: str | None) -> list[RowSource]:
    name = settings.adapter_name or (folder.parent.name if folder.name == "adapter" else folder.resolve().name)
    return sources_of(paths, settings.columns, remembered(folder), label=label, adapter=name)


def _label_column(record: AdapterRecord) -> str | None:
    """Return the column of labels that an adapter learned from; None where its record does not say one."""
    columns = record.facts.get("columns")
    label = columns.get("label") if isinstance(columns, dict) else None
    return label if isinstance(label, str) else None


def _quoted(unlike: Sequence[Unlike], settings: WatchSettings, sources: Sequence[RowSource]) -> list[Unlike]:
    """Return rows with as much of their text as is shown: none of a log's, unless that was asked for."""
    shown = settings.texts if settings.texts is not None else not any(source.is_log for source in sources)
    return [Unlike(each.place, each.text[:_LETTERS] if shown else "", each.distance, each.label) for each in unlike]


def _notes(
    sources: Sequence[RowSource],
    look: Look,
    judged: Sequence[JudgedWindow],
    open_windows: Sequence[str],
    settings: WatchSettings,
) -> list[str]:
    """Return what a reader has to know beside the findings."""
    notes = [note for source in sources for note in source.notes]
    passed = sum((source.passed for source in sources), Counter[str]())
    notes += [f"{what}: {count:,}" for what, count in passed.items()]
    if few := sum(each.few for each in judged):
        notes.append(f"windows with too few rows to be tested: {few:,}")
    # Of a window with too few rows none is looked at, and none was drawn.
    if any(each.rows > each.looked_at and not each.few for each in judged):
        notes.append(f"in windows with more rows, {settings.most:,} each were drawn at random")
    for label, count in look.strange.most_common(3):
        notes.append(f"right answers '{label[:60]}', which is none of the adapter's labels: {count:,}")
    if look.numbered and look.task.label_names:
        notes.append(NUMBERED.format(first=look.task.label_names[0]))
    if open_windows:
        notes.append(f"the window {open_windows[-1]} has not ended, and is looked at when it has")
    if settings.labels is not None and not look.labelled:
        notes.append(f"no row has a right answer in {settings.labels} yet: how many are right is not watched")
    if len(look.reference.seen) < 200:
        notes.append(f"the reference has {len(look.reference.seen):,} rows: only large changes can be told from chance")
    return list(dict.fromkeys(notes))


def _facts(paths: Sequence[Path], settings: WatchSettings, reference: Any) -> dict[str, Any]:
    chosen = asdict(settings) | {"labels": settings.labels and str(settings.labels)}
    versions = {name: importlib.metadata.version(name) for name in ("afina", "numpy", "scipy", "torch", "transformers")}
    return {"rows": list(map(str, paths)), "settings": chosen, "reference": dict(reference), "versions": versions}
