"""Readers: what stands in a file is read, what cannot be read is said, and chunks are the very words of their page."""

import itertools
from pathlib import Path
from typing import Any

import pypdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afina.backbone.load import load_tokenizer
from afina.errors import UsageError
from afina.retrieval.collecting import Found
from afina.retrieval.cutting import Cutter, sentence_starts
from afina.retrieval.parsing import ParsedFile, parse
from afina.retrieval.readers.base import Heading, PageText, reader_of
from afina.retrieval.readers.markdown import headings_of


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer("minilm")[0]


def read(path: Path, columns: tuple[str, ...] | None = None) -> Any:
    return reader_of(path).read(path, columns)


def write_pdf(path: Path, pages: list[str], password: str | None = None) -> None:
    """Write a PDF by hand: each page one line of text, or none at all."""
    writer = pypdf.PdfWriter()
    for text in pages:
        page = writer.add_blank_page(200, 200)
        if text:
            font = pypdf.generic.DictionaryObject(
                {
                    pypdf.generic.NameObject("/Type"): pypdf.generic.NameObject("/Font"),
                    pypdf.generic.NameObject("/Subtype"): pypdf.generic.NameObject("/Type1"),
                    pypdf.generic.NameObject("/BaseFont"): pypdf.generic.NameObject("/Helvetica"),
                }
            )
            fonts = pypdf.generic.DictionaryObject({pypdf.generic.NameObject("/F1"): font})
            page[pypdf.generic.NameObject("/Resources")] = pypdf.generic.DictionaryObject(
                {pypdf.generic.NameObject("/Font"): fonts}
            )
            stream = pypdf.generic.DecodedStreamObject()
            stream.set_data(f"BT /F1 12 Tf 10 100 Td ({text}) Tj ET".encode("latin-1"))
            page[pypdf.generic.NameObject("/Contents")] = writer._add_object(stream)
    if password:
        writer.encrypt(password)
    writer.write(path)


def test_a_pdf_keeps_its_page_numbers_and_says_which_pages_have_no_text(tmp_path: Path) -> None:
    write_pdf(tmp_path / "a.pdf", ["The first page.", "", "The third page."])
    document = read(tmp_path / "a.pdf")
    assert [(page.number, page.text.strip()) for page in document.pages] == [
        (1, "The first page."),
        (3, "The third page."),
    ]
    assert document.notes == ["1 of 3 pages without text: empty, or scanned (2)"]


def test_what_is_wrong_with_a_file_is_one_sentence(tmp_path: Path, tokenizer: Any) -> None:
    write_pdf(tmp_path / "locked.pdf", ["Secret."], password="x")
    write_pdf(tmp_path / "scanned.pdf", ["", ""])
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7 and then nothing")
    (tmp_path / "broken.docx").write_bytes(b"PK\x03\x04 not a zip")
    (tmp_path / "image.txt").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "empty.md").write_bytes(b"")
    (tmp_path / "bad.jsonl").write_text('{"a": 1}\n{"a": \n')
    expected = {
        "locked.pdf": "is encrypted", "scanned.pdf": "holds no text: 2 of 2 pages", "broken.pdf": "no readable PDF",
        "broken.docx": "no readable DOCX", "empty.md": "holds no text", "bad.jsonl": "line 2", "image.txt": "",
    }  # fmt: skip
    cutter = Cutter(tokenizer, tokens=50, overlap=5)
    for name, words in expected.items():
        path = tmp_path / name
        parsed = parse(Found(path, name, path.stat().st_size), cutter, None)
        assert parsed.problem and words in parsed.problem, (name, parsed.problem)
        assert not parsed.pages and "\n" not in parsed.problem and str(tmp_path) not in parsed.problem


def test_a_large_file_is_refused_by_its_size_before_it_is_read(tmp_path: Path, tokenizer: Any) -> None:
    path = tmp_path / "large.txt"
    with path.open("wb") as file:
        file.truncate(2 << 30)  # without taking the disk's room
    parsed = parse(Found(path, "large.txt", path.stat().st_size), Cutter(tokenizer, tokens=50, overlap=5), None)
    assert parsed.problem == "it has 2,048 MB, and at most 256 MB are read as one document; divide it"


def test_other_encodings_are_read_and_said(tmp_path: Path) -> None:
    text = "A manutenção do filtro é feita às terças-feiras, após a inspeção."
    (tmp_path / "a.txt").write_bytes(text.encode("cp1252"))
    (tmp_path / "b.txt").write_bytes(text.encode("utf-16"))
    first, second = read(tmp_path / "a.txt"), read(tmp_path / "b.txt")
    assert [first.pages[0].text, second.pages[0].text] == [text, text]
    assert "Windows-1252" in first.notes[0] and "UTF-16" in second.notes[0]


def test_html_is_read_without_its_menus(tmp_path: Path) -> None:
    body = (
        "<p>The pump is cleaned once a month with warm water, never with soap, and dried before it is used again.</p>"
        * 3
    )
    html = f"<html><nav><a href=x>Menu entry</a></nav><article><h1>Manual</h1><h2>Cleaning</h2>{body}</article></html>"
    (tmp_path / "a.html").write_text(html)
    (page,) = read(tmp_path / "a.html").pages
    assert "Menu entry" not in page.text and "warm water" in page.text
    assert [heading.title for heading in page.headings][-1:] == ["Cleaning"]


def test_docx_gives_headings_paragraphs_and_tables_in_their_order(tmp_path: Path) -> None:
    import docx

    document = docx.Document()
    document.add_heading("Manual", 1)
    document.add_paragraph("Before the table.")
    table = document.add_table(rows=1, cols=2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "pressure", "2 bar"
    document.add_heading("Cleaning", 2)
    document.add_paragraph("After the table.")
    document.save(str(tmp_path / "a.docx"))
    (page,) = read(tmp_path / "a.docx").pages
    assert page.text == "Manual\n\nBefore the table.\n\npressure | 2 bar\n\nCleaning\n\nAfter the table."
    assert [(one.level, one.title, page.text[one.start :].startswith(one.title)) for one in page.headings] == [
        (1, "Manual", True), (2, "Cleaning", True),
    ]  # fmt: skip


def test_rows_are_pages(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("name,text\nBob,hello\n,\nAna,olá\n", encoding="utf-8")
    document = read(tmp_path / "a.csv")
    assert [(page.number, page.text) for page in document.pages] == [
        (1, "name: Bob\ntext: hello"),
        (3, "name: Ana\ntext: olá"),
    ]
    assert "1 of 3 rows without text" in document.notes
    assert [page.text for page in read(tmp_path / "a.csv", ("text",)).pages] == ["hello", "olá"]
    with pytest.raises(UsageError, match="no column 'txt'; did you mean 'text'"):
        read(tmp_path / "a.csv", ("txt",))


def test_headings_of_markdown() -> None:
    text = "Title\n=====\n\n# One #\n\n```\n# no heading\n```\n\nTwo\n---\n\nsome\ntext\n---\n\n- item\n"
    text += "---\n## \n### Three\r\n"
    headings = headings_of(text)
    assert [(one.level, one.title) for one in headings] == [(1, "Title"), (1, "One"), (2, "Two"), (3, "Three")]
    starts = [text[one.start :].split("\n")[0] for one in headings]
    assert starts == ["Title", "# One #", "Two", "### Three\r"]


def test_sentences_end_where_sentences_end() -> None:
    text = 'O Sr. Silva chegou às 8h. Ele disse: "Bom dia!" Depois saiu. See Fig. 3 for 2.5 mm. 東京です。大阪です。'
    starts = sentence_starts(text)
    parts = [text[a:b].strip() for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]
    assert parts == ["O Sr. Silva chegou às 8h.", 'Ele disse: "Bom dia!"', "Depois saiu.", "See Fig. 3 for 2.5 mm.",
                     "東京です。", "大阪です。"]  # fmt: skip


def test_chunks_do_not_go_over_headings_and_know_what_stands_above(tokenizer: Any) -> None:
    text = "# Manual\n\n## Use\n\nPress the button.\n\n## Care\n\nWash it. " + "Dry it well. " * 30
    page = PageText(text, headings=headings_of(text))
    pieces = Cutter(tokenizer, tokens=40, overlap=10).cut(page)
    assert [piece.heading for piece in pieces][:2] == ["Manual > Use", "Manual > Care"]
    first = pieces[0]
    assert text[first.start : first.stop] == "# Manual\n\n## Use\n\nPress the button." and first.lead == ""
    assert all("Use" not in text[piece.start : piece.stop] for piece in pieces[1:])
    assert pieces[1].lead == "Manual" and pieces[2].lead == "Manual > Care"
    assert any(after.start < before.stop for before, after in itertools.pairwise(pieces))


LETTERS = st.text(alphabet=st.sampled_from("ab é.!?\n\r#-東。\u2028\U0001f600<|>"), max_size=120)


@settings(max_examples=60, deadline=None)
@given(st.lists(LETTERS, max_size=8), st.integers(8, 40), st.integers(0, 20))
def test_chunks_are_the_pages_very_words_and_leave_none_out(
    tokenizer: Any, parts: list[str], tokens: int, overlap: int
) -> None:
    text = "\n\n".join(parts)
    cutter = Cutter(tokenizer, tokens=tokens, overlap=min(overlap, tokens // 2))
    pieces = cutter.cut(PageText(text, headings=headings_of(text)))
    covered = set()
    for piece in pieces:
        assert 0 <= piece.start < piece.stop <= len(text)
        words = text[piece.start : piece.stop]
        assert words == words.strip()
        assert len(tokenizer(words, add_special_tokens=False)["input_ids"]) <= tokens or len(words) == 1
        covered |= set(range(piece.start, piece.stop))
    assert [piece.start for piece in pieces] == sorted({piece.start for piece in pieces})
    assert all(text[place].isspace() for place in range(len(text)) if place not in covered)


def test_a_text_without_any_space_is_cut_all_the_same(tokenizer: Any) -> None:
    text = "x" * 50_000
    pieces = Cutter(tokenizer, tokens=50, overlap=5).cut(PageText(text, headings=(Heading(0, 1, "x"),)))
    assert "".join(sorted({text[p.start : p.stop] for p in pieces}, key=len))
    assert {place for piece in pieces for place in range(piece.start, piece.stop)} == set(range(len(text)))


def test_what_was_read_is_packed_and_unpacked_the_same(tokenizer: Any, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# A\n\nOne. Two.\n\n## B\n\nThree.", encoding="utf-8")
    parsed = parse(Found(tmp_path / "a.md", "a.md", 20), Cutter(tokenizer, tokens=20, overlap=5), None)
    assert ParsedFile.unpacked(parsed.packed()) == parsed and parsed.pages[0].pieces
