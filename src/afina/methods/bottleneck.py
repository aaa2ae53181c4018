"""Bottleneck adapters: h + scale * U f(D h + d) + u, a small network beside or after a sublayer.

D is (size, width), U (width, size), f a nonlinearity. U and u start at zero, so that nothing changes at the start; the
papers start near zero instead.

- houlsby: after the attention's output and after the feed-forward layer (Houlsby et al., 2019, arXiv:1902.00751);
- pfeiffer: once a layer, after the feed-forward layer: r + U f(D h + d) + u, r being the feed-forward layer's output and h
  what the norm behind it makes of that and the residual connection (Pfeiffer et al., 2021, arXiv:2005.00247, appendix;
  2020, arXiv:2005.00052, equation 1), or the two together in models whose norms come before;
- parallel: beside the feed-forward layer, which it shares its input with (He et al., 2022, arXiv:2110.04366, the scaled
  parallel adapter, equation 8).
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from afina.backbone.anatomy import Anatomy, Site
from afina.backbone.branch import Branch, Frozen, Here, Placed, shares
from afina.errors import UsageError
from afina.methods.base import Method, method
from afina.methods.rates import RateRule

__all__ = ["Bottleneck", "Houlsby", "Parallel", "Pfeiffer"]

Activation = Literal["relu", "gelu", "silu", "tanh"]
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "gelu": nn.functional.gelu,
    "silu": nn.functional.silu,
    "tanh": torch.tanh,
}


class Network(nn.Module):
    """Computes U f(D h + d) + u."""

    def __init__(self, width: int, size: int, activation: Activation) -> None:
        super().__init__()
        self.activation = activation
        self.down = nn.Linear(width, size)
        self.up = nn.Linear(size, width)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        # With U at zero the network gives zero: a fresh adapter changes nothing.
        for value in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(value)

    def forward(self, x: Tensor) -> Tensor:
        # Weights are kept in float32 and lowered for the pass, so that small steps are not rounded away.
        inner = nn.functional.linear(x, self.down.weight.to(x.dtype), self.down.bias.to(x.dtype))
        inner = _ACTIVATIONS[self.activation](inner)
        result: Tensor = nn.functional.linear(inner, self.up.weight.to(x.dtype), self.up.bias.to(x.dtype))
        return result

    def stack_key(self) -> Hashable:
        """Return what networks have in common that `stacked` takes."""
        return self.activation, self.down.weight.shape

    @staticmethod
    def together(networks: Sequence["Network"]) -> list[Tensor]:
        """Return the networks' weights and biases, put together."""
        # By layer and then by network, as the product takes one layer of all networks at once.
        layers = [[getattr(network, name) for network in networks] for name in ("down", "up")]
        return [
            value
            for own in layers
            for value in (torch.stack([each.weight for each in own]), torch.stack([each.bias for each in own])[:, None])
        ]

    def stacked(self, together: Sequence[Tensor], x: Tensor) -> Tensor:
        """Return what each network, this one first, makes of its share of the rows of `x`."""
        down, down_bias, up, up_bias = (value.to(x.dtype) for value in together)
        inner = torch.baddbmm(down_bias, shares(x, len(down)), down.mT)
        return torch.baddbmm(up_bias, _ACTIVATIONS[self.activation](inner), up.mT).view_as(x)


class After(Branch):
    """Acts on a sublayer's output, before the residual connection."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def stack_key(self) -> Hashable:
        return type(self), self.network.stack_key()

    def after(self, x: Tensor, y: Tensor) -> Tensor:
        change: Tensor = self.network(y)
        return y + change

    def together(self, branches: Sequence[Any]) -> list[Tensor]:
        return Network.together([branch.network for branch in branches])

    def after_stacked(self, together: Sequence[Tensor], x: Tensor, y: Tensor) -> Tensor:
        # On `y`, which is the sublayer's output, not on what went into it.
        return y + self.network.stacked(together, y)


class BeforeNorm(Branch):
    """Acts at a layer's last norm: x + network(norm(x)) goes in, x being residual and sublayer's output together."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self._norm: tuple[nn.Module, ...] = ()

    def start(self, frozen: Frozen) -> None:
        self._norm = (frozen.module,)  # in a tuple, or it would be registered as this branch's own

    def stack_key(self) -> Hashable:
        return type(self), self.network.stack_key()

    def before(self, x: Tensor) -> Tensor:
        change: Tensor = self.network(self._normed(x))
        return x + change.to(x.dtype)

    def together(self, branches: Sequence[Any]) -> list[Tensor]:
        return Network.together([branch.network for branch in branches])

    def before_stacked(self, together: Sequence[Tensor], x: Tensor) -> Tensor:
        return x + self.network.stacked(together, self._normed(x)).to(x.dtype)

    def _normed(self, x: Tensor) -> Tensor:
        (norm,) = self._norm
        # Not through __call__, whose hooks would come back here.
        normed: Tensor = type(norm).forward(norm, x)
        return normed


class Beside(Branch):
    """Computes the network on the input of the feed-forward layer's first linear layer, for `Rejoin` to add."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def after_here(self, here: Here, x: Tensor, y: Tensor) -> Tensor:
        # Left with the pass and not on the branch, as two passes may be on their way (checkpointing computes a layer
        # again).
        here.left[self] = self.network(x)
        return y


class Rejoin(Branch):
    """Adds, at the feed-forward layer's last linear layer, what `Beside` computed."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.beside: tuple[Beside, ...] = ()
        """The one branch to rejoin, in a tuple, so that it is not a submodule of two."""

    def after_here(self, here: Here, x: Tensor, y: Tensor) -> Tensor:
        (beside,) = self.beside
        # Taken, not read: nothing of a pass stays with what outlives it.
        result: Tensor = here.left.pop(beside)
        # Some models flatten rows and places between the two layers.
        return y + self.scale * result.view_as(y)


@dataclass(frozen=True, kw_only=True)
class Bottleneck(Method):
    """Shares what the three have in common."""

    rates = RateRule(1.8e-3, by_steps=0.5, by_width=0.5)
    """Pfeiffer et al.'s and the `adapters` library's 1e-4 is for thousands of steps."""

    reduction: int = 16
    """Width of the model over the size of the bottleneck."""
    activation: Activation = "relu"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reduction < 1:
            raise UsageError(f"{self.name}: reduction should be at least 1, not {self.reduction}.")

    def network(self, width: int) -> Network:
        # One at least: a model narrower than the reduction still has a bottleneck.
        return Network(width, max(1, width // self.reduction), self.activation)


@method("houlsby")
@dataclass(frozen=True, kw_only=True)
class Houlsby(Bottleneck):
    """Puts adapters after both sublayers."""

    portuguese = "Põe adaptadores depois das duas subcamadas."

    rates = RateRule(1.4e-3, by_steps=0.5, by_width=0.5)
    """The three that the paper searches (section 3.2: 3e-5 to 3e-3) have 3e-4 in the middle."""

    activation: Activation = "gelu"
    """The authors' code's."""

    def roles(self) -> tuple[str, ...]:
        return ("attention_out", "ffn_down")

    def sites(self, anatomy: Anatomy) -> list[Site]:
        return anatomy.by_role(self.roles(), for_method=self.name)

    def branch(self, site: Site) -> Branch:
        return After(self.network(site.width))


@method("pfeiffer")
@dataclass(frozen=True, kw_only=True)
class Pfeiffer(Bottleneck):
    """Puts adapters after the feed-forward layer."""

    portuguese = "Põe adaptadores depois da camada feed-forward."

    def sites(self, anatomy: Anatomy) -> list[Site]:
        return anatomy.closings()

    def branch(self, site: Site) -> Branch:
        # Models whose norms come last close a layer by a norm, others by the sublayer's own layer.
        return (BeforeNorm if site.kind == "norm" else After)(self.network(site.width))


@method("parallel")
@dataclass(frozen=True, kw_only=True)
class Parallel(Bottleneck):
    """Puts scaled adapters beside the feed-forward layer."""

    portuguese = "Põe adaptadores com escala ao lado da camada feed-forward."

    rates = RateRule(1.4e-4, by_steps=0.5, by_width=0.5)
    """Eight times the weights of the other two, times `scale`: at 1e-3, on SNLI at 8e-4, it no longer learns, and at 3.7e-4
    not in one seed of three on IMDb."""

    reduction: int = 2
    """The `adapters` library's; the paper's bottleneck of 512 in a model of 1024 (section 4.1)."""
    scale: float = 4.0
    """The paper's (section 4.6)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale == 0:
            raise UsageError("parallel: scale is 0, by which nothing that is learned would count; leave it out.")

    def roles(self) -> tuple[str, ...]:
        return ("ffn_up", "ffn_down")

    def sites(self, anatomy: Anatomy) -> list[Site]:
        return anatomy.by_role(self.roles(), for_method=self.name)

    def branch(self, site: Site) -> Branch:
        return Rejoin(self.scale) if site.role == "ffn_down" else Beside(self.network(site.width_in))

    def connect(self, branches: Mapping[str, Placed], shared: nn.Module | None) -> None:
        # Branches stand in the order of the layers, one of either kind a layer.
        scaled = [branch for branch in branches.values() if isinstance(branch, Beside)]
        joined = [branch for branch in branches.values() if isinstance(branch, Rejoin)]
        for beside, rejoin in zip(scaled, joined, strict=True):
            rejoin.beside = (beside,)
