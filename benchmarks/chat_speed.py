"""Chat tuning with LoRA: Afina beside TRL's SFTTrainer, on the same conversations, in one session on one machine.

    pip install trl
    python benchmarks/chat_speed.py --data ../shared/data/alpaca/train.parquet --rows 192 --rounds 3

The model has the shape of a Llama of 110M parameters (12 layers, 768 wide, MiniLM's 30,522 tokens, which are about as
many a word as Llama's) and random weights; conversations are Alpaca's with their real lengths, in a chat template that both
sides read; LoRA of rank 16 at every linear layer. Only the answers are trained on. Every contestant runs in a process of its
own, all of them once a round: two epochs, of which the second is timed from its first step to its last, everything between
steps included. Figures are medians over rounds of tokens of the conversations (no padding) a second, and the largest
peak of the resident set over what it was before the model was loaded. Contestants:

- trl: SFTConfig at its defaults (autocast to bfloat16, gradient checkpointing), 8 conversations a step;
- trl-packed: the same with packing=True, 2 rows of 512 tokens a step;
- trl-packed-tuned: the model loaded in bfloat16, no gradient checkpointing, packing, 2 rows of 512 tokens a step;
- trl-packed-long: likewise, 1 row of 1,024 tokens;
- trl-packed-bf16: likewise, LoRA's own weights in bfloat16 as well (which peft keeps in float32 unless told);
- trl-grouped-tuned: likewise without packing, 8 conversations a step grouped by length;
- afina: precision bf16, 8 conversations a step, packing auto; afina-unpacked: packing off; afina-micro: 3 at a time.
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
from typing import Any

from afina.ops.allocator import huge_pages_for_new_processes
from process_memory import peak_megabytes_over, reset_peak
from record import write_record

TRL: dict[str, dict[str, Any]] = {
    "trl": {"per_device_train_batch_size": 8},
    "trl-packed": {"per_device_train_batch_size": 2, "packing": True, "max_length": 512},
    "trl-packed-tuned": {"per_device_train_batch_size": 2, "packing": True, "max_length": 512},
    "trl-packed-long": {"per_device_train_batch_size": 1, "packing": True, "max_length": 1024},
    "trl-packed-bf16": {"per_device_train_batch_size": 1, "packing": True, "max_length": 1024},
    "trl-grouped-tuned": {"per_device_train_batch_size": 8, "train_sampling_strategy": "group_by_length"},
}
CONTESTANTS = (*TRL, "afina", "afina-unpacked", "afina-micro")
BATCH, LENGTH = 8, 512
TEMPLATE = (
    "{% for message in messages %}{{ '[unused1] ' + message['role'] + ' : ' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + ' [SEP]' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + ' [SEP] ' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[unused1] assistant : ' }}{% endif %}"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="Alpaca's train.parquet")
    parser.add_argument("--rows", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contestants", default=",".join(CONTESTANTS))
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--only", help="one contestant, measured in this process, on --model")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.only, options)))
        return
    names = options.contestants.split(",")
    with tempfile.TemporaryDirectory() as folder:
        options.model = save_model(Path(folder))
        rounds = [{name: apart(name, options) for name in names} for _ in range(options.rounds)]
    figures = {
        name: {
            "tokens_per_second": median(r[name]["tokens_per_second"] for r in rounds),
            "peak_memory_megabytes": max(r[name]["peak_memory_megabytes"] for r in rounds),
        }
        for name in names
    }
    print(f"{'':20}{'tokens/s':>10}{'peak MB':>9}")
    for name, value in figures.items():
        print(f"{name:20}{value['tokens_per_second']:10.0f}{value['peak_memory_megabytes']:9.0f}")
    if options.out:
        write_record(options.out, "peft", "trl", rounds=rounds, figures=figures)


def save_model(folder: Path) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from afina.backbone.model_files import model_path

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=f"{model_path('minilm')}/tokenizer.json", eos_token="[SEP]", pad_token="[PAD]",
        additional_special_tokens=["[unused1]"],
    )  # fmt: skip
    tokenizer._tokenizer.post_processor = None  # no [CLS] before, no [SEP] behind
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder, save_jinja_files=False)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=768, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=12,
        num_key_value_heads=12, max_position_embeddings=2048, tie_word_embeddings=True, bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def apart(name: str, options: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, "--only", name, "--data", str(options.data), "--rows", str(options.rows)]
    # As a study starts its runs; peers start as they come.
    start = huge_pages_for_new_processes() if name.startswith("afina") else contextlib.nullcontext()
    with start:
        command += ["--model", str(options.model)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"{name:20}{found['tokens_per_second']:8.0f} tokens/s{found['peak_memory_megabytes']:7.0f} MB", flush=True)
    return found


def measure(name: str, options: argparse.Namespace) -> dict[str, float]:
    import pyarrow.parquet as parquet

    columns = parquet.read_table(options.data).slice(0, options.rows).to_pydict()
    asked = [f"{one}\n{more}".strip() for one, more in zip(columns["instruction"], columns["input"], strict=True)]
    talks = [
        [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        for question, answer in zip(asked, columns["output"], strict=True)
    ]
    return (measure_trl if name in TRL else measure_afina)(name, talks, options.model)


def figures(ticks: list[float], tokens: int, baseline: int) -> dict[str, float]:
    """Of the ticks after each step of two epochs: the second epoch's tokens a second."""
    steps = len(ticks) // 2
    return {
        "tokens_per_second": tokens / (ticks[-1] - ticks[steps - 1]),
        "peak_memory_megabytes": peak_megabytes_over(baseline),
    }


def measure_trl(name: str, talks: list[Any], model_folder: Path) -> dict[str, float]:
    import torch
    import transformers.models.llama.modeling_llama  # noqa: F401 - its import is no part of the model's memory
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    ticks: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            ticks.append(time.perf_counter())

    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    tokens = sum(min(LENGTH, len(tokenizer.apply_chat_template(talk, return_dict=True)["input_ids"])) for talk in talks)
    tuned = name not in ("trl", "trl-packed")
    baseline = reset_peak()
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.bfloat16 if tuned else torch.float32)
    lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, lora, autocast_adapter_dtype=not name.endswith("bf16"))
    with tempfile.TemporaryDirectory() as folder:
        settings = {"gradient_checkpointing": False, "bf16": False} if tuned else {}
        arguments = SFTConfig(
            folder, num_train_epochs=2, learning_rate=2e-4, save_strategy="no", report_to="none", disable_tqdm=True,
            logging_strategy="no", use_cpu=True, assistant_only_loss=True, **{"max_length": LENGTH} | TRL[name] | settings,
        )  # fmt: skip
        trainer = SFTTrainer(
            model, arguments, train_dataset=Dataset.from_dict({"messages": talks}), processing_class=tokenizer,
            callbacks=[Clock()],
        )  # fmt: skip
        trainer.train()
    return figures(ticks, tokens, baseline)


def measure_afina(name: str, talks: list[Any], model_folder: Path) -> dict[str, float]:
    import torch
    import transformers.models.llama.modeling_llama  # noqa: F401

    from afina.adapters.adapter import build_adapter
    from afina.backbone.load import load_backbone
    from afina.config import StudyConfig
    from afina.data.tokens.token_files import load_tokens
    from afina.methods.lora import LoRA
    from afina.ops.allocator import keep_freed_memory
    from afina.ops.dropout import DropoutSource
    from afina.study.prepare import prepare
    from afina.tasks.base import restore
    from afina.train.loop import Callbacks, Clock, Member, train
    from afina.train.optimiser import Optimiser
    from afina.train.passes import Passes

    keep_freed_memory()  # as every run of a study does
    method = LoRA(rank=16, alpha=32, targets=("all",))
    with tempfile.TemporaryDirectory() as folder:
        # A study wants rows to test on; nothing is measured on them here.
        for split, rows in (("train", talks), ("test", talks[:8])):
            (Path(folder) / f"{split}.jsonl").write_text("\n".join(json.dumps({"messages": talk}) for talk in rows))
        config = StudyConfig.parse({
            "model": str(model_folder), "dataset": folder, "task": "chat",
            "methods": [method], "max_length": LENGTH,
        }, "benchmark")  # fmt: skip
        prepared = prepare(config, config.dataset[0], str(model_folder), Path(folder))
        tokens = load_tokens(prepared.tokens)["train"]
    task = restore(prepared.task)
    baseline = reset_peak()
    backbone = load_backbone(str(model_folder), precision="bf16", speaks=True)
    adapter = build_adapter(method, backbone, task.outputs, seed=0)
    steps = 2 * -(-len(tokens) // BATCH)
    optimiser = Optimiser(adapter.trainable(backbone), learning_rate=2e-4, total_steps=steps)
    member = Member(adapter, task, tokens, 0, 2, BATCH, optimiser, None, torch.zeros((), dtype=torch.float64))
    ticks: list[float] = []
    callbacks = Callbacks(lambda: ticks.append(time.perf_counter()), lambda ended: None)
    with Passes(backbone, DropoutSource(0), packing=not name.endswith("unpacked")) as passes:
        train(passes, [member], Clock(), callbacks, micro_batch_size=3 if name.endswith("micro") else None)
    return figures(ticks, int(tokens.lengths.sum()), baseline)


if __name__ == "__main__":
    main()
