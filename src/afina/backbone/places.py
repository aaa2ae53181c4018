"""Positions of a decoder's tokens that are each row's own, where the decoder would count them from the longest row."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from afina.backbone.flight import Flight

__all__ = ["place_decoder"]


def place_decoder(modules: Mapping[str, nn.Module], flight: Flight) -> list[Any]:
    """Have an encoder-decoder's absolute positions be those of the pass in flight, if it has any; return the handles."""
    module = modules.get("decoder.embed_positions")
    if module is None:  # T5's are relative
        return []

    def given(_: nn.Module, args: tuple[Any, ...], settings: dict[str, Any]) -> tuple[Any, Any] | None:
        # Only rows of unlike length have places; otherwise the decoder's own count is right.
        places = flight.now.places
        return None if places is None else (args, settings | {"position_ids": places})

    def flat(_: nn.Module, args: tuple[Any, ...], settings: dict[str, Any], output: Tensor) -> Tensor:
        # The module puts a dimension before the positions that it is given, which one row for all would lack.
        return output if flight.now.places is None else output[0]

    return [
        module.register_forward_pre_hook(given, with_kwargs=True),
        module.register_forward_hook(flat, with_kwargs=True),
    ]
