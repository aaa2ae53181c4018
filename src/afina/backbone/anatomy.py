"""Find the sites of a model by the roles that its architecture's row gives to its modules.

Methods speak of roles (`query`, `ffn_down`, ...) and never know a module's name.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import nn

from afina.backbone.quantise import weight_shape
from afina.backbone.row import ArchitectureRow, Part, Stack, head_width, key_heads
from afina.backbone.rows import row_of
from afina.backbone.shape_of import recognise
from afina.errors import UsageError, nearest
from afina.ops.linear import is_conv1d

__all__ = ["ATTENTION_ROLES", "Anatomy", "Site", "module_site", "read_anatomy"]

Kind = Literal["linear", "norm", "embedding", "attention", "layer"]

ATTENTION_ROLES = ("query", "key", "value", "attention_out")


@dataclass(frozen=True, kw_only=True)
class Site:
    """A place where a method may act.

    `width_in` and `width` count features in and out (at an attention call: in, and of one head); `part` is the slice
    (start, stop) of the module's output that this site means, None for all of it; `transposed` says that the weight is
    stored (in, out).
    """

    name: str
    module: str
    role: str
    kind: Kind
    layer: int | None
    width_in: int
    width: int
    biased: bool = False
    part: tuple[int, int] | None = None
    transposed: bool = False
    heads: int = 0
    """At an attention call, the heads of its keys and values (B, heads, S, width)."""
    decoder: bool = False
    """True in the decoder of an encoder-decoder."""


@dataclass(frozen=True)
class Anatomy:
    """The sites of one model, in the order in which a forward pass reaches the layers."""

    model_type: str
    row: ArchitectureRow
    layer_count: int
    """Layers that a pass goes through, a shared one each time; of an encoder-decoder the mean of both sides'."""
    width: int
    sites: tuple[Site, ...]
    attention_modules: tuple[str, ...]

    def by_role(self, roles: Sequence[str], *, for_method: str) -> list[Site]:
        """Return the sites of these roles, in order, or with `all` those of every linear layer in the model's layers.

        Raises `UsageError` for a role that this model lacks.
        """
        if tuple(roles) == ("all",):
            linear = [site for site in self.sites if site.kind == "linear" and site.layer is not None]

            # A fused projection may be there whole and in slices: adapted twice, its change would count twice.
            whole = {site.module for site in linear if site.part is None}
            return [site for site in linear if site.part is None or site.module not in whole]

        # Known roles in the order of the layer, which is the order in which a person would look for one.
        known = list(dict.fromkeys(site.role for site in self.sites if site.kind == "linear"))
        for role in roles:
            if (why := self.row.lacks.get(role)) is not None:
                raise UsageError(
                    f"{self.model_type} has no '{role}' for '{for_method}' to adapt: {why}; its roles are {', '.join(known)}."
                )
            if role not in known:
                raise UsageError(
                    f"{self.model_type} has no '{role}' for '{for_method}' to adapt{nearest(role, known)}; "
                    f"its roles are {', '.join(known)}."
                )
        return [site for site in self.sites if site.role in roles]

    def by_role_for_rank(self, roles: Sequence[str], rank: int, *, for_method: str) -> list[Site]:
        """Return the sites of these roles; raises `UsageError` too for one that is smaller than a low-rank change."""
        sites = self.by_role(roles, for_method=for_method)
        for site in sites:
            # A rank as large as the matrix is no low rank, and its factors would be larger than the matrix itself.
            if rank > (most := min(site.width_in, site.width)):
                raise UsageError(
                    f"{for_method}: rank {rank} is larger than the layer {site.name} "
                    f"({site.width} x {site.width_in}); choose at most {most}."
                )
        return sites

    def closings(self) -> list[Site]:
        """Return for each layer the norm that it ends with, or the layer itself where norms come before sublayers."""
        # The stack of a layer's own attention; the one on the encoder's states has no closing norm of the layer.
        stacks = {stack.decoder: stack for stack in self.row.stacks if not stack.cross}
        named = {site.name: site for site in self.sites}
        layers = self.of_kind("layer")
        return [named.get(f"{site.module}.{stacks[site.decoder].closing_norm}", site) for site in layers]

    def of_kind(self, *kinds: Kind) -> list[Site]:
        """Return the whole-module sites (fused projections once, not by part) of these kinds."""
        # A slice of a projection is no module, and what acts on whole ones would act on it twice.
        return [site for site in self.sites if site.kind in kinds and site.part is None]


def read_anatomy(model: nn.Module, config: Any) -> Anatomy:
    """Find every site of a bare transformers model; weights are not looked at, so a meta-device model will do.

    Raises `UsageError` for an architecture that has no row and does not have the shape of a known one.
    """
    row = row_of(config) or recognise(model, config)
    modules = dict(model.named_modules())
    if "decoder" not in modules:
        row = replace(row, further=())  # T5 tags with its encoder alone
    sites: list[Site] = []
    attention_modules: list[str] = []
    places: dict[str, int] = {}
    for stack in row.stacks:
        for layer in stack.layers_in(modules):
            # A decoder's layer has two stacks, its own attention's and the one on the encoder's states: one number for
            # both.
            index = places.setdefault(layer, len(places))
            if index == 0:
                sites.append(_embedding(row, modules, layer, config))
            sites += _layer_sites(stack, modules, layer, index, config)
            attention_modules.append(f"{layer}.{stack.attention}")
    sites += [
        _site(modules, name, "norm", None, config) for name in row.outer_norms if hasattr(modules.get(name), "weight")
    ]
    sites += [_site(modules, name, "outer", None, config) for name in row.outer_linears if name in modules]
    # What a pass goes through: an encoder's layers and a decoder's are counted once for both.
    sides = 2 if row.further else 1
    return Anatomy(
        model_type=config.model_type,
        row=row,
        layer_count=max(len(places) // sides, 0 if row.further else config.num_hidden_layers),
        width=config.hidden_size,
        sites=tuple(sites),
        attention_modules=tuple(attention_modules),
    )


def module_site(model: nn.Module, anatomy: Anatomy, path: str) -> Site:
    """Return the site that is a whole module, whether the row names it or not."""
    named = (
        s for s in anatomy.sites if s.module == path and s.part is None and s.kind in ("linear", "norm", "embedding")
    )
    if (site := next(named, None)) is not None:
        return site

    # A module that no row names: PEFT's files may adapt any, and its weight tells what it is.
    module = model.get_submodule(path)
    kind = (
        "embedding"
        if isinstance(module, nn.Embedding)
        else "norm"
        if module.get_parameter("weight").ndim == 1
        else "other"
    )
    return _site({path: module}, path, kind, None, None)


def _embedding(row: ArchitectureRow, modules: dict[str, nn.Module], first_layer: str, config: Any) -> Site:
    # Images and sound have no table of words: what comes into the first layer stands for their embedding.
    if row.embedding is not None:
        return _site(modules, row.embedding, "embedding", None, config)
    width = config.hidden_size
    return Site(
        name="embedding",
        module=first_layer,
        role="embedding",
        kind="embedding",
        layer=None,
        width_in=width,
        width=width,
    )


def _layer_sites(stack: Stack, modules: dict[str, nn.Module], layer: str, index: int, config: Any) -> list[Site]:
    sites: list[Site] = []
    for role, place in stack.roles.items():
        if (present := _present(place, layer, modules)) is not None:
            sites.append(_site(modules, present, role, index, config, prefix=f"{layer}.", decoder=stack.decoder))
    for norm in stack.norms:
        # OPT and ModernBERT leave some norms without weights.
        if getattr(modules.get(f"{layer}.{norm}"), "weight", None) is not None:
            sites.append(_site(modules, norm, "norm", index, config, prefix=f"{layer}.", decoder=stack.decoder))
    attention, width = f"{layer}.{stack.attention}", config.hidden_size
    sites.append(
        Site(
            name=attention, module=attention, role="attention", kind="attention", layer=index, width_in=width,
            width=head_width(config), heads=key_heads(config), decoder=stack.decoder,
        )
    )  # fmt: skip

    # A layer with two attentions is one layer: only the stack of its own attention makes its site.
    if not stack.cross:
        sites.append(
            Site(
                name=layer, module=layer, role="layer", kind="layer", layer=index, width_in=width, width=width,
                decoder=stack.decoder,
            )
        )  # fmt: skip
    return sites


def _present(place: str | Part, layer: str, modules: dict[str, nn.Module]) -> str | Part | None:
    """Return, of paths `one|another`, the one that the layer has; `?path` may be missing."""
    if isinstance(place, Part):
        return place
    # Releases of transformers call a module differently, or leave it out: a row names all of them.
    paths = place.removeprefix("?").split("|")
    present = [path for path in paths if f"{layer}.{path}" in modules]
    return present[0] if present else (None if place.startswith("?") else paths[0])


def _site(
    modules: dict[str, nn.Module],
    place: str | Part,
    role: str,
    layer: int | None,
    config: Any,
    prefix: str = "",
    decoder: bool = False,
) -> Site:
    path = prefix + (place.path if isinstance(place, Part) else place)
    if path not in modules:
        raise UsageError(f"A {config.model_type} model has its {role} at {path}, and this one has nothing there.")
    module = modules[path]
    shape = weight_shape(module)
    biased = getattr(module, "bias", None) is not None
    if role in ("norm", "embedding"):
        # A norm's weight has one axis and an embedding's two; the last is the width of either.
        width = shape[-1]
        kind: Kind = "norm" if role == "norm" else "embedding"
        return Site(
            name=path, module=path, role=role, kind=kind, layer=layer, width_in=width, width=width, biased=biased,
            decoder=decoder,
        )  # fmt: skip

    # transformers' Conv1D keeps its weight (in, out), torch's Linear (out, in).
    transposed = is_conv1d(module)
    width_in, width = shape if transposed else shape[::-1]
    part, name = None, path
    if isinstance(place, Part):
        part = place.within(width, config)
        # Slices share a module, so that a name of the module alone would not tell them apart.
        width, name = part[1] - part[0], f"{path}:{role}"
    return Site(
        name=name, module=path, role=role, kind="linear", layer=layer, width_in=width_in, width=width, biased=biased,
        part=part, transposed=transposed, decoder=decoder,
    )  # fmt: skip
