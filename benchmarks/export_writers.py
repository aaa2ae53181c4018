"""Writing after an export: tokens a second of an adapter here, merged in transformers, in llama.cpp, and as a graph.

    pip install 'afina[llama-cpp,onnx,openvino-int8]'
    python benchmarks/export_writers.py ADAPTER --tokens 32 --rounds 3

The adapter (SmolLM2-135M with a LoRA, say) is exported --to merged, --to gguf in each type that is asked for and as each of
the `--graphs`, unless that is there already (`--exports DIR`). All read the same prompts one at a time, take the likeliest
token each time and write at most so many tokens; contestants take turns, once a round. Figures are medians over rounds of
tokens written a second, the reading of the prompt included, on `--threads` threads. Wheels of llama.cpp for every processor
leave out what only newer ones have (AVX-512, AMX), so that one that is built where it runs is faster.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

import afina
from afina.api import export
from afina.export.costs import VARIABLE
from afina.export.gguf.llama_cpp import LlamaCpp
from afina.export.opened import open_export
from record import write_record

PROMPTS = (
    "How should I store coffee beans?", "Where is my parcel? It was sent on Monday.", "Explain what a roaster does.",
    "Write two sentences about Lisbon in winter.",
)  # fmt: skip

GRAPHS: dict[str, tuple[str, dict[str, Any]]] = {
    "onnx": ("onnx", {}), "onnx-int8": ("onnx", {"int8": "dynamic", "at_most": 1.0}),
    "openvino": ("openvino", {}), "openvino-int8": ("openvino", {"int8": "weights", "at_most": 1.0}),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("adapter", type=Path)
    parser.add_argument("--exports", type=Path, default=Path("exports"), help="where exports are, or are written")
    parser.add_argument(
        "--data", help="rows to compare exports on; what the adapter learned, where that is still there"
    )
    parser.add_argument("--types", default="q8_0,q4_0")
    parser.add_argument("--graphs", default=",".join(GRAPHS), help="some of these, or nothing")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    os.environ.setdefault(VARIABLE, "0")  # what an export measures of itself is measured here
    torch.set_num_threads(given.threads)
    graphs = [name for name in given.graphs.split(",") if name]
    wanted = {"merged": ("merged", {}), **{name: ("gguf", {"type": name}) for name in given.types.split(",")}}
    wanted |= {name: GRAPHS[name] for name in graphs}
    for name, (to, own) in wanted.items():
        if not (place := given.exports / name).exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            made = export(given.adapter, to, place, data=given.data, rows=8, **own)
            print(made, made.merging or "", flush=True)
    loaded = afina.load(given.adapter)
    prompts = [list(loaded.request([{"role": "user", "content": text}], loaded).prompt) for text in PROMPTS]
    contestants = {"afina": ours(loaded, given.tokens), "merged": merged(given.exports / "merged", given.tokens)}
    for kind in given.types.split(","):
        contestants[f"llama.cpp {kind}"] = in_llama_cpp(given.exports / kind / "model.gguf", given)
    contestants |= {name: in_its_runtime(given.exports / name, given.tokens) for name in graphs}
    speeds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(given.rounds):
        for name, write in contestants.items():
            start = time.perf_counter()
            written = sum(write(prompt) for prompt in prompts)
            speeds[name].append(written / (time.perf_counter() - start))
            print(f"{name}: {written} tokens, {speeds[name][-1]:.1f} a second", flush=True)
    found = {name: round(median(values), 2) for name, values in speeds.items()}
    print(found)
    if given.out is not None:
        write_record(
            given.out, "xllamacpp", "gguf", "onnxruntime", "openvino", tokens_per_second=found, rounds=speeds,
            threads=given.threads, load=os.getloadavg()[0],
        )  # fmt: skip


def ours(loaded: Any, most: int) -> Callable[[list[int]], int]:
    """Write with the adapter on its base, as it was trained."""
    from afina.generation.generate import write
    from afina.generation.rows import Request
    from afina.generation.settings import GenerationSettings

    settings = GenerationSettings(max_new_tokens=most, temperature=0.0)

    def run(prompt: list[int]) -> int:
        request = Request(prompt, loaded.adapter, (), 0, loaded.tokenizer)
        return sum(len(piece.written.tokens) for piece in write(loaded.backbone, [request], settings) if piece.written)

    return run


def merged(folder: Path, most: int) -> Callable[[list[int]], int]:
    """Write with transformers' own `generate`."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder).eval()

    def run(prompt: list[int]) -> int:
        ids = torch.tensor([prompt])
        with torch.inference_mode():
            found = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=most, do_sample=False)
        return int(found.shape[1]) - len(prompt)

    return run


def in_llama_cpp(path: Path, given: argparse.Namespace) -> Callable[[list[int]], int]:
    """Write in llama.cpp, with its own defaults of keys and values (float16)."""
    cpp = LlamaCpp(path, context=512, threads=given.threads).start()
    return lambda prompt: len(cpp.greedy(prompt, given.tokens, cache_prompt=False).tokens)


def in_its_runtime(folder: Path, most: int) -> Callable[[list[int]], int]:
    """Write by a graph with kept keys and values, on as many threads as OMP_NUM_THREADS says."""
    opened = open_export(folder)
    return lambda prompt: len(opened.session.greedy(prompt, most, opened.manifest.reading["ends"]))


if __name__ == "__main__":
    main()
