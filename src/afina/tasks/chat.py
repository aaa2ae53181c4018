"""Chat and instruction tuning: what the assistant says, each turn's end among it, after all that was said before."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal, Self

import pyarrow as arrow

from afina.checked import Checked
from afina.data.rows import Rows, TextDataset
from afina.data.templates.controls import as_said, controls_of
from afina.data.templates.named import ChatTemplate, Message, load_template, make_template
from afina.data.tokens.sequences import conversations
from afina.data.tokens.tokens import WrittenTokens
from afina.data.written import conversation_rows
from afina.dataset_spec import DatasetSpec
from afina.tasks.base import task
from afina.tasks.state import State
from afina.tasks.writing import WritingTask

__all__ = ["ChatTask"]


class ChatSettings(Checked):
    """Has a study's keys for conversations."""

    template: str | dict[str, str] | None = None
    """For `task: chat`, a named template or formats by role, with {content} in each; left out, the tokenizer's own."""
    system: Literal["keep", "merge"] = "keep"
    """For `task: chat`: `merge` puts what the system says before the user's first words, where a template takes no system."""


class _Template(State):
    template: dict[str, Any]


@task("chat")
class ChatTask(WritingTask):
    """The assistant's tokens of conversations written out by a template; a row's text is the JSON of its messages."""

    pipeline_tag = "text-generation"
    does = "It answers in a conversation."
    lines = "transcript"
    Settings = ChatSettings
    reads = ("messages", "assistant", "user")
    unfolds = True
    few_rows = "; afina data clean --pairs makes each question with its answer a row"
    State = _Template
    template: ChatTemplate

    def __init__(self, template: ChatTemplate) -> None:
        self.template = template
        self.stop = template.stop

    @classmethod
    def rows_of(cls, table: arrow.Table, spec: DatasetSpec, place: str, seen: Counter[str] | None = None) -> Rows:
        return conversation_rows(table, spec, place, seen)

    @classmethod
    def made_for(cls, data: TextDataset, settings: ChatSettings, spec: DatasetSpec, tokenizer: Any) -> Self:
        return cls(
            make_template(
                # Where nobody said how turns are written, the tokenizer's own way is the one that the model knows.
                settings.template or (None if tokenizer else "plain"),
                tokenizer,
                merge_system=settings.system == "merge",
            )
        )

    @classmethod
    def of_text(cls, tokenizer: Any) -> Self:
        return cls(make_template(None if getattr(tokenizer, "chat_template", None) else "plain", tokenizer))

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        return cls(load_template(state["template"]))

    def tokens(self, tokenizer: Any, rows: Rows, max_length: int) -> WrittenTokens:
        # What a person said must not stand there as a mark of the conversation's own.
        controls = controls_of(tokenizer)
        # Messages came as JSON, so that a row of any task is a text.
        messages = [as_said([Message(*pair) for pair in json.loads(text)], controls) for text in rows.text]
        return conversations(tokenizer, messages, self.template, max_length)

    def example(self, *, pairs: bool) -> str:
        return 'generate([[{"role": "user", "content": "Hello!"}]])[0].text'

    def own_state(self) -> dict[str, Any]:
        return {"template": self.template.state()}
