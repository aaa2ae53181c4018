"""Let llama.cpp itself read texts and write conversations: its tokens and its template, as it has them of a file."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from afina.backbone.gguf_file import GgufFile
from afina.backbone.gguf_tokenizer import end_tokens
from afina.data.dialogues.messages import Message
from afina.data.templates.foreign import render_template
from afina.errors import UsageError
from afina.export.gguf.llama_cpp import LlamaCpp

__all__ = ["FileTemplate", "LlamaCppTokenizer"]

_CONTROL, _OWN = 3, 4
"""Types of tokens: those that steer, and those that a text's own characters may be, whole."""
Cpp = Callable[[], LlamaCpp]
"""Gives what runs the file: it may be opened anew meanwhile."""


class LlamaCppTokenizer:
    """Reads as transformers' tokenizers do, as far as prompts, answers and benchmarks ask; the work is llama.cpp's."""

    def __init__(self, cpp: Cpp, file: GgufFile) -> None:
        self._cpp = cpp
        says = {key.removeprefix("tokenizer.ggml."): value for key, value in file.settings.items()}
        tokens: Sequence[str] = says.get("tokens") or ()
        kinds: Sequence[int] = says.get("token_type") or [1] * len(tokens)
        self.ends = end_tokens(file)
        self.chat_template: str | None = file.settings.get("tokenizer.chat_template")
        control = {place: token for place, token in enumerate(tokens) if kinds[place] == _CONTROL}
        user_defined = {place: token for place, token in enumerate(tokens) if kinds[place] == _OWN}
        self.all_special_ids, self.all_special_tokens = list(control), list(control.values())
        self._added = {token: place for place, token in (control | user_defined).items()}
        self._control = frozenset(control)
        self.special_tokens_map: dict[str, str] = {}
        for name, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
            place = says.get(f"{key}_token_id")
            token = tokens[place] if isinstance(place, int) and 0 <= place < len(tokens) else None
            setattr(self, f"{name}_token_id", None if token is None else place)
            setattr(self, f"{name}_token", token)
            if token is not None:
                self.special_tokens_map[f"{name}_token"] = token
        if self.pad_token_id is None:  # what fills a batch is never looked at
            self.pad_token_id = self.eos_token_id or 0

    bos_token_id: int | None
    bos_token: str | None
    eos_token_id: int | None
    pad_token_id: int | None

    unk_token_id: int | None

    def __call__(
        self, text: str, *, add_special_tokens: bool = True, split_special_tokens: bool = False, **ignored: Any
    ) -> dict[str, list[int]]:
        ids = self.encode(text, add_special_tokens=add_special_tokens, split_special_tokens=split_special_tokens)
        # Read as text it has no control token but those that llama.cpp puts around it.
        added = [int(split_special_tokens and token in self._control) for token in ids]
        return {"input_ids": ids, "special_tokens_mask": added}

    def encode(self, text: str, *, add_special_tokens: bool = True, split_special_tokens: bool = False) -> list[int]:
        """Return a text's tokens, between the marks that the file's texts have where they are wanted."""
        return self._cpp().tokens(text, marks=add_special_tokens, controls=not split_special_tokens)

    def decode(self, tokens: Sequence[int], *, skip_special_tokens: bool = False, **ignored: Any) -> str:
        """Return the text of tokens; bytes that are no whole character are the replacement character."""
        given = [token for token in tokens if not (skip_special_tokens and token in self._control)]
        return self._cpp().text(given)

    def get_added_vocab(self) -> dict[str, int]:
        """Return tokens that are no pieces of words, with their numbers."""
        return dict(self._added)

    def get_chat_template(self) -> str | None:
        """Return the file's template, as benchmarks ask for it."""
        return self.chat_template

    def apply_chat_template(
        self, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool = True, **ignored: Any
    ) -> str:
        """Return a conversation as the file's template writes it."""
        if add_generation_prompt:
            return self._cpp().rendered(messages)
        given = {"messages": [dict(own) for own in messages], "tools": None, "add_generation_prompt": False}
        return render_template(self.chat_template or "", {**given, **self.special_tokens_map}, what="The chat template")


class FileTemplate:
    """Writes conversations by the template that is in the file, rendered by llama.cpp."""

    marks = True

    def __init__(self, cpp: Cpp, stop: Sequence[str] = ()) -> None:
        """Take the texts that end an answer beside the file's own end tokens."""
        self._cpp, self._stop = cpp, tuple(stop)

    @property
    def stop(self) -> tuple[str, ...]:
        return self._stop

    def prompt(self, messages: Sequence[Message]) -> str:
        """Return the prompt up to where the assistant's next answer begins; raises `UsageError` for tools."""
        if any(turn.role in ("tool", "tools") or turn.details.get("tool_calls") for turn in messages):
            raise UsageError("Conversations with tools are not run in llama.cpp here; ask the adapter itself.")
        return self._cpp().rendered([{"role": turn.role, "content": turn.content} for turn in messages])
