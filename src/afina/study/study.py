"""A study: its folder, its runs, what is finished and what is left."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afina.card.write import language_of_card, write_own_card
from afina.config import StudyConfig
from afina.errors import Unexpected
from afina.measure.hardware import fingerprint
from afina.measure.metrics.base import EVALUATOR
from afina.results.result_list import Results
from afina.results.results_jsonl import append_result
from afina.results.study_file import ChosenPrecision, Resolved
from afina.study import events
from afina.study.audits import carry_out_audits, make_audits
from afina.study.chosen import chosen_precisions, fitted
from afina.study.cohorts import Cohort, plan_cohorts
from afina.study.data import data_key
from afina.study.events import Observer
from afina.study.execute import locked
from afina.study.executors.base import Executor, make_executor
from afina.study.fit import Fitted
from afina.study.given_data import with_files
from afina.study.mitigated import seen_by_runs, with_rate
from afina.study.originals import Originals, check_data, model_digests, refuse_other_data, refuse_other_models
from afina.study.plan import Run, expand, remarks
from afina.study.prepare import PreparedData, prepare
from afina.study.search import searched, with_settled
from afina.study.side_by_side import carried_out
from afina.study.study_folder import StudyFolder, disk_errors
from afina.study.teacher import check_teacher, teacher_of
from afina.study.trace import with_trace
from afina.study.tracked import Trackers, check_trackers
from afina.study.units import alone, together
from afina.tasks.base import restore

if TYPE_CHECKING:
    from afina.distil.taught import TaughtRows
    from afina.results.result import Result
    from afina.study.job import Job

__all__ = ["Study"]

_NOT_SHARED = {
    "model", "dataset", "methods", "seeds", "learning_rate", "search_factors", "race", "rank", "targets", "cohort",
    "mix_datasets", "checkpoint_seconds", "evaluate", "report_to", "executor", "watch_reference", "audits", "fit",
}  # fmt: skip
"""Keys of a study in which runs that are compared may differ, or which change no result."""


class Study:
    """Every model x data set x method x seed of a configuration, carried out in a folder.

    `Study(model=..., dataset=..., methods=[...])` takes a study file's keys; `Study.read(path)` takes the file. `run`
    carries out what is not finished yet and returns all results; calling it again goes on where it stopped.
    """

    def __init__(
        self, out: str | Path, config: StudyConfig | None = None, *, on_validation: bool = False,
        executor: Executor | None = None, **settings: Any,
    ) -> None:  # fmt: skip
        """Take a folder and a study's keys; `on_validation` tests on the development split, as trials do.

        Where `dataset` is a DataFrame or another object that holds rows, they are written into the folder at once.
        """
        self.directory, self.on_validation = Path(out), on_validation
        if "dataset" in settings:
            settings["dataset"] = with_files(settings["dataset"], self.directory)
        self.config: StudyConfig = config if config is not None else StudyConfig.parse(settings, "study")
        self.executor = executor or make_executor(self.config.executor)
        self.executor.check(self.config)
        self.runs = expand(self.config)
        self.audits = make_audits(() if on_validation else self.config.audits or ())
        self._folder = StudyFolder(self.directory, self.config)
        self._seen: dict[str, PreparedData] = {}
        self._fitted = Fitted()
        self.originals: Originals | None = None
        """Digests of the files of models and data; None until the study runs."""
        self.cache = self.directory / "cache"
        """The folder of what a teacher said; that of the study's own trials is the study's."""

    @classmethod
    def read(cls, path: str | Path, out: str | Path) -> "Study":
        """Make a study from a study file; raises `UsageError` for what is wrong in it."""
        return cls(out, StudyConfig.read(Path(path)))

    def __repr__(self) -> str:
        names = (Path(run.model).name for run in self.runs), (run.dataset_name for run in self.runs)
        models, datasets = (", ".join(dict.fromkeys(each)) for each in names)
        methods, seeds = ", ".join(dict.fromkeys(run.label for run in self.runs)), len({run.seed for run in self.runs})
        done = sum(result.is_finished for result in self.results)
        return (
            f"Study('{self.directory}': {models} on {datasets}; {methods}; {seeds} seed{'' if seeds == 1 else 's'}; "
            f"{done} of {len(self.runs)} runs finished)"
        )

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self))}</p>{self.results._repr_html_()}"

    @property
    def results(self) -> Results:
        """Return the results of all runs that ended so far; `results.to_pandas()` is a DataFrame with a row a run."""
        runs = {run.id for run in self.runs}
        return Results(entry for entry in self._folder.results() if entry.run in runs)

    def run(self, observer: Observer = lambda event: None) -> Results:
        """Carry out what is left and return the results of all runs, the failed ones too.

        The observer is told what happens; `afina.Progress()` is one that shows it.
        """
        check_trackers(self.config.report_to or ())
        with disk_errors(self.directory), locked(self.directory):
            self._folder.claim()
            self.executor.prepare(self.directory)
            with self._tracked(observer) as trackers:
                trackers(events.Begin(runs=len(self.runs)))
                try:
                    self._run(trackers)
                except Unexpected as error:  # of what is settled for all runs, such as the precision
                    raise with_trace(error, self.directory) from None
                finally:
                    trackers(events.End())
        return self.results

    def track_report(self, files: Sequence[Path], observer: Observer = lambda event: None) -> None:
        """Give the files of its report to the trackers that `report_to` names."""
        with self._tracked(observer) as trackers:
            trackers.report(files)

    def _tracked(self, observer: Observer) -> Trackers:
        # Trials are no runs of the study: their one figure is the rate that they settle.
        named = () if self.on_validation else self.config.report_to or ()
        return Trackers(named, self.config, self.directory, observer)

    def _run(self, observer: Observer) -> None:
        of_executor = [self.executor.remark] if self.executor.remark else []
        observer(events.Remarks(remarks=[*remarks(self.config), *of_executor]))
        before = self._folder.resolved() if self._folder.has_begun else Resolved()
        self.originals = self.originals or Originals(self.directory)
        self._teacher = teacher_of(self.config)
        self._models = self._digests(self.originals)
        refuse_other_models(self.directory, before.models or {}, self._models)

        settled = self._folder.resolved().runs

        # A rate that could not be tried, as its trial was ended from outside, is tried again at every start.
        known = all(run.id in settled and not settled[run.id].untried for run in self.runs)
        if self.config.learning_rate == "search" and not known:
            self.runs = searched(self.config, self.runs, self._trials, observer)
        else:
            self.runs = with_settled(self.runs, settled)

        finished = self._folder.finished(self.runs, observer)
        prepared = self._prepare(finished, before, observer)
        self._seen = seen_by_runs(
            self.config, self.runs, prepared, self.directory, observer, on_validation=self.on_validation
        )
        self.runs = [with_rate(self.config, run, self._seen.get(run.id)) for run in self.runs]
        left = [run for run in self.runs if run.id not in finished]
        # What was chosen once stays, so that runs of a later start are comparable with the earlier ones.
        settled_before = self._folder.resolved()
        asked = self.config, self.runs, left, settled_before
        precision = chosen_precisions(*asked, prepared, self._device(), self.executor, observer)
        self._fitted = fitted(*asked, precision, self._device(), self.executor, observer)
        self._folder.write_resolved(
            # A model of the hub is here by now, at least its configuration and tokenizer.
            device=self._device(), models=self._digests(self.originals),
            precision=precision, prepared=prepared, runs=self.runs, fitted=self._fitted.settings,
        )  # fmt: skip
        self._carry_out(left, prepared, precision, observer)
        carry_out_audits(self.directory, self.audits, self.executor, observer, self.originals, self.config)

    def _digests(self, originals: Originals) -> dict[str, dict[str, str]]:
        """Return the digests of the files of all models, and of the teacher's."""
        theirs = {} if self._teacher is None else self._teacher.digests(originals)
        return theirs | {model: model_digests(model, originals) for model in self.config.model}

    def _prepare(self, finished: set[str], before: Resolved, observer: Observer) -> dict[tuple[str, int], PreparedData]:
        """Prepare the data of the runs that are left, by model and place, and check that of the finished ones."""
        assert self.originals is not None
        left = [run for run in self.runs if run.id not in finished]

        # A cohort of several data sets goes on with all its members, also where those of one are finished.
        models = {run.model for run in left}
        wanted = [run for run in self.runs if run.model in models] if self.config.mix_datasets else left
        keys = dict.fromkeys((run.model, run.dataset) for run in wanted)
        check_data(
            self.config, self.directory, self.originals, before,
            [run for run in self.runs if (run.model, run.dataset) not in keys], observer, on_validation=self.on_validation,
        )  # fmt: skip

        prepared: dict[tuple[str, int], PreparedData] = {}
        for model, index in keys:
            spec = self.config.dataset[index]
            observer(events.Prepare(model=model, dataset=spec.label_name))
            entry = prepared[model, index] = prepare(
                self.config, spec, model, self.directory, on_validation=self.on_validation, original=self._models[model]
            )
            refuse_other_data(self.directory, before, data_key(self.config, model, index), entry.digest)
            self.originals.remember_data(spec.path, entry.digest)
            if self._teacher is not None:
                check_teacher(self.config, self._teacher, restore(entry.task), model)
            observer(events.Prepared(notes=entry.notes, cut=entry.cut, learned=entry.learned))
        return prepared

    def _carry_out(
        self, left: Sequence[Run], prepared: Mapping[tuple[str, int], PreparedData],
        precision: Mapping[str, ChosenPrecision], observer: Observer,
    ) -> None:  # fmt: skip
        """Carry out what is left, cohorts first, and list each result as soon as it is there."""
        taught = self._taught(left, prepared, observer)

        def job(run: Run) -> "Job":
            key = run.model, run.dataset
            made = self._job(run, self._seen[run.id], precision[run.model].precision)
            return self._fitted.job(replace(made, taught=taught.get(key)))

        left = self._fitted.refuse(left, job, self.directory, observer)
        waiting, done = {run.id for run in left}, len(self.runs) - len(left)

        def work(unit: Run | Cohort, tell: Observer) -> tuple[list["Result"], bool]:
            runs = unit.runs if isinstance(unit, Cohort) else (unit,)
            jobs = [job(run) for run in runs]
            self._refuse_exchanged(runs)
            tell(events.Unit(runs=runs, done=done))
            if isinstance(unit, Cohort):
                results, over = together(unit, jobs, self.executor, tell)
            else:
                results, over = [alone(jobs[0], self.executor, tell)], False
            self._refuse_exchanged(runs)  # while it was trained: nobody knows of which weights its results are
            return results, over

        units, at_once = self._units(left, prepared, job), self.executor.at_once
        if at_once > 1 and len(units) > 1:
            observer(events.Spread(runs=left, units=len(units), done=done))
        for unit, (results, over) in carried_out(units, work, observer, at_once=at_once, stop=self.executor.stop):
            for result in results:
                if result.run in waiting:
                    append_result(self.directory, result)
                    self._write_card(result)
                    observer(events.Finished(result=result))
                    done += 1
            if isinstance(unit, Cohort) and over:  # not before all its results are listed, those of who lost a race too
                unit.forget_states()

    def _taught(
        self, left: Sequence[Run], prepared: Mapping[tuple[str, int], PreparedData], observer: Observer
    ) -> "dict[tuple[str, int], TaughtRows]":
        """Return where what the teacher says of the train rows is, by model and place of the data; it is asked if need be."""
        if (teacher := self._teacher) is None:
            return {}
        from afina.study.worker import TeachJob, teach_job

        taught: dict[tuple[str, int], TaughtRows] = {}
        digests = {name: self._models[name] for name in teacher.names}
        for model, index in dict.fromkeys((run.model, run.dataset) for run in left):
            observer(events.Teaching(teacher=teacher.name, dataset=self.config.dataset[index].label_name))
            tokens, task = prepared[model, index].tokens, prepared[model, index].task
            asked = self.config, index, model, self.cache, tokens, task, self._device(), digests, self.on_validation
            taught[model, index] = self.executor.submit(teach_job, TeachJob(*asked), observer)
        return taught

    def _refuse_exchanged(self, runs: Sequence[Run]) -> None:
        """Raise `UsageError` where a model's files are others than when this start began."""
        assert self.originals is not None
        now = {model: model_digests(model, self.originals) for model in {run.model for run in runs}}
        refuse_other_models(self.directory, self._models, now)

    def _write_card(self, result: "Result") -> None:
        """Write the card of a run's adapter as far as it is known by now; the report adds what it was compared with."""
        folder = self.directory / str(result.adapter)
        if result.is_finished and result.adapter is not None and not self.on_validation:
            write_own_card(folder, language=language_of_card(folder), result=result)

    def _units(
        self, left: Sequence[Run], prepared: Mapping[tuple[str, int], PreparedData], job: Callable[[Run], "Job"]
    ) -> list[Run | Cohort]:
        """Return what is carried out at a time: cohorts, and the runs that are in none."""

        def fitting(runs: Sequence[Run]) -> list[int]:
            from afina.study.worker import members_that_fit_for

            return list(self.executor.submit(members_that_fit_for, [job(run) for run in runs]))

        def outputs(run: Run) -> str:
            task = restore(prepared[run.model, run.dataset].task)
            # Runs share a cohort where their outputs are of one kind: one a row, or one a token by one task's head.
            return task.name if task.speaks or task.tags or task.embeds else "a row's"

        if not self.executor.has_cohorts:
            return list(left)
        rows = {key: entry.train_rows for key, entry in prepared.items()}
        # Alone: what rows a run with a mitigation learns from no other one shares.
        alike, waiting = ([run for run in each if run.method.mitigate is None] for each in (self.runs, left))
        cohorts = plan_cohorts(self.config, self.directory, alike, waiting, rows, fitting, outputs)
        joined = {run.id for cohort in cohorts for run in cohort.runs}
        return [*cohorts, *(run for run in left if run.id not in joined)]

    def _trials(self, config: StudyConfig) -> "Study":
        """Return the study of the trials before this one."""
        trials = Study(self.directory / "search", config, on_validation=True, executor=self.executor)
        trials.cache = self.cache
        return trials

    def _job(self, run: Run, prepared: PreparedData, precision: str) -> "Job":
        """Return all that a process is told of a run.

        A precision of the method's own, such as a quantised base, is no part of the protocol: it is what is compared.
        """
        from afina.study.job import Job

        return Job(
            run=run, config=self.config, directory=self.directory, tokens=prepared.tokens, task=prepared.task,
            columns=prepared.columns, precision=run.method.precision_on(precision), device=self._device(),
            train_evaluation_rows=prepared.train_evaluation_rows, assumed=prepared.assumed, figures=prepared.figures,
            mitigated=prepared.mitigated,
            fingerprint=fingerprint(
                data=prepared.digest, evaluator=EVALUATOR, protocol=self._protocol(precision),
                model=self._models[run.model],
            ),
        )  # fmt: skip

    # -- what `auto` becomes -----------------------------------------------------------------------------------------

    def _device(self) -> str:
        return self.executor.device(self.config.device)

    def _protocol(self, precision: str) -> dict[str, Any]:
        """Return what results have to share to be compared, beside data, evaluator, versions and hardware."""
        shared = {key: value for key, value in self._folder.settings().items() if key not in _NOT_SHARED}
        return {**shared, "precision": precision}
