"""Say LoRA as PEFT's files have it, with its variants: embeddings, starts that are taken out of the base, a bias on B.

DoRA and AdaLoRA, whose files are like it, have the rest in files of their own.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar

import regex
import torch
from pydantic import Strict
from torch import Tensor, nn

from afina.backbone.anatomy import Site
from afina.backbone.branch import Branch, Frozen, Placed
from afina.backbone.quantise import is_quantised, weight_shape
from afina.errors import AfinaError, UsageError
from afina.methods.bitfit import AddBias, own_biases
from afina.methods.low_rank import LowRank
from afina.methods.peft_form import (
    EVERY,
    TARGETS,
    Flag,
    Number,
    Numbers,
    PeftFile,
    PeftForm,
    PeftKey,
    Place,
    Text,
    Whole,
    filled,
    short,
)
from afina.methods.pooled import pooled_factor

__all__ = ["LOW_RANK", "STARTS", "EmbeddingLowRank", "LoRAForm", "OfTheRest", "bias_of_b", "factors_at", "scale_at"]

_SECONDS = 2.0
"""Seconds for matching a pattern with a module's name: names are short, so what takes longer would take for ever."""
_LONGEST = 2_000
"""Characters of a pattern, and times that it may say something is repeated: both are written out when it is compiled."""

LOW_RANK = (
    *EVERY,
    *TARGETS,
    PeftKey("r", "tensors", "the rank, which may differ by module"),
    PeftKey("rank_pattern", "tensors", "ranks by module"),
    PeftKey("lora_alpha", "read", "numerator of the scale", kind=Number),
    PeftKey("lora_dropout", "nothing", "dropout while training"),
    PeftKey("fan_in_fan_out", "tensors", "whether the base keeps its weights as (in, out), which the module shows"),
    PeftKey("bias", "tensors", "which biases are its own"),
    PeftKey("layers_to_transform", "tensors", "which layers are adapted"),
    PeftKey("layers_pattern", "tensors", "what the model calls its layers"),
    PeftKey("alpha_pattern", "read", "numerators of the scale by module", kind=Numbers),
    PeftKey("use_rslora", "read", "scale by alpha / sqrt(rank)", kind=Flag),
    PeftKey("runtime_config", "nothing", "where a program keeps it while it runs"),
    PeftKey("megatron_config", "refused", "LoRA on Megatron's parallel layers"),
    PeftKey("megatron_core", "nothing", "says where Megatron is, for megatron_config"),
    PeftKey("loftq_config", "nothing", "settings of the start that init_lora_weights names"),
    PeftKey("eva_config", "nothing", "likewise"),
    PeftKey("corda_config", "nothing", "likewise"),
    PeftKey("lora_ga_config", "nothing", "likewise"),
    PeftKey("velora_config", "nothing", "how gradients are kept while training"),
    PeftKey("ensure_weight_tying", "tensors", "whether embeddings and language head share weights: they are saved twice"),
    PeftKey(
        "alora_invocation_tokens", "refused", "activated LoRA, which acts only behind the tokens that call it",
        advice="here it would act on every token",
    ),
    PeftKey(
        "layer_replication", "refused", "layers of the base are to be repeated, each with an adapter of its own",
        advice="a model is not rebuilt here; merge it with PEFT and load the merged model",
    ),
    PeftKey("target_parameters", "refused", "LoRA on parameters that are no layers, as of experts", plain=(None, [])),
    PeftKey("use_bdlora", "refused", "block-diagonal LoRA"),
    PeftKey("arrow_config", "refused", "Arrow, several LoRAs that are chosen between by token"),
    PeftKey("kasa_config", "refused", "KaSA, on the base without its smallest singular values"),
    PeftKey("monteclora_config", "refused", "MonteCLoRA, whose weights are drawn anew"),
)  # fmt: skip
"""The keys of PEFT's LoRA and of what it derives from that."""

_LORA = (
    *LOW_RANK,
    PeftKey("use_dora", "read", "DoRA: magnitude and direction apart", kind=Flag),
    PeftKey("use_qalora", "read", "QA-LoRA: inputs pooled in groups", kind=Flag),
    PeftKey("qalora_group_size", "read", "the inputs of such a group", kind=Whole),
    PeftKey(
        "init_lora_weights", "read",
        "how it started; for `pissa` and `olora` that start is taken out of the base, as PEFT does when it loads",
        kind=Annotated[bool, Strict()] | Text | None,
    ),
    PeftKey("lora_bias", "tensors", "a bias on B"),
    PeftKey(
        "trainable_token_indices", "read", "tokens whose vectors are its own",
        kind=list[Whole] | dict[Text, list[Whole]] | None,
    ),
)  # fmt: skip

_AS_TRAINED = ("eva", "orthogonal", "mica", "gaussian")
"""Ways to start that leave the base as it is."""
_CONVERT = (
    "save it with PEFT's save_pretrained(path_initial_model_for_weight_conversion=...), which makes it a plain LoRA"
)


@dataclass(frozen=True)
class LoRAForm(PeftForm):
    """Reads low-rank factors of layers and of embeddings."""

    keys = _LORA
    endings: ClassVar[tuple[str, ...]] = ("lora_B.bias", "lora_embedding_A", "lora_embedding_B")
    unread: ClassVar[tuple[str, ...]] = (".lora_velora_embed",)

    def check(self, path: Path, config: Mapping[str, Any]) -> None:
        """Refuse a start that cannot be taken out of the base again."""
        if config.get("use_qalora") and config.get("use_dora"):
            raise UsageError(f"{path}: use_qalora and use_dora are both set, which PEFT has not; one of them is wrong.")
        start = config.get("init_lora_weights")
        # True, False and names of starts that only draw A and B leave nothing to take out.
        if not isinstance(start, str) or start.lower() in _AS_TRAINED or start in STARTS:
            return
        if start.startswith("pissa_niter_"):
            raise UsageError(
                f"{path}: init_lora_weights is '{short(start)}', whose start was drawn at random and is in no file, so "
                f"that what was left of the base cannot be told; {_CONVERT}."
            )
        raise UsageError(
            f"{path}: init_lora_weights is '{short(start)}', a start that changed the base's weights by what is in no file; "
            f"{_CONVERT}."
        )

    def read(self, place: Place, values: dict[str, Tensor]) -> list[Placed]:
        made: list[Placed] = []
        # DoRA's A and B are read with their magnitude, by DoRA's form.
        if "lora_A.weight" in values and not place.config.get("use_dora"):
            pooled = _unpool(place, values)
            a, b = factors_at(place, values)
            scale = pooled * scale_at(place, len(a))
            made += [_low_rank(place, values, a, b, scale), *bias_of_b(place, values, scale)]
        return [*made, *_embedding(place, values), *own_biases(place, values)]

    def of_factors(
        self, factors: Mapping[str, tuple[Tensor, Tensor]], biases: Mapping[str, Tensor], *, transposed: bool
    ) -> PeftFile:
        """Return the file of a LoRA with these A and B by module, each of its own rank and with a scale of one.

        `biases` are the modules' own, of all that have one or of none; `transposed` says whether the base keeps its weights
        as (in, out).
        """
        tensors: dict[str, Tensor] = {}
        for module, (a, b) in factors.items():
            root = f"base_model.model.{module}"
            tensors |= {f"{root}.{self.parameters['a']}": a, f"{root}.{self.parameters['b']}": b}
        tensors |= {f"base_model.model.{module}.base_layer.bias": bias for module, bias in biases.items()}

        # Alpha equals the rank at each module, which makes PEFT's scale alpha / rank one: what scale there was is in
        # the factors.
        ranks = {module: len(a) for module, (a, _) in factors.items()}
        # PEFT has one r for a module that no pattern names; the largest fits where all are named.
        config = {
            "r": max(ranks.values()), "lora_alpha": max(ranks.values()), "rank_pattern": ranks, "alpha_pattern": ranks,
            "bias": "lora_only" if biases else "none", "lora_dropout": 0.0, "fan_in_fan_out": transposed,
            "target_modules": list(factors),
        }  # fmt: skip
        return PeftFile(self.peft_type, tensors, config, "base_model.model.")


def factors_at(
    place: Place, values: dict[str, Tensor], names: tuple[str, str] = ("lora_A.weight", "lora_B.weight")
) -> tuple[Tensor, Tensor]:
    """Take A (rank, in) and B (out, rank) of a module."""
    first, second = names
    if values[first].ndim != 2:
        raise UsageError(
            f"{place.folder} has LoRA on '{place.path}', a {type(place.module).__name__}, where it is not read."
        )
    a = place.take(values, first, (None, place.site.width_in))
    return a, place.take(values, second, (place.site.width, len(a)))


def _unpool(place: Place, values: dict[str, Tensor]) -> float:
    """Give QA-LoRA's A (rank, groups) a number for each input, in place; return by what that changes the scale, 1 for others.

    PEFT takes a group's mean times the number of groups, where A's numbers act on the sum. On layers that are no codes of
    GPTQ it pools nothing, and A has all inputs.
    """
    width, size = place.site.width_in, int(place.config.get("qalora_group_size", 16))
    if not place.config.get("use_qalora") or values["lora_A.weight"].shape[-1:] == (width,):
        return 1.0
    if size < 1 or width % size:
        raise AfinaError(
            f"{place.folder}: qalora_group_size is {size}, which does not divide the inputs of '{place.path}'."
        )
    if str(place.config.get("init_lora_weights")) in STARTS:
        raise UsageError(f"{place.folder} is QA-LoRA with a start that is taken out of the base, which is not read.")
    a = place.take(values, "lora_A.weight", (None, width // size))
    values["lora_A.weight"] = pooled_factor(a, size)
    return float(width // size) / size


def scale_at(place: Place, rank: int) -> float:
    """Return alpha / rank or alpha / sqrt(rank); a pattern that ends this module's path may give it another alpha."""
    if rank == 0:
        raise AfinaError(f"{place.folder} is damaged: '{place.path}' has a LoRA of rank 0.")
    alpha = place.config["lora_alpha"]
    # The first pattern that fits counts, as in PEFT.
    for pattern, value in (place.config.get("alpha_pattern") or {}).items():
        if _matches(pattern, place.path, place.folder):
            alpha = value
            break
    return float(alpha) / (math.sqrt(rank) if place.config.get("use_rslora") else rank)


def bias_of_b(place: Place, values: dict[str, Tensor], scale: float) -> list[Placed]:
    """Take the bias on B, if there is one."""
    if "lora_B.bias" not in values:
        return []
    # PEFT scales B x + bias as a whole, so the bias that stands beside the base's has the scale in it.
    width = place.site.width
    return [filled(AddBias(width), bias=scale * place.take(values, "lora_B.bias", (width,)).float())]


def _low_rank(place: Place, values: dict[str, Tensor], a: Tensor, b: Tensor, scale: float) -> Placed:
    start, site = str(place.config.get("init_lora_weights")), place.site
    # Kept beside, the base is without its start already.
    if start not in STARTS or "base_layer.weight" in values:
        return filled(LowRank(site, rank=len(a), scale=scale, dropout=0.0), a=a, b=b)
    if scale == 0 or (start != "pissa" and site.transposed):
        raise UsageError(f"{place.folder}: '{place.path}' was started as {start}, which cannot be told of this module.")
    return filled(OfTheRest(site, rank=len(a), scale=scale, of=start), a=a, b=b)


def _embedding(place: Place, values: dict[str, Tensor]) -> list[Placed]:
    if "lora_embedding_A" not in values:
        return []
    if place.config.get("use_dora"):
        raise UsageError(f"{place.folder} is DoRA on the embedding '{place.path}', which is not read.")
    words = weight_shape(place.module)[0]
    if "base_layer.weight" in values:
        words = len(values["base_layer.weight"])  # PEFT keeps the embedding beside, whose words may be more
    a = place.take(values, "lora_embedding_A", (None, words))
    b = place.take(values, "lora_embedding_B", (place.site.width, len(a)))
    return [EmbeddingLowRank(a.float(), b.float(), scale_at(place, len(a)))]


def _matches(pattern: str, path: str, folder: Path) -> bool:
    where = f"{folder}/adapter_config.json: the pattern '{pattern[:60]}' in alpha_pattern"

    # A pattern of a stranger's file is run here: its length, its repetitions and the time for one match are bounded.
    counts = [
        max(1, *map(int, filter(None, pair))) for pair in re.findall(r"\{(\d{0,9}),?(\d{0,9})\}", pattern) if any(pair)
    ]
    if len(pattern) > _LONGEST or math.prod(counts) > _LONGEST:
        # Before it is compiled: compiling writes repetitions out, which takes the memory itself.
        raise UsageError(f"{where} is longer, or repeats more often, than names of modules are; write it more plainly.")
    try:
        return _compiled(pattern).match(path, timeout=_SECONDS) is not None
    except TimeoutError:
        raise UsageError(
            f"{where} takes more than {_SECONDS:g} s to be matched with '{path}'; write it more plainly."
        ) from None
    except (regex.error, RecursionError, OverflowError, MemoryError) as error:
        raise UsageError(f"{where} is no regular expression ({type(error).__name__}: {str(error)[:80]}).") from None


@cache
def _compiled(pattern: str) -> Any:
    # As PEFT does: a pattern names the end of a path.
    return regex.compile(rf"(.*\.)?({pattern})$")


class EmbeddingLowRank(Branch):
    """Adds LoRA to an embedding: y + scale * (columns of A for the words)^T B^T."""

    def __init__(self, a: Tensor, b: Tensor, scale: float) -> None:
        super().__init__()
        self.a, self.b, self.scale = nn.Parameter(a), nn.Parameter(b), scale
        self.output_scale = 1.0

    def start(self, frozen: Frozen) -> None:
        self.output_scale = frozen.output_scale

    def after(self, x: Tensor, y: Tensor) -> Tensor:
        # Some models multiply embeddings by a constant (Gemma): the change is scaled as the vectors themselves are.
        change = nn.functional.embedding(x, self.a.T) @ self.b.T
        return y + (self.scale * self.output_scale * change).to(y.dtype)

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        # An embedding's weight is (words, width), the other way round than a linear layer's.
        return weight + self.scale * (self.b @ self.a).T.to(weight.dtype), bias


class OfTheRest(LowRank):
    """Adds LoRA to what is left of W without its start B0 A0: W x + scale * (B A - B0 A0) x, W itself untouched.

    PEFT takes the start out of the base each time that it loads an adapter which was saved as trained; the start follows
    from W: its largest singular directions (`pissa`), or the first rows of its QR decomposition (`olora`).
    """

    adds = False

    def __init__(self, site: Site, *, rank: int, scale: float, of: str) -> None:
        super().__init__(site, rank=rank, scale=scale, dropout=0.0)
        self._of = of
        self._first: tuple[Tensor, Tensor] | None = None

    def start(self, frozen: Frozen) -> None:
        if is_quantised(frozen.module):
            raise UsageError(
                f"An adapter that was started as {self._of} stands beside the base's own weights, not beside quantised "
                "ones; load it without a precision of its own."
            )
        # The decomposition is taken in float32, as PEFT takes it, whatever the base is loaded in.
        weight = frozen.linear().weight.float()
        self._first = STARTS[self._of](weight, len(self.a), self.scale)

    def factors(self) -> tuple[Tensor, Tensor]:
        assert self._first is not None, "start is called before the first pass"
        # Weights may have moved to another device since the start was taken.
        first_a, first_b = (value.to(self.a.device) for value in self._first)
        return torch.cat([self.a, first_a]), torch.cat([self.b, -first_b], dim=1)


def _pissa(weight: Tensor, rank: int, scale: float) -> tuple[Tensor, Tensor]:
    u, s, vh = torch.linalg.svd(weight, full_matrices=False)
    return vh[:rank], u[:, :rank] * (s[:rank] / scale)  # PEFT shares the values between both; the product is the same


def _olora(weight: Tensor, rank: int, scale: float) -> tuple[Tensor, Tensor]:
    q, r = torch.linalg.qr(weight)
    return r[:rank], q[:, :rank]


STARTS = {"pissa": _pissa, "olora": _olora}
"""Functions from a weight (out, in), a rank and a scale to A0 (rank, in) and B0 (out, rank), by PEFT's name of the start."""
