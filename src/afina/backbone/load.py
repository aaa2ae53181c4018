"""Loading a backbone: a hub name, a local folder or a built-in name; frozen, untouched, safetensors only."""

import copy
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from afina import hub
from afina.backbone.anatomy import Anatomy, read_anatomy
from afina.backbone.coded import coded, settings_beside
from afina.backbone.configuration import check_config_file, check_memory, check_sizes, context_of
from afina.backbone.function import register_attention
from afina.backbone.head import EmbeddingHead, Head
from afina.backbone.heads import build_head
from afina.backbone.labels import known_rows
from afina.backbone.language_head import AnswerHead, LanguageHead, TokenHead, language_head_of
from afina.backbone.model_files import check_device, check_folder, check_weights, model_path
from afina.backbone.quantise import (
    packed,
    parameter_count,
    round_weights,
    settle,
    stored_precision,
    unfit,
    weight_shape,
)
from afina.backbone.rows import row_of
from afina.backbone.shape_of import check_function
from afina.backbone.storage.base import STORAGES
from afina.backbone.team import ALONE, Team
from afina.backbone.turns import ModelTurns
from afina.backbone.vocabulary import check_tokens
from afina.backbone.weights import heads_of, loading_error, read_weights
from afina.errors import UsageError
from afina.ops.frozen_linear import FrozenProduct, frozen_linears
from afina.ops.waiting import share_cores
from afina.precision import EXACT

__all__ = [
    "Backbone", "WritesNothing", "has_tagger", "load_backbone", "load_tokenizer", "model_class", "read_config",
    "stored_at", "tokenizer_at",
]  # fmt: skip


@dataclass
class Backbone:
    """A bare transformers model with what is known of it; nothing here changes its weights."""

    name: str
    model: nn.Module
    tokenizer: Any
    """None for images and sound."""
    config: Any
    anatomy: Anatomy
    pretrained_head: dict[str, Tensor] = field(default_factory=dict)
    """Weights of the checkpoint's own head that do not depend on the number of classes (ModernBERT has some)."""
    call_settings: dict[str, Any] = field(default_factory=dict)
    autocast: torch.dtype | None = None
    """Compute in this precision from float32 weights, for methods that train the weights themselves."""
    prefix: str = ""
    """Path of the bare model inside its classifier: `bert.`, `model.`, ... (PEFT's files use it)."""
    language: LanguageHead | None = None
    """The pretrained language head, where the model was loaded to speak."""
    tags: bool = False
    """True if heads tag each token, and do not classify the text."""
    precision: str = EXACT
    """Name of the storage that its weights are kept in."""
    rounding: float | None = None
    """Relative distance of its weights from the model's own, where they are those of a quantised form."""
    generation: Any = None
    """And transformers' generation settings of the checkpoint, which know its end tokens."""
    pooler: str = ""
    """Path of the layer of a pooler that the model's files lack; a head that looks through one has its own."""
    notes: tuple[str, ...] = ()
    """Assumptions made when the weights were read, a sentence each."""
    team: Team = ALONE
    """The processes that each compute a share of its rows."""
    window: Callable[[nn.Module], AbstractContextManager[Any]] | None = None
    """Holds a layer in memory while it computes, where layers stay on the disk."""
    turns: ModelTurns = field(default_factory=ModelTurns, repr=False, compare=False)

    @cached_property
    def linears(self) -> dict[nn.Module, FrozenProduct]:
        """Return the products that stand for its linear layers' own while adapters are attached."""
        return frozen_linears(*self.linear_models)

    @property
    def linear_models(self) -> list[nn.Module]:
        """Return where those layers are: the bare model, and the language head."""
        return [self.model] if self.language is None else [self.model, self.language.linear]

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype

    @property
    def parameter_count(self) -> int:
        """Return how many numbers the model's weights are, in however few bytes they are stored."""
        return parameter_count(self.model)

    @property
    def context(self) -> int:
        """Return the most tokens that the model's positions allow."""
        return context_of(self.config)

    def check_tokens(self, tokens: Iterable[int], where: str, tokenizer: Any = None, words: int = 0) -> None:
        """Raise `UsageError` for a token that a tokenizer, its own unless given, knows and the model has no vector for.

        `words` are those that an adapter has vectors for.
        """
        (site,) = self.anatomy.of_kind("embedding")
        vectors = weight_shape(self.model.get_submodule(site.module))[0]
        check_tokens(self.name, tokenizer or self.tokenizer, max(vectors, words), tokens, where)

    @property
    def trunk_layers(self) -> int:
        """Return the layers that can be passed over where their output is known: all that follow one another."""
        layers = len(self.anatomy.of_kind("layer"))
        # A decoder's layers look at the encoder's states, ALBERT's one layer comes again, DeBERTa's convolution stands
        # between its first two, and T5's first hands its position bias to the others.
        between = any(getattr(self.config, name, 0) for name in ("conv_kernel_size", "relative_attention_num_buckets"))
        # Nor may processes that gather weights together pass layers over, each by its own rows.
        whole = layers == self.anatomy.layer_count and self.team.size == 1
        return 0 if between or self.anatomy.row.further or not whole else layers

    def new_head(self, outputs: int, labels: Sequence[str] | None = None, *, several: bool = False) -> Head:
        """Make a fresh head on this backbone's device, drawn from torch's current random state.

        What the checkpoint has of one is taken, its last layer where it tells these labels apart by their names (of
        `several` a text may have more than one). A model that speaks answers with its own language head, and without
        answers to choose from scores every token. Without outputs a text's answer is its vector.
        """
        if self.language is not None:
            return AnswerHead(self.language, self.config, outputs) if outputs else TokenHead(self.language, self.config)
        if not outputs:
            return EmbeddingHead(self.config)
        row = self.anatomy.row
        form, pooler = (row.tagger, "") if self.tags else (row.head, self.pooler)
        rows = known_rows(self.config, labels, several=several)
        head = build_head(form, self.config, outputs, self.pretrained_head, pooler=pooler, rows=rows)
        return head.to(self.device)


def load_backbone(
    name: str, *, precision: str | None = None, device: str = "cpu", trust_remote_code: bool = False,
    speaks: bool = False, tags: bool = False, compute: torch.dtype | None = None, rounded_to: str | None = None,
) -> Backbone:  # fmt: skip
    """Load and freeze a model, with its language head if it is to speak, for heads on each token if it is to tag.

    Unless given `precision` is what the checkpoint's weights are stored in, fp32 for plain ones. `compute` is what quantised
    weights compute in, bfloat16 where the device has it unless given. With `rounded_to` a plain model gets the weights that
    this quantised precision makes of its own.

    Raises `UsageError` for a name that is nowhere, weights that are not safetensors, an unknown architecture or one that
    cannot speak, bitsandbytes missing, and `AfinaError` for weights that are damaged.
    """
    check_device(device)
    check_weights(name, path := model_path(name))
    of_codes = coded(rounded_to)
    if of_codes is not None:  # there are no weights but those that the codes stand for
        wanted, compute = of_codes.name, STORAGES.named(precision or EXACT).dtype
    else:
        wanted = precision or stored_at(name, trust_remote_code=trust_remote_code) or EXACT
    kind, settings = _how_to_load(name, wanted, device, trust_remote_code, speaks=speaks, tags=tags, compute=compute)
    read = read_weights(
        name, path, kind, settings, trust_remote_code=trust_remote_code, speaks=speaks, codes=of_codes is None
    )
    model, bare, prefix = read.model, read.bare, read.prefix
    anatomy = read_anatomy(bare, bare.config)
    if speaks and not anatomy.row.writes:
        raise _writes_not(bare.config)
    tokenizer = tokenizer_at(name, path, trust_remote_code) if anatomy.row.inputs == "text" else None
    model.requires_grad_(False)
    bare.eval()
    if packed(wanted) is not None:
        settle(model, model.dtype, mapped=False)  # and it is on its device, where it was quantised
    if packed(wanted) is None or coded(wanted) is not None:
        model.to(device)
    language = language_head_of(model) if speaks else None
    if row_of(bare.config) is None:
        check_function(model, bare, anatomy.attention_modules, language)
    rounding = None if of_codes is None else 0.0
    if rounded_to is not None and of_codes is None:
        like = load_backbone(name, precision=rounded_to, device=device, trust_remote_code=trust_remote_code,
                             speaks=speaks, tags=tags)  # fmt: skip
        rounding = round_weights(bare, like.model)
    return Backbone(
        name=name, model=bare, tokenizer=tokenizer, config=bare.config, anatomy=anatomy,
        pretrained_head={key: value.float() for key, value in read.head.items()},
        call_settings=anatomy.row.call_settings(bare.config),
        prefix=prefix, language=language, tags=tags, rounding=rounding,
        precision=(precision or EXACT) if of_codes is not None else wanted,
        generation=model.generation_config if speaks else None,
        pooler=read.pooler, notes=read.notes,
    )  # fmt: skip


def has_tagger(config: Any) -> bool:
    """Return whether transformers has a class that tags tokens with this model."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING

    return type(config) in MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING


def model_class(config: Any, *, speaks: bool = False, tags: bool = False) -> Any:
    """Return transformers' class of classifiers for a model's inputs (texts, images or sound), or of language models.

    Of texts or, with `tags` and where it has one, of tokens. Raises `UsageError` for a model that cannot speak.
    """
    import transformers

    row = row_of(config)
    if speaks:
        if not _may_write(config):
            raise _writes_not(config)
        return transformers.AutoModelForSeq2SeqLM if row and row.further else transformers.AutoModelForCausalLM
    if tags and has_tagger(config):
        return transformers.AutoModelForTokenClassification
    kind = {"image": "Image", "sound": "Audio"}.get(row.inputs if row else "text", "Sequence")
    return getattr(transformers, f"AutoModelFor{kind}Classification")


def _may_write(config: Any) -> bool:
    """Return whether a model writes by its row; one without a row is looked at again when its shape is known."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    row = row_of(config)
    return type(config) in MODEL_FOR_CAUSAL_LM_MAPPING if row is None else row.writes


class WritesNothing(UsageError):
    """Refuses a model that has no language head for what needs one."""


def _writes_not(config: Any) -> UsageError:
    return WritesNothing(
        f"A {config.model_type} model writes no text, so it cannot say how likely an answer is; take a decoder or an "
        "encoder-decoder, or set task: classification."
    )


def _how_to_load(
    name: str, precision: str, device: str, trust_remote_code: bool, *, speaks: bool, tags: bool,
    compute: torch.dtype | None,
) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """Return transformers' class for a model, and what loading it in a precision takes."""
    register_attention()
    config = read_config(name, trust_remote_code=trust_remote_code)
    if device == "cpu":
        share_cores()
        check_memory(name, config)
    kind = model_class(config, speaks=speaks, tags=tags)
    stored = stored_precision(config)
    if stored not in (None, precision):
        raise UsageError(
            f"The weights of '{name}' are stored in {stored}, not to be had in {precision}{_stored_advice(stored)}"
        )
    storage = packed(precision)
    if storage is None:
        return kind, {"dtype": STORAGES.named(precision).dtype, "attn_implementation": "afina"}
    dtype = compute or storage.compute(device)
    if coded(precision) is not None and stored is not None:
        return kind, {"dtype": dtype, "attn_implementation": "afina", "config": config}

    # Built without memory, to learn which layers stay as they are: heads, and those that do not fit the storage.
    with torch.device("meta"):
        whole = kind.from_config(copy.deepcopy(config), trust_remote_code=trust_remote_code)
    settings = storage.configuration(dtype, [*heads_of(whole), *unfit(whole, storage, device)])

    # Quantised weights are made on their device while they are read, and are never there in full precision.
    where = torch.device(device if device != "cuda" else f"cuda:{torch.cuda.current_device()}")
    plain = {} if stored else {"quantization_config": settings}
    return kind, {"dtype": dtype, "attn_implementation": "afina", "device_map": {"": where}, **plain}


def _stored_advice(stored: str) -> str:
    return (
        f"; set precision: {stored}, or give the plain model."
        if packed(stored) is not None
        else "; give the plain model."
    )


def read_config(name: str, *, trust_remote_code: bool = False, local_only: bool = False) -> Any:
    """Return the transformers configuration of a model without its weights.

    Raises `UsageError` if it is nowhere, is an adapter's folder, or says what no model can be, and `AfinaError` where
    transformers cannot read it.
    With `local_only` nothing but this machine is looked at: folders and what the hub's cache holds.
    """
    from transformers import AutoConfig

    path = model_path(name, weights=False)
    check_folder(path)
    check_config_file(path)
    try:
        config = AutoConfig.from_pretrained(
            path, local_files_only=local_only or hub.local_only(path), trust_remote_code=trust_remote_code
        )
    except Exception as error:  # a foreign file may make anything go wrong in there
        raise loading_error(name, error, part="configuration") from error
    check_sizes(name, config)
    if getattr(config, "quantization_config", None) is None and (settings := settings_beside(path)) is not None:
        config.quantization_config = settings
    return config


def stored_at(name: str, *, trust_remote_code: bool = False) -> str | None:
    """Return the precision that a model's weights are stored in, None where they are plain numbers.

    Raises `UsageError` for a model that is nowhere, and for weights in a form that is not read.
    """
    stored = stored_precision(read_config(name, trust_remote_code=trust_remote_code))
    if stored is not None and packed(stored) is None:
        raise UsageError(f"The weights of '{name}' are stored in {stored}, which is not read{_stored_advice(stored)}")
    return stored


def load_tokenizer(name: str, *, trust_remote_code: bool = False) -> tuple[Any, int]:
    """Return a model's tokenizer and the most tokens that the model's positions allow."""
    config = read_config(name, trust_remote_code=trust_remote_code)
    return tokenizer_at(name, model_path(name, weights=False), trust_remote_code), context_of(config)


def tokenizer_at(name: str, path: str, trust_remote_code: bool) -> Any:
    """Return the tokenizer of the model called `name` at a path, that can pad; raises `AfinaError` if there is none."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            path, local_files_only=hub.local_only(path), trust_remote_code=trust_remote_code
        )
    except Exception as error:  # a foreign file may make anything go wrong in there
        raise loading_error(name, error, part="tokenizer") from error
    if tokenizer.pad_token is None:
        # Padding is masked everywhere and heads find the last token by the mask, so any token will do.
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token or tokenizer.convert_ids_to_tokens(0)

    # Texts that are too long are cut or refused here, in words of our own.
    tokenizer.deprecation_warnings["sequence-length-is-longer-than-the-specified-maximum"] = True
    return tokenizer
