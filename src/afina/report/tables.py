"""A study's results as neutral tables, which the formats write and the page shows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from afina.config import StudyConfig
from afina.measure.metrics.base import part_of
from afina.results.doubts import doubts
from afina.results.material import Group, Material
from afina.results.result import Result
from afina.results.shown import difference_row, metric_digits, scaled, with_interval
from afina.results.statistics import Cell, Interval, mean_interval
from afina.words.language import Words

__all__ = [
    "Table",
    "at_epoch",
    "changed_table",
    "cohort_table",
    "comparison_table",
    "difference_table",
    "failed_table",
    "missing_table",
    "race_table",
    "setup_table",
    "type_table",
]


@dataclass(frozen=True)
class Table:
    """Text in rows and columns; `strong` holds the (row, column) places to stress, `words` counts left-set columns."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    strong: frozenset[tuple[int, int]] = frozenset()
    words: int = 1


def at_epoch(cell: Cell, epoch: int, split: str) -> float | None:
    """Return the mean of the metric after an epoch over the seeds that had it, as tables show it: some stop early."""
    # By the number that stands in the entry: classical methods have one entry alone, of their last epoch.
    entries = [entry for run in cell.runs for entry in run.history if entry.epoch == epoch]
    values = [value for entry in entries if (value := entry.metric(split, cell.metric)) is not None]
    return scaled(cell.metric) * sum(values) / len(values) if values else None


def comparison_table(group: Group, words: Words, *, alone: bool = True) -> Table:
    """Return one row a method: metric, costs, size, rate; `alone` it says too that the rates are defaults."""
    # Where no machine of the study could measure energy, a column of dashes says nothing.
    energy = any(run.energy_joules is not None for cell in group.cells for run in cell.runs)
    metric = group.metric
    unit = " (%)" if scaled(metric) == 100 else ""
    columns = [
        words("method"), f"{words(metric)}, {words('test')}{unit}", f"{words(metric)}, {words('train')}{unit}",
        f"{words('peak memory')} (MB)", f"{words('train time')} (s)", words("tokens/s"), words("trainable"),
        words("% of all"), *([f"{words('energy')} (J)"] if energy else []), words("rate"), words("seeds"),
    ]  # fmt: skip
    rows, strong = [], set()
    best, tied = (group.verdict.best, set(group.verdict.tied)) if group.verdict else ("", set())
    for cell in group.cells:
        if not cell.runs:
            # In its place among the others: that a method failed is a finding of the comparison.
            rows.append([cell.method, words("failed"), *["—"] * (len(columns) - 2)])
            continue
        if cell.method == best:
            strong |= {(len(rows), 0), (len(rows), 1)}
        first = cell.runs[0]
        rows.append([
            cell.method,
            with_interval(cell.test, metric, words) + (" =" if cell.method in tied else ""),
            words.number(train := _mean(cell.train, scaled(metric)), metric_digits(metric, train or 0.0)),
            words.number(_mean(cell.memory_bytes, 1e-6)),
            words.compact(_mean(cell.seconds)),
            words.number(_over(run.tokens_per_second for run in cell.runs)),
            words.number(cell.trainable_parameters),
            words.compact(first.trainable_percent),
            *([words.compact(_over(run.energy_joules for run in cell.runs))] if energy else []),
            _rate(first, words),
            str(len(cell.runs)),
        ])  # fmt: skip
    # Explained only where it stands.
    note = words("= marks what cannot be told from the best (Holm-corrected p of 0.05 or more).") if tied else ""
    tests = [cell.test for cell in group.cells if cell.test is not None]
    shown = [
        phrase for phrase, holds in (
            (words("mean and 95% interval over seeds"), any(own.count > 1 for own in tests)),
            (words("95% interval by the {rows} test rows", rows=words.number(group.test_rows)),
             any(own.count == 1 and own.low is not None for own in tests)),
        ) if holds
    ]  # fmt: skip
    if any(own.count > 1 for own in tests) and group.test_rows:
        apart = words(
            "The {rows} test rows have a chance of their own, which the tested differences count.",
            rows=words.number(group.test_rows),
        )
        note = f"{apart} {note}".strip()
    if shown:
        note = f"[ ]: {'; '.join(shown)}. {note}".strip()

    # Each assumption once, however many runs share it.
    assumed = dict.fromkeys(note for cell in group.cells for run in cell.runs for note in run.assumed)
    doubted = doubts(group.cells).rates(words) if alone else ""
    note = " ".join(filter(None, (note, _untried_note(group, words), doubted, *map(words.sentence, assumed))))
    return Table(f"comparison-{group.slug}", group.title, columns, rows, note, frozenset(strong))


def _rate(run: Result, words: Words) -> str:
    # What takes no steps has no rate.
    if run.step_seconds is None:
        return "—"
    mark = " †" if run.untried else ""
    return f"{words.shortest(run.learning_rate)} ({words(run.rate)}{mark})"


def _untried_note(group: Group, words: Words) -> str:
    """Say of which methods not all rates could be tried, and why."""
    sentences = []
    for cell in group.cells:
        if untried := next((run.untried for run in cell.runs if run.untried), None):
            sentences.append(
                words(
                    "† {method}: {rates} of {of} rates could not be tried, so another may be better than this one ({why})",
                    method=cell.method, rates=untried.rates, of=untried.of, why=untried.why.rstrip("."),
                )
            )  # fmt: skip
    return " ".join(f"{sentence}." for sentence in sentences)


def _mean(interval: Interval | None, scale: float = 1.0) -> float | None:
    return None if interval is None else interval.mean * scale


def _over(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def difference_table(group: Group, words: Words, *, alone: bool = True) -> Table:
    """Return one row a pair of methods; `alone` it says too that the rates are defaults."""
    metric = group.metric
    rows = [difference_row(entry, metric, words) for entry in group.comparisons]
    columns = [words(c) for c in ("first", "second", "difference", "95% interval", "p (Holm)", "verdict")]
    note = words("Differences are first minus second, tested on the same test items with seeds taken into account.")
    if group.comparisons:
        note += (
            f" ({', '.join(sorted({words(entry.test) for entry in group.comparisons}))}, "
            f"n = {words.number(group.comparisons[0].items)})"
        )
    if alone:
        note = f"{note} {doubts(group.cells).rates(words)}".strip()
    return Table(f"differences-{group.slug}", group.title, columns, rows, note, words=2)


def type_table(group: Group, words: Words) -> Table | None:
    """Return one row a method: F1 of each type of entity, mean over seeds; None where there are none."""
    runs = [run for cell in group.cells for run in cell.runs]
    names = [name for name in (runs[0].test_metrics if runs else {}) if part_of(name) is not None]
    if not names:
        return None
    rows = []
    for cell in group.cells:
        means = [mean_interval(run.tested(name) for run in cell.runs).mean if cell.runs else None for name in names]
        rows.append([cell.method, *(words.number(None if m is None else 100 * m, 1) for m in means)])
    columns = [words("method"), *(str(part_of(name)) for name in names)]
    note = words("F1 of the test split by type of entity, %; means over seeds.")
    return Table(f"types-{group.slug}", group.title, columns, rows, note)


def failed_table(material: Material, words: Words) -> Table:
    """Return one row a failed run, with its reason."""
    rows = [[result.run, result.error or ""] for result in material.failed]
    return Table("failed", words("Failed runs"), [words("run"), words("reason")], rows, words=2)


def missing_table(material: Material, words: Words) -> Table:
    """Return one row a finished run whose adapter was deleted."""
    rows = [[result.run, str(result.adapter)] for result in material.missing]
    note = words(
        "Trained and tested, and deleted since; to train one again delete its folder in runs and run the study."
    )
    return Table("missing", words("Adapters that are gone"), [words("run"), words("adapter")], rows, note, words=2)


def cohort_table(material: Material, words: Words) -> Table:
    """Return one row a cohort: what its members took together, beside what the profiles say they would have taken alone."""
    alone = {result.run: result.train_seconds or 0.0 for result in material.results if result.is_finished}
    rows = []
    for cohort in material.cohorts:
        # A member that left or failed has no time of its own, and a sum without it would flatter the cohort.
        known = [alone[run] for run in cohort.runs if run in alone]
        rows.append([
            cohort.cohort, str(len(cohort.runs)), str(cohort.together), words.compact(cohort.train_seconds),
            words.compact(sum(known) if len(known) == len(cohort.runs) else None),
            words.compact(cohort.peak_memory_bytes / 1e6 if cohort.peak_memory_bytes else None),
        ])  # fmt: skip
    columns = ["cohort", "runs", "in one pass", "train time (s)", "alone, by profile (s)", "peak memory (MB)"]
    left = any(row[4] == "—" for row in rows)
    note = words("— where a run left or failed: what it would have taken alone is not known.") if left else ""
    return Table("cohorts", words("Runs that trained together"), [words(column) for column in columns], rows, note)


def race_table(material: Material, words: Words) -> Table:
    """Return one row a candidate that left a race: when, at which value on the development split, in which place."""
    rows = []
    # Those that held out longest first, as on a list of results.
    for result, race in sorted(material.left, key=lambda own: (-own[1].step, own[1].place)):
        value = words.number(race.value * scaled(race.metric), metric_digits(race.metric))
        steps = f"{words.number(race.step)} / {words.number(race.steps)}"
        rows.append([result.run, steps, value, f"{race.place} / {race.of}"])
    note = words(
        "Judged on the development split, by the mean over seeds; those that are not here ran to the end, stopped early, or "
        "failed and had no place."
    )
    columns = [words(column) for column in ("run", "left at step", "metric", "place")]
    return Table("race", words("Who left the race"), columns, rows, note)


def changed_table(material: Material, words: Words) -> Table:
    """Return what a person chose: the keys of the study that have not their defaults, and what was noticed in the data."""
    fields = StudyConfig.model_fields
    study = _study(material)
    # As a study's folder has them: seeds as a list, though the file may say how many.
    usual = {key: own.default for key, own in fields.items() if not own.is_required()}
    rows = [[key, _plain(value)] for key, value in study.items() if key not in usual or usual[key] != value]
    for name, details in material.resolved.data.items():
        rows += [[f"{words('data')}: {name}", words.note(str(note))] for note in details.notes]
    return Table("chosen", words("What was chosen"), [words("key"), words("value")], rows, words=2)


def setup_table(material: Material, words: Words) -> Table:
    """Return the study's settings, data, versions and hardware, flat."""
    rows: list[list[str]] = []
    study = _study(material)
    resolved = material.resolved
    # A key without a value says no more than that there is one.
    rows += [[key, _plain(value)] for key, value in study.items() if value is not None]
    for section in ("precision", "data", "hardware", "versions"):
        for key, value in (resolved.get(section) or {}).items():
            if section == "data" and isinstance(value, Mapping) and value.get("notes"):
                value = {**value, "notes": [words.note(str(note)) for note in value["notes"]]}
            rows.append([f"{section}: {key}", _plain(value)])
    prints = [own for result in material.results if (own := result.fingerprint) is not None]
    # Twelve letters tell the digests of one study apart.
    digests = dict.fromkeys(own.digest[:12] for own in prints)
    commits = {str(own.git) for own in prints if own.git}
    rows += [["fingerprints", ", ".join(digests)], *([["git", "; ".join(sorted(commits))]] if commits else [])]
    return Table("setup", words("Set-up"), [words("key"), words("value")], rows, words=2)


def _study(material: Material) -> Mapping[str, Any]:
    """Return the study as it was given; nothing of results that came without one."""
    # A StudyFile raises for a key that is missing; results may have come without one.
    return material.settings.study if "study" in material.settings else {}


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_plain(item)}" for key, item in value.items() if item is not None)
    if isinstance(value, list):
        return "; ".join(_plain(item) for item in value)
    return str(value)
