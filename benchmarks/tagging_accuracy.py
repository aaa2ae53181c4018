"""LoRA's entity F1 beside Hugging Face Trainer + peft: same rows, same hyperparameters, same seeds.

    python benchmarks/tagging_accuracy.py --data ../shared/data/lener_br --train 400 --test 300 --seeds 3 --rate 5e-3

Both tag with MiniLM, rank 4, alpha 8, query and value, batch 6, 3 epochs, AdamW without decay, linear schedule, clipping at
1, float32 for Trainer and `precision: auto` for Afina; order of batches and starting weights differ, as their seeds do. A
word that is cut off counts as O for both. `--others full,head` adds methods of Afina's alone, at their rates in `RATES`.
"""

import argparse
import tempfile
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from record import write_record
from trainer_peft import tokenizer, trained_predictions

RATES = {"full": 3e-4, "head": 1e-2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--train", type=int, default=400)
    parser.add_argument("--test", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=5e-3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--others", type=lambda text: text.split(","), default=[])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = {"Afina, lora": [], **{f"Afina, {name}": [] for name in options.others}} | study_scores(options)
    found["Trainer + peft"] = [trainer_score(options, seed) for seed in range(options.seeds)]
    for name, values in found.items():
        spread = f" +- {stdev(values):.4f}" if len(values) > 1 else ""
        print(f"{name:16}{mean(values):.4f}{spread}  {', '.join(f'{value:.4f}' for value in values)}")
    if options.out:
        write_record(options.out, "peft", f1=found)


def study_scores(options: argparse.Namespace) -> dict[str, list[float]]:
    from afina.study.study import Study

    with tempfile.TemporaryDirectory() as folder:
        results = Study(
            Path(folder) / "out", model="minilm", dataset=str(options.data), methods=["lora", *options.others],
            seeds=options.seeds, rank=4, learning_rate={**RATES, "lora": options.rate}, train_limit=options.train,
            test_limit=options.test, max_length=options.max_length, epochs=options.epochs, task="tagging",
            train_evaluation_limit=50,
        ).run()  # fmt: skip
    scores: dict[str, list[float]] = {}
    for result in results:
        scores.setdefault(f"Afina, {result['method']}", []).append(result["test_metric"])
    return scores


def trainer_score(options: argparse.Namespace, seed: int) -> float:
    from datasets import Dataset
    from peft import TaskType
    from seqeval.metrics import f1_score
    from transformers import AutoModelForTokenClassification, DataCollatorForTokenClassification

    from afina.dataset_spec import DatasetSpec
    from afina.tasks.reading import load_text_dataset

    spec = DatasetSpec(path=str(options.data), task="tagging")
    data = load_text_dataset(spec, train_limit=options.train, test_limit=options.test)
    encoder = tokenizer()

    def encode(rows: Any) -> Dataset:
        encoded = encoder(rows.words, is_split_into_words=True, truncation=True, max_length=options.max_length)
        labels = []
        for index, tags in enumerate(rows.label):
            words = encoded.word_ids(index)
            first = [word is not None and word != before for word, before in zip(words, [None, *words], strict=False)]
            labels.append([int(tags[word]) if new else -100 for word, new in zip(words, first, strict=True)])
        return Dataset.from_dict({**encoded, "labels": labels})

    found = trained_predictions(
        AutoModelForTokenClassification, TaskType.TOKEN_CLS, DataCollatorForTokenClassification, encode(data.train),
        encode(data.test), labels=len(data.label_names), rate=options.rate, epochs=options.epochs, seed=seed,
    )  # fmt: skip
    names, gold, predicted = data.label_names, [], []
    for logits, labels, tags in zip(found.predictions, found.label_ids, data.test.label, strict=True):
        said = [names[tag] for tag in logits[labels != -100].argmax(axis=-1)]
        gold.append([names[tag] for tag in tags[tags != -100]])
        predicted.append(said + ["O"] * (len(gold[-1]) - len(said)))
    return float(f1_score(gold, predicted, zero_division=0))


if __name__ == "__main__":
    main()
