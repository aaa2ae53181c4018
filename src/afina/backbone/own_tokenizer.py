"""The tokenizer that lies in an adapter's folder, as those who add tokens or a chat template leave it there."""

import copy
from pathlib import Path
from typing import Any

from afina.backbone.load import tokenizer_at
from afina.errors import AfinaError

__all__ = ["own_tokenizer"]

_VOCABULARIES = (
    "tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model",
)  # fmt: skip


def own_tokenizer(folder: Path, base: Any) -> Any:
    """Return the tokenizer that lies in an adapter's folder, the `base`'s with the folder's chat template, or `base`."""
    # A vocabulary of its own goes before the base's: words may have been added to it.
    if any((folder / name).is_file() for name in _VOCABULARIES):
        return tokenizer_at(str(folder), str(folder), False)
    template = folder / "chat_template.jinja"
    if base is None or not template.is_file():
        return base
    # The base's tokenizer is shared by other adapters.
    mine = copy.deepcopy(base)
    try:
        mine.chat_template = template.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AfinaError(f"{template} cannot be read ({error}).") from None
    return mine
