"""Run GGUF files in llama.cpp, by the wheel xllamacpp: a whole model, or an adapter on its base's file."""

import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from afina.backbone.gguf_file import read_gguf
from afina.backbone.gguf_tokenizer import end_tokens
from afina.errors import UsageError
from afina.export.gguf.llama_cpp import LlamaCpp
from afina.export.manifest import Manifest
from afina.export.runtime import Runtime, Session, runtime
from afina.tasks.base import restore, the

if TYPE_CHECKING:
    from afina.generation.rows import ChosenToken, Row

__all__ = ["LlamaCppRuntime", "LlamaCppSession"]

_LEAST = -100.0
"""The logarithm of what llama.cpp holds for impossible, as it is compared."""
_CONTEXT = 1024
"""Tokens that there is room for at first: what is kept of each takes memory."""


class LlamaCppSession(Session):
    """Asks llama.cpp for what comes next; the file is open as long as this is kept.

    Tokens are asked for one at a time: of a stream the server leaves out those that are no whole character. What it has
    read it keeps, so that each costs one token's work.
    """

    def __init__(self, path: Path, manifest: Manifest, lora: Path | None = None) -> None:
        import torch

        from afina.export.gguf.reading import FileTemplate, LlamaCppTokenizer

        self._path, self._lora = path, lora
        self._most, self._threads = int(manifest.reading["context"]), torch.get_num_threads()
        self._cpp = self._opened(min(self._most, _CONTEXT))
        me = weakref.ref(self)  # what the session holds may not hold the session, or its file would stay open

        def cpp() -> LlamaCpp:
            session = me()
            assert session is not None, "asked by what a session left"
            return session._cpp

        self.tokenizer = LlamaCppTokenizer(cpp, read_gguf(path))
        if lora is None and self.tokenizer.chat_template:
            trained = restore(manifest.task).template
            self.template = FileTemplate(cpp, () if trained is None else trained.stop)

    def _opened(self, context: int) -> LlamaCpp:
        return LlamaCpp(self._path, lora=self._lora, context=context, threads=self._threads, exact=True).start()

    def _with_room(self, tokens: int) -> LlamaCpp:
        """Return what runs the file, opened anew where its room does not suffice."""
        if tokens >= self._cpp.context < self._most:
            wanted = min(self._most, max(2 * self._cpp.context, tokens + 256))
            self._cpp.close()
            self._cpp = self._opened(wanted)
        return self._cpp

    def outputs(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the logarithms of what may follow each row of `input_ids` (B, T), (B, V)."""
        return np.stack([self.following(row.tolist()) for row in inputs["input_ids"]])

    def next_logits(self, tokens: Sequence[int], read: int | None = None) -> np.ndarray:
        return np.stack([self.following(tokens[: end + 1]) for end in range(len(tokens))])

    def following(self, tokens: Sequence[int], written: Sequence[int] = ()) -> np.ndarray:
        tokens = [*tokens, *written]
        scores: np.ndarray = np.maximum(self._with_room(len(tokens)).log_probabilities(tokens), _LEAST)
        return scores.astype(np.float32)

    def said(self, tokens: Sequence[int], start: int) -> tuple[np.ndarray, np.ndarray]:
        cpp = self._with_room(len(tokens))
        scored = [cpp.log_probability(tokens[:place], tokens[place]) for place in range(start, len(tokens))]
        return np.array([value for value, _ in scored]), np.array([best for _, best in scored], dtype=bool)

    def go_on(self, row: "Row") -> "Iterator[ChosenToken]":
        from afina.generation.rows import ChosenToken

        how, prompt = row.settings, list(row.request.prompt)
        if how.log_probabilities is not None or how.presence_penalty or how.frequency_penalty:
            yield from super().go_on(row)  # llama.cpp would count the prompt's tokens, too
            return
        seed = row.draws.initial_seed()
        while True:
            place = len(prompt) + len(row.tokens)
            answer = self._with_room(place).next_token([*prompt, *row.tokens], how, (seed + place) % (1 << 32))
            if not answer.tokens:
                return
            yield ChosenToken(answer.tokens[0])

    def greedy(self, tokens: Sequence[int], most: int, ends: Sequence[int]) -> list[int]:
        continued = self._with_room(len(tokens) + most).greedy(tokens, most).tokens
        return continued[: next((place for place, token in enumerate(continued) if token in ends), len(continued))]


@runtime("llama.cpp")
class LlamaCppRuntime(Runtime):
    """Runs GGUF files."""

    package = "xllamacpp"
    extra = "llama-cpp"
    file = "model.gguf"
    suffix = ".gguf"
    draws = True

    @classmethod
    def open(cls, folder: Path, manifest: Manifest) -> LlamaCppSession:
        reading = manifest.reading
        if "adapter" not in reading:
            return LlamaCppSession(folder / reading.get("file", cls.file), manifest)
        if reading.get("base"):
            return LlamaCppSession(folder / reading["base"], manifest, folder / reading["adapter"])
        return cls._on_a_base_made_anew(folder, manifest)

    @classmethod
    def _on_a_base_made_anew(cls, folder: Path, manifest: Manifest) -> LlamaCppSession:
        """Return a session of an adapter alone on its base model, which is written for as long as the session is kept."""
        from afina.export.gguf.lora import write_base_alone

        reading, place = manifest.reading, tempfile.TemporaryDirectory(prefix="afina-base-")
        base = Path(place.name) / "base.gguf"
        try:
            write_base_alone(str(manifest.source["model"]), base, reading["base_type"], reading["ends"])
            session = LlamaCppSession(base, manifest, folder / reading["adapter"])
        except BaseException:
            place.cleanup()
            raise
        weakref.finalize(session, place.cleanup)
        return session

    @classmethod
    def alone(cls, path: Path) -> Manifest:
        file = read_gguf(path)
        if file.settings.get("general.type") == "adapter":
            raise UsageError(
                f"{path} is an adapter alone, which runs on its base; give the folder that it was exported to."
            )
        context = file.settings.get(f"{file.architecture}.context_length")
        if not isinstance(context, int):
            raise UsageError(f"{path} does not say how many tokens its model reads, and is no language model.")
        task = the(writes=True, lines="texts").of_text(None)
        return Manifest(
            target="gguf", runtime=cls.name, runtime_version=cls.version(), source={}, task=task.state(),
            max_length=context, precision=", ".join(file.kinds), inputs=["input_ids"],
            reading={"context": context, "ends": end_tokens(file), "file": path.name},
        )  # fmt: skip
