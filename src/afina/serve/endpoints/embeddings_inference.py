"""Answer the clients of text-embeddings-inference: /predict and /embed, at the root and under an adapter's name."""

from typing import Annotated, Any

from pydantic import Field

from afina.predictor.chooser import Chooser
from afina.serve.choosing import Question
from afina.serve.encoders import outputs_of
from afina.serve.endpoints.classify import labelling
from afina.serve.endpoints.embeddings import reading, unit
from afina.serve.http.bodies import MOST_ITEMS, Body, Each, Name, Text, Texts
from afina.serve.http.call import Call
from afina.serve.http.endpoint import ServerEndpoint, endpoint
from afina.serve.http.refusals import wrong
from afina.serve.readers import reads_labels

__all__ = ["Embed", "EmbedUnder", "Predict", "PredictUnder"]

Pair = Annotated[Each[Text], Field(min_length=1, max_length=2)]


class PredictBody(Body):
    """Holds a text, a pair of texts, or a list of either, each a list then."""

    inputs: Text | Pair | Annotated[Each[Pair], Field(min_length=1, max_length=MOST_ITEMS)]
    model: Name | None = None
    truncate: bool = False
    raw_scores: bool = False
    """Logits instead of probabilities."""


class EmbedBody(Body):
    """Holds texts to make vectors of."""

    inputs: Text | Texts
    model: Name | None = None
    truncate: bool = False
    normalize: bool = True


@endpoint("/predict")
class Predict(ServerEndpoint):
    """Gives all labels of each text with their scores, the highest first."""

    body = PredictBody

    @classmethod
    async def answer(cls, call: Call, body: PredictBody) -> list[Any]:
        given, name = body.inputs, cls.named(call, body.model)
        several = isinstance(given, list) and isinstance(given[0], list)
        rows: list[Any] = given if several else [[given] if isinstance(given, str) else given]  # type: ignore[assignment]
        if len({len(row) for row in rows}) > 1:
            raise wrong("Some inputs are pairs and some are texts; ask of them apart.", "inputs")
        pairs = [row[1] for row in rows] if len(rows[0]) == 2 else None
        predictor = await call.model(name)
        labeller = labelling(predictor, name)
        names = labeller.task.label_names
        if labeller.task.tags or labeller.task.embeds or not names:
            raise wrong(f"{name} has no labels with scores; ask it at /v1/classify.", "model")
        texts, scores = [row[0] for row in rows], list[Any]()
        if isinstance(labeller, Chooser):
            if body.raw_scores:
                raise wrong(f"{name} chooses among answers, which have probabilities and no logits.", "raw_scores")
            for part in await call.choose(labeller, Question(texts, pairs, None, may_cut=body.truncate)):
                scores += [list((one.probabilities or {}).values()) for one in part.predictions]
        else:
            for ask in await call.read(reads_labels(labeller), texts, pairs, may_cut=body.truncate):
                outputs = ask.outputs()
                scores += list(outputs if body.raw_scores else labeller.task.decode_rows(ask.read, outputs).scores)
        labelled = [
            sorted(
                ({"label": str(label), "score": float(score)} for label, score in zip(names, one, strict=True)),
                key=lambda each: -each["score"],  # type: ignore[operator]
            )
            for one in scores
        ]
        return labelled if several else labelled[0]

    @classmethod
    def named(cls, call: Call, given: str | None) -> str:
        """Return which adapter is asked: the one that is named, or the only one that the caller may ask."""
        names = [name for name in call.house.shelf.names() if call.caller.may(name)]
        if given is None and len(names) != 1:
            raise wrong(f"Say which adapter by `model`, or ask at /adapters/NAME{cls.name}.", "model")
        return given or names[0]


@endpoint("/adapters/{model}/predict")
class PredictUnder(Predict):
    """Is asked at an adapter's own address."""

    @classmethod
    def named(cls, call: Call, given: str | None) -> str:
        return _of_path(call, given)


@endpoint("/embed")
class Embed(ServerEndpoint):
    """Gives each text its vector, by the base unless an adapter is named."""

    body = EmbedBody

    @classmethod
    async def answer(cls, call: Call, body: EmbedBody) -> list[Any]:
        texts = [body.inputs] if isinstance(body.inputs, str) else body.inputs
        predictor = await call.model(cls.named(call, body.model))
        reader = reading(call, predictor, "mean")
        vectors = outputs_of(await call.read(reader, texts, may_cut=body.truncate))
        listed: list[Any] = (unit(vectors) if body.normalize else vectors).tolist()
        return listed

    @classmethod
    def named(cls, call: Call, given: str | None) -> str:
        """Return which model is asked."""
        return given or call.house.bases.name


@endpoint("/adapters/{model}/embed")
class EmbedUnder(Embed):
    """Is asked at an adapter's own address."""

    @classmethod
    def named(cls, call: Call, given: str | None) -> str:
        return _of_path(call, given)


def _of_path(call: Call, given: str | None) -> str:
    name: str = call.request.path_params["model"]
    if given not in (None, name):
        raise wrong(f"The address names {name} and the body another model.", "model")
    return name
