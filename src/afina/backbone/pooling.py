"""Make one vector of a text's states, and say where a folder of sentence-transformers does it in another way."""

from pathlib import Path

from torch import Tensor

from afina.backbone.head import Hidden, last_token, mean_pool
from afina.errors import AfinaError
from afina.json_files import read_json_object

__all__ = ["pooled", "pooling_note"]

_MODES = {
    "mean": "the mean of its tokens' states", "cls": "the first token's state", "max": "the largest of its tokens' states",
    "mean_sqrt_len": "the sum of its tokens' states over the root of their number",
    "weightedmean": "a weighted mean of its tokens' states", "lasttoken": "the last token's state",
}  # fmt: skip


def pooling_note(folder: str) -> str | None:
    """Return what to say of a folder with a `1_Pooling/config.json`; None where there is none or it cannot be read."""
    try:
        settings = read_json_object(Path(folder) / "1_Pooling" / "config.json")
    except (FileNotFoundError, AfinaError):
        return None

    # Older folders have a truth for each way of pooling, newer ones the name of one.
    keys = {f"pooling_mode_{mode}{end}": mode for mode in _MODES for end in ("", "_tokens", "_token")}
    named = settings.get("pooling_mode")
    modes = [named] if isinstance(named, str) else [mode for key, mode in keys.items() if settings.get(key) is True]
    poolings = " and ".join(_MODES[mode] for mode in dict.fromkeys(modes) if mode in _MODES)
    if not poolings:
        return None
    return (
        f"the model's folder makes one vector of a text by {poolings} (1_Pooling); the classifier here has the head of its "
        "architecture instead, as transformers has"
    )


def pooled(hidden: Hidden, pooling: str, *, causal: bool) -> Tensor:
    """Return one vector (B, D) a text: the mean of its tokens' states, or with "cls" its first token's state."""
    if pooling == "mean":
        return mean_pool(hidden)
    # In a causal model only the last token has seen the whole text.
    return last_token(hidden) if causal else hidden.states[:, 0]
