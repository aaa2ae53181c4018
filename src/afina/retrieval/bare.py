"""Let a language model write that has no adapter on it."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from afina.backbone.load import Backbone, load_backbone
from afina.backbone.model_files import device_named
from afina.generation.generate import encode_prompt
from afina.generation.on_backbone import WritesOnBackbone
from afina.generation.rows import Request
from afina.generation.template import Message, Template, template_of

__all__ = ["BareWriter"]


class BareWriter(WritesOnBackbone):
    """Answers with text by a model as it is."""

    def __init__(self, model: str, *, device: str = "auto", precision: str | None = None) -> None:
        """Load a model by name or from its folder; raises `UsageError` for one that is not there or does not write."""
        self._take(load_backbone(model, precision=precision, device=device_named(device), speaks=True))

    @classmethod
    def on(cls, backbone: Backbone) -> "BareWriter":
        """Return what writes by a model that is loaded already."""
        made = cls.__new__(cls)
        made._take(backbone)
        return made

    def _take(self, backbone: Backbone) -> None:
        self.backbone, self.tokenizer = backbone, backbone.tokenizer
        self.task: Any = SimpleNamespace(template=None)
        self.notes = backbone.notes

    @property
    def template(self) -> Template:
        return template_of(None, self.tokenizer, merge_system=self.merge_system)

    def request(
        self, prompt: str | Sequence[Message], adapter: Any, number: int = 0, *, special: bool = False
    ) -> Request:
        text, stop, marks = self.worded(prompt)
        tokens = encode_prompt(self.backbone, text, marks=marks, special=special or not isinstance(prompt, str))
        return Request(tokens, None, stop, number, self.tokenizer)
