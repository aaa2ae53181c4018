"""Fold an adapter into its backbone's weights for a while: the base's speed, and every bit back at the end."""

from types import TracebackType

import torch
from torch import Tensor, nn

from afina.adapters.adapter import Adapter
from afina.backbone.anatomy import Site
from afina.backbone.branch import Placed
from afina.backbone.load import Backbone
from afina.backbone.quantise import is_quantised
from afina.errors import UsageError

__all__ = ["Merged", "fold_into"]


def fold_into(module: nn.Module, site: Site, branch: Placed) -> None:
    """Fold a branch into its module's weight and bias, slice and order of storage regarded.

    Raises `AfinaError` for a branch that no layer equals, `UsageError` for a quantised module, and `AttributeError` for one
    without a weight.
    """
    if is_quantised(module):
        raise UsageError(
            f"{site.name} is quantised: what is folded into it would be rounded away; `afina export --to merged` merges into "
            "the weights that it stands for."
        )
    with torch.no_grad():
        parameter = module.get_parameter("weight")
        weight: Tensor = parameter.T if site.transposed else parameter
        bias = getattr(module, "bias", None)
        rows = slice(None) if site.part is None else slice(*site.part)

        # On copies: fold may look at the weight while it makes the new one.
        new_weight, new_bias = branch.fold(weight[rows].clone(), None if bias is None else bias[rows].clone())
        weight[rows] = new_weight
        if bias is not None and new_bias is not None:
            bias[rows] = new_bias
        elif new_bias is not None:
            whole = new_bias.new_zeros(len(weight))
            whole[rows] = new_bias
            module.bias = nn.Parameter(whole)


class Merged:
    """Context manager: inside, the backbone alone computes what it does with the adapter; outside it is as it was."""

    def __init__(self, backbone: Backbone, adapter: Adapter) -> None:
        self.backbone, self.adapter = backbone, adapter
        self._before: dict[str, dict[str, Tensor | None]] = {}

    def __enter__(self) -> Backbone:
        modules = dict(self.backbone.model.named_modules())
        try:
            for site, branch in self.adapter.placed():
                module = modules[site.module]

                # Once a module: a second branch there must not keep what the first has changed.
                if site.module not in self._before:
                    bias = getattr(module, "bias", None)
                    self._before[site.module] = {
                        "weight": module.get_parameter("weight").detach().clone(),
                        "bias": None if bias is None else bias.detach().clone(),
                    }
                fold_into(module, site, branch)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self.backbone

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        modules = dict(self.backbone.model.named_modules())
        with torch.no_grad():
            # Copied back and not subtracted: what was added cannot be taken off again to the last bit.
            for name, weight in self._before.items():
                for key, value in weight.items():
                    if value is not None:
                        modules[name].get_parameter(key).copy_(value)
                    elif getattr(modules[name], key, None) is not None:
                        modules[name].bias = None
        self._before.clear()
