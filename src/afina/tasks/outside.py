"""Says what a task is to those outside: the hub, transformers, cards and the programs that open exports."""

from typing import ClassVar, Literal

__all__ = ["Outside"]


class Outside:
    """Describes a task to programs and readers that know nothing of Afina."""

    pipeline_tag: ClassVar[str]
    """The hub's name of the task."""
    problem_type: ClassVar[str | None] = None
    """The name of the task in transformers' configurations."""
    does: ClassVar[str]
    """A sentence of words/card.py on what an adapter does, with places for {input}, {count} and {labels}."""
    answers_with: ClassVar[str | None] = None
    """A phrase on its answers, where they are not a label with a probability."""
    answer_form: ClassVar[Literal["label", "labels", "number", "vector"]] = "label"
    """The form of a row's answer, by which an export's script makes it of the model's outputs."""
    has_head: ClassVar[bool] = True
    """True where the model gets a head for this task, with as many outputs as labels."""

    @classmethod
    def auto_class(cls, inputs: str, *, reads_apart: bool) -> str:
        """Return the class of transformers that loads a model for it; `inputs` are text, image or sound.

        `reads_apart` says that the model is an encoder-decoder.
        """
        return "AutoModelForImageClassification" if inputs == "image" else "AutoModelForSequenceClassification"

    @classmethod
    def asked(cls, tokens: str) -> str:
        """Return the Python that asks a model of transformers', to be printed: `tokens` are what it is called with."""
        return f"model(**{tokens}).logits"

    def example(self, *, pairs: bool) -> str:
        """Return the call by which a person would try an adapter for it, of texts in `pairs` or alone."""
        second = ', ["Another one."]' if pairs else ""
        return f'predict(["A text."]{second})'
