"""HTML: what a page says, without its menus and notices (trafilatura), in Markdown."""

from pathlib import Path

from afina.retrieval.extra import needed
from afina.retrieval.readers.base import Document, FileReader, PageText, plain, reader
from afina.retrieval.readers.markdown import headings_of

__all__ = ["Html"]


@reader("html")
class Html(FileReader):
    """Reads web pages; spans count characters of the text that was taken out of them."""

    endings = (".html", ".htm", ".xhtml")

    def read(self, path: Path, columns: tuple[str, ...] | None) -> Document:
        trafilatura = needed("trafilatura", "Reading HTML")
        data, notes = path.read_bytes(), []
        text = trafilatura.extract(data, output_format="markdown", include_comments=False, favor_recall=True)
        if not text:
            # What has no article, such as a short notice, is taken whole.
            text = trafilatura.html2txt(data) or ""
            if text:
                notes.append("no article was found in the page: all of its text was taken")
        text = plain(text)
        return Document([PageText(text, headings=headings_of(text))], notes)
