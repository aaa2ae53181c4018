"""Share what bitsandbytes' storages have in common: the library, and the error where it is missing."""

import logging
from typing import Any

from afina.errors import UsageError

__all__ = ["bitsandbytes_settings", "quiet_bitsandbytes"]


def quiet_bitsandbytes() -> None:
    """Leave out what bitsandbytes tells at each product in int8, and at its import of a package that nothing here needs.

    It is to be called before whatever imports bitsandbytes, as peft does.
    """
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def bitsandbytes_settings(precision: str) -> Any:
    """Return transformers' class of settings; raises `UsageError` where bitsandbytes is not installed."""
    quiet_bitsandbytes()
    try:
        import accelerate
        import bitsandbytes
    except ImportError:
        raise UsageError(f"precision: {precision} needs bitsandbytes: pip install 'afina[quantised]'.") from None
    _ = accelerate, bitsandbytes
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig
