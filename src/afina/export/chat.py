"""The chat template that goes with a model to other programs: the one that an adapter was trained with, in Jinja."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError

from afina.data.templates.chat_template import CONTENT, ChatTemplate
from afina.data.templates.foreign import render_template
from afina.data.templates.named import SystemMerged, Turns
from afina.data.templates.tokenizer_template import TokenizerTemplate
from afina.errors import UsageError

__all__ = ["TALKS", "Messages", "chat_template_of", "jinja_of", "rendered", "with_template"]

Messages = Sequence[Mapping[str, str]]
TALKS: tuple[Messages, ...] = (
    ({"role": "user", "content": "Where's my  kettle?\n"},),
    (
        {"role": "system", "content": "Answer briefly."}, {"role": "user", "content": "É tarde?"},
        {"role": "assistant", "content": "Não."}, {"role": "user", "content": "Why {not}? 🙂"},
    ),
)  # fmt: skip
"""Conversations by which it is seen whether two write them alike."""


def chat_template_of(task: Any, tokenizer: Any) -> str | None:
    """Return the template that a task was trained with, else the tokenizer's own, as Jinja; None where there is none."""
    template = None if task is None else task.template
    return _own_template(tokenizer) if template is None else jinja_of(template)


def _own_template(tokenizer: Any) -> str | None:
    """Return a tokenizer's template; of several by name the default."""
    source = getattr(tokenizer, "chat_template", None)
    if isinstance(source, Mapping):
        source = source.get("default")
    return source if isinstance(source, str) and source else None


def with_template(tokenizer: Any, task: Any) -> Any:
    """Return a tokenizer with the template that the task was trained with, itself where it has that (and maybe others)."""
    template = chat_template_of(task, tokenizer)
    # A tokenizer may have several by name; it is changed only where the one that is meant is another.
    if tokenizer is None or template is None or template == _own_template(tokenizer):
        return tokenizer
    copied = copy.deepcopy(tokenizer)
    copied.chat_template = template
    return copied


def jinja_of(template: ChatTemplate) -> str:
    """Return a template as transformers and llama.cpp render it."""
    # Jinja has no other way of going on with changed messages than to set them first.
    if isinstance(template, SystemMerged):
        return _MERGE + jinja_of(template.inner)
    if isinstance(template, TokenizerTemplate):
        return template.source
    assert isinstance(template, Turns)
    formats = {"system": template.system, "user": template.user, "assistant": template.assistant}
    turns = "".join(
        f"{{% {'if' if role == 'system' else 'elif'} message['role'] == '{role}' %}}{{{{ {_around(format)} }}}}"
        for role, format in formats.items()
    )
    first = ""
    if template.default:
        system = _quoted(template.system.replace(CONTENT, template.default))
        first = f"{{% if messages[0]['role'] != 'system' %}}{{{{ {system} }}}}{{% endif %}}"
    # Without the space at its end, which the model writes itself.
    begin = _quoted(template.assistant.partition(CONTENT)[0].rstrip(" "))
    asked = f"{{% if add_generation_prompt %}}{{{{ {begin} }}}}{{% endif %}}"
    return f"{first}{{% for message in messages %}}{turns}{{% endif %}}{{% endfor %}}{asked}"


def rendered(source: str, specials: Mapping[str, str], messages: Messages, *, answer: bool = True) -> str:
    """Return a conversation as a Jinja template writes it; raises `UsageError` for one that it refuses."""
    given = {"messages": [dict(own) for own in messages], "tools": None, "documents": None, **specials}
    try:
        return render_template(source, {**given, "add_generation_prompt": answer}, what="The chat template")
    except TemplateError as error:
        raise UsageError(f"the chat template refuses the conversation: {error}") from None


_MERGE = (
    "{% if messages[0]['role'] == 'system' %}{% set messages = [{'role': 'user', 'content': "
    "messages[0]['content'] + '\\n\\n' + messages[1]['content']}] + messages[2:] %}{% endif %}"
)


def _around(format: str) -> str:
    before, _, after = format.partition(CONTENT)
    parts = [_quoted(before), "message['content']", _quoted(after)]
    return " + ".join(part for part in parts if part != "''")


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"
