"""Let a model answer prompts, and score its answers against references."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from afina.data.columns import texts
from afina.data.files.tables import read_table
from afina.data.names import PROMPTS, REFERENCES, usual_name
from afina.data.templates.controls import as_said, controls_of
from afina.data.templates.named import ChatTemplate, Message
from afina.errors import UsageError, likewise, nearest
from afina.generation.asked import AskedModel
from afina.generation.template import Template
from afina.measure.bootstrap import Measure, perplexity_of
from afina.measure.text import text_measures

__all__ = ["Answering", "Questions", "answer_perplexity", "answers_of", "read_questions", "written_to"]


@dataclass(frozen=True)
class Questions:
    """Holds prompts, and a good answer to each."""

    prompts: list[str]
    references: list[str]

    def first(self, count: int | None) -> "Questions":
        return Questions(self.prompts[:count], self.references[:count])


@dataclass(frozen=True, kw_only=True)
class Answering:
    """Says how answers are generated and scored."""

    prompt: str | None = None
    """The file's column of prompts; None finds it by its usual names."""
    reference: str | None = None
    """The column of reference answers; None finds it likewise."""
    template: str | None = None
    """The text around `{prompt}`; None takes the template that the adapter was trained with, or the prompt alone."""
    stop: Sequence[str] = ()
    """Texts that end an answer, besides the model's end mark."""
    max_new_tokens: int = 128
    metrics: Sequence[str] | None = None
    """Names of `TEXT_METRICS`; None takes all."""

    def __post_init__(self) -> None:
        if self.template is not None and "{prompt}" not in self.template:
            raise UsageError(f"The template {self.template!r} should hold {{prompt}}.")
        if self.max_new_tokens < 1:
            raise UsageError(f"max_new_tokens is at least 1, not {self.max_new_tokens}.")


def read_questions(path: Path, how: Answering) -> Questions:
    """Read prompts and references from a table; raises `UsageError` for a missing column or an empty cell."""
    table = read_table(path)
    names = list(table.column_names)

    # Both columns are found alike: the name that was given, or the first of the usual ones.
    def column(given: str | None, usual: Sequence[str], what: str) -> list[str]:
        name = given or usual_name(names, usual)
        if name is None:
            raise UsageError(f"{path} has no column that looks like a {what}; say which ({', '.join(names)}).")
        if name not in names:
            raise UsageError(f"{path} has no column '{name}'{nearest(name, names)}")
        values = texts(table, name, str(path))
        if empty := [row for row, value in enumerate(values, start=1) if not value.strip()]:
            others = likewise([(f"row {row}", "") for row in empty])
            raise UsageError(f"{path}, row {empty[0]}: the {what} in column '{name}' is empty{others}.")
        return values

    return Questions(column(how.prompt, PROMPTS, "prompt"), column(how.reference, REFERENCES, "reference"))


def answers_of(
    speaker: AskedModel, questions: Questions, how: Answering, taught: Template | None = None
) -> tuple[list[str], list[Measure]]:
    """Let the model answer greedily, in its `taught` template unless `how` has one; return answers and measures."""
    written = written_to(speaker, questions.prompts, how, taught)
    return written, text_measures(written, [text.strip() for text in questions.references], how.metrics)


def written_to(speaker: AskedModel, asked: Sequence[str], how: Answering, taught: Template | None = None) -> list[str]:
    """Return what the model writes to these prompts, likewise."""
    stop, marks = list(how.stop), None
    if how.template is None and taught is not None:
        # Marks of the conversation that a prompt happens to hold are text there, and act on nothing.
        controls = controls_of(speaker.tokenizer)
        prompts = [taught.prompt(as_said([Message("user", prompt)], controls)) for prompt in asked]
        # The template says itself where its marks stand; the tokenizer adds none, or as many as it learned with.
        stop, marks = [*stop, *taught.stop], taught.marks
    else:
        # `replace`, as a prompt may hold braces.
        prompts = [(how.template or "{prompt}").replace("{prompt}", prompt) for prompt in asked]
    return [text.strip() for text in speaker.write(prompts, stop=stop, most=how.max_new_tokens, marks=marks)]


def answer_perplexity(speaker: AskedModel, questions: Questions, template: ChatTemplate) -> Measure:
    """Return the perplexity per token of the reference answers, each after its prompt and with its end mark."""
    pairs, controls = [], controls_of(speaker.tokenizer)
    for prompt, reference in zip(questions.prompts, questions.references, strict=True):
        question, answered = as_said([Message("user", prompt), Message("assistant", reference)], controls)
        pieces = template.render([question, answered])
        # The pieces that are trained on are the assistant's, and with them its end mark.
        answer = "".join(text for text, trained in pieces if trained)
        read = speaker.encode(template.prompt([question]), marks=template.marks)
        pairs.append((read, speaker.encode(answer, marks=False)))
    counts = np.array([len(said) for _, said in pairs], dtype=np.float64)
    return perplexity_of("answer_perplexity", -speaker.likelihoods(pairs)[0], counts)
