"""Define what a way of compressing a model is, and keep the registry: one file a way, in `ways/`.

A way is a frozen dataclass with the one amount that a person gives (`amount`). It changes a model of transformers in place,
says in words what it did, and which keys of the model's configuration that changes; whether plain transformers would build a
model of these sizes is looked at for all ways alike (`resized.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from afina.backbone.anatomy import Anatomy, Site
from afina.compress.calibration import Calibration
from afina.errors import UsageError, nearest, shown
from afina.registry import Registry

__all__ = [
    "WAYS",
    "CompressingWay",
    "Opened",
    "WayResult",
    "column_norms",
    "make_way",
    "narrow_outputs",
    "narrowed",
    "way",
]


@dataclass(frozen=True)
class Opened:
    """A model that is to be made smaller, in float32, with what is known of it; ways change it in place."""

    name: str
    model: Any
    """The whole model, with the heads that its files have."""
    bare: nn.Module
    anatomy: Anatomy
    calibration: Calibration | None
    """Rows of text to judge by; None where the way wants none."""

    @property
    def config(self) -> Any:
        return self.bare.config

    def module(self, site: Site) -> nn.Module:
        return self.bare.get_submodule(site.module)

    def linears(self) -> list[Site]:
        """Return the linear layers of the model's layers, fused ones whole."""
        sites = [site for site in self.anatomy.sites if site.kind == "linear" and site.layer is not None]
        return list({site.module: site for site in sites}.values())

    @property
    def reader(self) -> Any:
        """Return what texts go through: the bare model, as heads may want marks; a decoder's inputs a whole model makes."""
        return self.model if self.anatomy.row.further else self.bare

    @property
    def judged(self) -> Calibration:
        assert self.calibration is not None, "a way that judges by texts says so"
        return self.calibration


@dataclass(frozen=True)
class WayResult:
    """Holds what a way did to a model."""

    said: str
    """One sentence."""
    kept: Mapping[str, Any] = field(default_factory=dict)
    """The choice, as JSON has it: layers, or neurons a layer."""
    sizes: Mapping[str, Any] = field(default_factory=dict)
    """Sizes that changed, by what `resized.py` calls them."""


@dataclass(frozen=True, kw_only=True)
class CompressingWay:
    """Makes a model smaller in one way."""

    name: ClassVar[str] = ""
    kind: ClassVar[Literal["share", "count"]] = "share"
    """`share`: the amount is between 0 and 1; `count`: a whole number from 1."""
    told: ClassVar[str] = ""
    """Meaning of the amount, for `--help`."""
    judges: ClassVar[bool] = True
    """True if it looks at texts."""
    shrinks: ClassVar[bool] = True
    """False where the checkpoint is as large as before."""

    amount: float
    seed: int = 0

    def __post_init__(self) -> None:
        amount: Any = self.amount
        number = isinstance(amount, (int, float)) and not isinstance(amount, bool)
        if self.kind == "count" and not (number and amount >= 1 and float(amount).is_integer()):
            raise UsageError(f"{self.option} should be a whole number from 1, not {shown(amount)}.")
        if self.kind == "share" and not (number and 0 < amount < 1):
            raise UsageError(f"{self.option} should be between 0 and 1, not {shown(amount)}.")

    @property
    def option(self) -> str:
        return f"--{self.name}"

    def check(self, anatomy: Anatomy, config: Any) -> None:
        """Raise `UsageError` where it has nothing to do on an architecture."""

    def apply(self, opened: Opened) -> WayResult:
        """Make the model smaller in place; raises `UsageError` where it cannot be."""
        raise NotImplementedError


WAYS: Registry[type[CompressingWay]] = Registry("way", "afina.compress.ways")
"""All ways by name, which is also their option on the command line."""
way = WAYS.register


def make_way(given: Mapping[str, Any], seed: int = 0) -> CompressingWay:
    """Make the one way that is asked for, by its name and amount; raises `UsageError` for none, several or unknown ones."""
    asked = {key.replace("_", "-"): value for key, value in given.items() if value is not None}
    if len(asked) != 1:
        names = ", ".join(f"--{name}" for name in WAYS)
        raise UsageError(
            f"Give one of {names}{'' if not asked else ', not ' + ' and '.join(f'--{key}' for key in asked)}; to do "
            "several, compress what the first wrote again."
        )
    ((name, amount),) = asked.items()
    if name not in WAYS:
        raise UsageError(f"Unknown way '{name}'{nearest(name, WAYS)}")
    return WAYS[name](amount=amount, seed=seed)


def column_norms(weight: Tensor, *, transposed: bool) -> Tensor:
    """Return the norm of what each input feature (in,) is multiplied by."""
    norms: Tensor = torch.linalg.vector_norm(weight.float(), dim=1 if transposed else 0)
    return norms


def narrowed(module: Any, keep: Tensor, *, outputs: bool, transposed: bool) -> None:
    """Keep only some outputs of a linear layer, or some inputs, in place."""
    dim = int(outputs) if transposed else int(not outputs)
    module.weight = nn.Parameter(module.weight.detach().index_select(dim, keep).contiguous(), requires_grad=False)
    if outputs and getattr(module, "bias", None) is not None:
        module.bias = nn.Parameter(module.bias.detach().index_select(0, keep).contiguous(), requires_grad=False)
    for name in ("out_features", "nf") if outputs else ("in_features", "nx"):
        if hasattr(module, name):
            setattr(module, name, len(keep))


def narrow_outputs(opened: Opened, beside: Site, keep: Mapping[str, Tensor]) -> None:
    """Keep only some outputs of the linear layers of certain roles in the layer where `beside` is, in place.

    `keep` has by role the places within each such site; sites that are slices of one module are narrowed together.
    """
    modules: dict[str, list[Site]] = {}
    for site in opened.anatomy.sites:
        if site.layer == beside.layer and site.decoder == beside.decoder and site.role in keep:
            modules.setdefault(site.module, []).append(site)
    for slices in modules.values():
        starts = {site.name: 0 if site.part is None else site.part[0] for site in slices}
        slices.sort(key=lambda site: starts[site.name])
        places = torch.cat([starts[site.name] + keep[site.role] for site in slices])
        narrowed(opened.module(slices[0]), places, outputs=True, transposed=slices[0].transposed)
