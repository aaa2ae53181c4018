"""Name what a graph that writes takes and gives, as other programs that run such graphs expect it."""

__all__ = ["GIVEN", "kept_names"]

GIVEN = ("input_ids", "attention_mask", "position_ids")
"""Beside keys and values a step takes new tokens (B, T), what is seen of old and new ones (B, S + T), positions (B, T)."""


def kept_names(layers: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what the keys and values of all layers are called that go in, and those that come out."""
    pairs = [(layer, kind) for layer in range(layers) for kind in ("key", "value")]
    return tuple(f"past_key_values.{layer}.{kind}" for layer, kind in pairs), tuple(
        f"present.{layer}.{kind}" for layer, kind in pairs
    )
