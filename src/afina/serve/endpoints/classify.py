"""Label texts by an adapter, with the labels and probabilities that `afina predict` gives."""

from typing import Annotated, Any

from pydantic import Field

from afina.predictor.chooser import Chooser
from afina.predictor.predictor import Predictor
from afina.serve.choosing import Question
from afina.serve.http.bodies import MOST_ITEMS, Body, Each, Name, Text, Texts
from afina.serve.http.call import Call
from afina.serve.http.endpoint import ServerEndpoint, endpoint
from afina.serve.http.refusals import Refusal, wrong
from afina.serve.readers import reads_labels

__all__ = ["Classify", "labelling"]


_Answers = Annotated[Each[Text], Field(min_length=2, max_length=64)]


class ClassifyBody(Body):
    """Holds texts to label."""

    model: Name
    input: Text | Texts
    pairs: Text | Each[Text] | None = None
    """The second text of each, for adapters that learned pairs."""
    choices: _Answers | Annotated[Each[_Answers], Field(min_length=1, max_length=MOST_ITEMS)] | None = None
    """Each text's answers, or those of all, for adapters that choose and have no labels of their own."""
    at_least: Annotated[float, Field(ge=0, le=1)] | None = None
    """Below this probability a text has no label and is left to a person."""


@endpoint("/v1/classify")
class Classify(ServerEndpoint):
    """Gives each text its label, or its number, labels, entities."""

    body = ClassifyBody

    @classmethod
    async def answer(cls, call: Call, body: ClassifyBody) -> dict[str, Any]:
        texts = [body.input] if isinstance(body.input, str) else body.input
        pairs = [body.pairs] if isinstance(body.pairs, str) else body.pairs
        predictor = await call.model(body.model)
        labeller = labelling(predictor, body.model)
        if body.at_least is not None and labeller.task.answers_with is not None:
            raise wrong(
                f"at_least is for labels with a probability; {body.model} answers with {labeller.task.answers_with}.",
                "at_least",
            )
        if pairs is not None and labeller.task.tags:
            raise wrong(f"{body.model} tags the words of one text at a time; it takes no pairs.", "pairs")
        if isinstance(labeller, Chooser):
            chosen = await call.choose(labeller, Question(texts, pairs, _answers(labeller, body, len(texts))))
            predictions = [one for part in chosen for one in part.predictions]
            cut = sum(part.cut for part in chosen)
        else:
            if body.choices is not None:
                raise wrong(f"{body.model} has labels of its own; it takes no choices.", "choices")
            asks = await call.read(reads_labels(labeller), texts, pairs)
            each = [(ask.texts, ask.read, ask.outputs()) for ask in asks]
            predictions = [one for own in each for one in labeller.task.predictions(*own)]
            cut = sum(ask.read.cut for ask in asks)
        # In the texts' order, whatever the passes were.
        data = [{"index": place, **one.shown(body.at_least).answer} for place, one in enumerate(predictions)]
        return {
            "id": call.number, "object": "list", "model": body.model, "data": data, "cut": cut,
            "usage": {"prompt_tokens": call.tokens_in, "total_tokens": call.tokens_in},
        }  # fmt: skip


def labelling(predictor: Predictor | None, name: str) -> Predictor:
    """Return an adapter that says something of texts; raises `Refusal` for the base, and for one that only writes."""
    if predictor is None:
        raise wrong(f"{name} is the base model, which has no labels of its own; ask one of its adapters.", "model")
    if predictor.task.speaks and not isinstance(predictor, Chooser):
        raise wrong(f"{name} was trained to {predictor.trained_to}; ask it at /v1/chat/completions.", "model")
    if predictor.backbone.anatomy.row.inputs != "text":
        raise Refusal(400, f"{name} takes {predictor.backbone.anatomy.row.inputs}, not texts.", "invalid_value")
    return predictor


def _answers(chooser: Chooser, body: ClassifyBody, texts: int) -> list[list[str]] | None:
    """Return each text's answers, None where an adapter has its own; raises `Refusal` for those that cannot be."""
    given = body.choices
    if given is None or not chooser.task.wants_choices:
        if (given is None) == chooser.task.wants_choices:
            wanted = "chooses among answers; give them as" if given is None else "has labels of its own; it takes no"
            raise wrong(f"{body.model} {wanted} choices.", "choices")
        return None
    each: list[list[str]] = [given] * texts if isinstance(given[0], str) else given
    if len(each) != texts:
        raise wrong(f"There are answers for {len(each)} texts, and {texts} texts.", "choices")
    for place, answers in enumerate(each):
        # Two equal answers could not be told apart in what is answered.
        if not all(answer.strip() for answer in answers) or len(set(answers)) < len(answers):
            raise wrong(f"The answers of text {place + 1} are not all different, or one of them is empty.", "choices")
    return each
