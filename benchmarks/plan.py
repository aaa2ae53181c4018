"""Hold what `afina plan` says against runs: planned first, then carried out, each in a process of its own.

    python benchmarks/plan.py --data ../shared/data --out benchmarks/results/plan.json

Runs are drawn by a seed from models, methods, data sets, batches, lengths, precisions, checkpointing and micro-batches.
Models other than MiniLM have random weights, as costs do not depend on what weights are. What was done already is read from
the file of `--out` and not done again, so that a benchmark which is broken off goes on.
"""

import argparse
import json
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import afina
import processor_time
from afina.errors import AfinaError
from afina.methods.base import registry
from record import write_record

SHAPES: dict[str, dict[str, Any]] = {
    "bert-wide": {"model_type": "bert", "hidden_size": 768, "num_hidden_layers": 3, "num_attention_heads": 12,
                  "intermediate_size": 3072},
    "distilbert-small": {"model_type": "distilbert", "dim": 512, "n_layers": 4, "n_heads": 8, "hidden_dim": 2048},
    "roberta-deep": {"model_type": "roberta", "hidden_size": 256, "num_hidden_layers": 12, "num_attention_heads": 4,
                     "intermediate_size": 1024, "max_position_embeddings": 514},
    "llama-small": {"model_type": "llama", "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 6,
                    "num_key_value_heads": 2, "intermediate_size": 1024, "max_position_embeddings": 1024},
    "gpt2-small": {"model_type": "gpt2", "n_embd": 384, "n_layer": 6, "n_head": 6},
    "bert-tiny": {"model_type": "bert", "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
                  "intermediate_size": 512},
}  # fmt: skip
"""Models with random weights, by name; their tokenizer is MiniLM's."""
MODELS = ("minilm", "minilm", "minilm", "afina-small", "afina-small", *SHAPES)
DATA = {"ag_news": (64, 128), "snli": (64,), "imdb": (64, 128, 256), "stsb_en": (64, 128), "alpaca": (64, 128)}
"""The longest texts that are tried on each data set."""
WRITERS = ("afina-small", "smollm2")
"""Models that learn to write of the last data set, on which others learn nothing."""


def drawn(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield the settings of runs, drawn by a seed; the first ones stay the same however many are asked for."""
    chance = random.Random(seed)
    methods = sorted(name for name, kind in registry().items() if not kind.gradient_free)
    for _ in range(count):
        model, dataset = chance.choice(MODELS), chance.choice(list(DATA))
        if dataset == "alpaca" and model not in WRITERS:
            dataset = "ag_news"
        batch = chance.choice((2, 4, 6, 8, 12))
        length, steps = chance.choice(DATA[dataset]), chance.choice((6, 10, 20))
        if model == "afina-small" and chance.random() < 0.1:  # one that is a hundred times as large as the smallest
            model, batch, length, steps = "smollm2", min(batch, 4), 64, 4
        yield {
            "model": model, "dataset": dataset, "methods": [chance.choice(methods)], "batch_size": batch,
            "max_length": length, "precision": chance.choice(("fp32", "fp32", "fp32", "bf16", "nf4")),
            "epochs": chance.choice((1, 1, 2)), "gradient_checkpointing": chance.random() < 0.25,
            "micro_batch_size": max(1, batch // 2) if chance.random() < 0.25 else None,
            "train_limit": batch * steps, "test_limit": chance.choice((24, 100)), "train_evaluation_limit": 24,
            "evaluation_batch_size": chance.choice((16, 64, 64)),
            "cohort": 2 if chance.random() < 0.08 and model != "smollm2" else "off",
        }  # fmt: skip


def models(folder: Path) -> dict[str, str]:
    """Write the models with random weights, and return where each is."""
    import torch
    from transformers import AutoModel

    from afina.backbone.load import load_tokenizer

    tokenizer, _ = load_tokenizer("minilm")
    places = {name: name for name in ("minilm", *WRITERS)}
    for name in SHAPES:
        places[name] = str(folder / name)
        torch.manual_seed(0)
        AutoModel.from_config(configuration(name, tokenizer)).save_pretrained(places[name])
        tokenizer.save_pretrained(places[name])
    return places


def configuration(name: str, tokenizer: Any) -> Any:
    """Return the configuration of one of `SHAPES`."""
    from transformers import AutoConfig

    settings = dict(SHAPES[name])
    kind = settings.pop("model_type")
    return AutoConfig.for_model(kind, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **settings)


def given(settings: dict[str, Any], places: dict[str, str], data: Path) -> dict[str, Any]:
    """Return the settings of a study with the places of its model and data on this machine."""
    dataset = str(data / settings["dataset"])
    seeds = 1 if settings["cohort"] == "off" else 2
    return (
        settings
        | {"model": places[settings["model"]], "dataset": dataset, "seeds": seeds}
        | ({"task": "chat"} if settings["dataset"] == "alpaca" else {})
    )


def planned(settings: dict[str, Any]) -> dict[str, Any]:
    """Return what a plan says of a run, before it is carried out."""
    try:
        plan = afina.plan(**settings).as_dict()
    except AfinaError as error:
        return {"error": str(error)}
    if plan["failed"]:
        return {"error": plan["failed"][0]["error"]}
    return {key: plan["runs"][0][key] for key in ("memory", "time")}


def measured(settings: dict[str, Any]) -> dict[str, Any]:
    """Carry a run out and return what it took, in processor time: what other programs took meanwhile is not its own."""
    with tempfile.TemporaryDirectory() as folder:
        results = afina.Study(Path(folder) / "out", **settings).run()
    evaluated = processor_time.evaluated()
    if results[0]["status"] != "ok":
        return {"error": results[0]["error"]}
    return {
        "memory": {phase: own["peak_bytes"] for phase, own in results[0]["memory"].items()},
        "train_seconds": results[0]["train_seconds"], "step_seconds": results[0]["step_seconds"],
        # Those of a cohort are evaluated together.
        "evaluate_seconds": None if len(results) > 1 else evaluated,
    }  # fmt: skip


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how far runs lay from their plans, and how many lay within the ranges."""
    figures: dict[str, Any] = {"runs": len(runs)}
    for what in ("memory", "time"):
        for phase in ("train", "evaluate"):
            both = [(own["planned"][what][phase], took) for own in runs if (took := took_of(own, phase, what))]
            if both:
                errors = [abs(took / said["value"] - 1) for said, took in both]
                within = [said["low"] <= took <= said["high"] for said, took in both]
                figures[f"{what}, {phase}"] = {
                    "runs": len(both), "median_error": median(errors), "within": sum(within) / len(within),
                    "above": sum(took > said["high"] for said, took in both) / len(both),
                }  # fmt: skip
    return figures


def took_of(run: dict[str, Any], phase: str, what: str) -> float | None:
    """Return what a phase of a run took; None where that was not planned or not measured."""
    if "error" in run["planned"] or "error" in run["measured"]:
        return None
    measured = run["measured"]
    took: float | None = measured["memory"].get(phase) if what == "memory" else measured[f"{phase}_seconds"]
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    processor_time.count_by_it()
    kept = json.loads(options.out.read_text())["runs"] if options.out.exists() else []
    done = {json.dumps(entry["settings"], sort_keys=True) for entry in kept}
    with tempfile.TemporaryDirectory() as folder:
        places = models(Path(folder))
        for settings in drawn(options.runs, options.seed):
            if json.dumps(settings, sort_keys=True) in done:
                continue
            here = given(settings, places, options.data)
            said = planned(here)
            took = {"error": "not carried out"} if "error" in said else measured(here)
            kept.append({"settings": settings, "planned": said, "measured": took})
            write_record(options.out, summary=summary(kept), runs=kept)
            print(json.dumps(kept[-1]), flush=True)


if __name__ == "__main__":
    main()
