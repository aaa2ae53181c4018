"""The architectures: one row each, which says by their paths which modules play which role.

To add one, add a row to `ROWS` under its `config.model_type` and a small configuration to tests/helpers/families.py;
everything else follows. Others are recognised by the shapes of these rows and of those of `further_shapes.py`.
"""

from dataclasses import replace
from typing import Any

from afina.backbone.row import ArchitectureRow, Part, Stack

__all__ = ["ROWS", "row_of"]


_BERT = ArchitectureRow(
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
_LLAMA = ArchitectureRow(
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

_NOMIC = replace(
    _LLAMA,
    norms=("post_attention_layernorm", "post_mlp_layernorm"),
    closing_norm="post_mlp_layernorm",
    embedding="embeddings.word_embeddings",
    outer_norms=("embeddings.LayerNorm",),
    outer_linears=("pooler.dense",),
    head="pooler_classifier",
    tagger="token_classifier",
    causal=False,
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
_BART = ArchitectureRow(
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


_T5 = ArchitectureRow(
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

_EXPERTS = "its experts are slices of one tensor, to which a router sends each token, and no layers of their own"

ROWS: dict[str, ArchitectureRow] = {
    "bert": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "mpnet": replace(
        _ROBERTA,
        attention="attention.attn",
        roles={
            **_BERT.roles,
            "query": "attention.attn.q",
            "key": "attention.attn.k",
            "value": "attention.attn.v",
            "attention_out": "attention.attn.o",
        },
        norms=("attention.LayerNorm", "output.LayerNorm"),
        outer_linears=(),
        narrow=None,
        lent="biased",
    ),
    "nomic_bert": _NOMIC,
    "gte": _NOMIC,
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
        lent="disentangled",
    ),
    "albert": ArchitectureRow(
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
    "distilbert": ArchitectureRow(
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
    "modernbert": ArchitectureRow(
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
    "gpt2": ArchitectureRow(
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
    "opt": ArchitectureRow(
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
    "qwen3_moe": replace(
        _LLAMA,
        roles={role: path for role, path in _LLAMA.roles.items() if not role.startswith("ffn")},
        norms=(*_LLAMA.norms, "self_attn.q_norm", "self_attn.k_norm"),
        lacks=dict.fromkeys(("ffn_gate", "ffn_up", "ffn_down"), _EXPERTS),
    ),
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
    "vit": ArchitectureRow(
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
    "whisper": ArchitectureRow(
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

_SAME = {"mt5": "t5"}
"""Architectures that are another's in all but the name."""


def row_of(config: Any) -> ArchitectureRow | None:
    """Return the row of a configuration's architecture, None where it has none."""
    return ROWS.get(_SAME.get(config.model_type, config.model_type))
