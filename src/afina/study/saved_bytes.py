"""Count what autograd keeps of a forward pass for the backward one."""

from typing import Any

import torch
from torch import Tensor, nn

from afina.adapters.adapter import Adapter
from afina.backbone.load import Backbone
from afina.backbone.quantise import keeps_input

__all__ = ["SavedBytes"]


class SavedBytes:
    """Counts the bytes that autograd keeps for the backward pass, weights aside, every storage once."""

    def __init__(self, backbone: Backbone, adapter: Adapter) -> None:
        values = [*backbone.model.parameters(), *adapter.parameters()]
        self._seen = {value.untyped_storage().data_ptr() for value in values}
        self._keeping = [own for own in backbone.model.modules() if isinstance(own, nn.Linear) and keeps_input(own)]
        self._hooks: Any = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)
        self.bytes = 0

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        # Views of one storage are kept once, and weights are there anyway.
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self.bytes += storage.nbytes()
        return tensor

    def __enter__(self) -> "SavedBytes":
        self._hooks.__enter__()
        self._handles = [own.register_forward_pre_hook(self._kept) for own in self._keeping]
        return self

    def __exit__(self, *error: Any) -> None:
        self._hooks.__exit__(*error)
        for handle in self._handles:
            handle.remove()

    def _kept(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].requires_grad:
            self._pack(inputs[0])
