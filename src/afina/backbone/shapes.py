"""Shapes of well-known hub models, so that a study of them can be planned with no network; facts from their config.json."""

from pathlib import Path
from typing import Any

from afina.backbone.anatomy import read_anatomy
from afina.backbone.coded import code_shape, coded
from afina.backbone.function import register_attention
from afina.backbone.language_head import language_head_of
from afina.backbone.load import Backbone, model_class, read_config
from afina.backbone.quantise import packed, quantise, unfit
from afina.backbone.weights import bare_of, heads_of, loading_error
from afina.errors import UsageError, nearest
from afina.precision import EXACT

__all__ = ["KNOWN_SHAPES", "read_shape", "shape_backbone"]

_LLAMA_1B = {
    "model_type": "llama", "vocab_size": 32000, "hidden_size": 2048, "num_hidden_layers": 22, "num_attention_heads": 32,
    "num_key_value_heads": 4, "intermediate_size": 5632, "max_position_embeddings": 2048,
}  # fmt: skip
_SMOLLM2_135M = {
    "model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "intermediate_size": 1536, "max_position_embeddings": 8192, "tie_word_embeddings": True,
}  # fmt: skip

KNOWN_SHAPES: dict[str, dict[str, Any]] = {
    "distilbert-base-uncased": {"model_type": "distilbert", "vocab_size": 30522, "dim": 768, "n_layers": 6, "n_heads": 12},
    "bert-base-uncased": {"model_type": "bert", "vocab_size": 30522},
    "roberta-base": {
        "model_type": "roberta", "vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1,
        "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
    },
    "gpt2": {"model_type": "gpt2"},
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": _LLAMA_1B,
    "TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T": _LLAMA_1B,
    "smollm2": _SMOLLM2_135M,
    "HuggingFaceTB/SmolLM2-135M-Instruct": _SMOLLM2_135M,
    "HuggingFaceTB/SmolLM2-135M": _SMOLLM2_135M,
    "answerdotai/ModernBERT-base": {"model_type": "modernbert"},
}  # fmt: skip


_DEPTHS = {
    "num_hidden_layers",
    "n_layers",
    "n_layer",
    "num_layers",
    "num_decoder_layers",
    "encoder_layers",
    "decoder_layers",
}
"""Names that configurations have for the number of layers."""


def read_shape(name: str, *, trust_remote_code: bool = False) -> Any:
    """Return a model's configuration from its files, or from the table above; raises `UsageError` if in neither."""
    try:
        return read_config(name, trust_remote_code=trust_remote_code, local_only=True)
    except UsageError:
        if Path(name).exists():
            raise
        from transformers import AutoConfig

        # By the last part of a name too: copies of well-known models are of the same shape.
        short = {key.rpartition("/")[2].lower(): values for key, values in KNOWN_SHAPES.items()}
        if (known := short.get(name.rpartition("/")[2].lower())) is not None:
            values = dict(known)
            return AutoConfig.for_model(values.pop("model_type"), **values)

    # Only now the network, whose client tries for a while before it gives up.
    try:
        return read_config(name, trust_remote_code=trust_remote_code)
    except UsageError as error:
        raise UsageError(f"{error} (shapes known without network{nearest(name, KNOWN_SHAPES)})") from None


def shape_backbone(
    config: Any,
    *,
    layers: int | None = None,
    device: str = "meta",
    dtype: Any = None,
    speaks: bool = False,
    tags: bool = False,
    precision: str = "",
    runs_on: str = "cpu",
) -> Backbone:
    """Build a model of a configuration with random weights (or none, on `meta`), of fewer layers if asked.

    Where `precision` is one that quantises, the model computes in `dtype` and its weights are quantised, as on `runs_on`.
    """
    import copy

    import torch

    register_attention()
    shape = copy.deepcopy(config)
    if layers is not None:
        # Whatever name the configuration has for it; the others are set along.
        for name in _DEPTHS & shape.to_dict().keys():
            setattr(shape, name, layers)
        if getattr(shape, "layer_types", None):
            # One kind a layer: a list that is longer than the layers would be refused.
            shape.layer_types = shape.layer_types[:layers]
    kind = model_class(shape, speaks=speaks, tags=tags)
    try:
        with torch.device(device):
            model = kind.from_config(shape, attn_implementation="afina", dtype=dtype)
    except Exception as error:  # a foreign configuration may make anything go wrong in there
        raise loading_error(str(getattr(config, "_name_or_path", "") or config.model_type), error) from error
    if (codes := coded(precision)) is not None:
        code_shape(model, config, codes, dtype, heads_of(model))
    elif (storage := packed(precision)) is not None:
        keep = [*heads_of(model), *unfit(model, storage, runs_on)]
        quantise(model, storage.configuration(dtype, keep))
    bare = bare_of(model.requires_grad_(False))[1]
    language, anatomy = language_head_of(model) if speaks else None, read_anatomy(bare, bare.config)
    return Backbone(
        "", bare, None, bare.config, anatomy, language=language, tags=tags, precision=precision or EXACT,
        call_settings=anatomy.row.call_settings(bare.config),
    )  # fmt: skip
