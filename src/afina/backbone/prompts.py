"""Virtual tokens before the texts of a batch: each adapter's rows get as many as its prompt has.

Rows of adapters with shorter prompts are padded behind, so that one batch holds all of them. Heads see the text's own
tokens; where PEFT's prompts on BERT leave the classifier looking at the first virtual token, here it looks at [CLS].
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from afina.backbone.anatomy import Anatomy
from afina.backbone.branch import PromptBranch
from afina.backbone.flight import Flight
from afina.errors import AfinaError

__all__ = ["Prompts"]


class Prompts:
    """The prompt of each adapter in a batch, or None for those that have none."""

    def __init__(self, branches: Sequence[PromptBranch | None], *, every: bool = False) -> None:
        """Let heads see every token of the text (`every`) or its last, so that the prompt's first takes nobody's place."""
        self.branches, self.every = list(branches), every
        self.lengths = [0 if branch is None else branch.length for branch in branches]

    def hooks(self, modules: Mapping[str, nn.Module], anatomy: Anatomy, flight: Flight) -> list[Any]:
        """Put the prompts where the text's vectors are, and keep them from a pooler behind the last layer.

        Not where a pass goes on from tokens that were read with them. Returns the hooks' handles.
        """

        def place(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            return output if flight.now.goes_on else self.place(output, flight.rows)

        # Images and sound have no token embeddings: their prompts go in before the first layer.
        def insert(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            return (self.insert(args[0], flight.rows), *args[1:])

        def cut(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            # An encoder gives an object of transformers, a bare list of layers the states.
            whole = isinstance(output, Tensor)
            states = output if whole else output.last_hidden_state
            # The text's own tokens alone, as a pooler takes the first that it is given.
            states = self.without(states, flight.rows, states.shape[1] - max(self.lengths))
            if whole:
                return states
            output.last_hidden_state = states
            return output

        module, before = modules[anatomy.of_kind("embedding")[0].module], anatomy.row.embedding is None
        handles = [module.register_forward_pre_hook(insert) if before else module.register_forward_hook(place)]

        # Layers of the model's own, without an encoder around them, give their states as they are.
        last = "encoder" if "encoder" in modules else anatomy.of_kind("layer")[-1].module
        return [*handles, modules[last].register_forward_hook(cut)] if "pooler" in modules else handles

    def room(self, width: int, context: int) -> int:
        """Return the most that the prompts add to texts of `width` tokens; raises `AfinaError` beyond `context`."""
        most = max(self.lengths)
        if width + most > context:
            raise AfinaError(
                f"A prompt of {most} and texts of {width} tokens do not fit the model's {context} positions; "
                f"set max_length to at most {context - most}."
            )
        return most

    def lengthen(self, inputs: Mapping[str, Tensor], rows: Sequence[slice], *, pad: int) -> dict[str, Tensor]:
        """Return the token inputs (B, T) but the mask with room for the prompts, (B, T + P)."""
        # What stands in a prompt's place must not be padding: RoBERTa counts positions by it.
        fillings = {"input_ids": (int(pad == 0), pad), "token_type_ids": (0, 0)}
        return {
            name: self._between(inputs[name], rows, before, behind)
            for name, (before, behind) in fillings.items()
            if name in inputs
        }

    def mask(
        self, mask: Tensor | None, rows: Sequence[slice], shape: tuple[int, int], device: torch.device
    ) -> Tensor | None:
        """Return the mask (B, T + P): prompts are seen; None where every row is full."""
        # A batch without padding has no mask; with prompts of unlike length it gets padding, and needs one.
        if mask is None:
            # Rows that are all full stay so where the same number stands before each.
            if len(set(self.lengths)) == 1:
                return None
            mask = torch.ones(shape, dtype=torch.long, device=device)
        return self._between(mask, rows, 1, 0)

    def _between(self, value: Tensor, rows: Sequence[slice], before: int, behind: int) -> Tensor:
        width = value.shape[1]
        # Rows with shorter prompts are padded behind, whatever padding is for this value.
        result = value.new_full((value.shape[0], width + max(self.lengths)), behind)
        for part, length in zip(rows, self.lengths, strict=True):
            result[part, :length] = before
            result[part, length : length + width] = value[part]
        return result

    def place(self, embedded: Tensor, rows: Sequence[slice]) -> Tensor:
        """Return the embeddings (B, T + P, D) with the prompts' vectors in their places."""
        pieces = []
        for part, branch in zip(rows, self.branches, strict=True):
            # The inputs were lengthened beforehand, so a row's first tokens are fillings whose vectors give way to the
            # prompt's.
            piece = embedded[part]
            if branch is not None:
                # Expanded and not copied: each row has the same vectors.
                vectors = branch.vectors().to(piece.dtype).expand(piece.shape[0], -1, -1)
                piece = torch.cat([vectors, piece[:, branch.length :]], dim=1)
            pieces.append(piece)
        return torch.cat(pieces)

    def insert(self, states: Tensor, rows: Sequence[slice]) -> Tensor:
        """Return the vectors (B, T + P, D) of images or sound (B, T, D) with the prompts before them, zeros behind."""
        most, pieces = max(self.lengths), []
        for part, branch in zip(rows, self.branches, strict=True):
            piece = states[part]
            if branch is not None:
                piece = torch.cat([branch.vectors().to(piece.dtype).expand(piece.shape[0], -1, -1), piece], dim=1)
            # Shorter prompts leave room behind the text, so that every text begins right behind its own prompt.
            missing = most + states.shape[1] - piece.shape[1]
            pieces.append(torch.nn.functional.pad(piece, (0, 0, 0, missing)) if missing else piece)
        return torch.cat(pieces)

    def without(self, states: Tensor, rows: Sequence[slice], width: int) -> Tensor:
        """Return the states (B, width, D) of the texts' first `width` tokens."""
        pieces = []
        for part, branch, length in zip(rows, self.branches, self.lengths, strict=True):
            piece = states[part, length : length + width]
            # A head that takes the first token sees the prompt's first state where the method wants that, as in PEFT.
            seen = branch is not None and branch.seen and not self.every
            pieces.append(torch.cat([states[part, :1], piece[:, 1:]], dim=1) if seen else piece)
        return torch.cat(pieces)
