"""Prepare what a comparison's ways need: the index, rows to learn from, and ordinary studies that tune the models."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from afina.errors import AfinaError
from afina.evaluation.comparing.config import CompareConfig
from afina.generation.writes import Writes
from afina.json_files import read_json_object
from afina.results.result import Result
from afina.retrieval.asking import refusal_to
from afina.retrieval.build import build_index
from afina.retrieval.index import Index
from afina.retrieval.questions import DocumentQuestion
from afina.retrieval.rows import reading_rows
from afina.study.events import Observer
from afina.study.study import Study
from afina.whole_file import write_json, write_text

__all__ = ["PreparingCosts", "indexed", "tuned_runs"]

Tell = Callable[[str, int, int | None], None]
T = TypeVar("T")


class PreparingCosts:
    """Keeps seconds and memory of things as they were made, so that a run that goes on knows them."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "costs.json"
        self.known: dict[str, Any] = {}
        if self.path.is_file():
            self.known = read_json_object(self.path, what_to_do="delete it")

    def measured(self, name: str, work: Callable[[], T]) -> T:
        """Do a piece of work and keep its seconds; what is done again of it costs nothing more, what broke off adds up."""
        started, entry = time.perf_counter(), dict(self.known.get(name, {"seconds": 0.0, "done": False}))
        done = entry["done"]
        try:
            made = work()
            entry["done"] = True
            return made
        finally:
            # What was made before costs nothing when it is looked at again.
            if not done:
                self.keep(name, entry | {"seconds": entry["seconds"] + time.perf_counter() - started})

    def seconds(self, name: str) -> float | None:
        """Return the seconds of a piece of work; None where it was not done here."""
        return float(self.known[name]["seconds"]) if name in self.known else None

    def keep(self, name: str, value: Any) -> None:
        """Keep a figure by its name."""
        self.known[name] = value
        write_json(self.path, self.known)


def indexed(config: CompareConfig, folder: Path, costs: PreparingCosts, tell: Tell, notes: list[str]) -> Index:
    """Return the index that is asked, made of the documents or brought up to them where it is not given."""
    if config.index is not None:
        return Index(config.index, device=config.device)
    assert config.documents is not None
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in config.indexing.items()}
    places: Sequence[str] = config.documents
    made: Any = build_index  # whose settings are named by the file
    report = costs.measured(
        "index", lambda: made(places, folder / "index", device=config.device, tell=tell, **settings)
    )
    notes += [f"{name}: {why}" for name, why in report.problems]
    return Index(folder / "index", device=config.device)


def tuned_runs(
    config: CompareConfig, folder: Path, model: str, writer: Writes, material: "Mapping[str, Sequence[DocumentQuestion]]",
    index: Index | None, tools: "tuple[PreparingCosts, Tell, Observer, list[str]]",
) -> dict[str, dict[int, tuple[Path, Result]]]:  # fmt: skip
    """Train a model in each way that is asked for, and return by way and seed the adapter's folder and the run's result.

    `material` has the `train` and the `test` questions. Raises `AfinaError` where a run failed.
    """
    costs, tell, observer, notes = tools
    made: dict[str, dict[int, tuple[Path, Result]]] = {}
    for who in config.tuned:
        rows = folder.resolve() / "rows" / who
        name = f"{Path(model).name}: rows for {who}"
        costs.measured(name, lambda who=who, rows=rows: _write(who, rows, config, writer, material, index, tell, notes))  # type: ignore[misc]
        study = Study(folder / who, config.study(who, model, str(rows)))
        results = study.run(observer)
        if failed := [result for result in results if not result.is_finished]:
            raise AfinaError(f"{study.directory}: {failed[0].run} failed ({str(failed[0].error).rstrip('.')}).")
        made[who] = {result.seed: (study.directory / str(result.adapter), result) for result in results}
    return made


def _write(
    who: str, place: Path, config: CompareConfig, writer: Writes, material: "Mapping[str, Sequence[DocumentQuestion]]",
    index: Index | None, tell: Tell, notes: list[str],
) -> None:  # fmt: skip
    """Write the rows that a way learns from, and those that its study tests on."""
    for part, questions in material.items():
        rows = _plain(questions, index) if who == "tuned" else None
        if rows is None:
            assert index is not None
            made = reading_rows(index, questions, writer, config.row_settings, tell)
            rows = [{"messages": row["messages"]} for row in made.rows]
            notes += [f"{part} rows for reading: {why}: {count:,}" for why, count in made.dropped.items()]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        path = place / f"{part}.jsonl"
        # An untouched file keeps its time, by which a study knows its data.
        if not path.is_file() or path.read_text("utf-8") != text:
            write_text(path, text)


def _plain(questions: Sequence[DocumentQuestion], index: Index | None) -> list[dict[str, Any]]:
    """Return questions with their answers alone; what the documents do not tell is refused."""
    return [
        {"messages": [
            {"role": "user", "content": each.text},
            {"role": "assistant", "content": each.answers[0] if each.is_told
             else refusal_to(each.text, index)},
        ]}
        for each in questions
    ]  # fmt: skip
