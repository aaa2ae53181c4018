"""Name what a graph that writes takes and gives, as other programs that run such graphs expect it."""

__all__ = ["APART", "GIVEN", "READS", "kept_names"]

GIVEN = ("input_ids", "attention_mask", "position_ids")
"""Beside keys and values a step takes new tokens (B, T), what is seen of old and new ones (B, S + T), positions (B, T)."""

READS = "encoder"
"""The name without its suffix of the graph with which an encoder-decoder reads, beside the one with which it writes."""

APART = ("decoder_input_ids", "encoder_attention_mask")
"""Inputs of an encoder-decoder's step beside keys and values: new tokens (B, T), what is seen of a text (B, S)."""


def kept_names(layers: int, side: str = "") -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what the keys and values of all layers are called that go in, and those that come out.

    Of an encoder-decoder a `side` says of which tokens they are, "decoder" or "encoder".
    """
    between = f".{side}." if side else "."
    pairs = [f"{layer}{between}{kind}" for layer in range(layers) for kind in ("key", "value")]
    return tuple(f"past_key_values.{name}" for name in pairs), tuple(f"present.{name}" for name in pairs)
