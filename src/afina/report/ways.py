"""Lay out a comparison of ways of answering from documents: tables, a page, and what a terminal shows."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from statistics import fmean

from rich.console import Group as Stack
from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from afina.measure.metrics.answers import OF_ANSWERS
from afina.report.formats import FORMATS
from afina.report.page import framed, html_table
from afina.report.tables import Table
from afina.report.write import ReportFiles, shown_table
from afina.results.comparison import WayRun, WaysCompared, read_comparison
from afina.results.shown import difference_row, with_interval
from afina.results.statistics import Comparison
from afina.results.ways import WAYS
from afina.results.ways_told import metric_words, ways_told
from afina.whole_file import write_text
from afina.words.language import Words

__all__ = ["terminal_ways", "write_ways_report"]

_KINDS = ("trained", "reworded", "new", "not_told")
_LEAKS = {
    "test_questions": "questions that were asked",
    "train_questions": "questions that were trained on",
    "test_questions_trained_on": "of those asked, trained on in the same words",
    "test_questions_nearly_trained_on": "of those asked, trained on in nearly the same words",
    "test_answers_trained_on": "of those asked, with an answer that was trained on",
    "test_questions_in_documents": "of those asked, standing in the documents",
    "train_answers_in_documents": "of those trained on, with an answer that stands in the documents word for word",
}


def write_ways_report(directory: Path, *, language: str = "en") -> ReportFiles:
    """Write report.html and the tables of a comparison as Markdown, CSV and LaTeX; return where they are."""
    compared, words = read_comparison(directory), Words(language)
    (directory / "tables").mkdir(exist_ok=True)
    written = []
    for model in compared.models:
        for table in _tables(compared, model, words, compared.tests(model)):
            for suffix, form in FORMATS.items():
                path = directory / "tables" / f"{table.name}.{suffix}"
                write_text(path, form(table))
                written.append(path)
    html = directory / "report.html"
    write_text(html, _page(compared, words))
    return ReportFiles(html, written)


def terminal_ways(directory: Path, *, language: str = "en") -> RenderableType:
    """Return the table of every model, with what it says in words under it, for rich's console."""
    compared, words = read_comparison(directory), Words(language)
    parts: list[RenderableType] = []
    for model in compared.models:
        tests = compared.tests(model)
        whole, kinds = _ways_table(compared, model, words), _kinds_table(compared, model, words)
        narrow = _narrow(compared, words)
        # Intervals are left to the page: a terminal of 80 has no room for them.
        keep = [place for place, name in enumerate(whole.columns) if name in narrow]
        rows = [[row[place].partition(" [")[0] for place in keep] for row in whole.rows]
        strong = frozenset((row, keep.index(place)) for row, place in whole.strong if place in keep)
        columns = [whole.columns[place] for place in keep]
        parts.append(shown_table(replace(whole, columns=columns, rows=rows, strong=strong)))
        if len(compared.kinds) > 1:
            parts.append(shown_table(kinds))
        sentences = [Text(sentence) for sentence in ways_told(compared, model, words, tests)]
        notes = [Text(words.sentence(note), style="yellow") for note in compared.notes]
        # What is told comes before what was noticed.
        parts.append(Padding(Stack(*sentences, *notes), (0, 0, 1, 1)))
    return Stack(*parts)


def _narrow(compared: WaysCompared, words: Words) -> tuple[str, ...]:
    """Return the columns that a terminal of 80 has room for."""
    metrics = dict.fromkeys((compared.metric, "refusals", "held_citations"))
    shown = (metric_words(name, words) for name in metrics)
    return words("way"), *shown, words("seconds a question"), words("preparing (s)")


def _page(compared: WaysCompared, words: Words) -> str:
    parts = []
    for model in compared.models:
        tests = compared.tests(model)
        first, *others = ways_told(compared, model, words, tests)
        listed = "".join(f"<li>{escape(sentence)}</li>" for sentence in others)
        parts.append(f"<div class=answer><b>{escape(Path(model).name)}</b><br>{escape(first)}<ul>{listed}</ul></div>")
    parts += [f"<div class=warning>{escape(words.sentence(note))}</div>" for note in compared.notes]
    for model in compared.models:
        parts.append(f"<h2>{escape(Path(model).name)}</h2>")
        parts += [html_table(table) for table in _tables(compared, model, words, compared.tests(model))]
    head = words("Retrieve, tune, or both")
    return framed(head, [f"<h1>{escape(head)}</h1>", f"<h2>{escape(words('The answer'))}</h2>", *parts], words)


def _tables(compared: WaysCompared, model: str, words: Words, tests: Sequence[Comparison]) -> list[Table]:
    tables = [_ways_table(compared, model, words)]
    if len(compared.kinds) > 1:
        tables.append(_kinds_table(compared, model, words))
    tables += [_difference_table(compared, model, words, tests), _cost_table(compared, model, words)]
    return [*tables, _leak_table(compared, model, words)]


def _named(compared: WaysCompared, model: str, kind: str) -> str:
    place = compared.models.index(model) + 1
    # Letters and digits alone, as it is a file's name.
    plain = "".join(letter if letter.isalnum() else "-" for letter in Path(model).name.lower())
    return f"{kind}-{plain}" if len({Path(each).name for each in compared.models}) == len(compared.models) else (
        f"{kind}-{plain}-{place}"
    )  # fmt: skip


def _ways_table(compared: WaysCompared, model: str, words: Words) -> Table:
    """Return a row a way: every metric with its interval, and what a question costs."""
    ways = [way for way in compared.ways if compared.of(model, way)]
    rows = []
    for way in ways:
        runs, share = compared.of(model, way), compared.found_share(model, way)
        figures = [with_interval(compared.figure(model, way, name), name, words) for name in OF_ANSWERS]
        rows.append([
            words(WAYS[way].phrase), *figures, "—" if share is None else words.number(100 * share, 1),
            words.compact(fmean(run.seconds for run in runs)), words.compact(fmean(run.processor_seconds for run in runs)),
            words.number(fmean(run.prompt_tokens for run in runs)), words.number(fmean(run.written_tokens for run in runs)),
            words.compact(fmean(run.preparing_seconds for run in runs)),
        ])  # fmt: skip
    # The best that can be gone: an oracle is marked nowhere.
    ranked = compared.ranked(model)
    strong = frozenset({(ways.index(ranked[0]), 0), (ways.index(ranked[0]), 1)} if ranked else ())
    columns = [
        words("way"), *(metric_words(name, words) for name in OF_ANSWERS), words("passage found"),
        words("seconds a question"), words("of a processor"), words("tokens read"), words("tokens written"),
        words("preparing (s)"),
    ]  # fmt: skip
    note = words("Shares in percent, with the 95% interval over groups of questions; — where nothing counts.")
    return Table(_named(compared, model, "ways"), words("Ways of answering"), columns, rows, note, strong)


def _kinds_table(compared: WaysCompared, model: str, words: Words) -> Table:
    """Return a row a way: how well it answers each kind of question."""
    by_words = compared.metric not in ("answer_exact", "answer_f1")
    of_told = "answer_contains" if by_words else compared.metric
    kinds = [kind for kind in _KINDS if kind in compared.kinds]
    rows = []
    for way in (way for way in compared.ways if compared.of(model, way)):
        row = [words(WAYS[way].phrase)]
        for kind in kinds:
            metric = "refusals" if kind == "not_told" else of_told
            row.append(with_interval(compared.figure(model, way, metric, compared.kinds[kind]), metric, words))
        rows.append(row)
    columns = [words("way"), *(f"{words(_KIND_WORDS[kind])} ({len(compared.kinds[kind])})" for kind in kinds)]
    note = words(
        "{metric}; of questions that the documents do not tell, refusals. %.", metric=metric_words(of_told, words)
    )
    return Table(_named(compared, model, "kinds"), words("By kind of question"), columns, rows, note)


_KIND_WORDS = {
    "trained": "in words that were trained on", "reworded": "in new words", "new": "of what was not trained on",
    "not_told": "not in the documents",
}  # fmt: skip


def _difference_table(compared: WaysCompared, model: str, words: Words, tests: Sequence[Comparison]) -> Table:
    rows = []
    for entry in tests:
        first, second, *rest = difference_row(entry, compared.metric, words)
        rows.append([words(WAYS[first].phrase), words(WAYS[second].phrase), *rest])
    columns = [
        words(name)
        for name in ("first", "second", "difference", "95% interval", "p (Holm)", "verdict")
    ]  # fmt: skip
    note = words("Differences are first minus second, tested on the same test items with seeds taken into account.")
    title = f"{words('Which differences are real')} ({metric_words(compared.metric, words)})"
    return Table(_named(compared, model, "differences"), title, columns, rows, note, words=2)


def _cost_table(compared: WaysCompared, model: str, words: Words) -> Table:
    def mean(runs: Sequence[WayRun], value: Callable[[WayRun], float | None]) -> float | None:
        # What was not measured is no zero.
        known = [each for each in map(value, runs) if each is not None]
        return fmean(known) if known else None

    rows = []
    for way in (way for way in compared.ways if compared.of(model, way)):
        runs = compared.of(model, way)
        parts = [mean(runs, lambda run, name=name: run.preparing.get(name)) for name in ("index", "rows", "training")]  # type: ignore[misc]
        memory = mean(runs, lambda run: run.peak_memory_bytes)
        rows.append([
            words(WAYS[way].phrase), *map(words.compact, parts), words.compact(None if memory is None else memory / 1e6),
            words.number(mean(runs, lambda run: run.trainable_parameters)), words.number(len(runs)),
        ])  # fmt: skip
    columns = [
        words("way"), words("index (s)"), words("rows to read (s)"), words("training (s)"), words("peak memory (MB)"),
        words("trainable"), words("seeds"),
    ]  # fmt: skip
    return Table(_named(compared, model, "costs"), words("Cost of preparing"), columns, rows)


def _leak_table(compared: WaysCompared, model: str, words: Words) -> Table:
    rows = [[words(_LEAKS[name]), words.number(count)] for name, count in compared.leakage.items() if name in _LEAKS]
    columns = [words("what training rows, questions and documents have in common"), words("count")]
    return Table(_named(compared, model, "leakage"), words("What was known before"), columns, rows)
