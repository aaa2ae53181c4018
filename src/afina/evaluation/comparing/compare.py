"""Carry out a comparison: prepare what its ways need, ask every way the same questions, and keep what came out.

In its folder stand the index (`index/`), for each model the studies that tuned it (`tuned/`, `reading/`) with the rows that
they read, every way's `answers/`, and `comparison.json`. All of it goes on where it was broken off.
"""

import gc
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from afina.errors import UsageError
from afina.evaluation.comparing.answering import Asking, WayAnswer, answers_of, judged
from afina.evaluation.comparing.asked import kinds_of, leakage, limited
from afina.evaluation.comparing.config import CompareConfig
from afina.evaluation.comparing.preparing import PreparingCosts, indexed, tuned_runs
from afina.generation.settings import GenerationSettings
from afina.generation.writes import Writes, writes_of
from afina.measure.hardware import hardware, versions
from afina.measure.memory import MemoryMonitor
from afina.precision import EXACT
from afina.predictor.loading import Loading
from afina.results.comparison import AskedQuestion, WayRun, WaysCompared
from afina.results.result import Result
from afina.results.ways import WAYS
from afina.retrieval.bare import BareWriter
from afina.retrieval.index import Index
from afina.retrieval.questions import DocumentQuestion, read_questions
from afina.retrieval.telling import telling_rows
from afina.study.events import Observer
from afina.study.execute import locked
from afina.study.originals import Originals, model_digests
from afina.whole_file import write_text

__all__ = ["compare_ways"]

Tell = Callable[[str, int, int | None], None]
_CONFIG = "comparison.yaml"


def compare_ways(
    config: CompareConfig, out: str | Path, *, observer: Observer = lambda event: None,
    tell: Tell = lambda what, done, total: None,
) -> WaysCompared:  # fmt: skip
    """Carry out a comparison in a folder, or go on with it, and return what came out.

    `observer` is told what happens in the studies that tune, `tell` what else is being done, how much of it, and of how much.
    Raises `UsageError` for what cannot be compared, before anything is made; `AfinaError` where a model could not be tuned.
    """
    config.checked()
    folder = Path(out)
    notes: list[str] = []
    questions = read_questions(config.questions, notes)
    trained = [] if config.train_questions is None else read_questions(config.train_questions, notes)
    # A folder with other things in it could be anybody's.
    if folder.is_dir() and not (folder / _CONFIG).is_file() and (others := _others(folder)):
        raise UsageError(f"{folder} is no comparison's and holds {others[0]}; give --out a folder of its own.")
    with locked(folder):
        values = config.model_dump(mode="json", exclude_none=True)
        write_text(folder / _CONFIG, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
        run = _Comparing(config, folder, (questions, trained), notes, observer, tell)
        try:
            compared = run.compared()
        finally:
            run.close()
        compared.write()
    return compared


def _others(folder: Path) -> list[str]:
    # What a start that was broken off leaves behind is ours.
    return sorted(entry.name for entry in folder.iterdir() if entry.name not in (".lock", f".{_CONFIG}"))


class _Comparing:
    """Holds what a comparison is at."""

    def __init__(
        self, config: CompareConfig, folder: Path, questions: tuple[list[DocumentQuestion], list[DocumentQuestion]],
        notes: list[str], observer: Observer, tell: Tell,
    ) -> None:  # fmt: skip
        self.config, self.folder, self.notes, self.observer, self.tell = config, folder, notes, observer, tell
        self.trained = questions[1]
        asked = kinds_of(questions[0], self.trained)
        places = limited(questions[0], asked, config.limit)
        self.questions: list[DocumentQuestion] = [questions[0][place] for place in places]
        self.asked: list[AskedQuestion] = [asked[place] for place in places]
        self.costs, self.originals = PreparingCosts(folder), Originals(folder)
        self.index: Index | None = None
        self._writer: tuple[Any, Writes] | None = None

    def close(self) -> None:
        """Close the index."""
        if self.index is not None:
            self.index.close()

    def compared(self) -> WaysCompared:
        """Return what came out, of all models."""
        config = self.config
        if config.index is not None or config.documents is not None:
            self.index = indexed(config, self.folder, self.costs, self.tell, self.notes)
            if config.index is not None:
                self.notes.append("the index was there before, and making it is not among the costs")
        leaked = leakage(self.questions, self.trained, self.index)
        asking = Asking(
            self.questions, self._telling(), self.index, config.passages, config.threshold,
            GenerationSettings(max_new_tokens=config.max_new_tokens), config.batch_size,
        )  # fmt: skip
        runs = [run for model in config.model for run in self._of_model(model, asking)]
        order = {way: place for place, way in enumerate(config.ways)}
        # In the file's order, whatever order the models were asked in.
        runs.sort(key=lambda run: (config.model.index(run.model), order[run.way], run.seed))
        facts = {
            "settings": config.model_dump(mode="json", exclude_none=True), "versions": versions(), "hardware": hardware(),
            "passages": 0 if self.index is None else len(self.index),
        }  # fmt: skip
        return WaysCompared(self.folder, config.metric, self.asked, runs, leaked, self.notes, facts)

    def _telling(self) -> list[list[int]]:
        """Return the rows of the index that tell each question's answer; notes where none is known."""
        if self.index is None:
            return [[] for _ in self.questions]
        tells = telling_rows(self.index, self.questions)
        unknown = sum(not rows for rows, each in zip(tells, self.questions, strict=True) if each.is_told)
        oracles = [name for name in self.config.ways if WAYS[name].given == "right"]
        if oracles and not any(tells):
            raise UsageError(
                f"{oracles[0]} needs the passages that tell, and of no question one is in the index: name the column of "
                "passages, as the documents have them, or leave that way out."
            )
        if unknown and any(tells):
            self.notes.append(
                f"questions of which no passage that tells is known, which get those that are found in its place: {unknown:,}"
            )
        return tells

    def _of_model(self, model: str, asking: Asking) -> Iterator[WayRun]:
        """Yield what a model answered in each way, with each seed."""
        config, place = self.config, self.folder / _place(model, self.config.model)
        tuned: dict[str, dict[int, tuple[Path, Result]]] = {}
        if config.tuned:
            # Prompts are fitted for the model that is to read them.
            writer = self._load(("base", model, config.precision), lambda: self._bare(model, config.precision))
            material = {"train": self.trained, "test": [each for each in self.questions if each.is_told]}
            tools = (self.costs, self.tell, self.observer, self.notes)
            tuned = tuned_runs(config, place, model, writer, material, self.index, tools)
        precisions = [result.precision for runs in tuned.values() for _, result in runs.values()]
        # The base answers in the numbers in which the others were tuned: what is compared is no rounding.
        precision = config.precision or next(iter(precisions), None) or EXACT
        for who in dict.fromkeys(WAYS[name].who for name in config.ways):
            for seed, (adapter, result) in tuned.get(who, {0: (None, None)}).items():
                yield from self._of_writer(model, place, (who, seed, adapter, result), precision, asking)

    def _of_writer(
        self,
        model: str,
        place: Path,
        writer: tuple[str, int, Path | None, Result | None],
        precision: str,
        asking: Asking,
    ) -> Iterator[WayRun]:
        """Yield what one writer answered in each of its ways."""
        who, seed, adapter, result = writer
        config = self.config

        def load() -> Writes:
            if adapter is None:
                return self._load(("base", model, precision), lambda: self._bare(model, precision))
            loading = Loading(device=config.device, precision=config.precision)
            return self._load((who, model, seed), lambda: writes_of(loading.load(adapter)))

        whose = {"precision": precision, "model": model_digests(model, self.originals), "index": self._index_digest}
        if adapter is not None:
            # By its bytes: an adapter of the same name may have been trained again.
            weights = (adapter / "adapter_model.safetensors").read_bytes()
            whose["adapter"] = hashlib.sha256(weights).hexdigest()
        name = f"{_place(model, config.model)}: {who} {seed}"
        answers: dict[str, list[WayAnswer]] = {}
        with self._memory(name):
            for way in (each for each in config.ways if WAYS[each].who == who):
                doing = f"asking {Path(model).name}: {way}"
                answers[way] = answers_of(
                    asking, WAYS[way], load, place / "answers" / f"{way}-{seed}.jsonl", whose,
                    lambda done, total, doing=doing: self.tell(doing, done, total),  # type: ignore[misc]
                )  # fmt: skip
        for way, made in answers.items():
            yield self._run(model, way, seed, made, result, self.costs.known.get(f"memory {name}"))

    def _run(
        self, model: str, way: str, seed: int, made: Sequence[WayAnswer], result: Result | None, peak: float | None
    ) -> WayRun:
        who, given = WAYS[way].who, WAYS[way].given
        preparing = {
            "index": self.costs.seconds("index") if given != "none" or who == "reading" else None,
            "rows": None if result is None else self.costs.seconds(f"{Path(model).name}: rows for {who}"),
            "training": None if result is None else result.train_seconds,
        }
        trained = 0.0 if result is None else result.peak_memory_bytes or 0.0
        return WayRun(
            model, way, seed, [each.text for each in made],
            [judged(question, each) for question, each in zip(self.questions, made, strict=True)],
            [each.found for each in made], fmean(each.seconds for each in made),
            fmean(each.processor_seconds for each in made), fmean(each.prompt_tokens for each in made),
            fmean(each.written_tokens for each in made),
            {name: seconds for name, seconds in preparing.items() if seconds is not None},
            max(trained, peak or 0.0) or None, 0 if result is None else result.trainable_parameters or 0,
            None if result is None else f"{_place(model, self.config.model)}/{who}/{result.adapter}",
        )  # fmt: skip

    @contextmanager
    def _memory(self, name: str) -> Iterator[None]:
        """Measure the memory of what is asked within, the model's own among it; where nothing is loaded, none is."""
        # What is still held would count as this one's memory.
        self._writer = None
        gc.collect()
        with MemoryMonitor(self._device()) as monitor, monitor.phase("answer"):
            yield
        # Nothing was loaded where all answers were there already.
        if self._is_loaded():
            self.costs.keep(f"memory {name}", monitor.report()["memory"]["answer"]["peak_bytes"])

    def _is_loaded(self) -> bool:
        return self._writer is not None

    def _device(self) -> str:
        import torch

        return "cuda" if self.config.device != "cpu" and torch.cuda.is_available() else "cpu"

    def _load(self, key: Any, load: Callable[[], Writes]) -> Writes:
        """Return who answers; one is held at a time."""
        # One at a time, as two models may not fit.
        if self._writer is None or self._writer[0] != key:
            self._writer = None
            gc.collect()
            self._writer = key, load()
        return self._writer[1]

    def _bare(self, model: str, precision: str | None) -> Writes:
        return BareWriter(model, device=self.config.device, precision=precision)

    @property
    def _index_digest(self) -> str:
        """Return what tells this index from others: its settings and its passages."""
        if self.index is None:
            return ""
        made = hashlib.sha256(json.dumps(self.index.settings.as_dict(), sort_keys=True).encode())
        for digest in self.index.edition.digests():
            made.update(digest)
        return made.hexdigest()


def _place(model: str, models: Sequence[str]) -> str:
    """Return the name of a model's folder in the comparison's."""
    name = Path(model).name or model
    # By its folder's name alone where that tells it from the others.
    if sum((Path(other).name or other) == name for other in models) == 1:
        return name
    return f"{name}-{models.index(model) + 1}"
