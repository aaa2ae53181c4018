"""The documents: every link leads somewhere, and what they show is what there is."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    *(
        ROOT / name
        for name in ("README.md", "LEIAME.md", "CONTRIBUTING.md", "benchmarks/README.md", "pretraining/README.md")
    ),
    *sorted((ROOT / "docs").rglob("*.md")),
]


def without_code(text: str) -> str:
    return re.sub(r"^(```.*?^```| {4}[^\n]*)$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", without_code(page.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8"))):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{link} of {page.relative_to(ROOT)} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link} of {page.relative_to(ROOT)} has no such heading"
