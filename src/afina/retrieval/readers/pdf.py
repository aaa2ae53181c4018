"""PDF: the text of each page (pypdf); pages that are images have none, and are counted."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from afina.errors import UsageError
from afina.retrieval.extra import needed
from afina.retrieval.readers.base import Document, FileReader, PageText, plain, reader

__all__ = ["Pdf"]


@reader("pdf")
class Pdf(FileReader):
    """Reads PDF files, page by page."""

    endings = (".pdf",)
    most_bytes = 1 << 31

    def read(self, path: Path, columns: tuple[str, ...] | None) -> Document:
        pypdf = needed("pypdf", "Reading PDF")
        with _silently():
            try:
                file = pypdf.PdfReader(path)
                # Many files are encrypted with an empty password, which anybody may open.
                is_open = not file.is_encrypted or file.decrypt("")
            except Exception as error:  # a foreign file may make anything go wrong in there
                raise _broken(path, error) from None
            if not is_open:
                raise UsageError(f"{path} is encrypted: it asks for a password; save it without one.")
            pages, notes = _pages(path, file)
        return Document(pages, notes)


def _pages(path: Path, file: Any) -> tuple[list[PageText], list[str]]:
    pages: list[PageText] = []
    blank: list[int] = []
    unread: list[int] = []
    try:
        count = len(file.pages)
    except Exception as error:
        raise _broken(path, error) from None
    for number in range(1, count + 1):
        try:
            # Signs that no data base holds are replaced by others of the same length.
            text = plain(file.pages[number - 1].extract_text())
        except Exception:  # one page's fault is not the others'
            text = ""
            unread.append(number)
        if text.strip():
            pages.append(PageText(text, number))
        # What could not be read is no blank page.
        elif number not in unread:
            blank.append(number)
    notes = [_pages_that(blank, count, "pages without text: empty, or scanned")] if blank else []
    if unread:
        notes.append(_pages_that(unread, count, "pages that could not be read"))
    return pages, notes


def _pages_that(numbers: list[int], count: int, what: str) -> str:
    shown = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
    return f"{len(numbers):,} of {count:,} {what} ({shown})"


def _broken(path: Path, error: Exception) -> UsageError:
    # pypdf's sentences go on with what is in the file.
    reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
    return UsageError(f"{path} is no readable PDF ({reason}); save it again.")


@contextmanager
def _silently() -> Iterator[None]:
    """Keep pypdf's remarks on files' small faults, which it reads past, off the terminal."""
    log = logging.getLogger("pypdf")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)
