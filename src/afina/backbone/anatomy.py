"""Where things are: a map from roles to the modules of each architecture, one row an architecture.

Methods speak of roles (`query`, `ffn_down`, ...) and never know a module's name. To add an architecture, add a row to
`ROWS` under its `config.model_type` and a small configuration to tests/families.py; everything else follows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import nn

from afina.errors import UsageError, nearest

__all__ = ["ATTENTION_ROLES", "LINEAR_ROLES", "ROWS", "Anatomy", "Part", "Row", "Site", "read_anatomy"]

Kind = Literal["linear", "norm", "embedding", "attention", "layer"]

ATTENTION_ROLES = ("query", "key", "value", "attention_out")
LINEAR_ROLES = (*ATTENTION_ROLES, "ffn_up", "ffn_gate", "ffn_down")


@dataclass(frozen=True)
class Part:
    """One of `of` equal slices of a fused projection's output: GPT-2's query is the first third of `c_attn`."""

    path: str
    index: int
    of: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """An architecture: paths are inside one layer, those in `outer_*` and `embedding` inside the bare model."""

    layers: str
    attention: str
    roles: dict[str, str | Part]
    norms: tuple[str, ...]
    embedding: str
    outer_norms: tuple[str, ...] = ()
    outer_linears: tuple[str, ...] = ()
    head: str
    """Name of the classification head's form in `heads.py`."""
    causal: bool = False
    narrow: str | None = None
    """Module of a layer that takes (states, residual) and after which no token looks at another: in the last layer a
    head that wants the first token only needs just that one from here on."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """A place where a method may act.

    `width_in` and `width` count features in and out (at an attention call: in, and of one head); `part` is the slice
    (start, stop) of the module's output that this site means, None for all of it; `transposed` says that the weight is
    stored (in, out).
    """

    name: str
    module: str
    role: str
    kind: Kind
    layer: int | None
    width_in: int
    width: int
    biased: bool = False
    part: tuple[int, int] | None = None
    transposed: bool = False
    heads: int = 0
    """At an attention call, the heads of its keys and values (B, heads, S, width)."""


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
    head="pooler_classifier",
    narrow="attention.output",
)
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
    causal=True,
)

ROWS: dict[str, Row] = {
    "bert": _BERT,
    "roberta": replace(_BERT, head="dense_classifier"),
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
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": replace(_LLAMA, norms=(*_LLAMA.norms, "self_attn.q_norm", "self_attn.k_norm")),
}


@dataclass(frozen=True)
class Anatomy:
    """The sites of one model, in the order in which a forward pass reaches the layers."""

    model_type: str
    row: Row
    layer_count: int
    width: int
    sites: tuple[Site, ...]
    attention_modules: tuple[str, ...]

    def by_role(self, roles: Sequence[str], *, for_method: str) -> list[Site]:
        """Return the sites of these roles, in order; raises `UsageError` for a role that this model lacks."""
        known = list(dict.fromkeys(site.role for site in self.sites if site.kind == "linear"))
        for role in roles:
            if role not in known:
                raise UsageError(
                    f"{self.model_type} has no '{role}' for '{for_method}' to adapt{nearest(role, known)}; "
                    f"its roles are {', '.join(known)}."
                )
        return [site for site in self.sites if site.role in roles]

    def by_role_for_rank(self, roles: Sequence[str], rank: int, *, for_method: str) -> list[Site]:
        """Return the sites of these roles; raises `UsageError` too for one that is smaller than a low-rank change."""
        sites = self.by_role(roles, for_method=for_method)
        for site in sites:
            if rank > (most := min(site.width_in, site.width)):
                raise UsageError(
                    f"{for_method}: rank {rank} is larger than the layer {site.name} "
                    f"({site.width} x {site.width_in}); choose at most {most}."
                )
        return sites

    def of_kind(self, *kinds: Kind) -> list[Site]:
        """Return the whole-module sites (fused projections once, not by part) of these kinds."""
        return [site for site in self.sites if site.kind in kinds and site.part is None]


def read_anatomy(model: nn.Module, config: Any) -> Anatomy:
    """Find every site of a bare transformers model; weights are not looked at, so a meta-device model will do.

    Raises `UsageError` for an architecture that has no row and does not have the shape of a known one.
    """
    row = ROWS.get(config.model_type) or _recognise(model, config.model_type)
    modules = dict(model.named_modules())
    layers = [name for name in modules if name.rpartition(".")[0] == row.layers]
    sites: list[Site] = [_site(modules, row.embedding, "embedding", None)]
    for index, layer in enumerate(layers):
        for role, place in row.roles.items():
            sites.append(_site(modules, place, role, index, prefix=f"{layer}."))
        for norm in row.norms:
            if not isinstance(modules[f"{layer}.{norm}"], nn.Identity):
                sites.append(_site(modules, norm, "norm", index, prefix=f"{layer}."))
        attention = f"{layer}.{row.attention}"
        sites += [
            Site(
                name=attention, module=attention, role="attention", kind="attention", layer=index,
                width_in=config.hidden_size, width=_head_width(config), heads=_key_heads(config),
            ),
            Site(
                name=layer, module=layer, role="layer", kind="layer", layer=index,
                width_in=config.hidden_size, width=config.hidden_size,
            ),
        ]  # fmt: skip
    sites += [_site(modules, name, "norm", None) for name in row.outer_norms if name in modules]
    sites += [_site(modules, name, "outer", None) for name in row.outer_linears if name in modules]
    return Anatomy(
        model_type=config.model_type,
        row=row,
        layer_count=len(layers),
        width=config.hidden_size,
        sites=tuple(sites),
        attention_modules=tuple(f"{layer}.{row.attention}" for layer in layers),
    )


def _key_heads(config: Any) -> int:
    return int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)


def _head_width(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _site(modules: dict[str, nn.Module], place: str | Part, role: str, layer: int | None, prefix: str = "") -> Site:
    path = prefix + (place.path if isinstance(place, Part) else place)
    module = modules[path]
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    biased = getattr(module, "bias", None) is not None
    if role in ("norm", "embedding"):
        width = weight.shape[-1]
        kind: Kind = "norm" if role == "norm" else "embedding"
        return Site(
            name=path, module=path, role=role, kind=kind, layer=layer, width_in=width, width=width, biased=biased
        )
    # transformers' Conv1D keeps its weight (in, out), torch's Linear (out, in).
    transposed = not isinstance(module, nn.Linear) and type(module).__name__ == "Conv1D"
    width_in, width = weight.shape if transposed else weight.shape[::-1]
    part, name = None, path
    if isinstance(place, Part):
        size = width // place.of
        part, width, name = (place.index * size, (place.index + 1) * size), size, f"{path}:{role}"
    return Site(
        name=name, module=path, role=role, kind="linear", layer=layer, width_in=width_in, width=width, biased=biased,
        part=part, transposed=transposed,
    )  # fmt: skip


def _recognise(model: nn.Module, model_type: str) -> Row:
    """Take an unknown architecture for the known one whose every path it has, when just one fits."""
    names = {name for name, _ in model.named_modules()}
    fitting = {id(row): row for row in ROWS.values() if _fits(row, names)}
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    raise UsageError(
        f"The architecture '{model_type}' is not known{nearest(model_type, ROWS)}; "
        "to teach it, add a row to afina/backbone/anatomy.py that says where its query, key, value and so on are."
    )


def _fits(row: Row, names: Iterable[str]) -> bool:
    places = [place.path if isinstance(place, Part) else place for place in row.roles.values()]
    wanted = [row.embedding, *(f"{row.layers}.0.{path}" for path in (*places, *row.norms, row.attention))]
    return set(wanted) <= set(names)
