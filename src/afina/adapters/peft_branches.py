"""Compute what PEFT's adapters do at a module beyond any method: tokens and modules with weights of their own."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from afina.backbone.branch import Branch, Frozen
from afina.backbone.quantise import is_quantised

__all__ = ["OwnTokens", "Replaced"]


class OwnTokens(Branch):
    """Gives some tokens vectors (N, D) of their own, at an embedding or, folded, in the language head."""

    def __init__(self, indices: Sequence[int], vectors: Tensor) -> None:
        super().__init__()
        self.indices, self.vectors = list(indices), nn.Parameter(vectors)
        self.output_scale = 1.0

    def start(self, frozen: Frozen) -> None:
        self.output_scale = frozen.output_scale

    def after(self, x: Tensor, y: Tensor) -> Tensor:
        hits = x[..., None] == torch.tensor(self.indices, device=x.device)  # (..., N)
        vectors = self.vectors[hits.int().argmax(dim=-1)] * self.output_scale
        return torch.where(hits.any(dim=-1)[..., None], vectors.to(y.dtype), y)

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        places = torch.tensor(self.indices, device=weight.device)
        return weight.index_copy(0, places, self.vectors.to(weight)), bias


class Replaced(Branch):
    """Gives a module weights of its own (PEFT's `modules_to_save`), an embedding's of more words too."""

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
        tensors = dict(zip(self.names, self.own, strict=True))
        return tensors["weight"].to(weight.dtype) if "weight" in tensors else weight, tensors.get("bias", bias)


class _Bare(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Any:
        return type(self.module).forward(self.module, x)


def _prefixed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"module.{name}": value for name, value in weights.items()}
