"""Share what bitsandbytes' storages have in common: the library, and the error where it is missing."""

import logging
from typing import Any

from afina.errors import UsageError

__all__ = ["bitsandbytes_settings"]


def bitsandbytes_settings(precision: str) -> Any:
    """Return transformers' class of settings; raises `UsageError` where bitsandbytes is not installed."""
    # It tells at each product in int8 that inputs are cast, and at its import of a package that nothing here needs.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        import accelerate
        import bitsandbytes
    except ImportError:
        raise UsageError(f"precision: {precision} needs bitsandbytes: pip install 'afina[quantised]'.") from None
    _ = accelerate, bitsandbytes
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig
