"""Measure what an export takes beside its adapter: bytes of weights, time of one row and of 32, memory of a process.

Each is timed in a process that does nothing else, so that neither this one's memory nor its threads are in the figures: a
graph by its folder's own script, as whoever gets the folder runs it; what else there is by the modules of `timing/`.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from afina.backbone.model_files import model_path
from afina.data.rows import Rows
from afina.data.tokens.batching import collate
from afina.data.tokens.tokens import Tokens
from afina.errors import AfinaError
from afina.export.beside import SCRIPT as PREDICTS
from afina.export.opened import OpenedExport, arrays
from afina.export.writing.beside import SCRIPT as WRITES
from afina.export.writing.names import READS
from afina.export.writing.session import WritingSession, padded
from afina.predictor.predictor import Predictor
from afina.words.language import Words

__all__ = [
    "VARIABLE", "Cost", "ExportCosts", "bytes_of", "cost_in", "cost_of", "costs_of", "timed_rows", "weights_in",
]  # fmt: skip

VARIABLE = "AFINA_EXPORT_COSTS"
"""The environment's word on whether exports are timed: 0 for not."""
_READ = 64
"""Tokens that have been read when a token more is timed: what a graph keeps of 32 long texts would be a large file."""
_WRITTEN = 40
"""Tokens that what is timed may write behind them."""
_TIMED = """
import json, re, resource, statistics, sys, time
import numpy as np

with np.load(sys.argv[1], allow_pickle=False) as file:
    batches = [
        {name.partition(".")[2]: file[name] for name in file.files if name.startswith(kind)} for kind in ("one.", "many.")
    ]
found = []
for batch, times in zip(batches, (30, 7)):
    call = ready(batch)
    if call is None:
        found.append(None)
        continue
    call()
    taken = []
    for _ in range(times):
        begin = time.perf_counter(), time.process_time()
        call()
        # Of wall clock and processor time the shorter: what other programs took of the processor is not its own.
        taken.append(min(time.perf_counter() - begin[0], time.process_time() - begin[1]))
    found.append(statistics.median(taken))
try:  # not `ru_maxrss`, which on Linux begins with what the process had that started this one
    with open("/proc/self/status") as status:
        memory = int(re.search(r"VmHWM:\\s+(\\d+)", status.read())[1]) * 1024
except OSError:
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print("\\n" + json.dumps([*found, memory]), flush=True)
"""
_BY_SCRIPT = 'import runpy, sys\nrun = runpy.run_path(sys.argv[2])["run"]\nready = lambda batch: lambda: run(batch)\n'
_BY_MODULE = "import sys\nfrom afina.export.timing.{module} import opened\nready = opened(*sys.argv[2:])\n"
_WEIGHTS = (".safetensors", ".bin", ".gguf", ".onnx", ".data", ".pte", ".xml", ".npz")


@dataclass(frozen=True)
class Cost:
    """Holds what answering takes, in a process of its own."""

    size: int
    """Bytes of its weights' files."""
    one: float
    """Seconds for a row, of what writes for a token more: the median of 30."""
    many: float | None
    """Seconds for 32 rows: the median of 7; None where they are not taken at one time."""
    memory: int
    """Most bytes that the process had."""


@dataclass(frozen=True)
class ExportCosts:
    """Holds what an adapter takes as it was tested, with its base, and what was exported of it takes."""

    adapter: Cost
    exported: Cost
    writes: bool

    def rows(self, words: Words) -> list[tuple[str, str]]:
        """Return them as a table has it."""
        one, many = (
            (words("time of a token more"), words("time of one more of 32 texts")) if self.writes
            else (words("time of one row"), words("time of 32 rows"))
        )  # fmt: skip
        pair = (self.adapter, self.exported)
        table = [
            (
                words("files of weights, with the base"),
                [f"{words.number(own.size / 1e6, 1)} MB" for own in pair],
            ),
            (one, [f"{words.number(1e3 * own.one, 2)} ms" for own in pair]),
        ]
        if self.adapter.many is not None and self.exported.many is not None:
            table.append((many, [f"{words.number(1e3 * (own.many or 0), 1)} ms" for own in pair]))
        table.append((words("memory of the process"), [f"{words.number(own.memory / 1e6)} MB" for own in pair]))
        return [(name, words("{ours} adapter, {theirs} exported", ours=a, theirs=b)) for name, (a, b) in table]


def costs_of(
    tested: Predictor, rows: Rows | None, exported: Callable[[Mapping[str, np.ndarray]], Cost | None]
) -> tuple[ExportCosts | None, str | None]:
    """Return what an adapter takes, and what was `exported` of it, which is asked for it with the batch that is timed.

    None where that is not run here, where there are no rows, or where the environment says so; beside it, None or a note on
    what kept them from being measured.
    """
    if os.environ.get(VARIABLE) == "0" or rows is None or (tested.task.speaks and not tested.task.writes):
        return None, None
    batch = timed_rows(tested, rows)
    try:
        size = weights_in(Path(model_path(tested.record.model))) + weights_in(tested.folder)
        # What is loaded here is loaded once more there.
        if psutil.virtual_memory().available < 2 * size:
            raise AfinaError("there is too little memory left to load it once more")
        if (theirs := exported(batch)) is None:
            return None, None
        given = (str(tested.folder.resolve()), tested.record.model, tested.record.precision)
        return ExportCosts(cost_in("adapter", given, batch, size), theirs, tested.task.writes), None
    except AfinaError as error:
        return None, f"What it takes was not measured: {str(error).rstrip('.')}."


def timed_rows(tested: Predictor, rows: Rows) -> dict[str, np.ndarray]:
    """Return what is timed: up to 32 of the longest rows as one batch; of what writes, the beginnings of theirs."""
    tokens = tested.images(rows.pixels) if rows.pixels is not None else tested.tokens(rows)
    # The longest ones: costs are said for the worst case, and short ones would be mostly overhead.
    chosen = np.argsort(tokens.lengths, kind="stable")[-32:]
    pad = 0 if rows.pixels is not None else int(tested.tokenizer.pad_token_id)
    if not tested.task.writes:
        given = collate([(tokens, chosen)], pad, most=tested.record.max_length).inputs
        return {name: value.numpy() for name, value in given.items()}
    ids, mask = padded(_beginnings(tokens, chosen, tested.backbone.context, pad), pad, before=True)
    return {"input_ids": ids, "attention_mask": mask}


def _beginnings(tokens: Tokens, rows: np.ndarray, context: int, pad: int) -> list[list[int]]:
    most = max(1, min(_READ, context - _WRITTEN))
    texts = [collate([(tokens, rows[place : place + 1])], pad, most=1) for place in range(len(rows))]
    return [own.inputs["input_ids"][0].tolist()[:most] for own in texts]


def cost_of(opened: OpenedExport, graph: str, batch: Mapping[str, np.ndarray]) -> Cost:
    """Return what the graph of an opened folder takes for one row of a batch and for 32."""
    if isinstance(opened.session, WritingSession):
        # As many rows as it takes at once: its script takes more in parts.
        most = int(opened.manifest.reading.get("most", {}).get("rows", 32))
        rows = zip(batch["input_ids"][-most:], batch["attention_mask"][-most:].astype(bool), strict=True)
        prompts = [ids[own].tolist()[: opened.session.context - 1] for ids, own in rows]
        given = opened.session.begin(prompts).step([prompt[0] for prompt in prompts])
    else:
        import torch

        given = arrays({name: torch.from_numpy(value) for name, value in batch.items()}, opened.manifest.inputs)
    script = next(path for name in (PREDICTS, WRITES) if (path := opened.folder / name).is_file())
    return _timed(_BY_SCRIPT, [str(script)], given, bytes_of(opened, graph), graph)


def bytes_of(opened: OpenedExport, graph: str) -> int:
    """Return the bytes of the files that hold the weights of an opened folder's graphs."""
    return sum(path.stat().st_size for name in (Path(graph).stem, READS) for path in opened.folder.glob(f"{name}.*"))


def cost_in(module: str, given: Sequence[str], batch: Mapping[str, np.ndarray], size: int) -> Cost:
    """Return what something takes that a module of `timing/` opens when it is given this."""
    return _timed(_BY_MODULE.format(module=module), given, batch, size, given[0])


def weights_in(place: Path) -> int:
    """Return the bytes of weights in a folder, or of a file; 0 for what is a name and no place."""
    if place.is_file():
        return place.stat().st_size
    return sum(path.stat().st_size for path in place.glob("*") if path.suffix in _WEIGHTS and path.name != "probe.npz")


def _timed(opening: str, given: Sequence[str], batch: Mapping[str, np.ndarray], size: int, what: str) -> Cost:
    """Time in a process of its own what the lines of `opening` open."""
    count = len(next(iter(batch.values())))
    asked = {f"one.{name}": value[-1:] for name, value in batch.items()}
    asked |= {f"many.{name}": value[np.arange(32) % count] for name, value in batch.items()}
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "timed.npz"
        with path.open("wb") as file:
            np.savez(file, **asked)  # type: ignore[arg-type]
        command = [sys.executable, "-c", opening + _TIMED, str(path), *given]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        why = (done.stderr.strip() or "it was ended").splitlines()[-1][:300]
        raise AfinaError(f"{what} cannot be timed ({why}).")
    one, many, memory = json.loads(done.stdout.splitlines()[-1])
    return Cost(size, one, many, int(memory))
