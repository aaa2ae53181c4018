"""Quantised bases: what a step of LoRA takes on each, and what SmolLM2 is worth in 8, 4, 3 and 2 bits.

    python benchmarks/quantised.py steps --model smollm2 --work /tmp/quantised
    python benchmarks/quantised.py steps --model 1.1B --work /tmp/quantised
    python benchmarks/quantised.py bits --bits 4 --data ../shared/data --work /tmp/quantised
    python benchmarks/quantised.py lora --bits 4 --data ../shared/data --work /tmp/quantised

`steps`: LoRA of rank 8 on queries and values, two classes, rows of one length; every base in a process of its own, median
seconds of a step by wall clock and by the process's time, and the largest resident set during the steps over what it was
before the model was loaded; bf16 is left out where the processor imitates it. Beside them the same with peft on
bitsandbytes' nf4 and on the plain model, in a bare loop (less than what Trainer does). 1.1B is a Llama shape with random
weights, written into the work folder once.

`bits`: SmolLM2-135M rounded by GPTQ and to the nearest: perplexity on AG News and MMLU, each with its 95% interval.
`lora`: LoRA on each of these by `task: choices`, AG News. Checkpoints stay in the work folder, and a killed
command goes on.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from process_memory import peak_megabytes_over, reset_peak
from record import write_record

BASES = ("fp32", "bf16", "int8", "nf4", "gptq-8", "gptq-4", "peft-plain", "peft-nf4")
WARM_UP = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("steps", "bits", "lora"))
    parser.add_argument("--model", default="smollm2", help="a name or folder, or 1.1B, for steps")
    parser.add_argument("--data", type=Path, help="folder with ag_news/ and mmlu/, for bits and lora")
    parser.add_argument("--work", type=Path, required=True, help="where checkpoints lie")
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 4, 3, 2])
    parser.add_argument("--bases", nargs="+", default=BASES, choices=BASES)
    parser.add_argument("--only", help="one base, measured in this process")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.only:
        print(json.dumps(step_of(options.only, options)))
        return
    figures = {"steps": steps, "bits": bits, "lora": lora}[options.what](options)
    if options.out:
        write_record(options.out, "peft", "bitsandbytes", figures=figures)


# -- steps ---------------------------------------------------------------------------------------------------------------


def steps(options: argparse.Namespace) -> dict[str, Any]:
    """Time each base in a process of its own."""
    from afina.backbone.storage.base import imitated

    figures, slow = {}, imitated("cpu")
    for base in options.bases:
        if base in slow:  # a step would take forty times as long, which says nothing of the base
            print(f"{base:12s} left out: this processor imitates it")
            continue
        prepared(base, options)  # not in the process that is measured
        command = [sys.executable, __file__, *sys.argv[1:], "--only", base]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        figures[base] = one = json.loads(answer.splitlines()[-1])
        print(f"{base:12s} {one['step_ms']:8.0f} ms ({one['process_ms']:8.0f} of the process) {one['peak_mb']:8.0f} MB")
    return figures


def prepared(base: str, options: argparse.Namespace) -> str:
    """Return the name or folder of a base, which is made where it is not there yet."""
    from afina import api

    plain = str(random_shape(options.work / "shape-1.1B")) if options.model == "1.1B" else options.model
    if not base.startswith("gptq"):
        return plain
    folder = options.work / f"{options.model}-rtn-{base[-1]}"
    if not folder.exists():
        api.quantise(plain, folder, bits=int(base[-1]), method="rtn", device="cpu")
    return str(folder)


def random_shape(folder: Path) -> Path:
    """Write a Llama of 1.1 billion random weights, in bfloat16."""
    if (folder / "model.safetensors").is_file():
        return folder
    import torch
    from tokenizers import Tokenizer, models
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    from afina.backbone.shapes import read_shape

    config = read_shape("TinyLlama/TinyLlama-1.1B-Chat-v1.0")
    config.pad_token_id = 0
    torch.set_default_dtype(torch.bfloat16)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder, max_shard_size="8GB")
    torch.set_default_dtype(torch.float32)
    words = Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1}, unk_token="<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="</s>").save_pretrained(folder)
    return folder


def step_of(base: str, options: argparse.Namespace) -> dict[str, float]:
    """Return median milliseconds of a step, by the clock and by the process's time, and the peak."""
    import torch

    name = prepared(base, options)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(2, 1000, (options.batch_size, options.length), generator=generator)
    labels = torch.arange(options.batch_size) % 2
    start = reset_peak()
    scores, weights = (peft_model if base.startswith("peft") else afina_model)(name, base)
    optimiser = torch.optim.AdamW(weights, lr=1e-4)
    walls, cores = [], []
    for number in range(WARM_UP + options.steps):
        if number == WARM_UP:
            reset_peak()
        wall, core = time.perf_counter(), time.process_time()
        torch.nn.functional.cross_entropy(scores(ids).float(), labels).backward()
        optimiser.step()
        optimiser.zero_grad()
        walls.append(time.perf_counter() - wall)
        cores.append(time.process_time() - core)
    return {
        "step_ms": 1000 * median(walls[WARM_UP:]), "process_ms": 1000 * median(cores[WARM_UP:]),
        "peak_mb": peak_megabytes_over(start),
    }  # fmt: skip


def afina_model(name: str, base: str) -> tuple[Any, list[Any]]:
    """Return scores of token ids by Afina, and what trains."""
    from afina.adapters.adapter import build_adapter
    from afina.backbone.attachment import Attachment
    from afina.backbone.load import load_backbone
    from afina.methods.base import make_method

    backbone = load_backbone(name, precision=None if base.startswith("gptq") else base)
    adapter = build_adapter(make_method("lora", {"rank": 8}, {}), backbone, outputs=2, seed=0)
    attached = Attachment(backbone, [adapter]).__enter__()
    attached.train(True)
    return lambda ids: attached({"input_ids": ids})[0], list(adapter.parameters())


def peft_model(name: str, base: str) -> tuple[Any, list[Any]]:
    """Return the same by peft, on transformers' model."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification, BitsAndBytesConfig

    from afina.backbone.model_files import model_path
    from afina.backbone.storage.base import Packed

    dtype = Packed.compute("cpu")
    settings = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=["classifier", "score"],
    )  # fmt: skip
    model = AutoModelForSequenceClassification.from_pretrained(
        model_path(name), num_labels=2, dtype=dtype, **({"quantization_config": settings} if base == "peft-nf4" else {})
    )
    model.config.pad_token_id = 0
    targets = ["query", "value"] if hasattr(model, "bert") else ["q_proj", "v_proj"]
    lora = LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, target_modules=targets)
    model = get_peft_model(model, lora).train()
    weights = [value for value in model.parameters() if value.requires_grad]
    return lambda ids: model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits, weights


# -- bits ----------------------------------------------------------------------------------------------------------------


def texts_of(options: argparse.Namespace) -> tuple[Path, Path]:
    """Write what is calibrated on and what is measured on: AG News, train and test."""
    import pyarrow.parquet as parquet

    files = options.work / "calibration.txt", options.work / "held-out.txt"
    for file, part, count in zip(files, ("train", "test"), (2000, 200), strict=True):
        rows = parquet.read_table(options.data / "ag_news" / f"{part}.parquet").column("text").to_pylist()[:count]
        file.write_text("\n".join(" ".join(row.split()) for row in rows) + "\n", encoding="utf-8")
    return files


def folders_of(options: argparse.Namespace) -> dict[str, str]:
    """Return SmolLM2 and its quantised forms, which are made where they are not there yet."""
    from afina import api

    calibration, _ = texts_of(options)
    models = {"plain": options.model}
    for count in options.bits:
        for method in ("gptq", "rtn"):
            folder = options.work / f"{options.model}-{method}-{count}-asymmetric"
            if not folder.exists():
                api.quantise(
                    options.model, folder, bits=count, method=method, symmetric=False, samples=options.samples,
                    calibration=calibration, device="cpu",
                )  # fmt: skip
            models[f"{method}-{count}"] = str(folder)
    return models


def bits(options: argparse.Namespace) -> dict[str, Any]:
    """Measure each model's perplexity and multiple choice."""
    from afina import api

    _, held_out = texts_of(options)
    tasks = [Path(__file__).parents[1] / "studies" / "tasks" / "mmlu.yaml"]
    figures: dict[str, Any] = {}
    for name, folder in folders_of(options).items():
        measured = api.evaluate(folder, text=[held_out], tasks=tasks, limit=options.limit, device="cpu")
        figures[name] = {row.measure: vars(row.value) for row in measured.rows}
        error = 0.0
        if name != "plain":
            layers = [layer["error"] for layer in api.quantise(folder, report=True).layers]
            error = figures[name]["error"] = sum(layers) / len(layers)
        shown = ", ".join(
            f"{measure} {one['value']:.4g} [{one['low']:.4g}, {one['high']:.4g}]"
            for measure, one in figures[name].items() if measure in ("perplexity", "acc") and one["low"] is not None
        )  # fmt: skip
        print(f"{name:8s} error of outputs {100 * error:6.2f}%  {shown}", flush=True)
    return figures


def lora(options: argparse.Namespace) -> dict[str, Any]:
    """Train LoRA on each model, and measure it on the same test rows."""
    import afina

    figures: dict[str, Any] = {}
    for name, folder in folders_of(options).items():
        study = afina.Study(
            options.work / f"study-{name}", model=folder, dataset=str(options.data / "ag_news"), task="choices",
            methods=["lora"], train_limit=2 * options.limit, test_limit=options.limit, epochs=1, max_length=options.length,
        )  # fmt: skip
        (result,) = study.run()
        value = result["test_metric"]
        figures[name] = {"test_metric": value, "train_seconds": result["train_seconds"]}
        spread = 1.96 * (value * (1 - value) / options.limit) ** 0.5
        print(f"{name:8s} {value:.3f} [{value - spread:.3f}, {value + spread:.3f}]", flush=True)
    return figures


if __name__ == "__main__":
    main()
