"""Define a row of the table of architectures: which modules play which role, by their paths."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["ArchitectureRow", "Part", "Stack", "head_width", "key_heads"]


@dataclass(frozen=True)
class Part:
    """A slice of a fused projection's output: one of `of` equal ones, or of query, key and value, whose sizes follow
    the heads (`qkv`); GPT-2's query is the first third of `c_attn`."""

    path: str
    index: int
    of: int | Literal["qkv"]

    def within(self, width: int, config: Any) -> tuple[int, int]:
        """Return (start, stop) of the slice in an output of `width` features."""
        sizes = [width // self.of] * self.of if self.of != "qkv" else []
        # Grouped heads: fewer keys and values than queries share the projection.
        if self.of == "qkv":
            keys = key_heads(config) * head_width(config)
            sizes = [width - 2 * keys, keys, keys]
        start = sum(sizes[: self.index])
        return start, start + sizes[self.index]


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Layers that follow one another; paths are inside one layer."""

    layers: str
    """Path of their list inside the bare model, `*` for any number."""
    attention: str
    roles: Mapping[str, str | Part]
    norms: tuple[str, ...]
    decoder: bool = False
    """True for the decoder of an encoder-decoder, whose tokens prompts do not lengthen."""
    closing_norm: str | None = None
    """The norm that a layer ends with, over feed-forward output and residual together; None where norms come before."""
    cross: bool = False
    """True for the part of the decoder's layers that looks at the encoder's states."""

    def layers_in(self, names: Iterable[str]) -> list[str]:
        """Return the paths of the layers among the names of a model's modules, in their order."""
        parts = self.layers.split(".")

        def belongs(name: str) -> bool:
            # `*` is a group's number, of which the row does not say how many there are.
            parents = name.split(".")[:-1]
            return len(parents) == len(parts) and all(a == b or a == "*" for a, b in zip(parts, parents, strict=True))

        return [name for name in names if belongs(name)]


@dataclass(frozen=True, kw_only=True)
class ArchitectureRow(Stack):
    """An architecture; paths in `outer_*` and `embedding` are inside the bare model."""

    lacks: Mapping[str, str] = field(default_factory=dict)
    """Roles for which the architecture has no module, and why; a method that needs one is refused with the reason."""
    embedding: str | None
    """None for images and sound, whose first vectors come from a convolution: prompts stand before the first layer."""
    further: tuple[Stack, ...] = ()
    """The decoder's stacks of an encoder-decoder."""
    outer_norms: tuple[str, ...] = ()
    outer_linears: tuple[str, ...] = ()
    head: str
    """Name of the classification head's form in `heads.py`."""
    tagger: str = "token_classifier"
    """Name of the form of its head that tags each token."""
    inputs: Literal["text", "image", "sound"] = "text"
    causal: bool = False
    narrow: str | None = None
    """Module of a layer that takes (states, residual) and after which no token looks at another: in the last layer a
    head that wants the first token only needs just that one from here on."""
    lent: str | None = None
    """The forward pass that attention is lent (`lent.py`) where it takes no function from outside."""
    packs: bool = True
    """True if a causal model's mask keeps texts in one row apart where positions begin anew."""
    counts_from_padding: bool = False
    """True if positions begin behind the index of the padding, as RoBERTa's do: so many fewer are there for texts."""
    starts_with_last: bool = False
    """True if the decoder starts with the text's last token (mBART's language), not with one of its own."""

    @property
    def writes(self) -> bool:
        """Return whether such a model writes text."""
        return self.causal or bool(self.further)

    def call_settings(self, config: Any) -> dict[str, Any]:
        """Return what every pass is told: that a model that writes keeps no keys and values of it."""
        return {"use_cache": False} if hasattr(config, "use_cache") and self.writes else {}

    @property
    def stacks(self) -> tuple[Stack, ...]:
        return (self, *self.further)


def key_heads(config: Any) -> int:
    """Return the number of heads of the keys and values."""
    return int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)


def head_width(config: Any) -> int:
    """Return the features of one head."""
    width = getattr(config, "head_dim", None) or getattr(config, "d_kv", None)
    return int(width or config.hidden_size // config.num_attention_heads)
