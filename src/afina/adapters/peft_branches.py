"""What PEFT's adapters do at a module beyond what a method here has: embeddings, own modules, a rest of the base."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from afina.backbone.anatomy import Site
from afina.backbone.branch import Branch, Frozen
from afina.backbone.quantise import is_quantised
from afina.errors import UsageError
from afina.methods.lora import LowRank

__all__ = ["STARTS", "EmbeddingLowRank", "OfTheRest", "OwnTokens", "Replaced"]


class _AtEmbedding(Branch):
    """At an embedding, whose vectors some models (Gemma) scale on their way out."""

    def __init__(self) -> None:
        super().__init__()
        self.output_scale = 1.0

    def start(self, frozen: Frozen) -> None:
        scale = getattr(frozen.module, "embed_scale", None)
        self.output_scale = 1.0 if scale is None else float(scale)


class EmbeddingLowRank(_AtEmbedding):
    """LoRA on an embedding: y + scale * (columns of A for the words)^T B^T."""

    def __init__(self, a: Tensor, b: Tensor, scale: float) -> None:
        super().__init__()
        self.a, self.b, self.scale = nn.Parameter(a), nn.Parameter(b), scale

    def after(self, x: Tensor, y: Tensor) -> Tensor:
        change = nn.functional.embedding(x, self.a.T) @ self.b.T
        return y + (self.scale * self.output_scale * change).to(y.dtype)

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return weight + self.scale * (self.b @ self.a).T.to(weight.dtype), bias


class OwnTokens(_AtEmbedding):
    """Some tokens with vectors (N, D) of their own, at an embedding or, folded, in the language head."""

    def __init__(self, indices: Sequence[int], vectors: Tensor) -> None:
        super().__init__()
        self.indices, self.vectors = list(indices), nn.Parameter(vectors)

    def after(self, x: Tensor, y: Tensor) -> Tensor:
        hits = x[..., None] == torch.tensor(self.indices, device=x.device)  # (..., N)
        own = self.vectors[hits.int().argmax(dim=-1)] * self.output_scale
        return torch.where(hits.any(dim=-1)[..., None], own.to(y.dtype), y)

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        places = torch.tensor(self.indices, device=weight.device)
        return weight.index_copy(0, places, self.vectors.to(weight)), bias


class Replaced(Branch):
    """A module with weights of its own (PEFT's `modules_to_save`), an embedding's of more words too."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.names = list(weights)
        self.own = nn.ParameterList(weights.values())
        self.words = len(weights["weight"]) if "weight" in weights else 0
        self._module: list[nn.Module] = []  # in a list, or it would be registered as this branch's own

    def start(self, frozen: Frozen) -> None:
        self._module = [frozen.module]

    def after(self, x: Tensor, y: Tensor) -> Tensor:
        weights = {name: value.to(y.dtype) for name, value in zip(self.names, self.own, strict=True)}
        if is_quantised(self._module[0]):
            return nn.functional.linear(x, weights["weight"], weights.get("bias", self._module[0].bias))
        # Not through __call__, whose hooks would come back here.
        result: Tensor = torch.func.functional_call(_Bare(self._module[0]), _prefixed(weights), (x,))
        return result

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        own = dict(zip(self.names, self.own, strict=True))
        return own["weight"].to(weight.dtype) if "weight" in own else weight, own.get("bias", bias)


class _Bare(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Any:
        return type(self.module).forward(self.module, x)


def _prefixed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"module.{name}": value for name, value in weights.items()}


class OfTheRest(LowRank):
    """LoRA on what is left of W when its start B0 A0 is taken out: W x + scale * (B A - B0 A0) x, W itself untouched.

    PEFT takes the start out of the base each time that it loads an adapter which was saved as trained; the start follows
    from W: its largest singular directions (`pissa`), or the first rows of its QR decomposition (`olora`).
    """

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
        weight = frozen.linear().weight.float()
        self._first = STARTS[self._of](weight, len(self.a), self.scale)

    def factors(self) -> tuple[Tensor, Tensor]:
        assert self._first is not None, "start is called before the first pass"
        first_a, first_b = (value.to(self.a.device) for value in self._first)
        return torch.cat([self.a, first_a]), torch.cat([self.b, -first_b], dim=1)


def _pissa(weight: Tensor, rank: int, scale: float) -> tuple[Tensor, Tensor]:
    u, s, vh = torch.linalg.svd(weight, full_matrices=False)
    return vh[:rank], u[:, :rank] * (s[:rank] / scale)  # PEFT shares the values between both; the product is the same


def _olora(weight: Tensor, rank: int, scale: float) -> tuple[Tensor, Tensor]:
    q, r = torch.linalg.qr(weight)
    return r[:rank], q[:, :rank]


STARTS = {"pissa": _pissa, "olora": _olora}
"""By PEFT's name, A0 (rank, in) and B0 (out, rank) of a weight (out, in) and a scale, as PEFT finds them."""
