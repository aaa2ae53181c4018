"""Forms of attention on this machine: explicit products beside torch's fused kernel, with and without gradients.

    python benchmarks/attention.py

Medians of 30 calls after 5, shapes of MiniLM at 6 rows of 48 and of 256 tokens, in float32 and bfloat16.
"""

from statistics import median
from time import perf_counter

import torch

from afina.ops.attention import Scoring, attention


def fused(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.scaled_dot_product_attention(query, key, value, scale=0.18)


def explicit(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return attention(query, key, value, None, Scoring(0.18))


def milliseconds(form, tensors, gradient: bool) -> float:
    times = []
    for _ in range(35):
        started = perf_counter()
        if gradient:
            form(*tensors).sum().backward()
        else:
            with torch.enable_grad():
                form(*(tensor.detach() for tensor in tensors))
        times.append(1000 * (perf_counter() - started))
    return median(times[5:])


def main() -> None:
    print(f"{'':26}{'forward':>20}{'forward + backward':>22}")
    print(f"{'':26}{'explicit':>10}{'fused':>10}{'explicit':>12}{'fused':>10}   ms")
    for length in (48, 256):
        for dtype in (torch.float32, torch.bfloat16):
            tensors = [torch.randn(6, 12, length, 32, dtype=dtype, requires_grad=True) for _ in range(3)]
            row = [milliseconds(form, tensors, grad) for grad in (False, True) for form in (explicit, fused)]
            name = f"{length} tokens, {str(dtype).removeprefix('torch.')}"
            print(f"{name:26}{row[0]:10.2f}{row[1]:10.2f}{row[2]:12.2f}{row[3]:10.2f}")


if __name__ == "__main__":
    main()
