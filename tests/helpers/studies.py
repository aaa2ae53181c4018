"""Small studies: their data, whose labels can be learned, and their settings."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from families import WORDS

__all__ = ["settings", "write_csv", "write_splits"]

Loader = Callable[[str], Path]


def write_csv(path: Path, rows: int, seed: int, *, number: bool = False) -> None:
    """Texts whose label is a matter of which words stand in them."""
    draw = random.Random(seed)
    lines = ["text,label"]
    for _ in range(rows):
        good = draw.random() < 0.5
        telling = draw.choice(["good", "great"] if good else ["bad", "late"])
        words = [*draw.choices(WORDS, k=draw.randint(3, 12)), telling]
        label = f"{draw.gauss(3.5 if good else 1.5, 0.1):.2f}" if number else ("praise" if good else "complaint")
        lines.append(f"{' '.join(words)},{label}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_splits(folder: Path, **rows: int) -> Path:
    """Write a file for each split, of so many rows."""
    for seed, (split, count) in enumerate(rows.items()):
        write_csv(folder / f"{split}.csv", count, seed)
    return folder


def settings(family_folder: Loader, csv_folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "model": str(family_folder("bert")), "dataset": str(csv_folder), "methods": ["lora"], "epochs": 2,
        "precision": "fp32", "max_length": 32, "learning_rate": 1e-2, "rank": 2, **more,
    }  # fmt: skip
