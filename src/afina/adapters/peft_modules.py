"""Make branches of what PEFT saved of one module: the type's forms take their tensors, and the rest are its own weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from afina.adapters.peft_branches import OwnTokens, Replaced
from afina.backbone.anatomy import Site
from afina.backbone.branch import Placed
from afina.backbone.load import Backbone
from afina.backbone.quantise import weight_shape
from afina.errors import UsageError
from afina.methods.peft_form import PeftForm, Place

__all__ = ["PeftReading", "endings_of"]

_TOKENS = "token_adapter.trainable_tokens_delta"


def endings_of(forms: Sequence[PeftForm]) -> tuple[str, ...]:
    """Return how the names of tensors at a module end, beside those of its own weights; the longest first."""
    endings = {ending for form in forms for ending in (*form.parameters.values(), *form.endings)}
    return tuple(
        sorted({*endings, "base_layer.weight", "base_layer.bias", _TOKENS}, key=lambda name: (-len(name), name))
    )


@dataclass
class PeftReading:
    """Holds what is known of a folder of PEFT's while it is read onto a backbone."""

    folder: Path
    backbone: Backbone
    config: Mapping[str, Any]
    forms: Sequence[PeftForm]
    shared: nn.Module | None = None
    """The module that all branches share, once it is read."""
    notes: list[str] = field(default_factory=list)
    """Sentences on what was assumed."""

    def place(self, site: Site, module: nn.Module, path: str) -> Place:
        """Return a module of the base with what the file says of it; `path` is where it is in the whole model."""
        model = self.backbone
        return Place(self.folder, model.name, model.anatomy.model_type, site, module, path, self.config, self.shared)

    def branches(self, place: Place, values: Mapping[str, Tensor]) -> list[Placed]:
        """Make the branches of one module, in the order in which they act.

        Raises `AfinaError` for tensors that do not fit it, and `UsageError` for those of a kind that is not read.
        """
        left = dict(values)
        made = [branch for form in self.forms for branch in form.read(place, left)] + _tokens(place, left)
        if left:
            made = [*_own_weights(place, left), *made]
        return made


def _tokens(place: Place, values: dict[str, Tensor]) -> list[Placed]:
    if _TOKENS not in values:
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
    return [OwnTokens(chosen, place.take(values, _TOKENS, shape).float())]


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
    weights: dict[str, Tensor] = {}
    for name in list(values):
        whole = weight_shape(place.module) if name == "weight" else tuple(place.module.get_parameter(name).shape)

        # An embedding may have more words than the base's, or fewer.
        grows = name == "weight" and (isinstance(place.module, nn.Embedding) or place.path.endswith("lm_head"))
        weights[name] = place.take(values, name, (None, *whole[1:]) if grows else whole).float()
    same = all(
        name in dict(place.module.named_parameters())
        and torch.equal(value, place.module.get_parameter(name).detach().float().cpu())
        for name, value in weights.items()
    )
    return [] if same else [Replaced(weights)]
