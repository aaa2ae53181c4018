"""Conversations: with a tuned model, and about the documents of an index."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from afina.generation.settings import GenerationSettings
    from afina.retrieval.index import Index
    from afina.serve.session import Chat

__all__ = ["chat", "loaded_from"]


def chat(
    adapter: str | Path,
    settings: "GenerationSettings | None" = None,
    *,
    system: str | None = None,
    merge_system: bool = False,
    model: str | None = None,
    device: str = "auto",
    precision: str | None = None,
    trust_remote_code: bool = False,
    offload: str | None = None,
    index: "str | Path | Index | None" = None,
    most: int = 5,
    threshold: "float | str | None" = "index",
) -> "Chat":
    """Begin a conversation with a tuned model: `chat.ask(text)` yields its answer, piece by piece.

    With an `index` of documents each question is answered from `most` of its passages that are found for it, and after each
    `chat.answer` has what the answer cites; `threshold` is that of `api.rag.ask`.

    To have another adapter answer set `chat.answering` to one that was loaded `beside` this one, or to None for the bare
    model. With `merge_system` what the system says stands before the first question. `offload="disk"` is that of
    `afina.load`. Raises `UsageError` for an adapter that
    does not write.
    """
    from afina.serve.grounded import conversation

    loaded = loaded_from(
        adapter, model=model, device=device, precision=precision, trust_remote_code=trust_remote_code, offload=offload
    )
    made = conversation(
        loaded, index, system=system, settings=settings, most=most, threshold=threshold, device=device
    )  # fmt: skip
    # Set on what answers, as an adapter that is loaded beside may have learned another form.
    made.adapter.merge_system = merge_system
    return made


def loaded_from(adapter: str | Path, *, trust_remote_code: bool, **settings: Any) -> Any:
    """Load an adapter on its base by the settings of `Loading`, or open what was exported in its runtime."""
    from afina.export.runtime import is_run

    if is_run(adapter):
        from afina.api.prediction import opened

        return opened(adapter, **settings)
    from afina.predictor.loading import Loading

    return Loading(trust_remote_code=trust_remote_code, **settings).load(adapter)
