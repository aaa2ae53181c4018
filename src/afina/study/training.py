"""Runs that train by steps, one alone or a cohort of them: the loop's callbacks, and the state that outlives a kill."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from afina.backbone.load import Backbone
from afina.errors import AfinaError
from afina.measure.energy import EnergyMeter
from afina.measure.memory import MemoryMonitor
from afina.measure.metrics.base import higher_is_better
from afina.ops.allocator import give_back_freed_memory
from afina.ops.dropout import DropoutSource
from afina.results.result import Epoch, Race, Result
from afina.study import events
from afina.study.cohort_plan import Sharing
from afina.study.events import Observer
from afina.study.job import Job
from afina.study.race import lost_words, rung_steps, standings, who_leaves
from afina.study.running import Best, Data, Running, keeping_vectors, save_run, start_running
from afina.study.state_files import CHECKPOINT, first_steps
from afina.study_parts import RaceSpec
from afina.train.checkpoint import damaged, read_checkpoint, write_checkpoint
from afina.train.evaluate import predict_logits
from afina.train.loop import Callbacks, Clock, Member, Position, train
from afina.train.passes import Passes, packing_of

__all__ = ["Training"]


class Training:
    """Trains the runs of several jobs on one backbone, from their checkpoint if they have one."""

    def __init__(
        self, jobs: Sequence[Job], backbone: Backbone, data: Mapping[int, Data], monitor: MemoryMonitor, send: Observer, *,
        folder: Path, sharing: Sharing | None = None,
    ) -> None:  # fmt: skip
        """Keep the checkpoint in `folder`; `data` are the jobs' data sets by their place in the study's list."""
        self.backbone, self.monitor, self.send = backbone, monitor, send
        self.config = jobs[0].config
        self._sharing = sharing or Sharing()
        self._path = folder / CHECKPOINT
        self.runs: list[Running] = []
        self.errors: dict[str, str] = {}
        """Reasons why runs could not be carried out, by run."""
        self.lost: dict[str, Race] = {}
        """Records of where candidates stood when they left a race, by run."""
        for job in jobs:
            try:
                self.runs.append(start_running(job, job.run.method, backbone, data[job.run.dataset]).keeping_steps())
            except AfinaError as error:
                self.errors[job.run.id] = str(error)
        self.source = DropoutSource(backbone.team.own_seed(jobs[0].run.seed))
        self.clock = Clock()
        self.energy = EnergyMeter(jobs[0].device)
        self.resumed = 0
        self.started_at = datetime.now(UTC).isoformat(timespec="seconds")
        self._saved = self._said = monotonic()  # not the time of day, which may be set back or forth

    def carry_out(self) -> dict[str, Result]:
        """Train, evaluate and save; return by run what was measured. `errors` has the runs that failed."""
        if not self.runs:
            return {}
        torch.manual_seed(self.runs[0].job.run.seed)
        self._resume()
        self._tell_diverged()  # in their first steps, which they took alone
        sharing = self._sharing
        with Passes(
            self.backbone, self.source, most=sharing.together, most_tokens=sharing.most_tokens, alike=sharing.alike,
            packing=self.config.packing == "auto", checkpointing=self.config.gradient_checkpointing,
        ) as passes:  # fmt: skip
            self.passes = passes
            self._begin_steps()
            self._prepare()
            train(
                passes, [run.member for run in self.runs], self.clock,
                Callbacks(self._after_step, self._after_epoch), micro_batch_size=self.config.micro_batch_size,
            )  # fmt: skip
            self._end_steps()
            done = [run for run in self.runs if run.error is None and run.lost is None]
            for run in done:
                if run.best is not None:
                    run.take(run.best.weights)
            # The last epoch's evaluation is in the checkpoint that this was resumed from, or not of a run's best.
            again = [run for run in done if run.decoded is None or run.best is not None]
            self._choose(again)
            self._evaluate("test", again)
        for run in done:
            save_run(run, self.backbone)
        self.errors |= {run.job.run.id: run.error for run in self.runs if run.error is not None}
        self.lost = {run.job.run.id: run.lost for run in self.runs if run.lost is not None}
        return {run.job.run.id: self._measured(run) for run in done}

    def finish(self) -> None:
        """Remove the checkpoint: the results are kept elsewhere."""
        self._path.unlink(missing_ok=True)

    def _prepare(self) -> None:
        started = perf_counter()
        self.passes.prepare([run.member for run in self.runs], lambda member: member.tokens)
        if not self.resumed:
            self.clock.seconds += perf_counter() - started

    def timeline(self) -> list[dict[str, Any]]:
        """Return each run's way through the cohort."""
        several = len({run.job.run.dataset for run in self.runs}) > 1
        return [run.timeline(several) for run in self.runs]

    def _begin_steps(self) -> None:
        self._phase = self.monitor.phase("train")
        self._phase.__enter__()
        self.energy.start()

    def _end_steps(self) -> None:
        self.energy.stop()
        self._phase.__exit__(None, None, None)

    def _after_step(self) -> None:
        if self.backbone.device.type == "cpu":  # a GPU would have to be waited for
            self._tell_diverged()
        now = monotonic()
        if now - self._said >= 0.2:
            self._said = now
            # A GPU would have to be waited for: its losses are told after each epoch.
            training = [run for run in self.runs if run.member.training and run.member.position.terms]
            losses = {run.job.run.id: run.member.mean_loss() for run in training if self.backbone.device.type == "cpu"}
            self.send(events.Step(**self._progress(), losses=losses))
        judged = self._rung_due()
        if self.backbone.team.agreed(judged or now - self._saved >= self.config.checkpoint_seconds):
            self._end_steps()
            if judged and self.config.race is not None:
                self._judge(self.config.race)
            self._checkpoint()
            self._begin_steps()

    def _progress(self) -> dict[str, Any]:
        total = max(run.member.optimiser.total_steps for run in self.runs)
        return {
            "step": max(run.member.position.step for run in self.runs), "steps": total,
            "training": sum(run.member.training for run in self.runs), "seconds": self.clock.seconds,
        }  # fmt: skip

    def _after_epoch(self, ended: list[Member]) -> None:
        self._end_steps()
        give_back_freed_memory()
        runs = [run for run in self.runs if any(run.member is member for member in ended) and run.check()]
        entries: dict[str, dict[str, Any]] = {}
        for run in runs:
            entries[run.job.run.id] = {"epoch": run.member.position.epoch, "train_loss": run.member.mean_loss()}
            run.member.begin_epoch()
        self._choose(due := [run for run in runs if run.is_due])
        for split in ("train", "test"):
            self._evaluate(split, due)
            give_back_freed_memory()
            for run in due:
                entries[run.job.run.id] |= {f"{split}_{name}": value for name, value in run.measured(split).items()}
        if self.config.early_stopping is not None:
            self._develop(runs, self.config.early_stopping, entries)
        for run in runs:
            run.history.append(entry := Epoch.made(entries[run.job.run.id], seconds=self.clock.seconds))
            metric, step = run.data.task.metric, run.member.position.step
            self.send(events.Epoch(run=run.job.run.id, metric=metric, entry=entry, step=step))
            if run.member.left and run.lost is None:
                error = f"no better since epoch {run.best.epoch}" if run.best is not None else ""
                self.send(events.Left(run=run.job.run.id, why="stopped early", error=error))
        self._tell_diverged()
        self._checkpoint()
        self._begin_steps()

    def _tell_diverged(self) -> None:
        """Look at all losses, and say of those that are no longer finite, once, that their runs have left."""
        for run in self.runs:
            if not run.check() and run.error is not None and run.job.run.id not in self.errors:
                self.errors[run.job.run.id] = run.error
                run.until = self.clock.seconds if run.until is None else run.until
                self.send(events.Left(run=run.job.run.id, why="diverged", error=run.error))

    def _develop(self, runs: Sequence[Running], patience: int, entries: Mapping[str, dict[str, Any]]) -> None:
        """Evaluate on the development split, keep weights that are the best, end a run when none was for long."""
        for run, value in zip(runs, self._on_validation(runs), strict=True):
            epoch, metric = run.member.position.epoch, run.data.task.metric
            sign = 1 if higher_is_better(metric) else -1
            if run.best is None or sign * value > sign * run.best.value:
                run.best = Best(epoch, value, {key: own.detach().clone() for key, own in run.trainable.items()})
            elif epoch - run.best.epoch >= patience and epoch < run.member.epochs:
                run.member.left = True
            entries[run.job.run.id][f"validation_{metric}"] = value

    def _choose(self, runs: Sequence[Running]) -> None:
        """Let the tasks that choose something on the development split choose it for these runs as they are now."""
        for split in ("validation", "train"):
            open_ = [run for run in runs if run.data.task.develops and run.data.development == split]
            self._evaluate(split, open_, choose=True)

    def _rung_due(self) -> bool:
        race = self.config.race
        if race is None:
            return False
        training = [run.member for run in self.runs if run.member.training]
        return bool(training) and training[0].position.step in rung_steps(race, training[0].optimiser.total_steps)

    def _judge(self, race: RaceSpec) -> None:
        """Send the worse candidates out of the race; a run that has stopped early counts by its best epoch."""
        self._tell_diverged()
        racing = [run for run in self.runs if run.lost is None and run.error is None]
        training = [run for run in racing if run.member.training]
        reached = [(run, value) for run, value in zip(training, self._on_validation(training), strict=True)]
        reached += [(run, run.best.value) for run in racing if not run.member.training and run.best is not None]
        values: dict[str, list[float]] = {}
        for run, value in reached:
            values.setdefault(run.job.run.label, []).append(value)
        failed = {run.job.run.label for run in self.runs if run.error is not None}
        by_label = standings(self.runs[0].data.task.metric, values, failed)
        leaving = who_leaves(race, by_label)
        for run in racing:
            standing = by_label[run.job.run.label]
            self.send(events.Judged(run=run.job.run.id, **standing))
            if run.job.run.label in leaving:
                run.member.left = True
                position = {"step": run.member.position.step, "steps": run.member.optimiser.total_steps}
                run.lost = Race.made(position, standing)
                self.send(events.Left(run=run.job.run.id, why="left the race", error=lost_words(run.lost)))

    def _on_validation(self, runs: Sequence[Running]) -> list[float]:
        """Return each run's metric on the development split; what was last decoded of the test split stays."""
        tested = [run.decoded for run in runs]
        self._evaluate("validation", runs)
        values = [run.measured("validation")[run.data.task.metric] for run in runs]
        for run, test in zip(runs, tested, strict=True):
            run.decoded = test
        return values

    def _evaluate(self, split: str, runs: Sequence[Running], *, choose: bool = False) -> None:
        for data in {id(run.data): run.data for run in runs}.values():
            tokens = data.rows(split)

            def tick(done: int, rows: int = len(tokens)) -> None:
                self.send(events.Evaluate(split=split, done=done, rows=rows))

            size, keeps = self.config.evaluation_batch_size, split == "test" and not choose
            for group in self.passes.groups([run for run in runs if run.data is data]):
                started = perf_counter()
                with self.monitor.phase("evaluate"):
                    attached = self.passes.attached([run.adapter for run in group], training=False)
                    see = keeping_vectors(group, attached, tokens) if keeps else None
                    predictions = predict_logits(attached, tokens, batch_size=size, tick=tick, see=see)
                    for run, logits in zip(group, predictions, strict=True):
                        if choose:
                            run.task = data.task.developed(tokens, logits)
                        run.decoded = run.settled.decode_rows(tokens, logits)
                self.clock.evaluate_seconds += perf_counter() - started

    # -- going on after a kill ---------------------------------------------------------------------------------------

    def _checkpoint(self) -> None:
        for run in self.runs:
            if run.until is None and not run.member.training:
                run.until = self.clock.seconds
        tensors: dict[str, Tensor] = {"random": torch.get_rng_state()}
        if self.backbone.device.type == "cuda":
            tensors["random_cuda"] = torch.cuda.get_rng_state()
        for index, run in enumerate(self.runs):
            if run.check():
                tensors |= {f"{index}/{name}": value for name, value in run.tensors().items()}
        state = {
            "members": [run.state() for run in self.runs],
            "clock": asdict(self.clock),
            "dropout": self.backbone.team.kept(self.source.state()),
            "monitor": self.monitor.state(),
            "joules": self.energy.joules,
            "resumed": self.resumed,
            "started_at": self.started_at,
        }  # fmt: skip
        write_checkpoint(self._path, tensors, state)
        self._saved = monotonic()

    def _resume(self) -> None:
        stored = read_checkpoint(self._path)
        if stored is None:
            self._take_first_steps()
            return
        try:
            self._take_back(*stored)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, AssertionError) as error:
            raise damaged(self._path, error) from None

    def _take_back(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        for index, (run, member_state) in enumerate(zip(self.runs, state["members"], strict=True)):
            member_tensors = {
                name.partition("/")[2]: value for name, value in tensors.items() if name.startswith(f"{index}/")
            }
            run.go_on(member_state, member_tensors)
        torch.set_rng_state(tensors["random"])
        if "random_cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random_cuda"])
        self.clock, self.resumed = Clock(**state["clock"]), state["resumed"] + 1
        self.started_at = state["started_at"]
        self.source.load_state(self.backbone.team.own(state["dropout"]) or self.source.state())
        self.monitor.load_state(state["monitor"])
        self.energy.add(state["joules"])
        self.send(events.Resumed(**self._progress()))
        for run in self.runs:
            if run.member.left:
                why = run.timeline(several=False)["why"]
                self.send(events.Left(run=run.job.run.id, why=why, error=run.error, before=True))
        self.errors |= {run.job.run.id: run.error for run in self.runs if run.error is not None}

    def _take_first_steps(self) -> None:
        """Go on from the steps that members took alone, each one's method being profiled by them."""
        for run in self.runs:
            if (stored := read_checkpoint(first_steps(self._path.parent, run.job.run.id))) is not None:
                tensors, state = stored
                try:
                    run.job.check_originals(state)
                    run.member.position = Position(**state["position"])
                    run.take_back(tensors, None)
                    self.clock.seconds += state["seconds"]
                except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
                    raise damaged(first_steps(self._path.parent, run.job.run.id), error) from None

    # -- what is left of a run ---------------------------------------------------------------------------------------

    def _measured(self, run: Running) -> Result:
        position = run.member.position
        trainable = run.numbers
        total = self.backbone.parameter_count + sum(p.numel() for p in run.member.adapter.parameters())
        return Result.made(
            started_at=self.started_at, trainable_parameters=trainable, total_parameters=total,
            trainable_percent=100 * trainable / total, train_seconds=self.clock.seconds,
            # Of several runs in one pass nobody knows whose time it was.
            evaluate_seconds=self.clock.evaluate_seconds if len(self.runs) == 1 else None,
            # The first steps of a process warm caches and thread pools.
            step_seconds=float(np.median(self.clock.step_seconds)),
            steps=position.step, optimiser=run.member.optimiser.kind.title,
            examples_per_second=position.rows / self.clock.seconds,
            tokens_per_second=position.tokens / self.clock.seconds, energy_joules=self.energy.joules,
            history=run.history, best_epoch=None if run.best is None else run.best.epoch, resumed=self.resumed,
            packing=packing_of(self.config.packing, self.backbone, run.adapter),
            **run.data.task.final_metrics(run.history[-1] if run.best is None else run.history[run.best.epoch - 1]),
        )  # fmt: skip
