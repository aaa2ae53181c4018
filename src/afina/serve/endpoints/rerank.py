"""Order documents by how well they fit a query: by an adapter's number or probability of the pair, else by vectors."""

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from afina.errors import nearest
from afina.predictor.predictor import Predictor
from afina.serve.encoders import outputs_of
from afina.serve.endpoints.embeddings import reading, unit
from afina.serve.http.bodies import Body, Name, Text, Texts
from afina.serve.http.call import Call
from afina.serve.http.endpoint import ServerEndpoint, endpoint
from afina.serve.http.refusals import wrong
from afina.serve.readers import reads_labels

__all__ = ["Rerank"]


class RerankBody(Body):
    """Holds a query and documents."""

    model: Name
    query: Text
    documents: Texts
    top_n: Annotated[int, Field(ge=1)] | None = None
    return_documents: bool = False
    label: Text | None = None
    """The label whose probability is the score; of two labels the second, unless given."""


@endpoint("/v1/rerank")
class Rerank(ServerEndpoint):
    """Gives the documents' places, best first, each with its score."""

    body = RerankBody

    @classmethod
    async def answer(cls, call: Call, body: RerankBody) -> dict[str, Any]:
        documents = body.documents
        predictor = await call.model(body.model)
        if predictor is None or predictor.task.embeds:
            # Another score than the one that was asked for would be given.
            if body.label is not None:
                raise wrong(f"{body.model} orders by vectors and has no labels.", "label")
            reader = reading(call, predictor, "mean")
            first, *others = unit(outputs_of(await call.read(reader, [body.query, *documents], may_cut=False)))
            # Of length 1, so that the product is the cosine.
            scores, by = (np.stack(others) @ first).tolist(), "cosine"
        else:
            label = _scored(predictor, body)
            asks = await call.read(reads_labels(predictor), [body.query] * len(documents), documents, may_cut=False)
            predictions = [one for ask in asks for one in predictor.task.predictions([], ask.read, ask.outputs())]
            scores = [own.label if label is None else (own.probabilities or {})[label] for own in predictions]
            by = label or "number"
        # A stable sort, so that equal scores keep the order in which they were sent.
        order = sorted(range(len(documents)), key=lambda place: -scores[place])[: body.top_n]
        results = [
            {"index": place, "relevance_score": scores[place]}
            | ({"document": {"text": documents[place]}} if body.return_documents else {})
            for place in order
        ]
        return {
            "id": call.number, "model": body.model, "results": results, "score": by,
            "usage": {"prompt_tokens": call.tokens_in, "total_tokens": call.tokens_in},
        }  # fmt: skip


def _scored(predictor: Predictor, body: RerankBody) -> str | None:
    """Return the label whose probability a document's score is, None where it is a number."""
    task, names = predictor.task, predictor.task.label_names or ()
    if task.speaks or task.tags:
        raise wrong(f"{body.model} was trained to {predictor.trained_to}; it has no score for a pair.", "model")
    if not names:
        if body.label is not None:
            raise wrong(f"{body.model} answers with a number, and has no labels.", "label")
        return None
    if body.label is None and len(names) == 2:
        # As cross-encoders are trained: the second label says that it fits.
        return str(names[1])
    if body.label not in names:
        hint = nearest(body.label or "", map(str, names))
        raise wrong(f"Say by `label` which of {body.model}'s labels the score is of{hint}", "label")
    return body.label
