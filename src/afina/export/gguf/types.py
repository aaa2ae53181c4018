"""The types that a GGUF file's weights may have."""

from afina.errors import UsageError, nearest

__all__ = ["KQUANTS", "TYPES", "check_type"]

TYPES = ("f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "f32")
"""What the package gguf quantises to."""
KQUANTS = ("q2_k", "q3_k", "q3_k_s", "q3_k_m", "q3_k_l", "q4_k", "q4_k_s", "q4_k_m", "q5_k", "q5_k_s", "q5_k_m", "q6_k")
"""What llama.cpp's own tool alone quantises to."""


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
