"""Find the train rows that pull an adapter towards an answer: the cosine of gradients at its own parameters.

TracIn at the last checkpoint (Pruthi et al., 2020, arXiv:2002.08484), with gradients of length one, since a row of large loss
would be near to everything (Barshan et al., 2020, arXiv:2003.11630). An adapter has few parameters, so that this is exact.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from afina.backbone.attachment import Attachment
from afina.data.rows import Rows
from afina.predictor.predictor import Predictor

__all__ = ["can_be_asked", "cosines"]

_MOST = 20_000_000
"""Parameters beyond which gradients of several rows would fill a small machine's memory."""


def can_be_asked(predictor: Predictor) -> bool:
    """Return whether an adapter has parameters of its own that are few enough, and gradients."""
    count = sum(value.numel() for value in predictor.adapter.parameters())
    return not predictor.method.owns_backbone and not predictor.method.gradient_free and 0 < count <= _MOST


def cosines(
    predictor: Predictor, asked: Rows, answers: np.ndarray, train: Rows, *, tell: Callable[[int], None] = lambda done: None
) -> np.ndarray:  # fmt: skip
    """Return (Q, N): how far each train row's gradient points where that of each asked row, with its answer, does.

    Above 0 a train row has taught the answer, below 0 it has spoken against it.
    """
    parameters = [value for value in predictor.adapter.parameters() if value.requires_grad]
    asked = Rows(asked.text, asked.text_pair, answers)
    with Attachment(predictor.backbone, [predictor.adapter]) as attached:
        attached.train(False)
        wanted = torch.stack(list(_gradients(predictor, attached, asked, parameters)))
        near = np.zeros((len(asked), len(train)))
        for place, grad in enumerate(_gradients(predictor, attached, train, parameters)):
            near[:, place] = (wanted @ grad).cpu().numpy()
            tell(place + 1)
    return near


def _gradients(
    predictor: Predictor, attached: Attachment, rows: Rows, parameters: Sequence[Tensor]
) -> Iterator[Tensor]:
    tokens = predictor.tokens(rows)
    for row in range(len(rows)):
        batch = attached.batch([(tokens, np.array([row]))])
        (outputs,) = attached.outputs(batch)
        loss = predictor.task.loss(outputs, batch.labels[0])
        grads = torch.autograd.grad(loss, list(parameters), allow_unused=True)
        flat = torch.cat([
            torch.zeros(own.numel(), device=own.device) if grad is None else grad.float().flatten()
            for own, grad in zip(parameters, grads, strict=True)
        ])  # fmt: skip
        yield flat / flat.norm().clamp(min=1e-12)
