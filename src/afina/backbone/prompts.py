"""Virtual tokens before the texts of a batch: each adapter's rows get as many as its prompt has.

Rows of adapters with shorter prompts are padded behind, so that one batch holds all of them. Heads see the text's own
tokens; where PEFT's prompts on BERT leave the classifier looking at the first virtual token, here it looks at [CLS].
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from afina.backbone.branch import PromptBranch
from afina.errors import AfinaError

__all__ = ["Prompts"]


class Prompts:
    """The prompt of each adapter in a batch, or None for those that have none."""

    def __init__(self, branches: Sequence[PromptBranch | None]) -> None:
        self.branches = list(branches)
        self.lengths = [0 if branch is None else branch.length for branch in branches]

    def lengthen(
        self, inputs: Mapping[str, Tensor], rows: Sequence[slice], *, pad: int, context: int
    ) -> dict[str, Tensor]:
        """Return the inputs (B, T + P) with room for the prompts; raises `AfinaError` beyond `context` positions."""
        ids, most = inputs["input_ids"], max(self.lengths)
        width = ids.shape[1]
        if width + most > context:
            raise AfinaError(
                f"A prompt of {most} and texts of {width} tokens do not fit the model's {context} positions; "
                f"set max_length to at most {context - most}."
            )
        mask = inputs.get("attention_mask")
        if mask is None and len(set(self.lengths)) > 1:
            mask = torch.ones_like(ids)
        # What stands in a prompt's place must not be padding: RoBERTa counts positions by it.
        values = {"input_ids": (ids, int(pad == 0), pad), "attention_mask": (mask, 1, 0)}
        values |= {key: (value, 0, 0) for key, value in inputs.items() if key not in values}
        result = {}
        for name, (value, before, behind) in values.items():
            if value is not None:
                result[name] = value.new_full((len(value), width + most), behind)
                for part, length in zip(rows, self.lengths, strict=True):
                    result[name][part, :length] = before
                    result[name][part, length : length + width] = value[part]
        return result

    def place(self, embedded: Tensor, rows: Sequence[slice]) -> Tensor:
        """Return the embeddings (B, T + P, D) with the prompts' vectors in their places."""
        pieces = []
        for part, branch in zip(rows, self.branches, strict=True):
            own = embedded[part]
            if branch is not None:
                vectors = branch.vectors().to(own.dtype).expand(len(own), -1, -1)
                own = torch.cat([vectors, own[:, branch.length :]], dim=1)
            pieces.append(own)
        return torch.cat(pieces)

    def without(self, states: Tensor, rows: Sequence[slice], width: int) -> Tensor:
        """Return the states (B, width, D) of the texts' first `width` tokens."""
        return torch.cat(
            [states[part, length : length + width] for part, length in zip(rows, self.lengths, strict=True)]
        )
