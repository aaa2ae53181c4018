"""What mkdocs does beyond copying pages: writes the reference anew, and takes pages from elsewhere in the repository.

Links are written as they lead on a disk and in a repository's browser. In the site a link to a page from elsewhere leads to
that page, and one to any other file of the repository leads to a copy of it.
"""

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

__all__ = ["on_files", "on_page_markdown"]

_ROOT = Path(__file__).parents[2]
_PAGES = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
    "benchmarks/README.md": "benchmarks.md",
    "pretraining/README.md": "pretraining.md",
}
"""Pages that stand elsewhere in the repository, and what they are called in the site."""
_LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)\s#]+)(?=[)#])")
_CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages from elsewhere, and copies of files that pages link to."""
    for source, name in _PAGES.items():
        if (_ROOT / source).exists():
            files.append(File.generated(config, name, abs_src_path=str(_ROOT / source)))
    for source in sorted(_linked(files)):
        files.append(File.generated(config, f"files/{source}", abs_src_path=str(_ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Write what the program itself says, and let links lead to where things are in the site."""
    here = str(Path(__file__).parent)
    if here not in sys.path:  # mkdocs loads this file alone
        sys.path.insert(0, here)
    from python_told import objects
    from reference import refresh

    markdown = refresh(markdown).replace("<!-- at build: python -->", objects())
    return _LINK.sub(lambda match: _in_site(match[1], page.file.src_uri), markdown)


def _source(uri: str) -> str:
    """Return where a page of the site stands in the repository."""
    return next((source for source, name in _PAGES.items() if name == uri), f"docs/{uri}")


def _target(link: str, uri: str) -> str:
    """Return what a link of a page leads to, seen from the repository's root."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(_source(uri)), link))


def _linked(files: Files) -> set[str]:
    """Return the files outside the documents that pages link to and that are no pages."""
    found = set()
    for file in files.documentation_pages():
        text = _CODE.sub("", Path(file.abs_src_path or "").read_text(encoding="utf-8"))
        found |= {_target(link, file.src_uri) for link in _LINK.findall(text)}
    return {path for path in found - set(_PAGES) if not path.startswith("docs/") and (_ROOT / path).is_file()}


def _in_site(link: str, uri: str) -> str:
    target = _target(link, uri)
    if target.startswith("docs/"):
        place = target.removeprefix("docs/")
    elif target in _PAGES:
        place = _PAGES[target]
    elif (_ROOT / target).is_file():
        place = f"files/{target}"
    else:
        return link
    return posixpath.relpath(place, posixpath.dirname(uri) or ".")
