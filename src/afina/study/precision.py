"""`precision: auto`: bfloat16 where the processor has it and a few timed steps prove that it is not slower."""

from collections.abc import Callable
from time import perf_counter

import numpy as np
import torch

from afina.adapters.adapter import build_adapter
from afina.backbone.attachment import Attachment
from afina.backbone.load import load_backbone, random_inputs
from afina.measure.hardware import hardware
from afina.methods.lora import LoRA
from afina.ops.dropout import DropoutSource
from afina.results.study_file import ChosenPrecision

__all__ = ["choose_precision", "has_bfloat16"]

_CANDIDATES = ("fp32", "bf16")
_WARM_UP = 2
_STEPS = _WARM_UP + 5
"""Steps that are taken in each; those at the beginning do not count."""


def choose_precision(
    *, model: str, device: str, batch_size: int, length: int, trust_remote_code: bool = False,
    tick: Callable[[int, int], None] = lambda done, steps: None,
) -> ChosenPrecision:  # fmt: skip
    """Return `precision` with the evidence: median seconds of a LoRA step in each form at these sizes.

    bf16 is taken when its median is not above fp32's; where the hardware lacks it nothing is timed. `tick` is told how many
    steps of all are done.
    """
    if not has_bfloat16(device):
        reason = "the hardware has no bfloat16 arithmetic"
        return ChosenPrecision.made(precision="fp32", reason=reason, step_seconds={})
    seconds: dict[str, float] = {}
    for number, precision in enumerate(_CANDIDATES):

        def told(done: int, before: int = number * _STEPS) -> None:
            tick(before + done, len(_CANDIDATES) * _STEPS)

        seconds[precision] = _step_seconds(model, device, batch_size, length, precision, trust_remote_code, told)
    faster = seconds["bf16"] <= seconds["fp32"]
    reason = f"a step took {seconds['bf16']:.4g} s in bf16 and {seconds['fp32']:.4g} s in fp32"
    return ChosenPrecision.made(precision="bf16" if faster else "fp32", reason=reason, step_seconds=seconds)


def has_bfloat16(device: str) -> bool:
    """Return whether the device computes in bfloat16 rather than imitating it."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = hardware()["cpu_capabilities"]
    return bool({"avx512_bf16", "amx_bf16"} & set(capabilities))


def _step_seconds(
    model: str, device: str, batch_size: int, length: int, precision: str, trust_remote_code: bool,
    tick: Callable[[int], None],
) -> float:  # fmt: skip
    backbone = load_backbone(model, precision=precision, device=device, trust_remote_code=trust_remote_code)
    adapter = build_adapter(LoRA(rank=min(4, backbone.anatomy.width)), backbone, outputs=2, seed=0)
    inputs = random_inputs(backbone.config, batch_size, length, device)
    labels = torch.zeros(batch_size, dtype=torch.long, device=device)
    times = []
    with Attachment(backbone, [adapter], DropoutSource(0)) as attached:
        attached.train(True)
        for done in range(1, _STEPS + 1):
            started = perf_counter()
            (logits,) = attached(inputs)
            torch.nn.functional.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
            if device == "cuda":
                torch.cuda.synchronize()
            times.append(perf_counter() - started)
            tick(done)
    return float(np.median(times[_WARM_UP:]))
