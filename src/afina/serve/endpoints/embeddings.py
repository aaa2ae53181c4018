"""Make vectors of texts, by the base or an adapter, as OpenAI's clients ask for them; each has length 1."""

import base64
from typing import Any, Literal

import numpy as np

from afina.adapters.format import Base
from afina.predictor.predictor import Predictor
from afina.serve.encoders import outputs_of
from afina.serve.http.bodies import Body, Name, Text, Texts
from afina.serve.http.call import Call
from afina.serve.http.endpoint import ServerEndpoint, endpoint
from afina.serve.http.refusals import wrong
from afina.serve.passes import Reader
from afina.serve.readers import reads_states

__all__ = ["Embeddings", "reading", "unit"]


class EmbeddingsBody(Body):
    """Holds texts to make vectors of."""

    model: Name
    input: Text | Texts
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    pooling: Literal["mean", "cls"] = "mean"
    """The vector of a text: the mean of all tokens' states, or the state of the first token (a decoder's last)."""


@endpoint("/v1/embeddings")
class Embeddings(ServerEndpoint):
    """Gives each text its vector."""

    body = EmbeddingsBody

    @classmethod
    async def answer(cls, call: Call, body: EmbeddingsBody) -> dict[str, Any]:
        texts = [body.input] if isinstance(body.input, str) else body.input
        predictor = await call.model(body.model)
        reader = reading(call, predictor, body.pooling)
        width = reader.backbone.anatomy.width
        # A model's width is what it is: cut vectors would be others.
        if body.dimensions not in (None, width):
            raise wrong(f"The vectors have {width} numbers and are not shortened.", "dimensions")
        vectors = unit(outputs_of(await call.read(reader, texts, may_cut=False)))
        data = [
            {"object": "embedding", "index": place, "embedding": _written(own, body.encoding_format)}
            for place, own in enumerate(vectors)
        ]
        return {
            "object": "list", "model": body.model, "data": data,
            "usage": {"prompt_tokens": call.tokens_in, "total_tokens": call.tokens_in},
        }  # fmt: skip


def reading(call: Call, predictor: Predictor | None, pooling: str) -> Reader:
    """Return what makes vectors; raises `Refusal` for an adapter whose model writes, which the other loop owns."""
    if predictor is not None and predictor.task.speaks:
        raise wrong(
            f"{call.adapter} was trained to {predictor.trained_to} and makes no vectors; ask the base, or one that labels.",
            "model",
        )
    if predictor is None:
        return reads_states(None, call.house.bases.backbone(Base(speaks=False, tags=False)), pooling)
    return reads_states(predictor, predictor.backbone, pooling)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return vectors (N, D) with the length 1."""
    # A vector of zeros stays one.
    scaled: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return scaled


def _written(vector: np.ndarray, form: str) -> Any:
    # Little-endian float32, as OpenAI's clients read it.
    return base64.b64encode(vector.astype("<f4").tobytes()).decode() if form == "base64" else vector.tolist()
