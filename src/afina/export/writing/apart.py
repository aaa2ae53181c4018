"""Trace an encoder-decoder that writes into two graphs: one reads a text, the other goes on from it token by token.

The graph that reads gives what the other one takes: the token to begin with, what is seen of the text, and the keys and
values of its states in each layer of the decoder, which are so computed once a text. Virtual tokens are before the text, and
so in the graph that reads alone.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from afina.backbone.attachable import Attachable
from afina.backbone.attachment import Attachment
from afina.backbone.flight import Pass, Read
from afina.backbone.inputs import padded_behind
from afina.backbone.kept import new_cache
from afina.backbone.language_head import spoken_by
from afina.backbone.load import Backbone
from afina.export.graph import AttachedParts, Traced, folded, program_of, with_names
from afina.export.writing.graph import kept_layer, kept_name, kept_shapes, plain_name
from afina.export.writing.names import APART, kept_names
from afina.predictor.predictor import Predictor

__all__ = ["traced_apart"]

_READS, _BEFORE, _TEXT = 5, 4, 9
"""Numbers of tokens on which the graphs are traced: sizes that nothing else in a model has by chance."""
_ASKED = ("input_ids", "attention_mask")


class _Half(nn.Module):
    """Shares what both graphs have: the backbone, and what is attached to it."""

    def __init__(self, backbone: Backbone, attachable: Attachable) -> None:
        super().__init__()
        self.backbone = backbone.model
        self.branches = nn.ModuleList(branch for _, branch in attachable.placed())
        self.attached = Attachment(backbone, [attachable])
        self._kept = kept_name(backbone)


class _Reads(_Half):
    """Gives of a text (B, T) the decoder's first token (B, 1), what is seen (B, S), and keys and values of each layer."""

    def __init__(self, backbone: Backbone, attachable: Attachable) -> None:
        super().__init__(backbone, attachable)
        self.forward = with_names(_ASKED, self.step)

    def step(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        inputs, _ = padded_behind(inputs)
        rows, cache = [slice(0, inputs["input_ids"].shape[0])], new_cache(apart=True)
        given = self.attached.given(inputs, rows)
        start, mask = given.inputs["decoder_input_ids"][:, :1], given.read.mask
        assert mask is not None

        # The decoder runs for its first token, for only so are there keys and values of the text; its own are left out.
        settings = {self._kept: cache, "use_cache": True}
        self.attached.run(Pass(rows, given.read, Read(None, 1)), {**given.inputs, "decoder_input_ids": start}, settings)
        pairs = [layer.parts for layer in cache.cross_attention_cache.layers]
        return start, (mask > 0).long(), *(value for pair in pairs for value in pair)


class _WritesBehind(_Half):
    """Gives the logits (B, T, V) of what follows each token, and the keys and values of all that was written so far."""

    def __init__(self, backbone: Backbone, attachable: Attachable, inputs: Mapping[str, Tensor]) -> None:
        super().__init__(backbone, attachable)
        assert backbone.language is not None, "the model was not loaded to speak"
        self._say = spoken_by(attachable.head, backbone.language)
        self.language, self._width = self._say.linear, int(backbone.config.hidden_size)
        self.forward = with_names([plain_name(name) for name in inputs], self.step)

    def step(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        from transformers import DynamicCache, EncoderDecoderCache

        ids, seen, *both = inputs.values()
        written, read = both[: len(both) // 2], both[len(both) // 2 :]
        cache: Any = EncoderDecoderCache(DynamicCache(), DynamicCache())
        for part, values in ((cache.self_attention_cache, written), (cache.cross_attention_cache, read)):
            part.layers = [kept_layer(*pair) for pair in zip(values[::2], values[1::2], strict=True)]
        cache.is_updated = dict.fromkeys(range(len(written) // 2), True)
        (rows, length), before = ids.shape, written[0].shape[2]

        # What acts at a text's ends acts on the token that the decoder begins with, and on nothing that it says.
        first = (torch.arange(length) + before == 0).long().expand(rows, -1)

        # The text's states themselves are not looked at any more: what was made of them is in its keys and values.
        states = read[0].new_zeros(rows, seen.shape[1], 1).expand(-1, -1, self._width)
        given = {
            "decoder_input_ids": ids, "encoder_outputs": (states,), "attention_mask": seen,
            "decoder_attention_mask": ids.new_ones(rows, before + length),
        }  # fmt: skip
        one = Pass([slice(0, rows)], Read(None, 1), Read(first, length), goes_on=True)
        output = self.attached.run(one, given, {self._kept: cache, "use_cache": True})
        layers = cache.self_attention_cache.layers
        return self._say(output.last_hidden_state), *(value for own in layers for value in (own.keys, own.values))


@contextmanager
def traced_apart(loaded: Predictor) -> Iterator[tuple[Traced, Traced]]:
    """Give the graphs of an encoder-decoder that writes, the one that reads first, for any numbers of rows and tokens.

    Their weights are the backbone's own, which have the branches in them until the block ends. Raises `AfinaError` where
    torch cannot trace one.
    """
    backbone = loaded.backbone
    shapes = kept_shapes(backbone)
    past, present = kept_names(len(shapes), "decoder")
    text = kept_names(len(shapes), "encoder")[0]
    sizes = _sizes(past, present, text)
    with folded(loaded) as attachable:
        merged = isinstance(attachable, AttachedParts)
        reads = _Reads(backbone, attachable).eval()
        asked = _asked(backbone)
        with reads.attached, torch.no_grad():
            of_text = reads(**asked)
            read = program_of(loaded, reads, asked, _free(asked, sizes))
        example = {APART[0]: asked["input_ids"][:, :_READS], APART[1]: of_text[1]}
        example |= {
            name: torch.zeros(len(of_text[0]), heads, _BEFORE, width)
            for name, (heads, width) in zip(past, (shape for shape in shapes for _ in range(2)), strict=True)
        }
        example |= dict(zip(text, of_text[2:], strict=True))
        example = {name: value.clone() for name, value in example.items()}  # of a view torch would want the whole
        writes = _WritesBehind(backbone, attachable, example).eval()
        with writes.attached, torch.no_grad():
            named = {plain_name(name): value for name, value in example.items()}
            behind = program_of(loaded, writes, named, _free(example, sizes))
        yield (
            Traced(read, _ASKED, (*APART, *text), merged, {**sizes, APART[0]: {0: "rows"}}),
            Traced(behind, tuple(example), ("logits", *present), merged, sizes),
        )


def _asked(backbone: Backbone) -> dict[str, Tensor]:
    """Return three texts of some tokens, one of them with padding."""
    mask = torch.ones(3, _TEXT, dtype=torch.long)
    mask[1, -2:] = 0
    ids = (torch.arange(_TEXT) + 1).remainder(backbone.config.vocab_size).expand(3, -1)
    return {"input_ids": ids.clone(), "attention_mask": mask}


def _sizes(past: tuple[str, ...], present: tuple[str, ...], text: tuple[str, ...]) -> dict[str, Mapping[int, str]]:
    """Return by input and output what its axes of any size are called."""
    sizes: dict[str, Mapping[int, str]] = {name: {0: "rows", 1: "text_length"} for name in _ASKED}
    sizes |= {APART[0]: {0: "rows", 1: "length"}, "logits": {0: "rows", 1: "length"}}
    sizes |= {APART[1]: {0: "rows", 1: "seen_length"}, **{name: {0: "rows", 2: "seen_length"} for name in text}}
    sizes |= {name: {0: "rows", 2: "past_length"} for name in past}
    return sizes | {name: {0: "rows", 2: "whole_length"} for name in present}


def _free(example: Mapping[str, Tensor], sizes: Mapping[str, Mapping[int, str]]) -> dict[str, Any]:
    """Return which axes of the inputs are of any size."""
    return {plain_name(name): dict.fromkeys(sizes[name], torch.export.Dim.DYNAMIC) for name in example}
