"""Chat and instruction tuning: what the assistant says, each turn's end among it, after all that was said before."""

import json
from typing import Any

from afina.data.batching import Tokens
from afina.data.rows import Rows
from afina.data.sequences import conversations
from afina.data.templates import ChatTemplate, Message
from afina.tasks.language import Language

__all__ = ["Chat"]


class Chat(Language):
    """The assistant's tokens of conversations written out by a template; a row's text is the JSON of its messages."""

    name = "chat"

    def __init__(self, template: ChatTemplate) -> None:
        self.template = template
        self.stop = template.stop

    def tokens(self, tokenizer: Any, rows: Rows, max_length: int) -> Tokens:
        messages = [[Message(*pair) for pair in json.loads(text)] for text in rows.text]
        return conversations(tokenizer, messages, self.template, max_length)

    def own_state(self) -> dict[str, Any]:
        return {"name": self.name, "template": self.template.state()}
