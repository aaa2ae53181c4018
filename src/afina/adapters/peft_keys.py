"""What each key of PEFT's adapter_config.json means here: the one list by which adapters made elsewhere are read.

A key that can change what an adapter computes is read, is seen in the tensors, or has to be as PEFT leaves it; one that no
row knows has to say nothing. docs/reference/adapters_from_elsewhere.md has this table, and tests walk the fields of the
installed PEFT's configurations.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Strict, TypeAdapter, ValidationError

from afina.errors import AfinaError, UsageError, nearest
from afina.json_files import read_json_object

__all__ = ["KEYS", "TYPES", "Key", "keys_of", "keys_table", "read_peft_config"]

Meaning = Literal["read", "tensors", "nothing", "refused"]


def _finite(value: float) -> float:
    if not math.isfinite(value) or abs(value) > 1e12:
        raise ValueError("should be a finite number")
    return value


def _few(value: Any) -> Any:
    if len(str(value)) > 100_000:
        raise ValueError("is longer than any that PEFT writes")
    return value


Flag = Annotated[bool, Strict()] | None
Number = Annotated[float, Strict(), AfterValidator(_finite)]
Text = Annotated[str, Strict(), AfterValidator(_few)]
Place = Annotated[int, Strict()]
Pattern = Annotated[dict[Text, Number], AfterValidator(_few)] | None


@dataclass(frozen=True)
class Key:
    """One key: how it is taken, and why."""

    name: str
    meaning: Meaning
    why: str
    """For `refused`, what an adapter with it is; it ends a sentence."""
    plain: tuple[Any, ...] = (None,)
    """For `refused`, the values that change nothing: PEFT's default first."""
    kind: Any = None
    """For `read`, the type of its values."""
    advice: str = "it is not computed here"
    """For `refused`, what to do or why not."""


_CONVERT = (
    "save it with PEFT's save_pretrained(path_initial_model_for_weight_conversion=...), which makes it a plain LoRA"
)

_EVERY = (
    Key("peft_type", "read", "the kind of adapter"),
    Key("task_type", "read", "whether the model labels texts or words, writes, or has no head", kind=Text | None),
    Key("base_model_name_or_path", "read", "the base model", kind=Text | None),
    Key(
        "revision",
        "read",
        "the base's revision on the hub: `main`, or the base is to be given by `--model`",
        kind=Text | None,
    ),
    Key("auto_mapping", "nothing", "the class of the base model that it was trained with"),
    Key("peft_version", "nothing", "which PEFT wrote it"),
    Key("inference_mode", "nothing", "whether it goes on training"),
)
_TARGETS = (
    Key("target_modules", "tensors", "which modules are adapted: names, a pattern or a word for all"),
    Key("exclude_modules", "tensors", "which are not"),
    Key("modules_to_save", "tensors", "modules with weights of their own: heads, norms, embeddings, the language head"),
)
_LOW_RANK = (
    *_TARGETS,
    Key("r", "tensors", "the rank, which may differ by module"),
    Key("rank_pattern", "tensors", "ranks by module"),
    Key("lora_alpha", "read", "numerator of the scale", kind=Number),
    Key("lora_dropout", "nothing", "dropout while training"),
    Key("fan_in_fan_out", "tensors", "whether the base keeps its weights as (in, out), which the module shows"),
    Key("bias", "tensors", "which biases are its own"),
    Key("layers_to_transform", "tensors", "which layers are adapted"),
    Key("layers_pattern", "tensors", "what the model calls its layers"),
    Key("alpha_pattern", "read", "numerators of the scale by module", kind=Pattern),
    Key("use_rslora", "read", "scale by alpha / sqrt(rank)", kind=Flag),
    Key("runtime_config", "nothing", "where a program keeps it while it runs"),
    Key("megatron_config", "refused", "LoRA on Megatron's parallel layers"),
    Key("megatron_core", "nothing", "says where Megatron is, for megatron_config"),
    Key("loftq_config", "nothing", "settings of the start that init_lora_weights names"),
    Key("eva_config", "nothing", "likewise"),
    Key("corda_config", "nothing", "likewise"),
    Key("lora_ga_config", "nothing", "likewise"),
    Key("qalora_group_size", "nothing", "says how much, for use_qalora"),
    Key("velora_config", "nothing", "how gradients are kept while training"),
    Key("ensure_weight_tying", "tensors", "whether embeddings and language head share what was trained: it is saved twice"),
    Key(
        "alora_invocation_tokens", "refused", "activated LoRA, which acts only behind the tokens that call it",
        advice="here it would act on every token",
    ),
    Key(
        "layer_replication", "refused", "layers of the base are to be repeated, each with an adapter of its own",
        advice="a model is not rebuilt here; merge it with PEFT and load the merged model",
    ),
    Key("use_qalora", "refused", "QALoRA, whose inputs are pooled in groups", plain=(False, None)),
    Key("target_parameters", "refused", "LoRA on parameters that are no layers, as of experts", plain=(None, [])),
    Key("use_bdlora", "refused", "block-diagonal LoRA"),
    Key("arrow_config", "refused", "Arrow, several LoRAs that are chosen between by token"),
    Key("kasa_config", "refused", "KaSA, on the base without its smallest singular values"),
    Key("monteclora_config", "refused", "MonteCLoRA, whose weights are drawn anew"),
)  # fmt: skip
_LORA = (
    *_LOW_RANK,
    Key("use_dora", "read", "DoRA: magnitude and direction apart", kind=Flag),
    Key(
        "init_lora_weights", "read",
        "how it started; for `pissa` and `olora` that start is taken out of the base, as PEFT does when it loads",
        kind=Annotated[bool, Strict()] | Text | None,
    ),
    Key("lora_bias", "tensors", "a bias on B"),
    Key(
        "trainable_token_indices", "read", "tokens whose vectors are its own",
        kind=list[Place] | dict[Text, list[Place]] | None,
    ),
)  # fmt: skip
_ADALORA = (
    *_LOW_RANK,
    Key("init_r", "read", "denominator of the scale: the rank at the start", kind=Number),
    Key("use_dora", "refused", "DoRA's magnitudes on AdaLoRA", plain=(False, None)),
    Key("init_lora_weights", "nothing", "how it started"),
    Key("lora_bias", "refused", "a bias on AdaLoRA's P", plain=(False, None)),
    Key("trainable_token_indices", "refused", "tokens with vectors of their own beside AdaLoRA"),
    *(Key(name, "nothing", "how ranks were given while training") for name in (
        "target_r", "tinit", "tfinal", "deltaT", "beta1", "beta2", "total_step",
    )),
    Key("orth_reg_weight", "nothing", "a penalty while training"),
)  # fmt: skip
_VIRTUAL = (
    Key("num_virtual_tokens", "tensors", "how many"),
    Key("token_dim", "tensors", "their width"),
    Key("num_transformer_submodules", "tensors", "before the encoder alone, or the decoder too (refused)"),
    Key("num_attention_heads", "tensors", "how a prefix is cut"),
    Key("num_layers", "tensors", "likewise"),
    Key("modules_to_save", "tensors", "modules with weights of their own"),
)
_ENCODER = "of the network that made the vectors, which PEFT saves as vectors"

KEYS: Mapping[str, tuple[Key, ...]] = {
    "LORA": (*_EVERY, *_LORA),
    "ADALORA": (*_EVERY, *_ADALORA),
    "IA3": (
        *_EVERY,
        *_TARGETS,
        Key("feedforward_modules", "tensors", "where the input is scaled, not the output"),
        Key("fan_in_fan_out", "tensors", "whether the base keeps its weights as (in, out)"),
        Key("init_ia3_weights", "nothing", "how it started"),
    ),
    "LN_TUNING": (*_EVERY, *_TARGETS),
    "PROMPT_TUNING": (
        *_EVERY,
        *_VIRTUAL,
        *(Key(name, "nothing", "how it started") for name in (
            "prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_name_or_path", "tokenizer_kwargs",
        )),
    ),
    "P_TUNING": (
        *_EVERY,
        *_VIRTUAL,
        *(Key(name, "nothing", _ENCODER) for name in (
            "encoder_reparameterization_type", "encoder_hidden_size", "encoder_num_layers", "encoder_dropout",
        )),
    ),
    "PREFIX_TUNING": (
        *_EVERY,
        *_VIRTUAL,
        Key("encoder_hidden_size", "nothing", _ENCODER),
        Key("prefix_projection", "nothing", _ENCODER),
        Key("init_weights", "nothing", "how it started"),
    ),
    "ADAPTION_PROMPT": (
        *_EVERY,
        Key("target_modules", "tensors", "which modules are adapted"),
        Key("adapter_len", "tensors", "length of the prompts"),
        Key("adapter_layers", "tensors", "how many layers have one"),
    ),
}  # fmt: skip
"""By PEFT's type, the keys that its adapter_config.json may have."""

TYPES = tuple(KEYS)

_ELSEWHERE = ("unsloth_fixed", "merge_weights")
"""Keys that no present PEFT has and that change nothing: Unsloth's mark on what it mended, and, of PEFT before 0.3, whether
weights are merged in evaluation."""
_NOTHING: tuple[Any, ...] = (None, False, "", [], {})
"""What a key says that says nothing."""

_AS_TRAINED = ("eva", "orthogonal", "mica", "gaussian")
"""Ways to start that leave the base as it is."""


def keys_of(kind: str) -> Mapping[str, Key]:
    """Return the keys of a type by name."""
    return {key.name: key for key in KEYS[kind]}


def keys_table() -> str:
    """Return the table for the docs: every key once a meaning, with the types that have it."""
    rows: dict[tuple[str, Meaning, str], list[str]] = {}
    own = {(key.name, key.meaning, key.why): key for keys in KEYS.values() for key in keys}
    for kind, keys in KEYS.items():
        for key in keys:
            rows.setdefault((key.name, key.meaning, key.why), []).append(kind)
    words = {
        "read": "read", "tensors": "done, as the tensors show it", "nothing": "changes nothing that was trained",
        "refused": "refused",
    }  # fmt: skip
    lines = ["| key | of | here | what it says |", "|---|---|---|---|"]
    for place, kinds in sorted(rows.items()):
        key, types = own[place], "all" if len(kinds) == len(KEYS) else ", ".join(kinds)
        plain = f" unless {_said(key.plain[0])}" if key.meaning == "refused" else ""
        lines.append(f"| `{key.name}` | {types} | {words[key.meaning]}{plain} | {key.why} |")
    return "\n".join(lines)


def read_peft_config(folder: Path) -> dict[str, Any]:
    """Return what the adapter_config.json of a PEFT adapter says, every key of it checked by `KEYS`.

    Raises `FileNotFoundError` where there is none, `AfinaError` for a file that is damaged or has a value of the wrong kind,
    and `UsageError` for another type, and for a key that changes what the adapter computes as is not computed here.
    """
    path = folder / "adapter_config.json"
    config = read_json_object(path, what_to_do="save the adapter again")
    kind = config.get("peft_type")
    if kind is None:
        raise UsageError(f"{folder} is no PEFT adapter: its adapter_config.json has no peft_type.")
    if not isinstance(kind, str) or kind not in KEYS:
        name = _short(kind)
        raise UsageError(f"{folder}: adapters of PEFT's type {name} are not read{nearest(name, TYPES)}")
    known = keys_of(kind)
    for name, value in config.items():
        if (key := known.get(name)) is None:
            _check_unknown(path, name, value)
        elif key.meaning == "read" and key.kind is not None:
            _check_value(path, key, value)
        elif key.meaning == "refused" and not _says(value, key.plain):
            raise UsageError(f"{path}: {name} is set: {key.why}; {key.advice}.")
    if missing := [key.name for key in KEYS[kind] if key.kind is Number and key.name not in config]:
        raise AfinaError(f"{path} lacks '{missing[0]}', without which its scale is unknown; save the adapter again.")
    _check_start(path, config)
    return config


def _check_start(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse a start that cannot be taken out of the base again."""
    start = config.get("init_lora_weights")
    if config["peft_type"] != "LORA" or not isinstance(start, str) or start.lower() in _AS_TRAINED:
        return
    if start.startswith("pissa_niter_"):
        raise UsageError(
            f"{path}: init_lora_weights is '{_short(start)}', whose start was drawn at random and is in no file, so that "
            f"what was left of the base cannot be told; {_CONVERT}."
        )
    if start not in ("pissa", "olora"):
        raise UsageError(
            f"{path}: init_lora_weights is '{_short(start)}', a start that changed the base's weights by what is in no file; "
            f"{_CONVERT}."
        )


def _check_value(path: Path, key: Key, value: Any) -> None:
    try:
        TypeAdapter(key.kind).validate_python(value)
    except (ValidationError, RecursionError, OverflowError) as error:
        reason = "is of the wrong kind"
        if isinstance(error, ValidationError):
            reason = error.errors()[-1]["msg"].removeprefix("Value error, ").replace("Input should", "should")
        raise AfinaError(f"{path}: '{key.name}' is {_short(value)}, and {reason}.") from None


def _check_unknown(path: Path, name: str, value: Any) -> None:
    if name in _ELSEWHERE or _says(value, _NOTHING):
        return
    raise UsageError(
        f"{path}: the key '{_short(name)}' is set and not known here, so that it may change what the adapter computes; "
        "take it out of the file if you know that it does not."
    )


def _says(value: Any, plain: tuple[Any, ...]) -> bool:
    """Whether a value is one of these, true and 1 apart."""
    return any(type(value) is type(own) and value == own for own in plain)


def _said(value: Any) -> str:
    return {None: "null", False: "false"}.get(value, str(value))


def _short(value: Any) -> str:
    """Return a value as it may stand in a sentence, however long it is."""
    try:
        text = str(value)
    except (ValueError, RecursionError):  # numbers of thousands of digits have no text
        text = f"a {type(value).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}..."
