"""Explain texts by integrated gradients, beside captum's own loop on the same model: how long it takes, and if it agrees.

    pip install captum
    python benchmarks/audit.py --texts 100 --length 128 --steps 32
    python benchmarks/audit.py --adapter ADAPTER --rows reviews.csv --texts 6

captum explains a text at a time, its steps as one batch, in plain transformers with the adapter merged, and through Afina's
own forward; Afina puts the steps of all texts into batches of like length. All attribute the same log-odds from the same
baseline by Gauss and Legendre's points; Afina's default besides takes 11 points, or 23 or 47 where these are too few. Seconds
are of the processor. bf16 is the same explanation with the base in bfloat16: faithful where its words rank as float32's do.
"""

import argparse
import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch

import afina
from afina.adapters.adapter import build_adapter, save_adapter
from afina.adapters.record import AdapterRecord
from afina.backbone.attachment import Attachment
from afina.backbone.load import load_backbone
from afina.data.files.tables import read_table
from afina.explanation.asker import Asker
from afina.explanation.kinds.base import WantedAnswer, kind_of, log_odds
from afina.explanation.ways.base import WAYS
from afina.methods.base import make_method
from afina.tasks.base import restore
from record import write_record

WORDS = [
    "the",
    "lamp",
    "parcel",
    "arrived",
    "late",
    "broken",
    "order",
    "refund",
    "kettle",
    "password",
    "app",
    "login",
    "works",
    "great",
    "terrible",
    "service",
    "again",
    "please",
    "help",
    "my",
    "invoice",
    "was",
    "charged",
    "twice",
    "and",
    "nobody",
    "answers",
    "since",
    "last",
    "week",
]


def adapter(folder: Path, model: str, seed: int = 0) -> Path:
    """Write an adapter that does something, without training it: time does not depend on what was learned."""
    task = restore({"name": "classification", "label_names": ["a", "b", "c"]})
    backbone = load_backbone(model)
    method = make_method("lora", {"rank": 8})
    made = build_adapter(method, backbone, task.outputs, seed=0)
    torch.manual_seed(seed)
    with torch.no_grad():
        for value in made.parameters():
            value.add_(torch.randn_like(value) * 0.05)
    record = AdapterRecord(
        model=model,
        method="lora",
        settings=method.settings(),
        task=task.state(),
        max_length=512,
        precision="fp32",
        seed=0,
    )
    save_adapter(folder, made, backbone, record)
    return folder


def texts(count: int, length: int, *, uneven: bool) -> list[str]:
    """Return texts of about `length` tokens, or of any length up to it."""
    random = np.random.default_rng(0)
    # Two of the tokens are marks.
    sizes = random.integers(max(2, length // 8), length - 1, count) if uneven else np.full(count, length - 2)
    return [" ".join(random.choice(WORDS, size)) for size in sizes]


def ours(predictor: Any, given: list[str], steps: int | None) -> tuple[list[np.ndarray], float]:
    kind = kind_of(predictor, WantedAnswer())
    questions = kind.questions(given, None)
    start = process_time()
    with Asker(predictor, kind, questions) as asker:
        found = WAYS["integrated-gradients"](steps=steps).attribute(asker)
    print(steps, "points:", [own.points for own in found])
    return [own.values for own in found], process_time() - start


def captums(predictor: Any, given: list[str], steps: int, merged: Path | None) -> tuple[list[np.ndarray], float]:
    """Return captum's values by word, and the time of its loop alone: of `merged` in transformers, or through our hooks."""
    from captum.attr import LayerIntegratedGradients
    from transformers import AutoModelForSequenceClassification

    kind = kind_of(predictor, WantedAnswer())
    questions = kind.questions(given, None)
    with Asker(predictor, kind, questions) as asker:
        baseline = asker.baseline
    backbone, answer = predictor.backbone, torch.zeros(1, dtype=torch.long)
    found: list[np.ndarray] = []
    with ExitStack() as stack:
        if merged is not None:
            whole = AutoModelForSequenceClassification.from_pretrained(merged).eval()
            layer = whole.get_input_embeddings()
        else:
            (site,) = backbone.anatomy.of_kind("embedding")
            layer = backbone.model.get_submodule(site.module)
            attached = stack.enter_context(Attachment(backbone, [predictor.adapter]))
            attached.train(False)

        def forward(ids: torch.Tensor) -> torch.Tensor:
            inputs = {"input_ids": ids, "token_type_ids": torch.zeros_like(ids)}
            logits = attached(inputs)[0] if merged is None else whole(**inputs).logits
            return log_odds(logits, answer.expand(len(ids)))

        explainer = LayerIntegratedGradients(forward, layer)
        begun = process_time()
        for question in questions:
            answer = torch.tensor([question.answer])
            ids = torch.from_numpy(question.ids)[None]
            start = torch.where(torch.from_numpy(question.word_of >= 0), baseline, ids)
            values = explainer.attribute(ids, start, n_steps=steps, method="gausslegendre")
            sums = np.zeros(len(question.words) + 1)
            np.add.at(sums, question.word_of, values.sum(-1)[0].detach().numpy())
            found.append(sums[:-1])
        seconds = process_time() - begun
    return found, seconds


def agreement(first: list[np.ndarray], second: list[np.ndarray]) -> dict[str, float]:
    from scipy.stats import spearmanr

    pairs = list(zip(first, second, strict=True))
    return {
        "largest_difference": max(float(np.abs(a - b).max()) for a, b in pairs),
        "largest_value": max(float(np.abs(a).max()) for a, _ in pairs),
        "least_rank_correlation": min(float(spearmanr(a, b).statistic) for a, b in pairs if len(a) > 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--texts", type=int, default=100)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--adapter", type=Path, help="a trained adapter, in the place of a random one")
    parser.add_argument("--rows", type=Path, help="a file with texts for it, cut to --length words less a quarter")
    parser.add_argument("--bf16", action="store_true", help="with the base in bfloat16 too")
    parser.add_argument("--uneven", action="store_true", help="texts of any length up to this one")
    parser.add_argument("--turns", type=int, default=1, help="times that each has its turn; the shortest counts")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.rows is None:
        given = texts(options.texts, options.length, uneven=options.uneven)
    else:
        column = read_table(options.rows)["text"].to_pylist()
        given = [" ".join(text.split()[: 3 * options.length // 4]) for text in column[:: len(column) // options.texts]]
        given = given[: options.texts]
    with tempfile.TemporaryDirectory() as place:
        folder = options.adapter or adapter(Path(place) / "adapter", options.model)
        merged = Path(place) / "merged"
        afina.export_adapter(folder, "merged", out=merged)
        exact = afina.load(folder)
        ways = {
            "captum": lambda: captums(exact, given, options.steps, merged),
            "captum through Afina": lambda: captums(exact, given, options.steps, None),
            "afina": lambda: ours(exact, given, options.steps),
            "afina, points as needed": lambda: ours(exact, given, None),
        }
        if options.bf16:
            rounded = afina.load(folder, precision="bf16")
            ways["afina bf16"] = lambda: ours(rounded, given, options.steps)
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        values: dict[str, list[np.ndarray]] = {}
        # In turns, so that a slow moment of the machine does not fall on one of them alone.
        for _ in range(options.turns):
            for name, way in ways.items():
                values[name], took = way()
                seconds[name].append(took)
    shortest = {name: min(own) for name, own in seconds.items()}
    result = {
        "texts": options.texts, "length": options.length, "steps": options.steps, "uneven": options.uneven,
        "threads": torch.get_num_threads(), "seconds": shortest,
        "times_captum": {name: shortest["captum"] / own for name, own in shortest.items()},
        "captum_and_afina": agreement(values["captum"], values["afina"]),
        "captum_and_points_as_needed": agreement(values["captum"], values["afina, points as needed"]),
    }  # fmt: skip
    if options.bf16:
        result["afina_and_bf16"] = agreement(values["afina"], values["afina bf16"])
    print(json.dumps(result, indent=2))
    if options.out is not None:
        write_record(options.out, "captum", **result)


if __name__ == "__main__":
    main()
