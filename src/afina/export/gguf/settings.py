"""Write what a GGUF file says of a model: its sizes and how it computes, by the rows that such files' reader has.

What is written is read again by that reader before any weight is: whatever of the model's configuration does not come back,
GGUF has no word for, or llama.cpp takes for granted otherwise, and the model is refused.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from afina.backbone.gguf_file import GgufFile, TensorEntry
from afina.backbone.gguf_rows import GGUF_ROWS, GgufRow, model_settings
from afina.backbone.gguf_tensors import gguf_names
from afina.errors import UsageError, shown

__all__ = ["GgufForm", "Settings", "form_of", "model_header", "written"]

Settings = dict[str, Any]


class GgufForm:
    """Holds an architecture of GGUF and its row."""

    def __init__(self, architecture: str) -> None:
        self.architecture = architecture
        self.row: GgufRow = GGUF_ROWS[architecture]


_ALSO = {"mistral": "llama"}
"""Models whose files are another's: llama.cpp has one graph for both."""


def form_of(config: Any) -> GgufForm:
    """Return GGUF's architecture for a model; raises `UsageError` for one without a row."""
    kinds = {row.model_type: name for name, row in GGUF_ROWS.items()}
    kinds |= _ALSO
    if config.model_type not in kinds:
        raise UsageError(
            f"A {config.model_type} model cannot be written as GGUF; {', '.join(sorted(kinds))} can: export this one "
            "--to merged."
        )
    return GgufForm(kinds[config.model_type])


def model_header(form: GgufForm, config: Any, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Settings, dict[str, Any]]:
    """Return what a file says of a model and the tensors that follow from its configuration, such as Llama 3's factors.

    `shapes` are those of its own tensors by transformers' names. Raises `UsageError` for a model that the file would make
    another of.
    """
    row, values, tensors = form.row, _values(form, config), {}
    rope, factors = _rope(config)
    values |= rope
    if factors is not None:
        tensors["rope_freqs.weight"] = factors
    header = {f"{form.architecture}.{key}": value for key, value in values.items() if value is not None}
    _check(form, config, header, gguf_names(row, list(shapes)), shapes, tensors)
    return header, tensors


def written(config: Any) -> Any:
    """Return the width of a head, whatever a configuration calls or leaves out."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def _values(form: GgufForm, config: Any) -> Settings:
    row = form.row
    values = {key: getattr(config, name, None) for key, name in row.settings.items()}
    if "rope.freq_base" in row.settings:
        values["rope.freq_base"] = float(_whole_rope(config)["rope_theta"])
        values["vocab_size"] = config.vocab_size
        values["attention.head_count_kv"] = config.num_key_value_heads
        turned = int(written(config) * _whole_rope(config).get("partial_rotary_factor", 1.0))

        # llama.cpp takes the width of a head for it otherwise.
        values["rope.dimension_count"] = turned
        if "attention.key_length" in row.settings:
            values |= {"attention.key_length": written(config), "attention.value_length": written(config)}
    if "feed_forward_length" in values and values["feed_forward_length"] is None:
        values["feed_forward_length"] = 4 * config.hidden_size
    return values


def _whole_rope(config: Any) -> Mapping[str, Any]:
    """Return how the layers that see the whole text turn positions."""
    rope: Mapping[str, Any] = getattr(config, "rope_parameters", None) or {}
    return rope.get("full_attention", rope)  # type: ignore[no-any-return]


def _rope(config: Any) -> tuple[Settings, Any]:
    """Return how positions are scaled, and Llama 3's factors where it is so."""
    rope = _whole_rope(config)
    kind = rope.get("rope_type", "default")
    if kind == "linear":
        return {"rope.scaling.type": "linear", "rope.scaling.factor": float(rope["factor"])}, None
    if kind == "llama3":
        return {}, _factors(config, rope)
    if kind != "default":
        raise UsageError(
            f"This model scales positions by '{kind}', which is not written as GGUF; none, linear and llama3 are: export it "
            "--to merged."
        )
    return {}, None


def _factors(config: Any, rope: Mapping[str, Any]) -> Any:
    """Return by how much Llama 3 slows each feature's turning, as transformers computes it."""
    import torch
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    slowed, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    width = written(config)
    plain = 1.0 / rope["rope_theta"] ** (torch.arange(0, width, 2, dtype=torch.float32) / width)
    return plain / slowed


_OWN = frozenset({
    "architectures", "model_type", "_name_or_path", "_commit_hash", "transformers_version", "dtype", "torch_dtype",
    "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "cls_token_id", "unk_token_id", "tokenizer_class",
    "initializer_range", "use_cache", "attention_dropout", "attn_pdrop", "embd_pdrop", "resid_pdrop", "embd_dropout",
    "resid_dropout", "output_attentions", "output_hidden_states", "return_dict", "chunk_size_feed_forward", "pretraining_tp",
    "id2label", "label2id", "num_labels", "problem_type", "finetuning_task", "task_specific_params", "n_ctx",
    "summary_activation", "summary_first_dropout", "summary_proj_to_labels", "summary_type", "summary_use_proj",
    "is_encoder_decoder", "reorder_and_upcast_attn", "quantization_config", "is_llama_config", "rope_interleaved",
    "cache_implementation", "max_window_layers", "_attn_implementation", "transformers.js_config",
    "auto_map",
})  # fmt: skip
"""Settings that say nothing of what a model computes from its tokens in use."""


def _check(
    form: GgufForm, config: Any, header: Settings, names: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]],
    tensors: Mapping[str, Any],
) -> None:  # fmt: skip
    """Raise `UsageError` for the first setting that would not come back."""
    from transformers import AutoConfig

    entries = {called: TensorEntry(called, tuple(shapes[name]), 0, 0) for name, called in names.items()}
    entries |= {name: TensorEntry(name, tuple(value.shape), 0, 0) for name, value in tensors.items()}
    file = _Unwritten(Path("the file"), {"general.architecture": form.architecture, **header}, entries, tensors)
    try:
        marks = {key: getattr(config, key, None) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
        again = AutoConfig.for_model(form.row.model_type, **marks, **model_settings(file))
    except UsageError as error:
        raise UsageError(f"This model cannot be written as GGUF: {error}") from None
    ours, theirs = _compared(config), _compared(again)
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key) != theirs.get(key) and (ours.get(key) or theirs.get(key)):
            raise UsageError(
                f"This model cannot be written as GGUF: its {key} is {shown(ours.get(key))}, and llama.cpp would have "
                f"{shown(theirs.get(key))}; export it --to merged."
            )


class _Unwritten(GgufFile):
    """A file that is not there yet, whose few computed tensors are at hand."""

    def __init__(
        self, path: Path, settings: Settings, entries: Mapping[str, TensorEntry], values: Mapping[str, Any]
    ) -> None:
        super().__init__(path, settings, entries)
        object.__setattr__(self, "values", values)

    def read(self, name: str) -> Any:
        return self.values[name]  # type: ignore[attr-defined]


def _compared(config: Any) -> dict[str, Any]:
    """Return what of a configuration the model computes by, with what may be left out filled in."""
    values = {key: value for key, value in config.to_dict().items() if key not in _OWN}
    if "n_inner" in values:
        values["n_inner"] = values["n_inner"] or 4 * values["n_embd"]
    if hasattr(config, "rope_parameters"):
        values["head_dim"] = written(config)
        whole = dict(_whole_rope(config))
        whole.setdefault("partial_rotary_factor", 1.0)
        values["rope_parameters"] = {key: _rounded(value) for key, value in whole.items()}
        local = (getattr(config, "rope_parameters", None) or {}).get("sliding_attention")
        values["rope_parameters of near layers"] = None if local is None else dict(local)
        values.pop("partial_rotary_factor", None)
        if not values.get("use_sliding_window", True) or values.get("sliding_window") is None:
            values["sliding_window"] = values["layer_types"] = None
            values.pop("use_sliding_window", None)
    return {key: _rounded(value) for key, value in values.items()}


def _rounded(value: Any) -> Any:
    """Return a number as a file's four bytes hold it, so that what is rounded alike is alike."""
    return float(f"{value:.6g}") if isinstance(value, float) else value
