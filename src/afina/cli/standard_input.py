"""Read standard input line by line."""

import sys
from collections.abc import Iterator

from afina.errors import UsageError

__all__ = ["input_lines"]


def input_lines() -> Iterator[str]:
    """Yield the lines of standard input as they come, with their ends; raises `UsageError` for one that is not UTF-8."""
    # Without bytes beneath it, as in a notebook, the lines are text already.
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None:
        yield from sys.stdin
        return
    for number, line in enumerate(stream, start=1):
        try:
            # Only the first line can begin with a mark of byte order.
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(
                f"Line {number} of standard input is not UTF-8 text (byte {error.start}); convert it first, for example with "
                "iconv -f cp1252 -t utf-8, or give a file with --file, whose encoding is recognised."
            ) from None
