"""How far an answer of `afina serve` depends on who is written beside it, in float32 and in bfloat16.

    python benchmarks/serve_independence.py --out benchmarks/results/serve_independence.json

Sixteen prompts by the bare SmolLM2 and by adapters of five methods, each drawn with a seed of its own: every one alone, then
all at once. Figures: answers that are the same to the token, and as long as they are, the largest difference of a token's
log-probability. In float32 a processor adds in another order where a product has other sizes; in bfloat16 sums are rounded
to 8 bits besides, so that two tokens of nearly one probability may change places.
"""

import argparse
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
import transformers

from afina.backbone.load import load_backbone
from afina.generation.settings import GenerationSettings
from afina.serve.engine import Engine
from afina.serve.reply import Ask
from record import write_record
from serve import MIX, made, prompts

Answer = list[tuple[int, float]]
"""Tokens with their log-probabilities."""


def answers(engine: Engine, asks: Sequence[Ask]) -> list[Answer]:
    """Return what is written where all of these are asked at once."""
    replies = [engine.submit(ask) for ask in asks]
    return [[(one.token, one.log_probability or 0.0) for piece in reply for one in piece.said] for reply in replies]


def asked(adapters: Sequence[Any], count: int, tokens: int) -> list[Ask]:
    return [
        Ask(
            prompt=ids, adapter=adapters[number % len(adapters)],
            settings=GenerationSettings(max_new_tokens=tokens, temperature=1.0, seed=number, log_probabilities=0),
        )
        for number, ids in enumerate(prompts(count))
    ]  # fmt: skip


def measure(model: str, precision: str, count: int, tokens: int) -> dict[str, Any]:
    backbone = load_backbone(model, precision=precision, speaks=True)
    backbone.generation = transformers.GenerationConfig()
    asks = asked([None, *(made(backbone, name, 0) for name in MIX)], count, tokens)
    with Engine(backbone) as engine:
        alone = [answers(engine, [ask])[0] for ask in asks]
        together = answers(engine, asks)
    same, moved = 0, 0.0
    for one, other in zip(alone, together, strict=True):
        pairs = list(takewhile(lambda pair: pair[0][0] == pair[1][0], zip(one, other, strict=False)))
        same += len(pairs) == len(one) == len(other)
        moved = max([moved, *(abs(left[1] - right[1]) for left, right in pairs)])
    print(
        f"{precision}: {same} of {count} answers of {tokens} tokens are the same; a token's log-probability moves by up to "
        f"{moved:.1e}", flush=True,
    )  # fmt: skip
    return {"precision": precision, "answers": count, "same": same, "largest_difference": moved}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    figures = []
    for precision in ("fp32", "bf16"):
        figures.append(measure(options.model, precision, options.rows, options.tokens))
        if options.out:
            write_record(options.out, threads=torch.get_num_threads(), tokens=options.tokens, figures=figures)


if __name__ == "__main__":
    main()
