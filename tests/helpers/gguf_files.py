"""Small GGUF files, written by the package `gguf` as llama.cpp's converter writes them."""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Tokenizer

from afina.backbone.model_files import model_path
from families import configuration, language_model

ARCHITECTURES = {
    "llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "phi3": "phi3", "gemma2": "gemma2",
    "gemma3_text": "gemma3", "gpt2": "gpt2",
}  # fmt: skip
"""What GGUF calls the families of `families.py`."""
ONE_LAYER = {
    "gpt2": {"num_hidden_layers": 1}, "llama": {"num_hidden_layers": 1}, "t5": {"num_layers": 1, "num_decoder_layers": 1},
    "bart": {"encoder_layers": 1, "decoder_layers": 1},
    "gemma2": {"num_hidden_layers": 1, "layer_types": ["sliding_attention"]},
}  # fmt: skip
"""Settings of `save_speaker` by family where a second layer would only take its time: to trace a graph takes seconds each."""


def save_speaker(family: str, folder: Path, **more: Any) -> Path:
    """Save a small language model of a family with random weights and the tokenizer of afina-small.

    Of a Qwen2 transformers always reads the tokenizer as Qwen2's, so that there it splits as that does.
    """
    tokenizer = AutoTokenizer.from_pretrained(model_path("afina-small"))
    config = configuration(family)
    for name, value in ({"vocab_size": len(tokenizer), "eos_token_id": 1, "pad_token_id": 0} | more).items():
        setattr(config, name, value)
    torch.manual_seed(0)
    model = language_model(family).from_config(config)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim == 1:
                value.add_(torch.randn_like(value) * 0.1)
            elif "embed" not in name and family != "t5":  # whose weights start large enough
                value.mul_(4)
    model.save_pretrained(folder)
    if family == "qwen2":
        whole = json.loads(tokenizer.backend_tokenizer.to_str().replace("<|pad|>", "<|endoftext|>"))
        vocabulary, merges = whole["model"]["vocab"], [tuple(pair) for pair in whole["model"]["merges"]]
        tokenizer = Qwen2Tokenizer(
            vocab=vocabulary, merges=merges, eos_token="<|end|>", pad_token="<|endoftext|>",
            chat_template=tokenizer.chat_template, extra_special_tokens=["<|system|>", "<|user|>", "<|assistant|>"],
        )  # fmt: skip
    tokenizer.save_pretrained(folder)
    return folder


def write_gguf(
    folder: Path, path: Path, architecture: str, *, kind: str = "F32", settings: dict[str, Any] | None = None,
    tensors: dict[str, Any] | None = None,
) -> Path:  # fmt: skip
    """Write a model's folder as a GGUF file, its matrices in `kind`; more settings (None takes one away) and tensors."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    writer = GGUFWriter(path, architecture)
    found = _settings(model.config, architecture) | _tokenizer(folder) | (settings or {})
    for key, value in found.items():
        if value is not None:
            _add(writer, key, value)
    names = gguf.get_tensor_name_map(
        next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture), model.config.num_hidden_layers
    )
    own = {}
    for name, value in model.state_dict().items():
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        called = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert called is not None, name
        own[called] = _as_written(value.numpy(), called, architecture, model.config)
    for name, value in (own | (tensors or {})).items():
        if value is None:
            continue
        wanted = GGMLQuantizationType[kind if value.ndim > 1 else "F32"]
        if wanted in (GGMLQuantizationType.F32, GGMLQuantizationType.F16):
            writer.add_tensor(name, np.ascontiguousarray(value, np.float16 if wanted.name == "F16" else np.float32))
        else:
            writer.add_tensor(name, gguf.quants.quantize(np.ascontiguousarray(value), wanted), raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _as_written(value: Any, called: str, architecture: str, config: Any) -> Any:
    """As convert_hf_to_gguf.py has it: Llama's queries and keys by pairs, Gemma's norms with the one that is added."""
    if architecture == "llama" and (".attn_q." in called or ".attn_k." in called):
        heads = config.num_attention_heads if ".attn_q." in called else config.num_key_value_heads
        return (
            value.reshape(heads, 2, value.shape[0] // heads // 2, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape)
        )
    if architecture.startswith("gemma") and called.endswith("norm.weight"):
        return value + 1
    if architecture == "gpt2" and value.ndim == 2 and "embd" not in called:
        return value.T
    return value


def _settings(config: Any, architecture: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "block_count": config.num_hidden_layers, "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size, "attention.head_count": config.num_attention_heads,
        "feed_forward_length": getattr(config, "intermediate_size", None) or 4 * config.hidden_size,
    }  # fmt: skip
    if architecture == "gpt2":
        found["attention.layer_norm_epsilon"] = config.layer_norm_epsilon
    else:
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        own = architecture[0] in "qg" or width * config.num_attention_heads != config.hidden_size
        rope = config.rope_parameters
        found |= {
            "attention.head_count_kv": config.num_key_value_heads, "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
            "rope.freq_base": float(rope.get("full_attention", rope)["rope_theta"]), "vocab_size": config.vocab_size,
        }  # fmt: skip
        found |= {"attention.key_length": width, "attention.value_length": width} if own else {}
        found |= {"rope.dimension_count": width} if architecture in ("llama", "phi3") else {}
    if architecture.startswith("gemma"):
        found["attention.sliding_window"] = config.sliding_window
    if architecture == "gemma2":
        found |= {key: getattr(config, key) for key in ("attn_logit_softcapping", "final_logit_softcapping")}
    return {f"{architecture}.{key}": value for key, value in found.items()}


def _tokenizer(folder: Path) -> dict[str, Any]:
    """A byte-level or SentencePiece vocabulary as tokenizer.json has it, split as afina-small or Qwen2 splits."""
    whole = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    model, tokenizer = whole["model"], AutoTokenizer.from_pretrained(folder)
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    special = {own["content"] for own in whole["added_tokens"]}
    found: dict[str, Any] = {
        "tokens": tokens, "token_type": [3 if token in special else 1 for token in tokens],
        "eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.bos_token_id,
        "padding_token_id": tokenizer.pad_token_id, "unknown_token_id": tokenizer.unk_token_id,
    }  # fmt: skip
    if model["byte_fallback"]:
        found |= {"model": "llama", "scores": [-float(place) for place in range(len(tokens))]}
    else:
        found |= {
            "model": "gpt2",
            "pre": "qwen2" if whole["normalizer"] else "smollm",
            "merges": [" ".join(merge) for merge in model["merges"]],
        }
    template = getattr(tokenizer, "chat_template", None)
    return {f"tokenizer.ggml.{key}": value for key, value in found.items()} | {"tokenizer.chat_template": template}


def _add(writer: GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)
