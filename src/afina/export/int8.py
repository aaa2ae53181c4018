"""Measure what rounding an exported graph's weights to eight bits gains and what it loses, on the same rows.

How a graph is rounded is its target's (`int8_target.py`). What it takes is measured by the folder's own script, in a process
that does nothing else, as whoever gets the folder runs it.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from afina.data.rows import Rows
from afina.data.tokens.batching import collate
from afina.data.tokens.tokens import Tokens
from afina.errors import AfinaError, UsageError
from afina.export.beside import SCRIPT as PREDICTS
from afina.export.opened import OpenedExport, arrays
from afina.export.runtime import RUNTIMES
from afina.export.writing.beside import SCRIPT as WRITES
from afina.export.writing.names import READS
from afina.export.writing.session import WritingSession
from afina.measure.bootstrap import Estimate, Figure, Measure, estimates, interval_of, mean_of, redrawn
from afina.measure.metrics.base import Answers
from afina.predictor.predictor import Predictor
from afina.tasks.base import Task

__all__ = ["Cost", "Narrowed", "Rounded", "cost_of", "inputs_of", "loss_of", "narrow", "open_again"]

_READ = 64
"""Tokens that a graph has read when a token more is timed: what it keeps of 32 long texts would be a large file."""
_TIMED = """
import json, re, resource, runpy, statistics, sys, time
import numpy as np

run = runpy.run_path(sys.argv[1])["run"]
with np.load(sys.argv[2], allow_pickle=False) as file:
    batches = [
        {name.partition(".")[2]: file[name] for name in file.files if name.startswith(kind)} for kind in ("one.", "many.")
    ]
found = []
for batch, times in zip(batches, (30, 7)):
    run(batch)
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        run(batch)
        taken.append(time.perf_counter() - begin)
    found.append(statistics.median(taken))
try:  # not `ru_maxrss`, which on Linux begins with what the process had that started this one
    with open("/proc/self/status") as status:
        memory = int(re.search(r"VmHWM:\\s+(\\d+)", status.read())[1]) * 1024
except OSError:
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([*found, memory]))
"""


@dataclass(frozen=True)
class Rounded:
    """Says which layers were rounded and which were not."""

    layers: int
    left: tuple[str, ...]
    """The layers that were not rounded, in words."""


@dataclass(frozen=True)
class Cost:
    """Holds what a graph takes, in a process of its own with the folder's script."""

    size: int
    """Bytes of its files."""
    one: float
    """Seconds for a row: the median of 30."""
    many: float
    """Seconds for 32 rows: the median of 7."""
    memory: int
    """Most bytes that the process had."""


@dataclass(frozen=True)
class Narrowed:
    """Holds what rounding gained and lost."""

    rounded: Rounded
    before: Cost
    after: Cost
    metric: str
    rows: int
    values: tuple[float, float]
    loss: Estimate
    """The metric's loss, with its paired interval over the rows."""


def inputs_of(opened: OpenedExport, rows: Rows | None) -> list[dict[str, np.ndarray]]:
    """Return rows as an export's graph takes them, each alone and so without padding; none for no rows."""
    if rows is None:
        return []
    tokens = opened.images(rows) if rows.pixels is not None else opened.tokens(rows)
    return [_batch(opened, tokens, np.array([row])) for row in range(len(tokens))]


def _timed(opened: OpenedExport, tokens: Tokens) -> dict[str, np.ndarray]:
    """Return what a graph is timed on: 32 of the longest rows; of what writes, a token more behind the beginning of each."""
    # The longest ones: costs are said for the worst case, and short ones would be mostly overhead.
    rows = np.argsort(tokens.lengths, kind="stable")[-32:]
    if not isinstance(opened.session, WritingSession):
        return _batch(opened, tokens, rows)
    texts = [collate([(tokens, rows[place : place + 1])], opened.pad, most=1) for place in range(len(rows))]
    prompts = [own.inputs["input_ids"][0].tolist()[:_READ] for own in texts]
    return opened.session.begin(prompts).step([prompt[0] for prompt in prompts])


def _batch(opened: OpenedExport, tokens: Tokens, rows: np.ndarray) -> dict[str, np.ndarray]:
    return arrays(collate([(tokens, rows)], opened.pad, most=opened.manifest.max_length).inputs, opened.manifest.inputs)


def cost_of(folder: Path, graph: str, rows: Mapping[str, np.ndarray]) -> Cost:
    """Return what a folder's graph takes for one row and for 32, in a process that does nothing else."""
    count = len(next(iter(rows.values())))
    given = {f"one.{name}": value[:1] for name, value in rows.items()}
    given |= {f"many.{name}": value[np.arange(32) % count] for name, value in rows.items()}
    scratch = folder / "timed.npz"
    with scratch.open("wb") as file:
        np.savez(file, **given)  # type: ignore[arg-type]

    # In a process of its own, by the folder's own script: neither torch's memory nor its threads are in the figures.
    script = next(path for name in (PREDICTS, WRITES) if (path := folder / name).is_file())
    command = [sys.executable, "-c", _TIMED, str(script), str(scratch)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    scratch.unlink()
    if done.returncode:
        raise AfinaError(f"{graph} cannot be timed ({(done.stderr.strip() or 'it was ended').splitlines()[-1][:300]}).")
    one, many, memory = json.loads(done.stdout)
    size = sum(path.stat().st_size for name in (Path(graph).stem, READS) for path in folder.glob(f"{name}.*"))
    return Cost(size, one, many, int(memory))


def narrow(
    tested: Predictor, opened: OpenedExport, rows: Rows | None, at_most: float, rounding: Callable[[Path], Rounded]
) -> Narrowed:
    """Have the graph of an opened folder rounded, in place, and return what that gained and lost on these rows.

    Raises `UsageError` where the rows do not say how good an answer is, and `AfinaError` where the metric is surely worse by
    more than `at_most`: where the whole interval of its loss is.
    """
    tokens = _judged(tested, rows)
    graph = RUNTIMES[opened.manifest.runtime].file
    before = _outputs(opened, tokens)

    batch = _timed(opened, tokens)
    costs = [cost_of(opened.folder, graph, batch)]
    layers = rounding(opened.folder)
    costs.append(cost_of(opened.folder, graph, batch))
    after = _outputs(open_again(opened), tokens)
    metric, values, loss = loss_of(opened.task, tokens, before, after)

    # The lower end of the interval: refused only where even the mildest reading is too much.
    if loss.low is not None and loss.low > at_most:
        turns = "falls" if values[1] < values[0] else "rises"
        raise AfinaError(
            f"Rounded to eight bits, {metric} {turns} from {values[0]:.4f} to {values[1]:.4f} on {len(tokens):,} rows, by "
            f"{loss.low:.4f} at least (95%), and --at-most is {at_most:g}; nothing was written: leave --int8 out, "
            "or allow more."
        )
    return Narrowed(layers, costs[0], costs[1], metric, len(tokens), values, loss)


def _outputs(opened: OpenedExport, tokens: Tokens) -> np.ndarray:
    """Return what a graph gives for rows (N, K); of what writes the nats that each row's targets cost together (N, 1)."""
    outputs = opened.logits(tokens)
    return -outputs[:, 0, 1:2] if opened.task.writes else outputs


def _judged(tested: Predictor, rows: Rows | None) -> Tokens:
    """Return the rows as tokens, where they say how good an answer is."""
    if rows is not None and len(rows) > 1:
        tokens = tested.images(rows.pixels) if rows.pixels is not None else tested.tokens(rows)
        if tested.task.embeds:
            return tokens
        if rows.pixels is not None:
            tokens = replace(tokens, labels=rows.label)
        if (tokens.output_labels() >= 0).all():
            return tokens
    raise UsageError(
        "What rounding to eight bits costs is measured on rows with labels, and none are here; give --data."
    )


def open_again(opened: OpenedExport) -> OpenedExport:
    """Open a folder's graph anew, which was changed since."""
    return replace(opened, session=RUNTIMES[opened.manifest.runtime].open(opened.folder, opened.manifest))


def loss_of(
    task: Task, tokens: Tokens, before: np.ndarray, after: np.ndarray
) -> tuple[str, tuple[float, float], Estimate]:
    """Return the metric's name, its values by two models' outputs for the same rows, and how much worse the second's is.

    The interval is of rows that are drawn again, the same for both. Of vectors it is how far the two point from each other,
    of what writes the nats a token that a text costs.
    """
    if task.embeds:
        lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
        near = mean_of("cosine", (before * after).sum(axis=1) / lengths)

        # A vector points exactly where it points itself: the loss is measured from one.
        alike = mean_of("cosine", np.ones(len(before)))
        _, (_, gap) = estimates([alike, near])
        return "cosine", (1.0, near.overall), Estimate(-gap.value, _negative(gap.high), _negative(gap.low))
    # Perplexity is the exponential of it: the same share more for every value, where a difference of it is none.
    metric = task.metrics()["loss" if task.writes else task.metric]
    decoded = [task.decode_compared(tokens, own) for own in (before, after)]
    answers = [Answers(task.shown(tokens.labels), task.shown(own.predictions), own.scores) for own in decoded]
    values = [metric.value(own) for own in answers]
    figures: list[Measure | Figure] = [metric.over(own) for own in answers]
    drawn = redrawn(figures, len(tokens), resamples=1000, random=np.random.default_rng(0))
    sign = 1.0 if metric.higher_is_better else -1.0
    low, high = interval_of(sign * (drawn[0] - drawn[1]))
    return metric.name, (values[0], values[1]), Estimate(sign * (values[0] - values[1]), low, high)


def _negative(value: float | None) -> float | None:
    return None if value is None else -value
