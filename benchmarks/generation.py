"""Tokens a second of greedy writing: Afina with and without a LoRA beside transformers' generate, on the same weights.

    python benchmarks/generation.py --model ../shared/data/stories260k --out benchmarks/results/generation.json

Medians of rounds in which every contestant writes once, one prompt and a batch of eight, no end token; a model given by
`--model`, and one of 20 million parameters in Llama's shape with random weights.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
import transformers

from afina.adapters.adapter import build_adapter
from afina.backbone.load import load_backbone
from afina.generation.generate import write
from afina.generation.rows import Request
from afina.generation.settings import GenerationSettings
from afina.methods.base import make_method
from record import write_record


def shape_20m(folder: Path) -> Path:
    """Save a Llama of 8 layers, 384 wide, beside a word-level tokenizer (20 million parameters)."""
    from tokenizers import Tokenizer, models

    config = transformers.LlamaConfig(
        vocab_size=8000, hidden_size=384, intermediate_size=1024, num_hidden_layers=8, num_attention_heads=6,
        num_key_value_heads=6, max_position_embeddings=1024, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({f"w{index}": index for index in range(8000)}, unk_token="w0"))
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="w0", eos_token="w2").save_pretrained(folder)
    return folder


def measure(folder: Path, tokens: int, rounds: int) -> list[dict[str, Any]]:
    figures = []
    backbone = load_backbone(str(folder), speaks=True)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)
    backbone.generation = transformers.GenerationConfig()
    count = sum(value.numel() for value in theirs.parameters()) / 1e6
    lora = build_adapter(make_method("lora", {}), backbone, outputs=1, seed=0)
    settings = GenerationSettings(max_new_tokens=tokens)
    for rows in (1, 8):
        prompts = torch.randint(10, 500, (rows, 16), generator=torch.Generator().manual_seed(0))

        def transformers_generate(prompts: torch.Tensor = prompts) -> int:
            out = theirs.generate(
                prompts, attention_mask=torch.ones_like(prompts), do_sample=False, max_new_tokens=tokens,
                min_new_tokens=tokens, pad_token_id=0,
            )  # fmt: skip
            return out[:, 16:].numel()

        def ours(adapter, prompts: torch.Tensor = prompts) -> int:
            requests = [Request(row.tolist(), adapter, number=index) for index, row in enumerate(prompts)]
            return sum(len(piece.written.tokens) for piece in write(backbone, requests, settings) if piece.written)

        contestants = {
            "transformers": transformers_generate, "afina, no adapter": lambda: ours(None), "afina, lora": lambda: ours(lora),
        }  # fmt: skip
        rates = {name: [] for name in contestants}
        for round_ in range(rounds + 1):
            for name, contestant in contestants.items():
                began = time.perf_counter()
                written = contestant()
                if round_:  # the first warms up
                    rates[name].append(written / (time.perf_counter() - began))
        best = median(rates["transformers"])
        for name, values in rates.items():
            rate = median(values)
            print(f"{count:6.2f} M  {rows} rows  {name:20}{rate:10.0f} tokens/s {rate / best:6.2f}", flush=True)
            figures.append({"millions": round(count, 2), "rows": rows, "contestant": name, "tokens_per_second": values})
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a folder with a small model that writes")
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    figures = measure(options.model, options.tokens, options.rounds) if options.model else []
    with tempfile.TemporaryDirectory() as folder:
        figures += measure(shape_20m(Path(folder)), options.tokens, options.rounds)
    if options.out:
        write_record(options.out, figures=figures)


if __name__ == "__main__":
    main()
