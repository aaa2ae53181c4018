"""Write the parts of a card: one function a part, each of what is known and nothing where nothing is."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from afina.card.form import Form, lines
from afina.card.known import Known
from afina.card.limits import limits
from afina.card.metadata import dataset_on_hub
from afina.measure.metrics.base import higher_is_better, part_of
from afina.results.shown import answer, difference_row, metric_digits, scaled, with_interval
from afina.words.language import Words
from afina.words.notes import without_examples

__all__ = ["SECTIONS", "Section", "table"]

Section = Callable[[Known, Form, Words], str]
_HUB = "https://huggingface.co"
_CUT = re.compile(r"[\d,]+ of [\d,]+ \w+ texts were longer than \d+ tokens and were cut")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0) -> str:
    """Return a Markdown table, the last `numbers` columns set to the right."""
    marks = ["---"] * (len(columns) - numbers) + ["--:"] * numbers
    # A bar or a line's end in a name would break the table.
    cells = [[value.replace("|", "\\|").replace("\n", " ") for value in row] for row in (columns, *rows)]
    head, *body = ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join([head, "| " + " | ".join(marks) + " |", *body])


def _link(name: str, hub: str | None, kind: str = "") -> str:
    return f"[{name}]({_HUB}/{kind}{hub})" if hub else f"`{name}`"


def _notice(known: Known, form: Form, words: Words) -> str:
    sentence = words(
        "Afina writes the parts between these marks, and writes them again when it reports or exports once more. Whatever "
        "you write outside of them stays, and so does a part that you change; empty a part to have it written anew."
    )
    return f"<!-- {sentence} -->"


def _title(known: Known, form: Form, words: Words) -> str:
    base = _link(known.base.name, known.base.hub)
    method, data = f"`{known.method}`", known.record.facts.get("dataset")
    if data:
        where = _link(str(data), dataset_on_hub(known), "datasets/")
        sentence = words(
            "An adapter of {base}, trained on {data} by the method {method}.", base=base, data=where, method=method
        )
    else:
        sentence = words("An adapter of {base}, trained by the method {method}.", base=base, method=method)
    if form.target is not None:
        sentence += " " + words(
            "This folder is what `afina export --to {target}` made of it, compared with it before it was written.",
            target=form.target,
        )
    return f"# {known.name}\n\n{sentence} {_does(known, words)}{_worth(known, words)}"


def _does(known: Known, words: Words) -> str:
    names = list(known.task.label_names or ())
    # Twenty, as some tasks have thousands of labels.
    shown = ", ".join(f"`{name}`" for name in names[:20]) + (", …" if len(names) > 20 else "")
    columns = known.record.facts.get("columns") or {}
    of = "a pair of texts" if "text_pair" in columns else "a text"
    given = words("an image") if known.base.inputs == "image" else words(of)
    return words(known.task.does, input=given, count=words.number(len(names)), labels=shown)


def _worth(known: Known, words: Words) -> str:
    if known.run is None or known.value is None:
        return ""
    metric = str(known.run.metric)
    unit = "%" if scaled(metric) == 100 else ""
    # The unit belongs to the value, and stands before the interval.
    value = with_interval(known.value, metric, words).replace(" [", f"{unit} [", 1)
    return " " + words(
        "On {rows} test rows that it was not trained on: {metric} {value}, 95% interval in brackets.",
        rows=words.number(known.run.test_rows), metric=_named(metric, words), value=value if "[" in value else value + unit,
    )  # fmt: skip


def _use(known: Known, form: Form, words: Words) -> str:
    where = words("Run these lines in this folder, or put its path in place of `.`.")
    parts = []
    for runtime, way in form.ways.items():
        language, code = lines(way, known)
        parts.append(f"**{runtime}**\n\n```{language}\n{code}\n```")
    return "\n\n".join([f"## {words('How to use it')}", where, *parts])


def _export(known: Known, form: Form, words: Words) -> str:
    if not form.compared:
        return ""
    columns = [words("compared on"), words.counted(form.rows, "{count} row", "{count} rows")]
    sentence = words("It was opened by its own library and compared with the adapter before it was written here.")
    title = f"## {words('How near it is to the adapter')}"
    return "\n\n".join([title, sentence, table(columns, form.compared, numbers=1), *form.said])


def _results(known: Known, form: Form, words: Words) -> str:
    run, cell = known.run, known.cell
    if run is None:
        return ""
    first, rows = str(run.metric), []

    # The study's own metric first, then the others; parts (types of entity) have a table elsewhere.
    names = [name for name in {first: 0, **run.test_metrics} if part_of(name) is None]
    for name in names:
        unit = " (%)" if scaled(name) == 100 else ""
        unit += "" if higher_is_better(name) else f", {words('lower is better')}"
        tested = with_interval(known.value, name, words) if name == first else _number(run.tested(name), name, words)
        rows.append([f"{_named(name, words)}{unit}", tested, _number(run.train_metrics.get(name), name, words)])
    sentences = [
        words(
            "Test rows: {rows}; train rows are those that it learned from. [ ]: 95% interval by the test rows.",
            rows=words.number(run.test_rows),
        )
    ]
    if cell is not None and cell.test is not None and len(cell.runs) > 1:
        sentences.append(
            words(
                "This is seed {seed} of {count}; over all seeds of the method {metric} is {value}.",
                seed=run.seed, count=len(cell.runs), metric=_named(first, words),
                value=with_interval(cell.test, first, words),
            )
        )  # fmt: skip
    if run.best_epoch is not None:
        sentences.append(
            words("Its weights are those of epoch {epoch}, the best on the development split.", epoch=run.best_epoch)
        )
    columns = [words("metric"), words("test"), words("train")]
    return f"## {words('What it is worth')}\n\n{table(columns, rows, numbers=2)}\n\n{' '.join(sentences)}"


def _named(metric: str, words: Words) -> str:
    """Return what to call a metric in running text."""
    return words(metric).replace("_", " ")


def _number(value: float | None, metric: str, words: Words) -> str:
    # What was not measured is not a number, and is shown as missing.
    known = None if value is None or value != value else value * scaled(metric)
    return words.number(known, metric_digits(metric, known or 0.0))


def _comparison(known: Known, form: Form, words: Words) -> str:
    group, method = known.group, known.method
    if group is None:
        return ""
    title = f"## {words('What it was compared with')}"
    entries = [entry for entry in group.comparisons if method in (entry.first, entry.second)]
    if len(group.cells) < 2:
        return f"{title}\n\n{words('Nothing: this method alone was trained on these data.')}"
    parts = [title, answer(group, words)]
    if entries:
        columns = [words(c) for c in ("first", "second", "difference", "95% interval", "p (Holm)", "verdict")]
        parts.append(table(columns, [difference_row(entry, group.metric, words) for entry in entries]))
        note = words("Differences are first minus second, tested on the same test items with seeds taken into account.")
        unit = words("Differences of {metric} in points of a percent.", metric=_named(group.metric, words))
        parts.append(f"{note} {unit}" if scaled(group.metric) == 100 else note)
    return "\n\n".join(parts)


def _data(known: Known, form: Form, words: Words) -> str:
    facts, run = known.record.facts, known.run
    name = facts.get("dataset")
    if not name:
        return ""
    parts = [f"## {words('Data')}", _link(str(name), dataset_on_hub(known), "datasets/") + _columns(facts, words)]
    if run is not None:
        counts = {"train": run.train_rows, "validation": _development(known), "test": run.test_rows}
        rows = [
            [words({"validation": "development"}.get(split, split)), words.number(count),
             words.number(run.texts_cut.get(split)) if run.max_length else "—"]
            for split, count in counts.items() if count is not None
        ]  # fmt: skip
        head = [words("split"), words("rows"), words("longer than {length} tokens, cut", length=run.max_length)]
        parts.append(table(head, rows, numbers=2))
        parts.append(_limited(known, words))

    # How many texts were cut stands in the table.
    notes = [words.note(without_examples(note)) for note in known.notes if _CUT.fullmatch(note) is None]
    if notes:
        parts.append(words("What was noticed and done:") + "\n\n" + "\n".join(f"- {note}" for note in notes))
    return "\n\n".join(filter(None, parts))


def _limited(known: Known, words: Words) -> str:
    """Say to how many rows a study limited itself, and how they were chosen."""
    sentences = []
    for key, split in (("train_limit", "train"), ("test_limit", "test")):
        if (most := known.setting(key)) is not None:
            given = {"count": words.number(most), "split": words(split)}
            # Rows that have a label each are limited by labels, so that every one keeps its share.
            if known.task.stratified and known.task.label_names and not known.task.tags:
                sentences.append(words("Limited to {count} rows in {split}, each label with its share.", **given))
            else:
                sentences.append(words("Limited to {count} rows in {split}.", **given))
    return " ".join(sentences)


def _development(known: Known) -> int | None:
    return None if known.data is None else known.data.validation_rows


def _columns(facts: Mapping[str, Any], words: Words) -> str:
    columns = facts.get("columns") or {}
    listed = [f"{words(key)} `{value if isinstance(value, str) else ', '.join(map(str, value))}`" for key, value in (
        (key, columns.get(key)) for key in ("text", "text_pair", "label")
    ) if value]  # fmt: skip
    return f" ({words('columns')}: {'; '.join(listed)})" if listed else ""


def _training(known: Known, form: Form, words: Words) -> str:
    record, run = known.record, known.run
    rows: list[list[str]] = [[words("method"), f"`{known.method}`"]]
    # A copy, as a key is taken out of it to stand before the others.
    settings = dict(record.settings)
    rate = settings.pop("learning_rate", None)
    if rate is not None and (run is None or run.step_seconds is not None):
        # Where the rate came from says whether anybody chose it.
        origin = f" ({words(run.rate)})" if run is not None else ""
        rows.append([words("learning rate"), f"{words.shortest(float(rate))}{origin}"])
    if run is not None:
        facts = {
            "epochs": run.epochs, "batch size": run.batch_size, "optimiser steps": run.steps, "optimiser": run.optimiser,
            "tokens of a text, at most": run.max_length,
        }  # fmt: skip
        rows += [[words(key), _plain(value, words)] for key, value in facts.items() if value is not None]
    rows.append([words("seed"), str(record.seed)])
    rows.append([words("precision of the base"), record.precision])
    rows += [[f"`{key}`", _plain(value, words)] for key, value in settings.items() if value is not None]
    versions = record.facts.get("versions") or {}
    named = [f"{key} {versions[key]}" for key in ("afina", "torch", "transformers", "peft") if key in versions]
    made = words("Made with {versions}.", versions=", ".join(named)) if named else ""
    columns = [words("setting"), words("value")]
    return "\n\n".join(filter(None, (f"## {words('How it was trained')}", table(columns, rows), made)))


def _plain(value: Any, words: Words) -> str:
    if isinstance(value, bool):
        return words("yes") if value else words("no")
    if isinstance(value, int | float):
        return words.shortest(value)
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _costs(known: Known, form: Form, words: Words) -> str:
    run = known.run
    if run is None or run.train_seconds is None:
        return ""
    energy = run.energy_joules
    rows = [
        [words("trained parameters"), f"{words.number(run.trainable_parameters)} ({words.compact(run.trainable_percent)}%)"],
        [words("train time"), f"{words.compact(run.train_seconds)} s"],
        [words("peak memory"), f"{words.number(None if run.peak_memory_bytes is None else run.peak_memory_bytes / 1e6)} MB"],
        [words("tokens/s"), words.number(run.tokens_per_second)],
        [words("energy"), words("not measurable here") if energy is None else f"{words.compact(energy)} J"],
    ]  # fmt: skip
    hardware = {} if run.fingerprint is None else run.fingerprint.hardware
    # Of a graphics card what counts is the card.
    gpus = [str(gpu.get("name")) for gpu in hardware.get("gpus") or ()] if str(run.device).startswith("cuda") else []
    machine = ", ".join(gpus) or str(hardware.get("cpu") or run.device)
    cores = "" if gpus else f", {hardware['cores']} {words('cores')}" if hardware.get("cores") else ""
    sentence = words("Of training alone, on {machine}.", machine=f"{machine}{cores}")
    if run.measured == "profile":
        sentence += " " + words(
            "It trained together with others: time, memory and energy are those of steps of its method alone."
        )
    return f"## {words('Costs')}\n\n{table([words('what'), words('how much')], rows, numbers=1)}\n\n{sentence}"


def _base(known: Known, form: Form, words: Words) -> str:
    base = known.base
    licence = base.licence or words("not said by its files")
    parts = [words("Base: {base}; its licence: {licence}.", base=_link(base.name, base.hub), licence=licence)]
    if form.has_base:
        parts.append(words("Its weights are in this folder, so that its licence holds for them."))
    elif form.has_base is False:
        parts.append(words("Its weights are not in this folder."))
    parts.append(words("Under which licence this is given on is its maker's to say: `license:` in the metadata above."))
    quantised = words("The base was in {precision} when this was trained and tested.", precision=known.record.precision)
    return f"## {words('Base, licence, precision')}\n\n{' '.join([*parts, quantised])}"


def _audit(known: Known, form: Form, words: Words) -> str:
    return known.audit


SECTIONS: Mapping[str, Section] = {
    "notice": _notice, "title": _title, "use": _use, "export": _export, "results": _results, "comparison": _comparison,
    "data": _data, "training": _training, "costs": _costs, "base": _base, "audit": _audit,
    "limits": limits,
}  # fmt: skip
"""The parts of a card by name, in their order."""
