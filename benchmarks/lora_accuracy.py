"""LoRA's accuracy beside Hugging Face Trainer + peft: same rows, same hyperparameters, same seeds.

    python benchmarks/lora_accuracy.py --data ../shared/data/ag_news --train 1000 --test 1000 --seeds 3 --rate 2e-3

Both train MiniLM with rank 4, alpha 8, query and value, batch 6, 3 epochs, AdamW without decay, linear schedule, clipping
at 1, float32 for Trainer and `precision: auto` for Afina; order of batches and starting weights differ, as their seeds do.
"""

import argparse
import tempfile
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from record import write_record
from trainer_peft import tokenizer, trained_predictions


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
        write_record(options.out, "peft", trainer=theirs, afina=ours)


def rows_of(options: argparse.Namespace) -> Any:
    from afina.dataset_spec import DatasetSpec
    from afina.tasks.reading import load_text_dataset

    return load_text_dataset(DatasetSpec(path=str(options.data)), train_limit=options.train, test_limit=options.test)


def study_accuracies(options: argparse.Namespace) -> list[float]:
    from afina.results.results_jsonl import read_results
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
    from datasets import Dataset
    from peft import TaskType
    from transformers import AutoModelForSequenceClassification, DataCollatorWithPadding

    data, encoder = rows_of(options), tokenizer()

    def encode(rows: Any) -> Dataset:
        pairs = (rows.text_pair,) if rows.text_pair else ()
        encoded = encoder(rows.text, *pairs, truncation=True, max_length=options.max_length)
        return Dataset.from_dict({**encoded, "labels": rows.label.tolist()})

    found = trained_predictions(
        AutoModelForSequenceClassification, TaskType.SEQ_CLS, DataCollatorWithPadding, encode(data.train),
        encode(data.test), labels=len(data.label_names), rate=options.rate, epochs=3, seed=seed,
    )  # fmt: skip
    return float((found.predictions.argmax(axis=-1) == data.test.label).mean())


if __name__ == "__main__":
    main()
