"""The tensors that PEFT saved of one module, as branches: what they are is told by their names."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import regex
import torch
from torch import Tensor, nn

from afina.adapters.peft_branches import STARTS, EmbeddingLowRank, OfTheRest, OwnTokens, Replaced
from afina.backbone.anatomy import Site
from afina.backbone.branch import Placed
from afina.backbone.quantise import weight_shape
from afina.errors import AfinaError, UsageError
from afina.methods.adalora import Triplets
from afina.methods.bitfit import AddBias
from afina.methods.dora import MagnitudeDirection
from afina.methods.ia3 import ScaleInput, ScaleOutput
from afina.methods.llama_adapter import GatedPrompt
from afina.methods.lora import LowRank
from afina.methods.norms import OwnNorm

__all__ = ["KINDS", "Place", "branches_at"]

KINDS = (
    "lora_A.weight", "lora_B.weight", "lora_B.bias", "lora_magnitude_vector", "lora_magnitude_vector.weight",
    "lora_embedding_A", "lora_embedding_B", "lora_A", "lora_B", "lora_E", "ia3_l", "ln_tuning_layers.weight",
    "ln_tuning_layers.bias", "base_layer.weight", "base_layer.bias", "adaption_prompt", "adaption_gate",
    "token_adapter.trainable_tokens_delta",
)  # fmt: skip
"""How the names of tensors that belong to a module end, beside those of its own weights."""

_SECONDS = 2.0
"""For a pattern to be matched with a module's name; names are short, so that what takes longer would take for ever."""
_LONGEST = 2_000
"""Characters of a pattern, and times that it may say something is repeated: both are written out when it is compiled."""


@dataclass(frozen=True)
class Place:
    """A module of the base with what PEFT's file says of it."""

    folder: Path
    model: str
    """The base's name."""
    model_type: str
    site: Site
    module: nn.Module
    path: str
    """Where it is in the whole model, as patterns name it."""
    config: Mapping[str, Any]

    def take(self, values: dict[str, Tensor], name: str, shape: tuple[int | None, ...]) -> Tensor:
        """Take a tensor out of `values`; raises `AfinaError` where it is missing or of another shape (None: of any size)."""
        if name not in values:
            raise AfinaError(f"{self.folder} is damaged: '{self.path}' lacks its {name}.")
        value = values.pop(name)
        if value.ndim != len(shape) or any(
            want not in (None, has) for has, want in zip(value.shape, shape, strict=True)
        ):
            sizes = value.shape if value.ndim == len(shape) else shape
            wanted = tuple(has if want is None else want for has, want in zip(sizes, shape, strict=True))
            raise AfinaError(
                f"{self.folder}: '{self.path}' has {name} of {tuple(value.shape)} and {self.model} needs {wanted}; it was "
                "trained on another base model."
            )
        return value

    def scale(self, rank: int) -> float:
        """Return alpha / rank or alpha / sqrt(rank); a pattern that ends this module's path may give it another alpha."""
        alpha = self.config["lora_alpha"]
        for pattern, value in (self.config.get("alpha_pattern") or {}).items():
            if _matches(pattern, self.path, self.folder):
                alpha = value
                break
        return float(alpha) / (math.sqrt(rank) if self.config.get("use_rslora") else rank)


def _matches(pattern: str, path: str, folder: Path) -> bool:
    where = f"{folder}/adapter_config.json: the pattern '{pattern[:60]}' in alpha_pattern"
    counts = [
        max(1, *map(int, filter(None, pair))) for pair in re.findall(r"\{(\d{0,9}),?(\d{0,9})\}", pattern) if any(pair)
    ]
    if len(pattern) > _LONGEST or math.prod(counts) > _LONGEST:
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
    return regex.compile(rf"(.*\.)?({pattern})$")


def branches_at(place: Place, values: Mapping[str, Tensor]) -> list[Placed]:
    """Make the branches of one module, in the order in which they act.

    Raises `AfinaError` for tensors that do not fit it, and `UsageError` for those of a kind that is not read.
    """
    left = dict(values)
    made = [branch for read in _READERS for branch in read(place, left)]
    if left:
        made = [*_own_weights(place, left), *made]
    return made


def _low_rank(place: Place, values: dict[str, Tensor]) -> list[Placed]:
    for kind in ("A", "B"):  # AdaLoRA's have no `weight`
        if f"lora_{kind}" in values:
            values[f"lora_{kind}.weight"] = values.pop(f"lora_{kind}")
    if "lora_A.weight" not in values:
        return []
    site = place.site
    if values["lora_A.weight"].ndim != 2:
        raise UsageError(
            f"{place.folder} has LoRA on '{place.path}', a {type(place.module).__name__}, where it is not read."
        )
    a = place.take(values, "lora_A.weight", (None, site.width_in))
    rank = len(a)
    b = place.take(values, "lora_B.weight", (site.width, rank))
    if "lora_E" in values:
        e = place.take(values, "lora_E", (rank, 1))
        # By the rank at the start, however many are left; 1e-5 is PEFT's guard against none, as is what it makes of alpha.
        first = float(place.config["init_r"])
        alpha = float(place.config["lora_alpha"])
        scale = (alpha if alpha > 0 else first) / (first + 1e-5)
        return [_filled(Triplets(site, rank=rank, scale=scale, dropout=0.0, orthogonality=0.0), q=a, l=e, p=b)]
    if rank == 0:
        raise AfinaError(f"{place.folder} is damaged: '{place.path}' has a LoRA of rank 0.")
    scale, start = place.scale(rank), str(place.config.get("init_lora_weights"))
    magnitude = _magnitude(place, values)
    made: list[Placed] = []
    if magnitude is not None:
        if start in STARTS:
            raise UsageError(f"{place.folder} is DoRA started as {start}, which together are not read.")
        made.append(
            _filled(MagnitudeDirection(site, rank=rank, scale=scale, dropout=0.0), a=a, b=b, magnitude=magnitude)
        )
    elif start in STARTS and "base_layer.weight" not in values:  # kept beside, that is the rest already
        if scale == 0 or (start != "pissa" and site.transposed):
            raise UsageError(
                f"{place.folder}: '{place.path}' was started as {start}, which cannot be told of this module."
            )
        made.append(_filled(OfTheRest(site, rank=rank, scale=scale, of=start), a=a, b=b))
    else:
        made.append(_filled(LowRank(site, rank=rank, scale=scale, dropout=0.0), a=a, b=b))
    if "lora_B.bias" in values:
        made.append(_filled(AddBias(site.width), bias=scale * place.take(values, "lora_B.bias", (site.width,)).float()))
    return made


def _magnitude(place: Place, values: dict[str, Tensor]) -> Tensor | None:
    name = next((name for name in ("lora_magnitude_vector", "lora_magnitude_vector.weight") if name in values), None)
    if name is None:
        if place.config.get("use_dora"):
            raise AfinaError(
                f"{place.folder} is damaged: '{place.path}' lacks the magnitudes of its DoRA (use_dora is set)."
            )
        return None
    if not place.config.get("use_dora"):
        raise AfinaError(f"{place.folder} is damaged: '{place.path}' has magnitudes of DoRA, and use_dora is not set.")
    values[name] = values[name].flatten()
    return place.take(values, name, (place.site.width,))


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
    return [EmbeddingLowRank(a.float(), b.float(), place.scale(len(a)))]


def _scales(place: Place, values: dict[str, Tensor]) -> list[Placed]:
    if "ia3_l" not in values:
        return []
    # (1, in) before, (out, 1) behind the module.
    before = values["ia3_l"].shape[:1] == (1,)
    kind = ScaleInput(place.site.width_in) if before else ScaleOutput(place.site.width)
    return [_filled(kind, scale=place.take(values, "ia3_l", tuple(kind.scale.shape)))]


def _gated(place: Place, values: dict[str, Tensor]) -> list[Placed]:
    if "adaption_prompt" not in values:
        return []
    if place.model_type not in ("llama", "mistral"):
        raise UsageError(f"{place.folder}: PEFT's gated prompts are another function in {place.model_type} models.")
    prompt = place.take(values, "adaption_prompt", (1, None, place.site.width_in))[0]
    gate = place.take(values, "adaption_gate", (1,))
    return [_filled(GatedPrompt(place.site, length=len(prompt)), prompt=prompt, gate=gate)]


def _norms(place: Place, values: dict[str, Tensor]) -> list[Placed]:
    own: dict[str, Tensor] = {}
    for name in ("weight", "bias"):
        if f"ln_tuning_layers.{name}" in values:
            own[name] = place.take(values, f"ln_tuning_layers.{name}", (place.site.width,))
    if not own:
        return []
    if ("bias" in own) != place.site.biased or "weight" not in own:
        raise AfinaError(f"{place.folder}: the norm '{place.path}' and that of {place.model} have unlike weights.")
    return [_filled(OwnNorm(place.site), **own)]


def _tokens(place: Place, values: dict[str, Tensor]) -> list[Placed]:
    if "token_adapter.trainable_tokens_delta" not in values:
        return []
    chosen = place.config.get("trainable_token_indices") or []
    if isinstance(chosen, dict):
        chosen = next((own for name, own in chosen.items() if f".{place.path}".endswith(f".{name}")), [])
    words = weight_shape(place.module)[0]
    if len(set(chosen)) < len(chosen) or not all(0 <= token < words for token in chosen):
        raise UsageError(
            f"{place.folder}: trainable_token_indices should be tokens of the {words} that {place.model} has, each once; if "
            "its embeddings were made larger first, give that model by --model."
        )
    shape = (len(chosen), place.site.width if isinstance(place.module, nn.Embedding) else place.site.width_in)
    return [OwnTokens(chosen, place.take(values, "token_adapter.trainable_tokens_delta", shape).float())]


def _biases(place: Place, values: dict[str, Tensor]) -> list[Placed]:
    name = "base_layer.bias" if "base_layer.bias" in values else "bias"
    if name not in values or (name == "bias" and set(values) != {"bias"}):
        return []
    base: Tensor | None = getattr(place.module, "bias", None)
    if base is None:
        raise AfinaError(f"{place.folder} has a bias for '{place.path}', which has none in {place.model}.")
    bias = place.take(values, name, tuple(base.shape))
    return [_filled(AddBias(len(base)), bias=bias.float() - base.detach().float().to(bias.device))]


_READERS: tuple[Callable[[Place, dict[str, Tensor]], list[Placed]], ...] = (
    _low_rank, _embedding, _scales, _gated, _norms, _tokens, _biases,
)  # fmt: skip
"""Each takes the tensors that it knows, and makes their branches."""


def _own_weights(place: Place, values: dict[str, Tensor]) -> list[Placed]:
    """Return the module's own weights in place of the base's, unless they are the same."""
    known = {name for name, _ in place.module.named_parameters(recurse=False)}
    if "base_layer.weight" in values:  # kept by PEFT beside an adapted embedding
        values["weight"] = values.pop("base_layer.weight")
    if unknown := sorted(set(values) - known):
        raise UsageError(
            f"{place.folder} fits {place.model}, but has '{unknown[0]}' at '{place.path}', a kind of adapter that is not "
            "read."
        )
    own: dict[str, Tensor] = {}
    for name in list(values):
        whole = weight_shape(place.module) if name == "weight" else tuple(place.module.get_parameter(name).shape)
        # An embedding may have more words than the base's, or fewer.
        grows = name == "weight" and (isinstance(place.module, nn.Embedding) or place.path.endswith("lm_head"))
        own[name] = place.take(values, name, (None, *whole[1:]) if grows else whole).float()
    same = all(
        name in dict(place.module.named_parameters())
        and torch.equal(value, place.module.get_parameter(name).detach().float().cpu())
        for name, value in own.items()
    )
    return [] if same else [Replaced(own)]


def _filled(branch: Placed, **values: Tensor) -> Placed:
    with torch.no_grad():
        for name, value in values.items():
            branch.get_parameter(name).copy_(value)
    return branch
