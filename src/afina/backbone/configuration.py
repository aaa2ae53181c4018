"""A model's config.json, checked for what is needed of it before anything is built by it."""

from pathlib import Path
from typing import Annotated, Any

import psutil
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from afina.backbone.rows import ROWS, row_of
from afina.errors import AfinaError, UsageError, nearest, shown
from afina.json_files import read_json_object

__all__ = ["REFUSED", "check_config_file", "check_memory", "check_sizes", "context_of", "window_of"]

REFUSED = {
    "xlnet": "they keep their states with the tokens before the rows, so that a branch could not tell one row from another",
    **dict.fromkeys(
        ("gpt_neox", "bloom", "falcon", "gptj", "codegen"),
        "their attention takes no function from outside, or has each head's query, key and value side by side in one layer",
    ),
}
"""Architectures that are not taken, and why."""

_MOST_LAYERS = 10_000
"""More are no model's: building them alone would take longer than anybody waits."""
_Count = Annotated[int, Field(strict=True, ge=1, le=1 << 31)]


class _Sizes(BaseModel):
    """Reads the sizes of every model by transformers' common names; what a configuration lacks is None."""

    model_config = ConfigDict(extra="ignore")

    vocab_size: _Count | None = None
    hidden_size: Annotated[int, Field(strict=True, ge=1, le=1 << 20)] | None = None
    num_hidden_layers: Annotated[int, Field(strict=True, ge=1)] | None = None
    num_attention_heads: Annotated[int, Field(strict=True, ge=1, le=1 << 16)] | None = None
    num_key_value_heads: Annotated[int, Field(strict=True, ge=1, le=1 << 16)] | None = None
    head_dim: _Count | None = None
    intermediate_size: _Count | None = None
    max_position_embeddings: _Count | None = None
    type_vocab_size: Annotated[int, Field(strict=True, ge=0, le=1 << 20)] | None = None
    pad_token_id: Annotated[int, Field(strict=True, ge=-1)] | None = None


def check_config_file(path: str) -> None:
    """Raise `UsageError` for a folder's config.json that is no JSON object; a name of the hub passes."""
    file = Path(path) / "config.json"
    # A name of the hub has no file here; what comes from there is checked once it is loaded.
    if not file.is_file():
        return
    try:
        config = read_json_object(file, what_to_do="get the model's files again")
    except AfinaError as error:
        raise UsageError(str(error)) from None
    # Without it transformers guesses by the folder's name.
    if not isinstance(config.get("model_type"), str):
        raise UsageError(f"{file}: model_type should name the architecture, and is {_short(config.get('model_type'))}.")
    from transformers import __version__
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if (kind := config["model_type"]) not in CONFIG_MAPPING and "auto_map" not in config:
        raise UsageError(
            f"{file}: transformers {__version__} knows no architecture '{_short(kind)[1:-1]}'{nearest(kind, ROWS)}; a newer "
            "one may: pip install -U transformers."
        )


def check_sizes(name: str, config: Any) -> None:
    """Raise `UsageError` for an architecture that is not taken, and for sizes that cannot be, by their key in config.json."""
    if (why := REFUSED.get(config.model_type)) is not None:
        raise UsageError(f"'{config.model_type}' models are not taken: {why}. Known are {', '.join(sorted(ROWS))}.")
    # A model's own words for the sizes, so that the sentence names what stands in its file.
    keys: dict[str, str] = getattr(config, "attribute_map", None) or {}

    def of(common: str) -> str:
        return f"{name}: {keys.get(common, common)} in its config.json"

    try:
        sizes = _Sizes(**{field: _given(config, field) for field in _Sizes.model_fields})
    except ValidationError as error:
        first = error.errors()[0]
        # pydantic says "Input should be ..."; here it is a clause of a longer sentence.
        what = first["msg"][:1].lower() + first["msg"][1:].replace("Input ", "")
        raise UsageError(
            f"{of(str(first['loc'][0]))} is {_short(first['input'])}: {what.removeprefix('input ')}."
        ) from None
    if sizes.num_hidden_layers is not None and sizes.num_hidden_layers > _MOST_LAYERS:
        least = 4 * (sizes.hidden_size or 1) ** 2 * sizes.num_hidden_layers
        raise UsageError(
            f"{of('num_hidden_layers')} is {sizes.num_hidden_layers:,}: at least {least / 1e9:,.0f} billion weights, and "
            f"more than {_MOST_LAYERS:,} layers are not built."
        )

    # Checked here, as transformers would build such a model and fail somewhere in the first pass.
    heads, keyed = sizes.num_attention_heads, sizes.num_key_value_heads
    # A head's width that is said need not divide anything.
    derived = sizes.hidden_size and heads and sizes.head_dim in (None, sizes.hidden_size // heads)
    if heads and sizes.hidden_size and derived and sizes.hidden_size % heads:
        raise UsageError(
            f"{of('num_attention_heads')} is {heads}, which does not divide its {keys.get('hidden_size', 'hidden_size')} of "
            f"{sizes.hidden_size}."
        )
    if heads and keyed and heads % keyed:
        raise UsageError(f"{of('num_key_value_heads')} is {keyed}, which does not divide its {heads} heads.")
    if context_of(config) < 2:
        raise UsageError(
            f"{of('max_position_embeddings')} is {sizes.max_position_embeddings}: no room for a text of two tokens."
        )


def check_memory(name: str, config: Any) -> None:
    """Raise `UsageError` for a model whose weights this machine's memory cannot hold in as few bits as there are.

    What is counted is the least that such sizes can mean: the embeddings in 16 bits, and of each layer, in 4, the
    projections of its queries and of what it attended.
    """
    width, layers, words = (_given(config, key) for key in ("hidden_size", "num_hidden_layers", "vocab_size"))
    # Without these there is nothing to count; what lacks them is refused elsewhere.
    if not width or not layers:
        return
    layers = _given(config, "num_hidden_groups") or layers  # ALBERT goes through each again and again
    embedded = _given(config, "embedding_size") or _given(config, "word_embed_proj_dim") or width
    heads, head = _given(config, "num_attention_heads") or 1, _given(config, "head_dim")
    least = layers * width * (heads * head if head else width) + 2 * (words or 0) * embedded
    if least > (memory := psutil.virtual_memory().total):
        raise UsageError(
            f"{name}: by its config.json ({layers:,} layers, {width:,} wide, {words or 0:,} words) its weights take at least "
            f"{least / 1e9:,.0f} GB, and this machine's memory is {memory / 1e9:,.0f} GB; give a smaller model."
        )


def context_of(config: Any) -> int:
    """Return the most tokens that a model's positions allow."""
    # A model that names no limit has one that no text reaches.
    longest = int(_given(config, "max_position_embeddings") or 1 << 30)
    row = row_of(config)
    if row is None or not row.counts_from_padding:
        return longest
    # RoBERTa's positions begin behind the padding's own.
    padding = config.pad_token_id
    return longest - (1 if padding is None else padding) - 1


def window_of(config: Any) -> int | None:
    """Return how many tokens back a model's attention sees in layers with a sliding window; None where it has none."""
    window, kinds = _given(config, "sliding_window"), _given(config, "layer_types")
    if not window or (kinds is not None and "sliding_attention" not in kinds):
        return None
    return int(window)


def _given(config: Any, key: str) -> Any:
    try:
        return getattr(config, key, None)
    except NotImplementedError:  # XLNet's, which has no limit of positions
        return None


def _short(value: Any) -> str:
    # Long numbers are slow to write out, and nobody reads them.
    if isinstance(value, int) and value.bit_length() >= 200:
        return f"a number of {value.bit_length()} bits"
    return "missing" if value is None else shown(value, 60)
