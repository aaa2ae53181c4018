"""The types that a GGUF file's weights may have."""

from typing import NamedTuple

from afina.errors import UsageError, nearest

__all__ = ["KQUANTS", "TYPES", "Type", "check_type"]


class Type(NamedTuple):
    """Describes a type of weights as llama.cpp has it."""

    file_type: str
    """GGUF's name for a file of such weights."""
    apart: float
    """Nats a token by which llama.cpp may part from transformers on the same file; it rounds the other factor
    of each product as the weights are, to eight bits where these have fewer."""


_EXACT, _PLAIN, _QUANTISED = 1e-6, 1e-3, 0.02
TYPES = {
    "f16": Type("MOSTLY_F16", _PLAIN), "bf16": Type("MOSTLY_BF16", _PLAIN), "q8_0": Type("MOSTLY_Q8_0", _QUANTISED),
    "q5_1": Type("MOSTLY_Q5_1", _QUANTISED), "q5_0": Type("MOSTLY_Q5_0", _QUANTISED),
    "q4_1": Type("MOSTLY_Q4_1", _QUANTISED), "q4_0": Type("MOSTLY_Q4_0", _QUANTISED), "f32": Type("ALL_F32", _EXACT),
}  # fmt: skip
"""Types to which the package gguf quantises."""
KQUANTS = ("q2_k", "q3_k", "q3_k_s", "q3_k_m", "q3_k_l", "q4_k", "q4_k_s", "q4_k_m", "q5_k", "q5_k_s", "q5_k_m", "q6_k")
"""Types to which only llama.cpp's own tool quantises."""


def check_type(kind: str, option: str = "--type") -> str:
    """Return a type as it is written here; raises `UsageError` for one that is not, with what to do for llama.cpp's own."""
    name = kind.lower()
    if name in KQUANTS:
        raise UsageError(
            f"{option} {kind} is one of the K-quants, which llama.cpp's own tool alone writes: export it with {option} f16, "
            f"then run llama-quantize on the file: llama-quantize model.gguf model.{name}.gguf {name.upper()}."
        )
    if name not in TYPES:
        raise UsageError(f"{option} is one of {', '.join(TYPES)}, not '{kind}'{nearest(name, TYPES)}")
    return name
