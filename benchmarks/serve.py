"""Tokens a second of the engine behind `afina serve`: many who ask at one time, by mixed adapters, beside the bare base.

    python benchmarks/serve.py --gguf SmolLM2-135M-Instruct.Q4_1.gguf --out benchmarks/results/serve.json

Requests of 24 random tokens that want 64 each (`--tokens`), greedy, without end token, asked at once; 1, 4 and 16, by 0, 1, 4
and 16 adapters of LoRA (rank 8, every linear layer) and by five methods (LoRA, IA3, prefix, bottlenecks, LoReFT). Medians of
rounds in which every case has its turn: tokens a second from the first request to the last token, and the time to the first
token, whose prompts are read together. `one by one` asks 16 requests one after another. A Llama of 20 million parameters with
random weights, and the model of `--gguf` in float32. Beside it xllamacpp on the file itself, whose weights may be of 4 bits,
with as many slots: it mixes no adapters. The last figure is how many steps a short prompt waits for its first token while one
of 2,000 tokens is read. On a machine that others use, look at what is said by the processor's time, with `--threads 1`.
"""

import argparse
import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
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
CASES = [(1, LORA, 0), (1, LORA, 1), (4, LORA, 0), (4, LORA, 1), (4, LORA, 4), (16, LORA, 0), (16, LORA, 1), (16, LORA, 4),
         (16, LORA, 16), (4, FIVE, 4), (16, FIVE, 5)]  # fmt: skip
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


def measure(name: str, backbone: Backbone, rounds: int, tokens: int) -> list[dict[str, Any]]:
    backbone.generation = transformers.GenerationConfig()
    loras = [made(backbone, LORA, seed) for seed in range(16)]
    five = [made(backbone, method, 0) for method in MIX]
    rates: dict[Any, list[float]] = {case: [] for case in CASES}
    first: dict[Any, list[float]] = {case: [] for case in CASES}
    busy: dict[Any, list[float]] = {case: [] for case in CASES}
    apart, apart_busy = list[float](), list[float]()
    with Engine(backbone, prompt_tokens_a_turn=512) as engine:
        for round_ in range(rounds + 1):
            for case in CASES:
                count, kind, adapters = case
                chosen = (loras if kind == LORA else five)[:adapters] or [None]
                rate, of_cpu, firsts = ask_all(engine, chosen, count, tokens)
                if round_:  # the first warms up
                    rates[case].append(rate)
                    busy[case].append(of_cpu)
                    first[case] += firsts
            began, used = time.perf_counter(), time.process_time()
            written = sum(
                len(engine.submit(Ask(prompt=ids, settings=GenerationSettings(max_new_tokens=tokens))).result().tokens)
                for ids in prompts(16)
            )
            if round_:
                apart.append(written / (time.perf_counter() - began))
                apart_busy.append(written / (time.process_time() - used))
    figures = [
        {
            "model": name, "requests": case[0], "methods": case[1], "adapters": case[2], "tokens_per_second": rates[case],
            "of_the_bare_base": median(rates[case]) / median(rates[case[0], LORA, 0]),
            "tokens_per_processor_second": busy[case],
            "of_the_bare_base_by_processor_time": median(busy[case]) / median(busy[case[0], LORA, 0]),
            "first_token_p50": median(first[case]), "first_token_p99": sorted(first[case])[int(0.99 * len(first[case]))],
        }
        for case in CASES
    ]  # fmt: skip
    for one in figures:
        print(
            f"{name:8} {one['requests']:2} requests {one['adapters']:2} of {one['methods']:13}"
            f"{median(one['tokens_per_second']):8.1f} tokens/s{one['of_the_bare_base']:6.2f} of the bare base "
            f"({one['of_the_bare_base_by_processor_time']:.2f} by the processor's time), first token "
            f"{one['first_token_p50']:.2f} s (p99 {one['first_token_p99']:.2f})", flush=True,
        )  # fmt: skip
    together = median(rates[16, LORA, 0]) / median(apart)
    print(
        f"{name:8} 16 requests one by one {median(apart):8.1f} tokens/s; together {together:.2f} times that", flush=True
    )
    return [*figures, {"model": name, "one_by_one": apart, "together": together}]


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", type=Path, help="a model in llama.cpp's form, for both")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=64, help="what each request wants")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    figures: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        figures += measure(
            "20M", load_backbone(str(shape_20m(Path(folder))), speaks=True), options.rounds, options.tokens
        )
    if options.gguf:
        figures += measure_llama_cpp(options.gguf, options.rounds, options.tokens, options.threads)
        backbone = load_backbone(str(options.gguf), speaks=True)
        figures += measure("SmolLM2", backbone, options.rounds, options.tokens)
        steps = steps_to_first(backbone)
        print(
            f"SmolLM2: a short prompt's first token comes {steps} steps after it was asked, while 2,000 tokens are read"
        )
        figures.append({"model": "SmolLM2", "steps_to_first_token": steps})
    if options.out:
        write_record(options.out, "xllamacpp", threads=options.threads, tokens=options.tokens, figures=figures)


if __name__ == "__main__":
    main()
