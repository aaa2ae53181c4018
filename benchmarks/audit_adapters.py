"""Let twelve adapters of one base answer an audit's texts: in one pass of a mixed batch, beside one after another.

    python benchmarks/audit_adapters.py --adapters 12 --rows 120 --length 32

What an audit asks is answers to texts, as here; its statistics are the same either way. One after another each adapter is
put on the shared base and reads every text in batches of `--batch` rows, as `afina audit` does; mixed, a batch has the same
rows for all.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from afina.backbone.attachment import Attachment
from afina.predictor.loading import Loading
from afina.predictor.predictor import Predictor, rows_of
from afina.train.evaluate import predict_logits
from audit import adapter, texts
from record import write_record


def loaded(folder: Path, model: str, count: int) -> list[Predictor]:
    """Return adapters on one base, each with weights of its own."""
    made: list[Predictor] = []
    for number in range(count):
        path = adapter(folder / str(number), model, seed=number)
        made.append(Loading(precision="fp32").load(path, beside=made[0] if made else None))
    assert len({id(each.backbone) for each in made}) == 1
    return made


def timed(answer: Callable[[], list[np.ndarray]]) -> tuple[list[np.ndarray], float, float]:
    """Return answers, seconds of the clock and seconds of the processor."""
    began, worked = time.perf_counter(), time.process_time()
    answers = answer()
    return answers, time.perf_counter() - began, time.process_time() - worked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--adapters", type=int, default=12)
    parser.add_argument("--rows", type=int, default=120)
    parser.add_argument("--length", type=int, default=32, help="tokens of the longest text")
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 96], help="rows of a batch, whoever they are of")
    parser.add_argument("--turns", type=int, default=3, help="times that each has its turn; the shortest counts")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    given = texts(options.rows, options.length, uneven=True)
    with tempfile.TemporaryDirectory() as place:
        adapters = loaded(Path(place), options.model, options.adapters)
        tokens = adapters[0].tokens(rows_of(given, None))

        def one_by_one(batch: int) -> list[np.ndarray]:
            return [each.outputs(tokens, batch) for each in adapters]

        def mixed(batch: int) -> list[np.ndarray]:
            with Attachment(adapters[0].backbone, [each.adapter for each in adapters]) as attached:
                return predict_logits(attached, tokens, batch_size=batch)

        ways = {
            f"{name}, {batch} rows a batch": (way, batch)
            for batch in options.batch for name, way in (("one after another", one_by_one), ("mixed", mixed))
        }  # fmt: skip
        clock: dict[str, list[float]] = {name: [] for name in ways}
        processor: dict[str, list[float]] = {name: [] for name in ways}
        answers: dict[str, list[np.ndarray]] = {}
        # In turns, so that a slow moment of the machine does not fall on one of them alone.
        for _ in range(options.turns):
            for name, (way, batch) in ways.items():
                answers[name], seconds, worked = timed(lambda way=way, batch=batch: way(batch))
                clock[name].append(seconds)
                processor[name].append(worked)
    first, *rest = answers.values()
    figures: dict[str, Any] = {
        "adapters": options.adapters, "rows": options.rows, "longest": options.length,
        "threads": torch.get_num_threads(),
        "seconds": {name: min(own) for name, own in clock.items()},
        "processor_seconds": {name: min(own) for name, own in processor.items()},
        "largest_difference": max(
            float(np.abs(a - b).max()) for other in rest for a, b in zip(first, other, strict=True)
        ),
    }  # fmt: skip
    print(json.dumps(figures, indent=2))
    if options.out is not None:
        write_record(options.out, **figures)


if __name__ == "__main__":
    main()
