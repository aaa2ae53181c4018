"""Say before a base model is loaded what of an adapter llama.cpp could not run: its method, architecture or tokenizer."""

from afina.backbone.load import load_tokenizer, read_config
from afina.backbone.own_tokenizer import own_tokenizer
from afina.errors import UsageError
from afina.export.gguf.settings import form_of
from afina.export.gguf.vocabulary import vocabulary
from afina.export.target import unmergeable
from afina.predictor.load import Told

__all__ = ["foresee_lora", "foresee_model"]


def foresee_model(adapter: Told) -> None:
    """Raise `UsageError` for an adapter that cannot become a GGUF model, as far as its folder says."""
    # Everything that can be told by names and settings, before gigabytes are loaded.
    architecture = _runs(adapter, "gguf")
    if not adapter.method.mergeable and adapter.form.name == "afina":
        raise unmergeable(adapter.record.method, "merged", "gguf")
    name = adapter.record.model
    tokenizer = own_tokenizer(adapter.folder, load_tokenizer(name)[0])
    ends = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    vocabulary(tokenizer, max(read_config(name).vocab_size, len(tokenizer)), ends, architecture)


def foresee_lora(adapter: Told) -> None:
    """Raise `UsageError` for an adapter that a LoRA's file has no place for, as far as its folder says."""
    _runs(adapter, "gguf-lora")
    if not adapter.method.mergeable and adapter.form.name == "afina":
        raise unmergeable(adapter.record.method, "low-rank", "gguf-lora")


def _runs(adapter: Told, to: str) -> str:
    """Return GGUF's name of a base's architecture; raises `UsageError` for what llama.cpp could not run."""
    if adapter.method.gradient_free or not adapter.speaks:
        what = (
            "a classical model on embeddings" if adapter.method.gradient_free else f"for {adapter.record.task['name']}"
        )
        raise UsageError(
            f"{adapter.folder} is {what} and writes no text, which is what llama.cpp is run for; --to {to} is for adapters "
            "that write."
        )
    return form_of(read_config(adapter.record.model)).architecture
