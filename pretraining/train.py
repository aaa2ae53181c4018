"""Train the tokenizer and the embedded model on the recipe's text; stop and go on as you like.

    python pretraining/train.py --out build/small --tokens 10_000_000

The rate is constant after a short warm-up and falls to zero over the last 40% of the tokens. Every few minutes the state is
saved in OUT; the same command goes on from there. At the end OUT/model is the folder to package.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recipe import Document, documents
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SEED, VALIDATION_SEED = 1, 2
CHUNK = 8192
"""Documents that are written, sorted by length and batched at a time."""
END, PAD, ROLES = "<|end|>", "<|pad|>", ("system", "user", "assistant")
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
MUON_RATE, ADAM_RATE, WARM_STEPS, FALL = 3e-3, 4e-3, 40, 0.4


def written(document: Document) -> str:
    """Return a document as the model reads it; for a dialogue, the same as the tokenizer's chat template gives."""
    if isinstance(document, str):
        return document + END
    return "".join(f"<|{message['role']}|>{message['content']}{END}" for message in document)


def train_tokenizer(vocabulary: int, count: int = 40_000) -> PreTrainedTokenizerFast:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    # Digits stand alone, so that numbers are read by their figures.
    split = pre_tokenizers.Split(Regex(r"\d"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    special = [PAD, END, *(f"<|{role}|>" for role in ROLES)]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False, min_frequency=5,
    )  # fmt: skip
    texts = (part for text in documents(SEED, count) for part in contents(text))
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, additional_special_tokens=special[2:],
        clean_up_tokenization_spaces=False, model_max_length=512,
    )  # fmt: skip
    fast.chat_template = TEMPLATE
    return fast


def contents(document: Document) -> list[str]:
    return [document] if isinstance(document, str) else [message["content"] for message in document]


def batches(tokenizer: Any, seed: int, chunk: int, tokens: int, longest: int) -> list[np.ndarray]:
    """Return the batches (B, T) of one chunk of documents, rows of like lengths together, -1 behind their ends."""
    texts = [written(document) for document in documents(seed, CHUNK, chunk * CHUNK)]
    rows = [ids[:longest] for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
    rows.sort(key=len)
    parts: list[list[list[int]]] = [[]]
    for row in rows:
        if parts[-1] and len(row) * (len(parts[-1]) + 1) > tokens:
            parts.append([])
        parts[-1].append(row)
    order = np.random.default_rng([seed, chunk]).permutation(len(parts))
    return [padded(parts[place]) for place in order]


def padded(rows: Sequence[Sequence[int]]) -> np.ndarray:
    block = np.full((len(rows), max(map(len, rows))), -1, dtype=np.int64)
    for place, row in enumerate(rows):
        block[place, : len(row)] = row
    return block


def loss_of(model: Any, block: np.ndarray) -> tuple[torch.Tensor, int]:
    """Return the summed loss of the next tokens of a batch, and their number."""
    ids = torch.from_numpy(block)
    targets = ids[:, 1:]
    there = targets >= 0
    with torch.autocast("cpu", torch.bfloat16):
        # Attention looks back only, so that nothing sees the padding behind it.
        states = model.model(input_ids=ids[:, :-1].clamp(min=0), use_cache=False).last_hidden_state
        logits = model.lm_head(states[there])
    return cross_entropy(logits.float(), targets[there], reduction="sum"), int(there.sum())


@torch.no_grad()
def evaluate(model: Any, held_out: list[np.ndarray]) -> float:
    model.eval()
    sums = [loss_of(model, block) for block in held_out]
    model.train()
    return sum(float(loss) for loss, _ in sums) / sum(count for _, count in sums)


def optimizers(model: Any) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al., 2024) for the layers' matrices, AdamW for the embeddings and norms."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    muon = torch.optim.Muon(matrices, lr=MUON_RATE, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    adam = torch.optim.AdamW(others, lr=ADAM_RATE, betas=(0.9, 0.98), weight_decay=0.0)
    for optimizer, rate in ((muon, MUON_RATE), (adam, ADAM_RATE)):
        optimizer.param_groups[0]["peak"] = rate
    return [muon, adam]


def new_model(options: argparse.Namespace, tokenizer: Any) -> LlamaForCausalLM:
    torch.manual_seed(SEED)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=options.width,
            intermediate_size=2 * options.width,
            num_hidden_layers=options.layers,
            num_attention_heads=options.width // 64,
            num_key_value_heads=options.width // 128,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            attn_implementation="eager",  # short rows: faster than the fused kernel on a CPU
        )
    )


def stream(
    tokenizer: Any, options: argparse.Namespace, chunk: int, batch: int
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield (chunk, next batch's number, batch) from a place on, without end."""
    while True:
        parts = batches(tokenizer, SEED, chunk, options.batch_tokens, 512)
        for place in range(batch, len(parts)):
            yield chunk, place + 1, parts[place]
        chunk, batch = chunk + 1, 0


def save_atomically(save: Any, path: Path) -> None:
    part = path.with_suffix(".part")
    save(part)
    part.replace(path)


def train(options: argparse.Namespace) -> None:
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    folder = out / "model"
    if not (folder / "tokenizer.json").exists():
        train_tokenizer(options.vocabulary).save_pretrained(folder, save_jinja_files=False)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    model = new_model(options, tokenizer)
    optimizers_ = optimizers(model)
    state: dict[str, Any] = {"step": 0, "tokens": 0, "chunk": 0, "batch": 0, "seconds": 0.0, "curve": []}
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        for optimizer, of_it in zip(optimizers_, saved["optimizers"], strict=True):
            optimizer.load_state_dict(of_it)
        state = saved["state"]
    held_out = batches(tokenizer, VALIDATION_SEED, 0, options.batch_tokens, 512)[:12]
    begun, before, last_save = time.perf_counter(), state["seconds"], time.perf_counter()
    sums: list[tuple[torch.Tensor, int]] = []
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(tokenizer)} tokens", flush=True)

    for chunk, batch, block in stream(tokenizer, options, state["chunk"], state["batch"]):
        if state["tokens"] >= options.tokens:
            break
        left = (options.tokens - state["tokens"]) / options.tokens
        factor = min(1.0, (state["step"] + 1) / WARM_STEPS, left / FALL)
        loss, count = loss_of(model, block)
        (loss / count).backward()
        for optimizer in optimizers_:
            optimizer.param_groups[0]["lr"] = optimizer.param_groups[0]["peak"] * factor
            optimizer.step()
            optimizer.zero_grad()
        sums.append((loss.detach(), count))
        state |= {"step": state["step"] + 1, "tokens": state["tokens"] + count, "chunk": chunk, "batch": batch}
        state["seconds"] = before + time.perf_counter() - begun
        if state["step"] % 50 == 0:
            mean = float(sum(loss for loss, _ in sums)) / sum(count for _, count in sums)
            row = {
                "step": state["step"],
                "tokens": state["tokens"],
                "seconds": round(state["seconds"], 1),
                "train_loss": mean,
            }
            row["heldout_loss"] = evaluate(model, held_out[:3])
            state["curve"].append(row)
            sums.clear()
            print(json.dumps(row), flush=True)
        if time.perf_counter() - last_save > 120:
            save_checkpoint(model, optimizers_, state, checkpoint)
            last_save = time.perf_counter()

    save_checkpoint(model, optimizers_, state, checkpoint)
    finish(model, held_out, state, options, folder)


def save_checkpoint(model: Any, optimizers_: Sequence[Any], state: dict[str, Any], path: Path) -> None:
    everything = {"model": model.state_dict(), "optimizers": [o.state_dict() for o in optimizers_], "state": state}
    save_atomically(lambda part: torch.save(everything, part), path)


def finish(
    model: Any, held_out: list[np.ndarray], state: dict[str, Any], options: argparse.Namespace, folder: Path
) -> None:
    """Write the model in bfloat16 with what was seen on the way."""
    import tokenizers
    import transformers

    model.to(torch.bfloat16)
    final = evaluate(model, held_out)
    model.generation_config.eos_token_id = model.config.eos_token_id
    model.save_pretrained(folder)
    versions = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
    }
    settings = {key: value for key, value in vars(options).items() if key != "out"}
    summary = {
        "parameters": sum(p.numel() for p in model.parameters()), "tokens": state["tokens"], "steps": state["step"],
        "seconds": round(state["seconds"]), "heldout_loss": final, "settings": settings | {"seed": SEED},
        "versions": versions, "curve": state["curve"],
    }  # fmt: skip
    save_atomically(lambda part: part.write_text(json.dumps(summary, indent=1) + "\n"), options.out / "loss.json")
    save_atomically(lambda part: part.write_text(figure(state["curve"])), options.out / "loss.svg")
    print(f"held-out loss {final:.4f}, perplexity {np.exp(final):.2f}, {state['seconds']:.0f} s", flush=True)


def figure(curve: list[dict[str, float]], width: int = 640, height: int = 320) -> str:
    """Return the loss curves as an SVG."""
    xs = np.array([row["tokens"] for row in curve]) / 1e6
    lines = {"#888": [row["train_loss"] for row in curve], "#0a58ca": [row["heldout_loss"] for row in curve]}
    top, left, right, bottom = max(map(max, lines.values())), 45, width - 15, height - 40
    low = min(map(min, lines.values()))

    def place(x: float, y: float) -> str:
        return f"{left + (right - left) * x / xs[-1]:.1f},{bottom - (bottom - 15) * (y - low) / (top - low):.1f}"

    drawn = [
        f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="'
        + " ".join(place(x, y) for x, y in zip(xs, values, strict=True)) + '"/>'
        for colour, values in lines.items()
    ]  # fmt: skip
    ticks = [low + (top - low) * part / 4 for part in range(5)]
    drawn += [f'<text x="5" y="{place(0, y).split(",")[1]}">{y:.2f}</text>' for y in ticks]
    drawn += [
        f'<text x="{place(x, low).split(",")[0]}" y="{bottom + 16}">{x:.1f}</text>' for x in xs[:: max(1, len(xs) // 8)]
    ]
    label = f'<text x="{width / 3:.0f}" y="{height - 6}">million tokens; loss: train grey, held-out blue</text>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="11">'
    return f'{head}<rect width="100%" height="100%" fill="white"/>{"".join(drawn)}{label}</svg>\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="Folder for checkpoints, the loss curve and the model.")
    parser.add_argument("--tokens", type=int, default=10_000_000, help="Tokens to train on, in all.")
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--vocabulary", type=int, default=2560)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
