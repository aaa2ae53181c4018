"""Leaving out of the last layer what no head will look at: every query and what follows but the first token's."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from afina.backbone.anatomy import Anatomy
from afina.backbone.flight import Flight

__all__ = ["narrow_last_layer"]


def narrow_last_layer(modules: Mapping[str, nn.Module], anatomy: Anatomy, flight: Flight) -> list[Any]:
    """Have the last layer look from the first token alone, but in passes of the whole; return the hooks' handles.

    What the layer shapes by its input's length (query and attention) is spread over it again, as a view. The attention's
    own part is the attachment's.
    """
    row = anatomy.row

    # Only the last query is needed where only the first token is read; keys and values still come from all tokens.
    layer, query = anatomy.attention_modules[-1].removesuffix(row.attention), row.roles["query"]
    assert isinstance(query, str) and row.narrow is not None, "a row with `narrow` has a query projection of its own"

    def first(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return args if flight.now.whole else tuple(x[:, :1] for x in args)

    def spread(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        # A view, not a copy: who asks for the other places gets the first one's, and nobody looks at them.
        return output if flight.now.whole else output.expand(-1, flight.now.first.length, -1)

    return [
        modules[layer + query].register_forward_pre_hook(first),
        modules[layer + query].register_forward_hook(spread),
        modules[layer + row.narrow].register_forward_pre_hook(first),
    ]
