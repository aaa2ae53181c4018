"""A run that trains by steps: the loop's member with what a study keeps of it."""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from afina.adapters.adapter import Adapter, build_adapter, save_adapter
from afina.adapters.record import AdapterRecord
from afina.backbone.attachment import Attachment
from afina.backbone.head import Hidden
from afina.backbone.load import Backbone
from afina.data.tokens.batching import steps_per_epoch
from afina.data.tokens.token_files import load_tokens
from afina.data.tokens.tokens import LabelledTokens, Tokens
from afina.distil.signal import make_signals
from afina.distil.taught import Taught, read_taught
from afina.distil.teaching import Teaching
from afina.errors import AfinaError
from afina.methods.base import Method
from afina.optimisers.base import Trained
from afina.results.predictions import write_predictions
from afina.results.result import Epoch, Race
from afina.study.job import Job
from afina.study.kept_reference import SeenVectors, keep_reference
from afina.study.kept_steps import KeptSteps, kept_after
from afina.tasks.base import Task, restore
from afina.tasks.predictions import Decoded
from afina.train.loop import Member, Position
from afina.train.optimiser import By, Course, Optimiser, steps_by

__all__ = ["Best", "Data", "Running", "keeping_vectors", "load_data", "save_run", "start_running"]


@dataclass(frozen=True, eq=False)
class Data:
    """A data set as the runs on it see it."""

    task: Task
    splits: Mapping[str, Tokens]
    evaluated: Mapping[str, Tokens]
    """Rows that are evaluated, by split, as an evaluation reads them; of the train rows those that the metric is of."""
    taught: Taught | None = None
    """A teacher's answers to the train rows, where there is one."""

    @property
    def development(self) -> str:
        """Return the split on which the task chooses: the train rows for trials, which the development split tests."""
        return "validation" if "validation" in self.splits else "train"

    def rows(self, split: str) -> Tokens:
        """Return what is evaluated of a split."""
        return self.evaluated[split]


def load_data(jobs: Sequence[Job]) -> dict[int, Data]:
    """Return what the jobs' data sets are, each loaded once, by their place in the study's list."""
    loaded: dict[int, Data] = {}
    for job in {job.run.dataset: job for job in jobs}.values():
        splits, rows = _with_groups(job, load_tokens(job.tokens)), job.train_evaluation_rows
        seen = splits["train"] if rows is None else splits["train"].take(rows)
        evaluated = {split: own.evaluated() for split, own in {**splits, "train": seen}.items()}
        loaded[job.run.dataset] = Data(restore(job.task), splits, evaluated, _taught(job))
    return loaded


def _taught(job: Job) -> Taught | None:
    """Return what a job's teacher said; raises `AfinaError` where it is gone since the study began."""
    if job.taught is None:
        return None
    if (taught := read_taught(job.taught.folder)) is None:
        raise AfinaError(f"What the teacher said ({job.taught.folder}) is damaged or gone; run the same command again.")
    return taught


@dataclass(frozen=True)
class Best:
    """The weights of the epoch that was best on the development split."""

    epoch: int
    value: float
    weights: Mapping[str, Tensor]


@dataclass
class Running:
    """A member with what the study keeps of it."""

    job: Job
    data: Data
    member: Member
    trainable: dict[str, nn.Parameter]
    history: list[Epoch] = field(default_factory=list)
    task: Task | None = None
    """Its data set's task, with what was chosen for this run on the development split (`Task.developed`)."""
    decoded: Decoded | None = None
    vectors: np.ndarray | None = None
    """Those of some of the test rows as it made them in the end, where the evaluation had them at hand."""
    best: Best | None = None
    error: str | None = None
    lost: Race | None = None
    """The state in which it left a race; None where it did not."""
    until: float | None = None
    """Seconds of all members' steps after which it took none."""

    @property
    def adapter(self) -> Adapter:
        return self.member.adapter

    @property
    def numbers(self) -> int:
        """Return how many numbers of the student it trains; a teacher's map is let go when it ends."""
        beside = set() if self.member.teaching is None else self.member.teaching.trained.keys()
        return sum(value.numel() for name, value in self.trainable.items() if name not in beside)

    @property
    def settled(self) -> Task:
        """Return the task as it is for this run, with what was trained of its loss."""
        beside = {name: value.item() for name, value in self.member.beside.items()}
        return (self.task or self.data.task).with_trained(beside) if beside else self.task or self.data.task

    @property
    def is_due(self) -> bool:
        """Return whether it is evaluated after the epoch that has just ended; after its last it always is."""
        every, epoch = self.job.config.evaluate, self.member.position.epoch
        return epoch == self.member.epochs or (every != "last" and epoch % every == 0)

    def keeping_steps(self) -> Self:
        """Keep its parameters after as many of its steps as the study says, in its folder, and return the run."""
        if count := self.job.config.keep_checkpoints:
            steps = kept_after(count, self.member.optimiser.total_steps)
            self.member.schedule = KeptSteps(self.member.schedule, self.trainable, self.job.folder, steps)
        return self

    def check(self) -> bool:
        """Return whether the loss is still finite; a member whose loss is not leaves with the reason."""
        # This waits for a GPU, and so is asked between steps on a CPU only, elsewhere at an epoch's end.
        value = float(self.member.loss_sum)
        if self.error is None and not np.isfinite(value):
            self.error = (
                f"The loss became {value} by step {self.member.position.step}; "
                f"set a lower learning_rate than {self.member.adapter.method.learning_rate:g}."
            )
            self.member.left = True
        return self.error is None

    def measured(self, split: str) -> dict[str, float]:
        """Return the metrics of what was last decoded, rows of this split."""
        assert self.decoded is not None
        return self.settled.measure(self.data.rows(split).labels, self.decoded)

    def take(self, weights: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.trainable.items():
                parameter.copy_(weights[name])

    def timeline(self, several: bool) -> dict[str, Any]:
        """Return when its epochs ended and when it took its last step, in seconds of all members' steps, and why then.

        It is called by its data set too where the cohort has `several`.
        """
        early = self.member.left and self.error is None
        why = "left the race" if self.lost else "diverged" if self.error else "stopped early" if early else "finished"
        epochs = [entry.seconds for entry in self.history]
        run = self.job.run
        label = f"{run.label}, {run.dataset_name}" if several else run.label
        reasons = {"error": self.error, "race": self.lost}
        return {"run": run.id, "label": label, "epochs": epochs, "until": self.until, "why": why, **reasons}

    def tensors(self) -> dict[str, Tensor]:
        """Return what a checkpoint keeps of it."""
        schedule = self.member.schedule
        return {
            **{f"weights/{name}": value for name, value in self.trainable.items()},
            **{f"optimiser/{name}": value for name, value in self.member.optimiser.state().items()},
            **{f"schedule/{name}": value for name, value in (schedule.state() if schedule else {}).items()},
            **{f"best/{name}": value for name, value in (self.best.weights if self.best else {}).items()},
            "loss_sum": self.member.loss_sum,
        }

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of it beside tensors, as JSON has it."""
        return {
            "run": self.job.run.id, "originals": self.job.originals, "position": asdict(self.member.position),
            "history": self.history,
            "best": None if self.best is None else [self.best.epoch, self.best.value], "error": self.error,
            "left": self.member.left, "lost": self.lost, "until": self.until,
        }  # fmt: skip

    def go_on(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Become again what a checkpoint's `state` and `tensors` were of; one that had failed has none of these."""
        assert self.job.run.id == state["run"], "a cohort goes on with the members that it had"
        self.job.check_originals(state)
        self.member.position = Position(**state["position"])
        self.member.left, self.error, self.until = state["left"], state["error"], state["until"]
        self.history = [Epoch(entry) for entry in state["history"]]
        self.lost = None if state["lost"] is None else Race(state["lost"])
        if self.error is None:
            self.take_back(tensors, state["best"])

    def take_back(self, tensors: Mapping[str, Tensor], best: Sequence[Any] | None) -> None:
        """Become again what `tensors` were of; `best` has epoch and value of the best weights."""
        groups: dict[str, dict[str, Tensor]] = {"weights": {}, "optimiser": {}, "schedule": {}, "best": {}}
        for name, value in tensors.items():
            kind, _, rest = name.partition("/")
            if kind in groups:
                groups[kind][rest] = value
        self.take(groups["weights"])
        if best is not None:
            self.best = Best(best[0], best[1], groups["best"])
        self.member.optimiser.load_state(groups["optimiser"], self.member.position.step)
        if self.member.schedule is not None:
            self.member.schedule.load_state(groups["schedule"])
        self.member.loss_sum.copy_(tensors["loss_sum"])


def start_running(job: Job, method: Method, backbone: Backbone, data: Data) -> Running:
    """Return a run before its first step; raises `AfinaError` where the method cannot be."""
    config, task, tokens = job.config, data.task, data.splits["train"]
    total_steps = steps_per_epoch(len(tokens), config.batch_size) * config.epochs
    adapter = build_adapter(
        method, backbone, task.outputs, job.run.seed, job.task.get("label_names"), several=task.several
    )
    trainable = adapter.trainable(backbone)
    if not trainable:
        has = "a text's vector has no head" if adapter.head.bare else "the model answers with its own language head"
        raise AfinaError(f"{method.name} has nothing to train: {has}.")
    beside = {name: nn.Parameter(value.to(backbone.device)) for name, value in task.trained_beside().items()}
    trainable |= beside
    teaching = _teaching(job, data, backbone)
    trainable |= {} if teaching is None else teaching.trained
    assert method.learning_rate is not None, "a study settles the rates before its runs start"
    kind, layers = steps_by(method, backbone.device.type), adapter.layers(backbone)
    kind.check(method.name, Trained(trainable, layers, device=backbone.device.type))
    optimiser = Optimiser(
        trainable, learning_rate=method.learning_rate, total_steps=total_steps, course=Course(method.schedule, method.warmup),
        weight_decay=method.weight_decay, gradient_clip=method.gradient_clip,
        rate_factors=method.rate_factors(trainable, backbone.anatomy), by=By(kind, layers, job.run.seed),
    )  # fmt: skip
    schedule = method.steps_beside(adapter.by_site(), total_steps)

    mitigated = _mitigated(job)
    # A sum of many thousand losses: float32 would lose the small ones at its end.
    loss_sum = torch.zeros((), dtype=torch.float64, device=backbone.device)
    member = Member(
        adapter,
        task,
        tokens,
        job.run.seed,
        config.epochs,
        config.batch_size,
        optimiser,
        schedule,
        loss_sum,
        beside=beside,
        teaching=teaching,
        weights=mitigated.get("weights"),
        cells=mitigated.get("cells"),
    )
    return Running(job, data, member, trainable)


def _mitigated(job: Job) -> dict[str, np.ndarray]:
    """Return how a run's rows weigh, or their cells; raises `AfinaError` where that is gone since the study began."""
    if job.mitigated is None:
        return {}
    try:
        with np.load(job.mitigated, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        raise AfinaError(f"{job.mitigated} is damaged or gone; run the same command again.") from None


def _with_groups(job: Job, splits: Mapping[str, Tokens]) -> dict[str, Tokens]:
    """Return the splits with each row's group, where a mitigation decides by it: such a run shares its data with none."""
    arrays = _mitigated(job)
    return {
        name: replace(own, group=arrays[f"group.{name}"])
        if f"group.{name}" in arrays and isinstance(own, LabelledTokens) else own
        for name, own in splits.items()
    }  # fmt: skip


def _teaching(job: Job, data: Data, backbone: Backbone) -> Teaching | None:
    """Return what teaches a run, None where its study has no teacher."""
    if data.taught is None:
        return None
    return Teaching(
        data.taught, data.splits["train"], make_signals(job.config.distil), job.config.teacher_weight,
        width=backbone.anatomy.width, seed=job.run.seed, device=str(backbone.device),
    )  # fmt: skip


def keeping_vectors(
    runs: Sequence[Running], attached: Attachment, tokens: Tokens
) -> Callable[[np.ndarray, list[Hidden]], None] | None:
    """Return what keeps vectors of an evaluation of the test rows, for those of its runs that have come to their end.

    None where there is nothing to keep, or the evaluation does not have it.
    """
    # Of several processes each sees but its own rows.
    if attached.backbone.team.size > 1 or not attached.gives_whole(tokens):
        return None
    taking: dict[int, SeenVectors] = {}
    for place, run in enumerate(runs):
        taker = None if run.member.training else SeenVectors.of(run.job, attached.backbone, tokens)
        if taker is not None:
            taking[place], run.vectors = taker, taker.vectors
    if not taking:
        return None

    def see(rows: np.ndarray, hidden: list[Hidden]) -> None:
        for place, taker in taking.items():
            taker.see(rows, hidden[place])

    return see


def save_run(run: Running, backbone: Backbone) -> None:
    """Write a finished run's adapter, and what it answered on the test rows, into its folder."""
    job, decoded = run.job, run.decoded
    assert decoded is not None
    record = AdapterRecord(
        model=job.run.model, method=job.run.method.name, settings=job.run.settings,
        # What was chosen or trained of this run's task (thresholds, say) belongs to the adapter, not to the study.
        task=run.settled.state() if run.task is not None or run.member.beside else job.task,
        max_length=job.max_length, precision=job.precision, seed=job.run.seed,
        total_steps=run.member.optimiser.total_steps, facts=job.facts(run.history),
    )  # fmt: skip
    save_adapter(job.folder / "adapter", run.member.adapter, backbone, record)
    task, labels = run.settled, run.data.rows("test").labels
    keep_reference(job, backbone, task, run.data.rows("test"), decoded, adapter=run.adapter, vectors=run.vectors)
    write_predictions(
        job.folder / "predictions.parquet", task.shown(labels), task.shown(decoded.predictions), decoded.scores
    )
