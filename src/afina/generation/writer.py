"""Let a local language model write rows (`afina data generate`)."""

from dataclasses import dataclass
from functools import cached_property

from afina.backbone.load import Backbone, load_backbone
from afina.backbone.model_files import device_named
from afina.corpus.writers import GeneratedText
from afina.data.templates.controls import as_said, controls_of
from afina.data.templates.named import Message, make_template
from afina.generation.generate import encode_prompt, write
from afina.generation.rows import Request
from afina.generation.settings import GenerationSettings

__all__ = ["LocalModel"]


@dataclass(frozen=True, kw_only=True)
class LocalModel:
    """Writes with a language model from a local folder, from the hub, or built in."""

    name: str
    temperature: float = 0.9
    max_tokens: int = 1_024
    device: str = "auto"
    """`auto` is an NVIDIA GPU where there is one."""
    parallel: int = 1

    @cached_property
    def _backbone(self) -> Backbone:
        return load_backbone(self.name, device=device_named(self.device), speaks=True)

    def write(self, prompt: str, seed: int) -> GeneratedText:
        """Return a sampled answer to a prompt, in the tokenizer's chat template where it has one.

        Raises `UsageError` for a model that cannot be loaded or does not write, and a prompt that leaves no room.
        """
        backbone, marks, written_so = self._backbone, True, False
        if getattr(backbone.tokenizer, "chat_template", None):
            template = make_template(None, backbone.tokenizer)
            # A prompt is said by a user: control marks in it are text.
            asked = as_said([Message("user", prompt)], controls_of(backbone.tokenizer))
            prompt, marks, written_so = template.prompt(asked), template.marks, True
        request = Request(encode_prompt(backbone, prompt, marks=marks, special=written_so))
        settings = GenerationSettings(max_new_tokens=self.max_tokens, temperature=self.temperature, seed=seed)
        (written,) = (piece.written for piece in write(backbone, [request], settings) if piece.written is not None)
        return GeneratedText(written.text, whole=written.finish == "stop")
