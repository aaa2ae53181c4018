"""Write JSON as one line for every reader: some part lines at more than line feeds, and terminals obey some characters."""

import json
import re
from typing import Any

__all__ = ["one_line"]

_OTHERS = re.compile(r"[\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Characters that terminals obey, that end a line for some readers, or that are halves of one, which no file takes."""


def one_line(value: Any) -> str:
    """Return a value as JSON whose letters stand as they are, but for those."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return _OTHERS.sub(lambda each: f"\\u{ord(each[0]):04x}", text)
