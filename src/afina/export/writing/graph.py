"""Trace an adapter that writes into one graph, with the keys and values of the tokens before as inputs and outputs.

One graph reads a prompt (nothing is before it) and goes on from it token by token. Virtual tokens stand before every text,
so that no text changes their keys and values: these are computed once and stand in the graph as a prefix does, for every
step alike. What a prefix or virtual tokens move positions by is in the graph, too: who runs it counts a text's own tokens.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from afina.backbone.anatomy import Site
from afina.backbone.attachable import Attachable
from afina.backbone.attachment import Attachment
from afina.backbone.branch import AttentionBranch, Placed, PromptBranch
from afina.backbone.configuration import window_of
from afina.backbone.flight import Pass, Read
from afina.backbone.language_head import spoken_by
from afina.backbone.load import Backbone
from afina.export.graph import AttachedParts, Traced, folded, program_of, with_names
from afina.export.writing.names import GIVEN, kept_names
from afina.predictor.predictor import Predictor

__all__ = ["KnownKeys", "kept_layer", "kept_name", "kept_shapes", "plain_name", "traced_writer"]

_READS, _BEFORE = 5, 4
"""Numbers of tokens on which a graph is traced: two sizes that nothing else in a model has by chance."""


class KnownKeys(AttentionBranch):
    """Holds keys and values (1, H, N, D/H) of a layer's virtual tokens, which stand before every text."""

    def __init__(self, key: Tensor, value: Tensor, window: int | None, places: Sequence[Tensor]) -> None:
        """Take what a token sees back (`window`), None for all, and the positions (B, T) of those that are read now."""
        super().__init__()
        self.key, self.value = nn.Buffer(key), nn.Buffer(value)
        self.moves = key.shape[2]
        self._window, self._places = window, places

    def before(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        known = [held.to(key.dtype).expand(query.shape[0], -1, -1, -1) for held in (self.key, self.value)]
        if mask is not None:
            mask = torch.cat([self._seen(mask).expand(*mask.shape[:3], -1), mask], dim=3)
        return query, torch.cat([known[0], key], dim=2), torch.cat([known[1], value], dim=2), mask

    def _seen(self, mask: Tensor) -> Tensor:
        """Return what a mask has for the virtual tokens, (1 or B, 1, 1 or T, N)."""
        if self._window is None:
            return mask.new_zeros(1, 1, 1, self.moves)
        far = self._places[0][:, None, :, None] - torch.arange(self.moves) >= self._window
        return mask.new_zeros(1).masked_fill(far, torch.finfo(mask.dtype).min)


class _Writes(nn.Module):
    """Gives the logits (B, T, V) of what follows each token, and the keys and values of all so far."""

    def __init__(self, backbone: Backbone, attachable: Attachable, inputs: Sequence[str], places: list[Tensor]) -> None:
        super().__init__()
        assert backbone.language is not None, "the model was not loaded to speak"
        self.backbone = backbone.model
        self.branches = nn.ModuleList(branch for _, branch in attachable.placed())
        self.attached = Attachment(backbone, [attachable])
        self._say = spoken_by(attachable.head, backbone.language)
        self.language = self._say.linear
        self._places, self._kept = places, kept_name(backbone)
        self.forward = with_names([plain_name(name) for name in inputs], self.step)

    def step(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        from transformers import DynamicCache

        ids, mask, positions, *before = inputs.values()

        # Keys and values go in and come out as plain tensors, as a graph keeps nothing between its calls.
        cache = DynamicCache()
        cache.layers = [kept_layer(*pair) for pair in zip(before[::2], before[1::2], strict=True)]
        rows, length, seen = ids.shape[0], ids.shape[1], before[0].shape[2]

        # What acts at a text's ends acts where it is first read.
        first = (mask[:, :seen].sum(dim=1, keepdim=True) == 0).to(mask.dtype)
        read = Read(mask[:, seen:] * first, length)
        given = {"input_ids": ids, "attention_mask": mask, "position_ids": positions + max(self.attached.moves)}
        self._places[:] = [given["position_ids"]]
        one = Pass([slice(0, rows)], read, Read(None, 1), goes_on=True)
        output = self.attached.run(one, given, {self._kept: cache, "use_cache": True})
        self._places.clear()
        return self._say(output.last_hidden_state), *(value for own in cache.layers for value in (own.keys, own.values))


def kept_shapes(backbone: Backbone) -> list[tuple[int, int]]:
    """Return heads and width of each layer's keys and values; of an encoder-decoder those of what it writes."""
    row = backbone.anatomy.row
    ends = tuple(f".{stack.attention}" for stack in row.further if not stack.cross)
    sites = backbone.anatomy.of_kind("attention")
    return [(site.heads, site.width) for site in sites if not ends or (site.decoder and site.module.endswith(ends))]


def kept_layer(keys: Tensor, values: Tensor) -> Any:
    """Return what is kept of one layer; an update of an empty one would put the emptiness in the graph."""
    from transformers.cache_utils import DynamicLayer

    layer = DynamicLayer()
    layer.lazy_initialization(keys, values)
    layer.keys, layer.values = keys, values
    return layer


@contextmanager
def traced_writer(loaded: Predictor, most: tuple[int, int] | None = None) -> Iterator[Traced]:
    """Give the graph of an adapter that writes, for any number of rows, of tokens, and of tokens before them.

    With `most` there are at most so many rows, and tokens in all. Its weights are the backbone's own, which have the branches
    in them until the block ends. Raises `AfinaError` where torch cannot trace it.
    """
    shapes = kept_shapes(loaded.backbone)
    past, present = kept_names(len(shapes))
    example = _example(loaded.backbone, past, shapes)
    rows, tokens = most or (None, None)
    free = {
        "rows": torch.export.Dim.DYNAMIC(max=rows), "length": torch.export.Dim.DYNAMIC(max=tokens),
        "past_length": torch.export.Dim.DYNAMIC(max=tokens), "whole_length": torch.export.Dim.DYNAMIC(max=tokens),
    }  # fmt: skip
    sizes = _sizes(past, present)
    with folded(loaded) as attachable:
        places: list[Tensor] = []

        # Virtual tokens would have to be read before each text: their keys and values are computed once and stand in
        # the graph.
        promptless = _without_prompts(loaded.backbone, attachable, places)
        module = _Writes(loaded.backbone, promptless, tuple(example), places).eval()
        named = {plain_name(name): value for name, value in example.items()}
        dynamic = {plain_name(name): {axis: free[size] for axis, size in sizes[name].items()} for name in example}
        with module.attached, torch.no_grad():
            program = program_of(loaded, module, named, dynamic)
        merged = isinstance(attachable, AttachedParts)
        yield Traced(program, tuple(example), ("logits", *present), merged, sizes)


def _sizes(past: Sequence[str], present: Sequence[str]) -> dict[str, Mapping[int, str]]:
    """Return by input and output what its axes of any size are called."""
    sizes: dict[str, Mapping[int, str]] = {name: {0: "rows", 1: "length"} for name in (*GIVEN, "logits")}
    sizes["attention_mask"] = {0: "rows", 1: "whole_length"}
    sizes |= {name: {0: "rows", 2: "past_length"} for name in past}
    return sizes | {name: {0: "rows", 2: "whole_length"} for name in present}


def _example(backbone: Backbone, past: Sequence[str], shapes: Sequence[tuple[int, int]]) -> dict[str, Tensor]:
    """Return three rows of some tokens behind others, one of them with padding."""
    rows = 3
    mask = torch.ones(rows, _BEFORE + _READS, dtype=torch.long)
    mask[1, :2] = 0
    steps = torch.arange(_READS, dtype=torch.long)
    example = {
        "input_ids": (steps + 1).remainder(backbone.config.vocab_size).expand(rows, -1).clone(),
        "attention_mask": mask, "position_ids": (steps + _BEFORE).expand(rows, -1).clone(),
    }  # fmt: skip
    for name, (heads, width) in zip(past, (shape for shape in shapes for _ in range(2)), strict=True):
        example[name] = torch.zeros(rows, heads, _BEFORE, width)
    return example


def _without_prompts(backbone: Backbone, attachable: Attachable, places: Sequence[Tensor]) -> Attachable:
    """Return an adapter with the keys and values of its virtual tokens in their place, itself where it has none."""
    from transformers import DynamicCache

    prompt = next((branch for _, branch in attachable.placed() if isinstance(branch, PromptBranch)), None)
    if prompt is None:
        return attachable
    rows, cache = [slice(0, 1)], DynamicCache()
    with Attachment(backbone, [attachable]) as attached, torch.no_grad():
        given = attached.given({"input_ids": torch.tensor([[1]])}, rows)  # whatever stands behind them
        settings = {kept_name(backbone): cache, "use_cache": True}
        attached.run(Pass(rows, given.read, Read(None, 1)), given.inputs, settings)
    parts: list[tuple[Site, Placed]] = [put for put in attachable.placed() if not isinstance(put[1], PromptBranch)]
    for site, layer in zip(backbone.anatomy.of_kind("attention"), cache.layers, strict=True):
        module: Any = backbone.model.get_submodule(site.module)
        key, value = (whole[:, :, : prompt.length].clone() for whole in (layer.keys, layer.values))
        parts.append((site, KnownKeys(key, value, _window(module, backbone.config), places)))
    return AttachedParts(attachable.head, parts)


def _window(module: Any, config: Any) -> int | None:
    """Return how many tokens back an attention sees, its own among them; where it does not say, all do as the model does."""
    window = module.sliding_window if hasattr(module, "sliding_window") else window_of(config)
    return int(window) if window else None


def kept_name(backbone: Backbone) -> str:
    """Return by what name a model takes what is kept; transformers 5.24 gave it another."""
    return "cache" if "cache" in inspect.signature(backbone.model.forward).parameters else "past_key_values"


def plain_name(name: str) -> str:
    """Return an input's name as Python may have it."""
    return name.replace(".", "_")
