"""A model read from its files, and every weight accounted for: what the files lack is never drawn at random in silence.

transformers fills what a file lacks with random numbers and goes on. Here a prefix that a wrapper left on every name is
taken off, a pooler that the files lack is left out (a head that wants one brings its own, `heads.py`), and anything else
that is missing, left over or of another size in the bare model is refused by its name.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from afina.backbone.coded import coded, reading_codes, released
from afina.backbone.language_head import bare_language_model
from afina.backbone.model_files import BUILT_IN, adapter_beside
from afina.backbone.quantise import stored_precision
from afina.backbone.read_apart import reading_apart
from afina.errors import AfinaError, UsageError, nearest
from afina.hub import local_only

__all__ = ["Weights", "bare_of", "heads_of", "loading_error", "read_weights"]

_WRAPPERS = r"(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
"""Parts that torch puts anywhere into names: torch.compile, and the wrappers that shard and that compute again."""
_POOLER = "pooler"
_FIELD = re.compile(r"Field '(\w+)' expected ([^,]+), got .*?\(value: (.*?)\)(?:;|$|\.\.\.)")
"""The sentence by which transformers' configurations refuse a value of the wrong type."""
_MADE_ANEW = {"final_logits_bias"}
"""Tensors of language models that are zeros where the files have none: BART's."""
_CONSTANTS = re.compile(r"\.(masked_bias|position_ids|inv_freq)$")
"""Tensors that older releases of transformers wrote beside the weights and compute now: nothing that was trained."""


@dataclass(frozen=True)
class Weights:
    """Holds a transformers model with the weights of its files."""

    model: Any
    bare: Any
    """The model inside its classifier or language model."""
    prefix: str
    """Its path there: `bert.`, `model.`, ..."""
    head: Mapping[str, Tensor]
    """Weights that the files hold outside the bare model, by transformers' names."""
    pooler: str
    """Path of the linear layer of a pooler that the files lack, `bert.pooler.dense`, and that is left out; or empty."""
    notes: tuple[str, ...]
    """Assumptions made while reading, a sentence each."""


def read_weights(
    name: str, path: str, kind: Any, settings: Mapping[str, Any], *, trust_remote_code: bool = False,
    speaks: bool = False, keep_pooler: bool = False, codes: bool = False,
) -> Weights:  # fmt: skip
    """Read a model of a class of transformers; `settings` are its `from_pretrained`'s.

    A pooler that the files lack is left out, or with `keep_pooler` left for the caller to fill. Weights that a file stores in
    codes, as the `config` among the settings says, are dequantised unless `codes` are asked for. Raises `UsageError` for
    weights that are not those of such a model, naming one, and `AfinaError` for damaged ones.
    """
    mapping: dict[str, str] = {}
    notes: list[str] = []
    storage = coded(stored_precision(settings.get("config")))
    if storage is not None:
        settings = {**settings, "config": reading_codes(name, settings["config"], storage)}

    # Read again under other names where the file's are the model's with something before or in them (torch.compile,
    # DDP).
    while True:
        renaming = {"key_mapping": mapping} if mapping else {}
        model, loading = _from_pretrained(name, path, kind, {**settings, **renaming}, trust_remote_code)
        prefix, bare = bare_of(model)
        inside = {f"{prefix}{key}" for key in bare.state_dict()}
        missing = set(loading["missing_keys"])
        unused = set(loading["unexpected_keys"])

        # At most three times: names may be wrapped twice (a compiled model in a parallel one), and no oftener.
        pattern = _wrapping(missing & inside, unused, prefix)
        if pattern is None or pattern in mapping or len(mapping) > 2:
            break
        mapping[pattern] = ""
        wrapper = "_orig_mod." if pattern == _WRAPPERS else pattern.removeprefix("^").replace("\\", "")
        notes.append(f"the names of the model's weights are read without their '{wrapper}'")
    if mapping:
        vars(model).pop("_weight_conversions", None)  # or it would be saved under those names again

    # A pooler that was never trained (masked language models have none) is not drawn at random in silence.
    pooler = _lacking_pooler(bare, missing & inside, prefix)
    # With `keep_pooler` the caller has weights for it.
    if pooler and not keep_pooler:
        setattr(bare, _POOLER, None)
    wanting = (
        {key for key in missing & inside if not key.startswith(f"{prefix}{_POOLER}.")} if pooler else missing & inside
    )
    _refuse(name, sorted(wanting), unused, loading["mismatched_keys"], inside, bare, prefix)
    beside = missing - inside - _MADE_ANEW
    if speaks and beside:
        raise UsageError(
            f"The weights of '{name}' hold no language head ({min(beside)}); give the pretrained model, not a classifier of "
            "it."
        )

    # What transformers drew at random in place of missing weights is not the checkpoint's, and no head begins with it.
    drawn = missing | {str(key) for key, *_ in loading["mismatched_keys"]}
    head = {key: value for key, value in model.state_dict().items() if key not in inside and key not in drawn}
    if storage is not None:
        notes += released(model, bare, plain=not codes)
    return Weights(model, bare, prefix, {} if speaks else head, pooler, tuple(notes))


def bare_of(model: Any) -> tuple[str, Any]:
    """Return the model inside a classifier or language model of transformers, with its path there, as `bert.`.

    Whisper's is its encoder alone.
    """
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    # A class without a head is the bare model itself.
    plain = MODEL_MAPPING.get(type(model.config), ())
    if type(model) in (plain if isinstance(plain, tuple) else (plain,)):
        return "", model
    if hasattr(model, "lm_head"):
        prefix, bare = bare_language_model(model)
        return prefix and f"{prefix}.", bare
    # Whisper's classifier names its encoder otherwise than its base class says.
    prefix = model.base_model_prefix if hasattr(model, model.base_model_prefix) else "encoder"
    return f"{prefix}.", getattr(model, prefix)


def heads_of(model: Any) -> list[str]:
    """Return patterns of the paths of a model's modules that are no part of the bare model: its heads."""
    prefix, bare = bare_of(model)
    inside = {prefix.split(".")[0]} if prefix else dict(bare.named_children()).keys()
    return [f"^{name}" for name, _ in model.named_children() if name not in inside]


def _wrapping(missing: Collection[str], unused: Collection[str], prefix: str) -> str | None:
    """Return a pattern of what stands before or in the names left over in a file, without which they are the missing ones."""
    # torch's own wrappers may stand anywhere in a name, others only before it.
    if any(re.search(_WRAPPERS, key) for key in unused):
        return _WRAPPERS
    tails = {key.removeprefix(prefix) for key in missing}
    starts = Counter(
        key[: -len(tail)] for tail in tails for key in unused if key.endswith(f".{tail}") and key != f"{prefix}{tail}"
    )

    # One that explains most of what is missing; of two equal ones, such as a pair of encoders', neither is meant.
    best = [start for start, count in starts.items() if count == max(starts.values()) and 2 * count > len(tails)]
    if len(best) != 1:
        return None
    start = best[0].removesuffix(prefix)  # what is before the classifier's own prefix is before its head too
    return f"^{re.escape(start)}" if start else None


def _lacking_pooler(bare: Any, missing: Collection[str], prefix: str) -> str:
    """Return the path of the layer of a pooler of which the files hold nothing, or an empty one."""
    module = getattr(bare, _POOLER, None)
    if not isinstance(module, nn.Module):
        return ""
    keys = {f"{prefix}{_POOLER}.{key}" for key in module.state_dict()}
    # A pooler of which something is there is damaged, not left out.
    if not keys or not keys <= set(missing):
        return ""
    layers = [key.removesuffix(".weight") for key in keys if key.endswith(".weight")]
    # A pooler of several layers is not one that a head can bring.
    return layers[0] if len(layers) == 1 else ""


def _refuse(
    name: str, missing: list[str], unused: Collection[str], mismatched: Collection[tuple[Any, ...]],
    inside: Collection[str], bare: Any, prefix: str,
) -> None:  # fmt: skip
    """Raise what keeps a file's weights from being the bare model's."""
    # A head's sizes may differ: its labels are others.
    sizes = sorted((str(key), tuple(own), tuple(asked)) for key, own, asked in mismatched if key in inside)
    if sizes:
        key, held, asked = sizes[0]
        raise UsageError(
            f"The weights of '{name}' hold {key} of size {held}, where its config.json asks for {asked}; one of the two "
            "files is another model's."
        )
    if missing:
        more = f" and {len(missing) - 1} more weights" if len(missing) > 1 else ""
        raise UsageError(
            f"The weights of '{name}' lack {missing[0]}{more}; nothing is drawn at random in their place: get the model's "
            "files again, or save it whole."
        )

    # A tensor that is left over counts only if it is a part of the bare model: heads of other tasks are dropped anyway.
    children = {child for child, _ in bare.named_children()} - {_POOLER}
    tails = {key.removeprefix(prefix): key for key in unused if not _CONSTANTS.search(key)}
    if extra := sorted(key for tail, key in tails.items() if tail.split(".")[0] in children and "." in tail):
        raise UsageError(
            f"The weights of '{name}' hold {extra[0]} ({len(extra)} such), for which a model of its config.json has no "
            "place; what they do would be left out: get the files that belong together."
        )


def _from_pretrained(
    name: str, path: str, kind: Any, settings: Mapping[str, Any], trust_remote_code: bool
) -> tuple[Any, Any]:
    # What is quantised while it is read is put on its device at once.
    apart = reading_apart() if "device_map" in settings else nullcontext()
    try:
        with apart:
            model, loading = kind.from_pretrained(
                path,
                **settings,
                use_safetensors=True,
                trust_remote_code=trust_remote_code,
                local_files_only=local_only(path),
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # a head's are for other classes, and the bare model's are refused above
            )
    except Exception as error:  # a foreign file may make anything go wrong in there
        raise loading_error(name, error) from error
    # transformers finds an adapter beside the model and puts it on.
    if getattr(model, "_hf_peft_config_loaded", False):
        raise UsageError(adapter_beside(name))
    return model, loading


def loading_error(name: str, error: Exception, part: str = "model") -> AfinaError:
    """Return what to say of a model, or a part of it, that transformers could not load."""
    whole = " ".join(str(error).split())
    # Errors of transformers may be pages long.
    text = f"{whole[:237]}..." if len(whole) > 240 else whole
    if isinstance(error, AfinaError):
        return error
    if "trust_remote_code" in text:
        return UsageError(f"The model '{name}' brings code of its own, which runs only with trust_remote_code: true.")
    if type(error).__name__ == "SafetensorError" or ("safetensors" in text and "deserializ" in text.lower()):
        return AfinaError(f"The weights of '{name}' are damaged ({text}); get them again.")
    if match := _FIELD.search(whole):
        field, wanted, value = match.groups()
        return UsageError(f"{name}: {field} in its config.json is {value[:60]}, and should be {wanted}.")
    if Path(name).exists() or name in BUILT_IN:
        # What pydantic and dataclasses say before the reason is of no use to who reads it.
        text = text.rpartition("validation error for validator ")[2].partition("ValueError: ")[2].rstrip(".") or text
        kind = "" if isinstance(error, (OSError, ValueError, RuntimeError)) else f"{type(error).__name__}: "
        return AfinaError(f"The {part} in {name} cannot be loaded ({kind}{text}); get its files again.")
    return UsageError(
        f"The {part} '{name}' is neither a folder, nor a built-in name, nor could it be had from the hub "
        f"({type(error).__name__}; no network, or no such name){nearest(name, BUILT_IN)}"
    )
