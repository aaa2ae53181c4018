"""The architectures: one row each, which says by their paths which modules play which role.

To add one, add a row to `ROWS` under its `config.model_type` and a small configuration to tests/families.py; everything
else follows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

__all__ = ["ROWS", "Part", "Row", "Stack", "head_width", "key_heads"]


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
    """Whether its tokens are a decoder's beside an encoder, which prompts do not lengthen."""
    closing_norm: str | None = None
    """The norm that a layer ends with, over feed-forward output and residual together; None where norms come before."""
    cross: bool = False
    """Whether this is the part of the decoder's layers that looks at the encoder's states."""


@dataclass(frozen=True, kw_only=True)
class Row(Stack):
    """An architecture; paths in `outer_*` and `embedding` are inside the bare model."""

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
    disentangled: bool = False
    """Whether attention is DeBERTa's, which takes no attention function from outside (`disentangled.py`)."""
    packs: bool = True
    """Of a causal model, whether its mask keeps texts apart whose positions begin anew in one row."""
    counts_from_padding: bool = False
    """Whether positions begin behind the index of the padding, as RoBERTa's do: so many fewer are there for texts."""
    starts_with_last: bool = False
    """Whether the decoder starts with the text's last token (mBART's language), not with one of its own."""

    @property
    def stacks(self) -> tuple[Stack, ...]:
        return (self, *self.further)


def key_heads(config: Any) -> int:
    """Heads of the keys and values."""
    return int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)


def head_width(config: Any) -> int:
    """Features of one head."""
    own = getattr(config, "head_dim", None) or getattr(config, "d_kv", None)
    return int(own or config.hidden_size // config.num_attention_heads)


_BERT = Row(
    layers="encoder.layer",
    attention="attention.self",
    roles={
        "query": "attention.self.query",
        "key": "attention.self.key",
        "value": "attention.self.value",
        "attention_out": "attention.output.dense",
        "ffn_up": "intermediate.dense",
        "ffn_down": "output.dense",
    },
    norms=("attention.output.LayerNorm", "output.LayerNorm"),
    embedding="embeddings.word_embeddings",
    outer_norms=("embeddings.LayerNorm",),
    outer_linears=("pooler.dense",),
    closing_norm="output.LayerNorm",
    head="pooler_classifier",
    narrow="attention.output",
)
_ROBERTA = replace(_BERT, head="dense_classifier", counts_from_padding=True)
_LLAMA = Row(
    layers="layers",
    attention="self_attn",
    roles={
        "query": "self_attn.q_proj",
        "key": "self_attn.k_proj",
        "value": "self_attn.v_proj",
        "attention_out": "self_attn.o_proj",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    },
    norms=("input_layernorm", "post_attention_layernorm"),
    embedding="embed_tokens",
    outer_norms=("norm",),
    head="last_token_score",
    tagger="token_score",
    causal=True,
)

_BART_ENCODER = {
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "attention_out": "self_attn.out_proj",
    "ffn_up": "fc1",
    "ffn_down": "fc2",
}
_BART_CROSS = {
    role: path.replace("self_attn", "encoder_attn") for role, path in _BART_ENCODER.items() if "attn" in path
}
_BART = Row(
    layers="encoder.layers",
    attention="self_attn",
    roles=_BART_ENCODER,
    norms=("self_attn_layer_norm", "final_layer_norm"),
    closing_norm="final_layer_norm",
    embedding="encoder.embed_tokens",
    further=(
        Stack(
            layers="decoder.layers",
            attention="self_attn",
            roles=_BART_ENCODER,
            norms=("self_attn_layer_norm", "final_layer_norm"),
            closing_norm="final_layer_norm",
            decoder=True,
        ),
        Stack(
            layers="decoder.layers",
            attention="encoder_attn",
            roles=_BART_CROSS,
            norms=("encoder_attn_layer_norm",),
            decoder=True,
            cross=True,
        ),
    ),
    outer_norms=(
        "encoder.layernorm_embedding", "encoder.layer_norm", "decoder.layernorm_embedding", "decoder.layer_norm",
    ),
    head="last_token_classifier",
)  # fmt: skip


def _t5(attention: str, feed_forward: str | None) -> dict[str, str | Part]:
    roles: dict[str, str | Part] = {
        "query": f"{attention}.q", "key": f"{attention}.k", "value": f"{attention}.v", "attention_out": f"{attention}.o",
    }  # fmt: skip
    if feed_forward is not None:
        # T5's first version has wi, its later ones wi_0 (gate) and wi_1; what a model lacks is left out.
        roles |= {
            "ffn_up": f"{feed_forward}.wi|{feed_forward}.wi_1",
            "ffn_gate": f"?{feed_forward}.wi_0",
            "ffn_down": f"{feed_forward}.wo",
        }
    return roles


_T5 = Row(
    layers="encoder.block",
    attention="layer.0.SelfAttention",
    roles=_t5("layer.0.SelfAttention", "layer.1.DenseReluDense"),
    norms=("layer.0.layer_norm", "layer.1.layer_norm"),
    embedding="encoder.embed_tokens",
    further=(
        Stack(
            layers="decoder.block",
            attention="layer.0.SelfAttention",
            roles=_t5("layer.0.SelfAttention", "layer.2.DenseReluDense"),
            norms=("layer.0.layer_norm", "layer.2.layer_norm"),
            decoder=True,
        ),
        Stack(
            layers="decoder.block",
            attention="layer.1.EncDecAttention",
            roles=_t5("layer.1.EncDecAttention", None),
            norms=("layer.1.layer_norm",),
            decoder=True,
            cross=True,
        ),
    ),
    outer_norms=("encoder.final_layer_norm", "decoder.final_layer_norm"),
    head="last_token_classifier",
)
_GEMMA = replace(
    _LLAMA,
    norms=("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"),
)

ROWS: dict[str, Row] = {
    "bert": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "electra": replace(_BERT, head="electra_classifier", outer_linears=()),
    "deberta-v2": replace(
        _BERT,
        roles={
            **_BERT.roles,
            "query": "attention.self.query_proj",
            "key": "attention.self.key_proj",
            "value": "attention.self.value_proj",
        },
        # Not encoder.LayerNorm: it is taken of the position embeddings, which rows of all adapters share.
        outer_norms=("embeddings.LayerNorm",),
        outer_linears=(),
        head="context_pooler_classifier",
        narrow=None,
        disentangled=True,
    ),
    "albert": Row(
        # One layer, or one a group, that the model runs through again and again: so does what is placed in it.
        layers="encoder.albert_layer_groups.*.albert_layers",
        attention="attention",
        roles={
            "query": "attention.query",
            "key": "attention.key",
            "value": "attention.value",
            "attention_out": "attention.dense",
            "ffn_up": "ffn",
            "ffn_down": "ffn_output",
        },
        norms=("attention.LayerNorm", "full_layer_layer_norm"),
        closing_norm="full_layer_layer_norm",
        embedding="embeddings.word_embeddings",
        outer_norms=("embeddings.LayerNorm",),
        outer_linears=("pooler",),
        head="pooler_classifier",
    ),
    "distilbert": Row(
        layers="transformer.layer",
        attention="attention",
        roles={
            "query": "attention.q_lin",
            "key": "attention.k_lin",
            "value": "attention.v_lin",
            "attention_out": "attention.out_lin",
            "ffn_up": "ffn.lin1",
            "ffn_down": "ffn.lin2",
        },
        norms=("sa_layer_norm", "output_layer_norm"),
        closing_norm="output_layer_norm",
        embedding="embeddings.word_embeddings",
        outer_norms=("embeddings.LayerNorm",),
        head="pre_classifier",
    ),
    "modernbert": Row(
        layers="layers",
        attention="attn",
        roles={
            "qkv": "attn.Wqkv",
            "query": Part("attn.Wqkv", 0, 3),
            "key": Part("attn.Wqkv", 1, 3),
            "value": Part("attn.Wqkv", 2, 3),
            "attention_out": "attn.Wo",
            "ffn_gate": Part("mlp.Wi", 0, 2),
            "ffn_up": Part("mlp.Wi", 1, 2),
            "ffn_down": "mlp.Wo",
        },
        norms=("attn_norm", "mlp_norm"),
        embedding="embeddings.tok_embeddings",
        outer_norms=("embeddings.norm", "final_norm"),
        head="prediction_head",
        tagger="token_prediction",
    ),
    "gpt2": Row(
        layers="h",
        attention="attn",
        roles={
            "qkv": "attn.c_attn",
            "query": Part("attn.c_attn", 0, 3),
            "key": Part("attn.c_attn", 1, 3),
            "value": Part("attn.c_attn", 2, 3),
            "attention_out": "attn.c_proj",
            "ffn_up": "mlp.c_fc",
            "ffn_down": "mlp.c_proj",
        },
        norms=("ln_1", "ln_2"),
        embedding="wte",
        outer_norms=("ln_f",),
        head="last_token_score",
        causal=True,
    ),
    "opt": Row(
        layers="decoder.layers",
        attention="self_attn",
        roles=_BART_ENCODER,
        norms=("self_attn_layer_norm", "final_layer_norm"),
        embedding="decoder.embed_tokens",
        outer_norms=("decoder.final_layer_norm",),
        head="last_token_score",
        tagger="token_score",
        causal=True,
        packs=False,  # transformers makes its mask without looking at positions
    ),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": replace(_LLAMA, norms=(*_LLAMA.norms, "self_attn.q_norm", "self_attn.k_norm")),
    "gemma2": _GEMMA,
    "gemma3_text": replace(_GEMMA, norms=(*_GEMMA.norms, "self_attn.q_norm", "self_attn.k_norm")),
    "phi3": replace(
        _LLAMA,
        roles={
            "qkv": "self_attn.qkv_proj",
            "query": Part("self_attn.qkv_proj", 0, "qkv"),
            "key": Part("self_attn.qkv_proj", 1, "qkv"),
            "value": Part("self_attn.qkv_proj", 2, "qkv"),
            "attention_out": "self_attn.o_proj",
            "ffn_gate": Part("mlp.gate_up_proj", 0, 2),
            "ffn_up": Part("mlp.gate_up_proj", 1, 2),
            "ffn_down": "mlp.down_proj",
        },
    ),
    "t5": _T5,
    "bart": _BART,
    "mbart": replace(
        _BART,
        starts_with_last=True,
        closing_norm=None,
        further=tuple(replace(stack, closing_norm=None) for stack in _BART.further),
    ),
    "vit": Row(
        layers="layers",
        attention="attention",
        roles={
            "query": "attention.q_proj",
            "key": "attention.k_proj",
            "value": "attention.v_proj",
            "attention_out": "attention.o_proj",
            "ffn_up": "mlp.fc1",
            "ffn_down": "mlp.fc2",
        },
        norms=("layernorm_before", "layernorm_after"),
        embedding=None,
        outer_norms=("layernorm",),
        head="first_token_classifier",
        inputs="image",
    ),
    "whisper": Row(
        layers="layers",
        attention="self_attn",
        roles=_BART_ENCODER,
        norms=("self_attn_layer_norm", "final_layer_norm"),
        embedding=None,
        outer_norms=("layer_norm",),
        head="projected_mean_classifier",
        inputs="sound",
    ),
}
