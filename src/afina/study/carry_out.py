"""One run, from loading the model to its result; it lives in a process of its own, so that its memory is its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from afina.backbone.attach import Attached
from afina.backbone.load import Backbone, load_backbone
from afina.config import StudyConfig
from afina.data.batching import Tokens, load_tokens, steps_per_epoch
from afina.errors import AfinaError
from afina.measure.energy import EnergyMeter
from afina.measure.hardware import versions
from afina.measure.memory import MemoryMonitor, current_resident_bytes
from afina.measure.metrics import higher_is_better
from afina.methods.adapter import AdapterRecord, build_adapter, save_adapter
from afina.methods.base import Method
from afina.ops.allocator import give_back_freed_memory
from afina.ops.dropout import DropoutSource
from afina.study.files import write_json, write_predictions
from afina.study.plan import Run
from afina.tasks.base import Decoded, Task, load_task
from afina.train.checkpoint import read_checkpoint, write_checkpoint
from afina.train.evaluate import predict_logits
from afina.train.loop import Callbacks, Member, Position, train
from afina.train.optimiser import Optimiser

__all__ = ["Job", "carry_out"]

Send = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Job:
    """Everything a run needs, picklable."""

    run: Run
    config: StudyConfig
    directory: Path
    tokens: Path
    task: Mapping[str, Any]
    precision: str
    device: str
    fingerprint: Mapping[str, Any]
    train_evaluation_rows: np.ndarray | None = None

    @property
    def folder(self) -> Path:
        return self.directory / "runs" / self.run.id

    def facts(self, history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What an adapter's record keeps of where it comes from."""
        source = self.config.dataset[self.run.dataset].model_dump(mode="json")
        if Path(source["path"]).exists():
            source["path"] = str(Path(source["path"]).resolve())
        return {
            "dataset": self.run.dataset_name, "source": source, "history": list(history), "versions": versions(),
        }  # fmt: skip


def carry_out(job: Job, send: Send) -> dict[str, Any]:
    """Carry out one run, from its last checkpoint if it has one, and return its result; raises when it fails."""
    job.folder.mkdir(parents=True, exist_ok=True)
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    method = job.run.make_method()
    task = load_task(job.task)
    splits = load_tokens(job.tokens)
    baseline = current_resident_bytes()
    with MemoryMonitor(job.device, job.config.sample_seconds, baseline_bytes=baseline) as monitor:
        with monitor.phase("load"):
            backbone = _load(job, method, task)
        give_back_freed_memory()
        if method.gradient_free:
            from afina.study.feature_run import fit_features

            measured = fit_features(job, method, backbone, task, splits, monitor, send)
        else:
            measured = _Training(job, method, backbone, task, splits, monitor, send).carry_out()
    result = _describe(job, method, backbone, task, splits) | measured | monitor.report()
    result |= {"status": "ok", "error": None, "started_at": measured.get("started_at") or started_at}
    write_json(job.folder / "result.json", result)
    (job.folder / "checkpoint.safetensors").unlink(missing_ok=True)
    return result


def _load(job: Job, method: Method, task: Task) -> Backbone:
    if task.speaks and method.gradient_free:
        raise AfinaError(f"{method.name} classifies embeddings; it has no answers to score, as task: {task.name} asks.")
    # A method that trains the weights keeps them in float32 and only computes in less.
    own = method.owns_backbone and job.precision != "fp32"
    backbone = load_backbone(
        job.run.model,
        precision="fp32" if own else job.precision,
        device=job.device,
        trust_remote_code=job.config.trust_remote_code,
        speaks=task.speaks,
    )
    if own:
        backbone.autocast = {"bf16": torch.bfloat16, "fp16": torch.float16}[job.precision]
    if method.owns_backbone:
        backbone.model.requires_grad_(True)
    return backbone


@dataclass(frozen=True)
class Best:
    """The weights of the epoch that was best on the development split."""

    epoch: int
    value: float
    weights: Mapping[str, Tensor]


class _Training:
    """A run that trains by steps: the loop's callbacks, and the state that lets it go on after a kill."""

    def __init__(
        self, job: Job, method: Method, backbone: Backbone, task: Task, splits: Mapping[str, Tokens],
        monitor: MemoryMonitor, send: Send,
    ) -> None:  # fmt: skip
        self.job, self.backbone, self.task, self.splits = job, backbone, task, splits
        self.monitor, self.send = monitor, send
        config = job.config
        rows = job.train_evaluation_rows
        self.train_evaluation = splits["train"] if rows is None else splits["train"].take(rows)
        self.steps_per_epoch = steps_per_epoch(len(splits["train"]), config.batch_size)
        self.total_steps = self.steps_per_epoch * config.epochs
        self.adapter = build_adapter(method, backbone, task.outputs, job.run.seed)
        self.trainable = self.adapter.trainable(backbone)
        if not self.trainable:
            raise AfinaError(f"{method.name} has nothing to train: the model answers with its own language head.")
        optimiser = Optimiser(
            self.trainable, learning_rate=method.learning_rate, total_steps=self.total_steps, schedule=method.schedule,
            warmup=method.warmup, weight_decay=method.weight_decay, gradient_clip=method.gradient_clip,
            rate_factors=method.rate_factors(self.trainable, backbone.anatomy),
        )  # fmt: skip
        schedule = method.steps_beside(self.adapter.by_site(), self.total_steps)
        loss_sum = torch.zeros((), dtype=torch.float64, device=backbone.device)
        self.member = Member(self.adapter, task, optimiser, schedule, loss_sum)
        self.source = DropoutSource(job.run.seed)
        self.position = Position()
        self.energy = EnergyMeter(job.device)
        self.history: list[dict[str, Any]] = []
        self.resumed = 0
        self.started_at = datetime.now(UTC).isoformat(timespec="seconds")
        self.decoded: Decoded | None = None
        self.best: Best | None = None
        self._saved = self._said = time()

    def carry_out(self) -> dict[str, Any]:
        config = self.job.config
        torch.manual_seed(self.job.run.seed)
        self._resume()
        checkpointing = config.gradient_checkpointing
        with Attached(self.backbone, [self.adapter], self.source, checkpointing=checkpointing) as attached:
            self.attached = attached
            self._begin_steps()
            train(
                attached, [self.member], self.splits["train"], self.position,
                Callbacks(self._after_step, self._after_epoch),
                epochs=config.epochs, batch_size=config.batch_size, micro_batch_size=config.micro_batch_size,
                seed=self.job.run.seed,
            )  # fmt: skip
            self._end_steps()
            if self.best is not None:
                self._take_back(self.best.weights)
            if self.decoded is None or self.best is not None:
                # The last epoch's evaluation is in the checkpoint that this run was resumed from, or not of its best.
                self.decoded = self._evaluate("test", self.splits["test"])
        self._save()
        return self._measured()

    def _begin_steps(self) -> None:
        self._phase = self.monitor.phase("train")
        self._phase.__enter__()
        self.energy.start()

    def _end_steps(self) -> None:
        self.energy.stop()
        self._phase.__exit__(None, None, None)

    def _after_step(self) -> None:
        now = time()
        if now - self._said >= 0.2:
            self._said = now
            self.send({"kind": "step", "step": self.position.step, "steps": self.total_steps})
        if now - self._saved >= self.job.config.checkpoint_seconds:
            self._end_steps()
            self._checkpoint()
            self._begin_steps()

    def _after_epoch(self) -> None:
        self._end_steps()
        rows, config = len(self.splits["train"]), self.job.config
        self._check_finite()
        entry: dict[str, Any] = {"epoch": self.position.epoch, "train_loss": float(self.member.loss_sum) / rows}
        self.member.loss_sum.zero_()
        for split, tokens in (("train", self.train_evaluation), ("test", self.splits["test"])):
            self.decoded = self._evaluate(split, tokens)
            give_back_freed_memory()
            metrics = self.task.metrics(tokens.labels, self.decoded.predictions)
            entry |= {f"{split}_{name}": value for name, value in metrics.items()}
        if config.early_stopping is not None:
            entry |= self._develop(config.early_stopping)
        entry["seconds"] = self.position.seconds
        self.history.append(entry)
        self.send({"kind": "epoch", **entry})
        self._checkpoint()
        self._begin_steps()

    def _develop(self, patience: int) -> dict[str, float]:
        """Evaluate on the development split, keep the weights if they are the best, end the run when none was for long."""
        tokens, metric = self.splits["validation"], self.task.metric
        predictions = self._evaluate("validation", tokens).predictions
        value = self.task.metrics(tokens.labels, predictions)[metric]
        sign = 1 if higher_is_better(metric) else -1
        if self.best is None or sign * value > sign * self.best.value:
            weights = {name: value.detach().clone() for name, value in self.trainable.items()}
            self.best = Best(self.position.epoch, value, weights)
        elif self.position.epoch - self.best.epoch >= patience:
            self.position.epoch = self.job.config.epochs
        return {f"validation_{metric}": value}

    def _take_back(self, weights: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.trainable.items():
                parameter.copy_(weights[name])

    def _evaluate(self, split: str, tokens: Tokens) -> Decoded:
        def tick(done: int) -> None:
            self.send({"kind": "evaluate", "split": split, "done": done, "rows": len(tokens)})

        with self.monitor.phase("evaluate"):
            size = self.job.config.evaluation_batch_size
            (logits,) = predict_logits(self.attached, tokens, batch_size=size, tick=tick)
        return self.task.decode(logits)

    def _check_finite(self) -> None:
        if not np.isfinite(float(self.member.loss_sum)):
            raise AfinaError(
                f"The loss became {float(self.member.loss_sum)} by step {self.position.step}; "
                f"set a lower learning_rate than {self.adapter.method.learning_rate:g}."
            )

    # -- going on after a kill ---------------------------------------------------------------------------------------

    @property
    def _checkpoint_path(self) -> Path:
        return self.job.folder / "checkpoint.safetensors"

    def _checkpoint(self) -> None:
        self._check_finite()
        schedule = self.member.schedule
        tensors: dict[str, Tensor] = {
            **{f"weights/{name}": value for name, value in self.trainable.items()},
            **{f"optimiser/{name}": value for name, value in self.member.optimiser.state().items()},
            **{f"schedule/{name}": value for name, value in (schedule.state() if schedule else {}).items()},
            **{f"best/{name}": value for name, value in (self.best.weights if self.best else {}).items()},
            "loss_sum": self.member.loss_sum,
            "random": torch.get_rng_state(),
        }
        if self.backbone.device.type == "cuda":
            tensors["random_cuda"] = torch.cuda.get_rng_state()
        state = {
            "position": asdict(self.position),
            "history": self.history,
            "dropout": self.source.state(),
            "best": None if self.best is None else [self.best.epoch, self.best.value],
            "monitor": self.monitor.state(),
            "joules": self.energy.joules,
            "resumed": self.resumed,
            "started_at": self.started_at,
        }
        write_checkpoint(self._checkpoint_path, tensors, state)
        self._saved = time()

    def _resume(self) -> None:
        stored = read_checkpoint(self._checkpoint_path)
        if stored is None:
            return
        tensors, state = stored
        groups: dict[str, dict[str, Tensor]] = {"weights": {}, "optimiser": {}, "schedule": {}, "best": {}}
        for name, value in tensors.items():
            kind, _, rest = name.partition("/")
            if kind in groups:
                groups[kind][rest] = value
        self._take_back(groups["weights"])
        if state["best"] is not None:
            epoch, value = state["best"]
            self.best = Best(epoch, value, groups["best"])
        self.member.optimiser.load_state(groups["optimiser"])
        if self.member.schedule is not None:
            self.member.schedule.load_state(groups["schedule"])
        self.member.loss_sum.copy_(tensors["loss_sum"])
        torch.set_rng_state(tensors["random"])
        if "random_cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random_cuda"])
        self.position = Position(**state["position"])
        self.history, self.resumed = state["history"], state["resumed"] + 1
        self.started_at = state["started_at"]
        self.source.load_state(state["dropout"])
        self.monitor.load_state(state["monitor"])
        self.energy.add(state["joules"])
        self.send({"kind": "resumed", "step": self.position.step, "steps": self.total_steps})

    # -- what is left of a run ---------------------------------------------------------------------------------------

    def _save(self) -> None:
        job, assert_decoded = self.job, self.decoded
        assert assert_decoded is not None
        record = AdapterRecord(
            model=job.run.model, method=job.run.method, settings=job.run.settings, task=job.task,
            max_length=job.config.max_length, precision=job.precision, seed=job.run.seed, total_steps=self.total_steps,
            facts=job.facts(self.history),
        )  # fmt: skip
        save_adapter(job.folder / "adapter", self.adapter, self.backbone, record)
        write_predictions(
            job.folder / "predictions.parquet", self.splits["test"].labels, assert_decoded.predictions,
            assert_decoded.scores,
        )  # fmt: skip

    def _measured(self) -> dict[str, Any]:
        position = self.position
        last = self.history[-1] if self.best is None else self.history[self.best.epoch - 1]
        trainable = sum(parameter.numel() for parameter in self.trainable.values())
        total = sum(p.numel() for p in self.backbone.model.parameters()) + sum(
            p.numel() for p in self.adapter.parameters()
        )
        return {
            "started_at": self.started_at,
            "trainable_parameters": trainable,
            "total_parameters": total,
            "trainable_percent": 100 * trainable / total,
            "train_seconds": position.seconds,
            # The first steps of a process warm caches and thread pools.
            "step_seconds": float(np.median(position.step_seconds)),
            "steps": position.step,
            "examples_per_second": position.rows / position.seconds,
            "tokens_per_second": position.tokens / position.seconds,
            "energy_joules": self.energy.joules,
            "history": self.history,
            "best_epoch": None if self.best is None else self.best.epoch,
            "resumed": self.resumed,
            **final_metrics(self.task, last),
        }


def final_metrics(task: Task, last: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result's metrics from the last entry of a history."""
    names = list(task.metrics(np.array([0, 1]), np.array([0, 1])))
    return {
        "metric": task.metric,
        "test_metric": last[f"test_{task.metric}"],
        "train_metric": last[f"train_{task.metric}"],
        "test_metrics": {name: last[f"test_{name}"] for name in names},
        "train_metrics": {name: last[f"train_{name}"] for name in names},
    }


def _describe(job: Job, method: Method, backbone: Backbone, task: Task, splits: Mapping[str, Tokens]) -> dict[str, Any]:
    run, config = job.run, job.config
    return {
        "run": run.id,
        "model": run.model,
        "dataset": run.dataset_name,
        "task": task.name,
        "method": run.method,
        "method_label": run.label,
        "method_config": method.settings(),
        "rate_is_default": run.rate_is_default,
        "seed": run.seed,
        "epochs": config.epochs,
        "batch_size": config.batch_size,
        "max_length": config.max_length,
        "precision": job.precision,
        "device": str(backbone.device),
        "measured": "solo",
        "cohort_size": 1,
        "adapter": f"runs/{run.id}/adapter",
        "predictions": f"runs/{run.id}/predictions.parquet",
        "texts_cut": {name: tokens.cut for name, tokens in splits.items()},
        "label_names": job.task.get("label_names"),
        "train_rows": len(splits["train"]),
        "test_rows": len(splits["test"]),
        "fingerprint": dict(job.fingerprint),
        "versions": versions(),
    }
