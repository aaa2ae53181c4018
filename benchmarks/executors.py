"""Seconds that an executor adds to each unit of a study, beside the same runs in one process.

    python benchmarks/executors.py --units 200 --out benchmarks/results/executors.json
    python benchmarks/executors.py --units 200 --executors in-process processes ray

Runs as small as can be (a head of a BERT of two layers, one epoch of 24 rows) by seeds, so that what is around a run's steps
is most of it: all units in this process, in a process each, by submitit's stand-in for a queue, and on a Ray cluster of two
nodes of one core each, whose start is left out of the time. Said are seconds by the clock, and of all processors of the
machine, for a unit: what they are above those in this process is the executor's. Nothing else may run meanwhile.
"""

import argparse
import contextlib
import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from afina.study.executors.base import Executor, make_executor
from afina.study.study import Study
from record import write_record

_WORDS = ["late", "parcel", "good", "kettle", "broken", "screen", "quick", "kind", "answer", "wrong", "order", "lamp"]


def model(folder: Path) -> Path:
    """Save a BERT of two layers with random weights and a tokenizer of words."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    torch.manual_seed(0)
    names = ["[PAD]", "[UNK]", *_WORDS]
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertForSequenceClassification(BertConfig(vocab_size=len(names), **sizes)).save_pretrained(folder)
    words = Tokenizer(WordLevel({name: place for place, name in enumerate(names)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    return folder


def rows(folder: Path) -> Path:
    """Write a few texts to learn from and to be tested on."""
    draw = random.Random(0)
    for split, count in (("train", 24), ("test", 8)):
        lines = [f"{' '.join(draw.choices(_WORDS, k=6))},{draw.choice(['yes', 'no'])}" for _ in range(count)]
        (folder / f"{split}.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    return folder


@contextlib.contextmanager
def ready(name: str) -> Iterator[Executor]:
    """Give an executor, on a Ray cluster of two nodes where it is one."""
    if name == "slurm":
        yield make_executor({"slurm": {"cluster": "local"}})
    elif name != "ray":
        yield make_executor(name)
    else:
        import ray
        from ray.cluster_utils import Cluster

        nodes = {"num_cpus": 1, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=nodes)
        cluster.add_node(num_cpus=1)
        try:
            yield make_executor({"ray": {"address": cluster.address}})
        finally:
            ray.shutdown()
            cluster.shutdown()


def processor_seconds() -> float:
    """Return the processor's seconds of all processes of the machine, as a cluster's are nobody's children."""
    ticks = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return (sum(map(int, ticks[1:4])) + sum(map(int, ticks[6:8]))) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--units", type=int, default=200)
    parser.add_argument("--executors", nargs="+", default=["in-process", "processes", "slurm", "ray"])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        base, data = model(Path(scratch) / "bert"), rows(Path(scratch))
        study = {
            "model": str(base), "dataset": str(data), "methods": ["head"], "epochs": 1, "batch_size": 8,
            "learning_rate": 1e-2, "precision": "fp32", "cohort": "off", "seeds": given.units,
        }  # fmt: skip
        for name in given.executors:
            with ready(name) as executor:
                # The first study of all prepares what is kept: it is not counted.
                Study(Path(scratch) / f"{name}-warm", executor=executor, **study | {"seeds": 1}).run()
                load, busy, began = os.getloadavg()[0], processor_seconds(), time.perf_counter()
                results = Study(Path(scratch) / name, executor=executor, **study).run()
                took, busy = time.perf_counter() - began, processor_seconds() - busy
            assert len(results) == given.units and {own.status for own in results} == {"ok"}, name
            places = len({own.node for own in results})
            found[name] = {
                "seconds_a_unit": round(took / given.units, 3), "processor_seconds_a_unit": round(busy / given.units, 3),
                "places": places, "load_before": round(load, 2),
            }  # fmt: skip
            print(f"{name:12} {found[name]}", flush=True)
    if given.out is not None:
        write_record(given.out, units=given.units, executors=found)


if __name__ == "__main__":
    main()
