"""Run a GGUF file in llama.cpp, by the wheel `xllamacpp`: tokens, probabilities, templates and texts as it has them.

The wheel has llama.cpp's server alone, which listens on this machine for as long as a model is open, and answers nobody
without the key that is drawn for it.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import numpy as np

from afina.errors import AfinaError, UsageError
from afina.generation.settings import GenerationSettings

__all__ = ["INSTALL", "LlamaCpp", "LlamaCppText", "llama_cpp_there"]

INSTALL = "pip install xllamacpp"
_WAIT = 600
"""Seconds that one request may take."""


class LlamaCppText(NamedTuple):
    """Holds what llama.cpp wrote: its text and tokens, and whether an end token ended it (else the limit did)."""

    text: str
    tokens: list[int]
    ended: bool


def llama_cpp_there() -> bool:
    """Return whether the wheel is installed."""
    return find_spec("xllamacpp") is not None


class LlamaCpp:
    """Holds one model file open in llama.cpp for a `with` block, with a LoRA's file beside it or none."""

    def __init__(
        self, model: Path, *, lora: Path | None = None, context: int = 2048, threads: int = 0, exact: bool = False
    ) -> None:
        """Choose what to open; with `exact`, attention is computed in float32, which of itself the server rounds."""
        if not llama_cpp_there():
            raise UsageError(f"To run {model} in llama.cpp, xllamacpp has to be there: {INSTALL}.")
        self.model, self.lora, self.context, self.threads, self.exact = model, lora, context, threads, exact

    def __enter__(self) -> Self:
        return self.start()

    def start(self) -> Self:
        """Open the file, until the block or the last use of this ends; raises `AfinaError` for what is not taken."""
        import xllamacpp

        # A key drawn for this block: nobody else on this machine asks the server that it opens.
        given, self._key = xllamacpp.CommonParams(), secrets.token_hex(16)
        given.model.path = str(self.model)
        if self.lora is not None:
            given.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(self.lora), 1.0)]
        given.n_ctx, given.n_parallel, given.n_predict = self.context, 1, -1
        # On this machine alone, at any free port.
        given.hostnames, given.port, given.api_keys = ["127.0.0.1"], 0, [self._key]
        given.verbosity, given.warmup, given.ui, given.use_jinja, given.cache_ram_mib = -1, False, False, True, 0
        given.reasoning_format = xllamacpp.common_reasoning_format.COMMON_REASONING_FORMAT_NONE
        if self.threads:
            given.cpuparams.n_threads = given.cpuparams_batch.n_threads = self.threads
        if self.exact:
            # The server's own defaults round keys and values to float16, which would hide small faults of the file.
            given.cache_type_k = given.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
            given.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        try:
            self._server = xllamacpp.Server(given)
        except Exception as error:  # whatever the wheel raises for a file that it does not take
            raise AfinaError(f"llama.cpp does not open {self.lora or self.model}: {_first(error)}.") from error

        # Past any proxy of the environment, which has no business between two parts of one machine.
        self._open = build_opener(ProxyHandler({})).open
        # A token whose text is whole, by which probabilities are asked for (`log_probabilities`).
        self._plain = self.tokens("a", marks=False)[-1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file, and of the memory that it takes."""
        # The server ends with the last thing that holds it.
        del self._server

    def ask(self, path: str, given: Mapping[str, Any] | None = None) -> Any:
        """Return what the server answers; raises `AfinaError` with its words where it refuses."""
        body = None if given is None else json.dumps(given).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"}
        request = Request(f"{self._server.listening_address}{path}", data=body, headers=headers)
        # With an end: a server that hangs would hold an export for ever.
        try:
            with self._open(request, timeout=_WAIT) as answer:
                return json.load(answer)
        except HTTPError as error:
            try:
                why = json.load(error)["error"]["message"]
            except (ValueError, KeyError, TypeError):
                why = str(error)
            raise AfinaError(f"llama.cpp refuses {path} for {self.model}: {_first(why)}.") from None
        except OSError as error:
            raise AfinaError(f"llama.cpp gave no answer for {self.model}: {_first(error)}.") from error

    def tokens(self, text: str, *, marks: bool = True, controls: bool = True) -> list[int]:
        """Return a text's tokens, special tokens in it as such unless told, between the marks that its texts have."""
        reply = self.ask("/tokenize", {"content": text, "add_special": marks, "parse_special": controls})
        return list(reply["tokens"])

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens; bytes that are no whole character are the replacement character."""
        return str(self.ask("/detokenize", {"tokens": list(tokens)})["content"]) if tokens else ""

    def rendered(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Return a conversation as the file's template writes it, up to where the assistant writes."""
        return str(self.ask("/apply-template", {"messages": list(messages)})["prompt"])

    def template(self) -> str:
        """Return the chat template that llama.cpp has of the file."""
        return str(self.ask("/props").get("chat_template", ""))

    def log_probabilities(self, ids: Sequence[int]) -> np.ndarray:
        """Return the logarithms of what may follow these tokens (V,), -inf for what the server leaves out."""
        # An end token, or one that is no whole character, would come without probabilities, which are told as they were
        # before this one was made to come.
        asked = {
            **_GREEDY, "prompt": list(ids), "n_predict": 1, "n_probs": _ALL, "logit_bias": [[self._plain, 1000.0]],
        }  # fmt: skip
        reply = self.ask("/completion", asked)
        best = reply["completion_probabilities"][0]["top_logprobs"]
        # As many places as the largest number that was told; what is left out is impossible to the server.
        values = np.full(max(entry["id"] for entry in best) + 1, -np.inf)
        values[[entry["id"] for entry in best]] = [entry["logprob"] for entry in best]
        return values

    def log_probability(self, ids: Sequence[int], token: int) -> tuple[float, bool]:
        """Return the logarithm of how likely one token follows these, and whether it is the likeliest."""
        made = {**_GREEDY, "prompt": list(ids), "n_predict": 1, "n_probs": 1, "logit_bias": [[token, 1000.0]]}
        places = self.ask("/completion", made).get("completion_probabilities")
        if places and places[0]["id"] == token:
            return float(places[0]["logprob"]), places[0]["top_logprobs"][0]["id"] == token
        # The server says it neither of an end token nor of one that is no whole character.
        values = self.log_probabilities(ids)
        return float(values[token]) if token < len(values) else -np.inf, int(values.argmax()) == token

    def next_token(self, ids: Sequence[int], settings: GenerationSettings, seed: int) -> LlamaCppText:
        """Return one token that follows these, chosen as settings say in their order; no token where the text ends."""
        # Samplers are named in the order in which ours act: the server has others, and another order.
        how: dict[str, Any] = {
            "samplers": ["penalties", "temperature", "top_k", "top_p", "min_p"],
            "temperature": settings.temperature, "repeat_penalty": settings.repetition_penalty, "repeat_last_n": len(ids),
            "top_k": settings.top_k or 0, "top_p": 1.0 if settings.top_p is None else settings.top_p,
            "min_p": settings.min_p or 0.0, "seed": seed,
        }  # fmt: skip
        return self.greedy(ids, 1, **how)

    def greedy(self, ids: Sequence[int], count: int, **more: Any) -> LlamaCppText:
        """Return what follows these tokens when the likeliest is taken each time."""
        asked = {**_GREEDY, "prompt": list(ids), "n_predict": count, "return_tokens": True, **more}
        reply = self.ask("/completion", asked)
        return LlamaCppText(str(reply["content"]), list(reply["tokens"]), reply.get("stop_type") == "eos")


_ALL = 1 << 20
_GREEDY = {"temperature": 0.0, "top_k": 1, "cache_prompt": True, "samplers": ["temperature"], "repeat_penalty": 1.0}


def _first(error: object) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")
