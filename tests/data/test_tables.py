"""Tables as people have them: small inputs with the rows that are right, or the sentence; and any dialect, by properties."""

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pyarrow as arrow
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pyarrow import ipc, parquet

from afina.corpus.lines import SourceFile
from afina.corpus.stream import read_rows
from afina.data.files.tables import FILES, check_file, label_names_of, read_table
from afina.errors import UsageError

AB = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]
PLAIN = b"text,label\na,x\nb,y\n"
PT = "texto;nota\no prato não estava bom;sim\na sobremesa chegou fria, às três;não\n"
PT_ROWS = [
    {"texto": "o prato não estava bom", "nota": "sim"},
    {"texto": "a sobremesa chegou fria, às três", "nota": "não"},
]
QUOTED = b'text\tlabel\n"Never again, I said\t0\nplain\t1\nHe answered: "\t1\n'


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_DOT_", ".").replace("_IN_", "/"), content)
    return buffer.getvalue()


def zstandard(data: bytes) -> bytes:
    return arrow.Codec("zstd").compress(data, asbytes=True)  # type: ignore[no-any-return]


READ: dict[str, tuple[str, bytes, Any, str]] = {
    # name: (file, bytes, rows, a word of what is said; "" for nothing)
    "plain": ("a.csv", PLAIN, AB, ""),
    "spaces in names": ("a.csv", b"text , label\na,x\nb,y\n", AB, ""),
    "BOM": ("a.csv", b"\xef\xbb\xbf" + PLAIN, AB, ""),
    "UTF-16": ("a.csv", PLAIN.decode().encode("utf-16"), AB, "UTF-16"),
    "UTF-16 without its mark": ("a.csv", PLAIN.decode().encode("utf-16-le"), AB, "UTF-16"),
    "UTF-16, the other way round": ("a.csv", PLAIN.decode().encode("utf-16-be"), AB, "UTF-16"),
    "Windows-1252": ("a.csv", PT.encode("cp1252"), PT_ROWS, "Windows-1252, since it is not UTF-8 (line 2: "),
    "DOS": ("a.csv", PT.encode("cp850"), PT_ROWS, "850"),
    "Mac": ("a.csv", PT.encode("mac_roman"), PT_ROWS, "Mac Roman"),
    "signs alone": (
        "a.csv", "text,label\n£5 – “nice”,x\n".encode("cp1252"), [{"text": "£5 – “nice”", "label": "x"}], "Windows-1252",
    ),
    "Russian": (
        "a.csv", "text,label\nДоставка задержалась на три дня,x\nхочу вернуть деньги,y\n".encode("cp1251"),
        [{"text": "Доставка задержалась на три дня", "label": "x"}, {"text": "хочу вернуть деньги", "label": "y"}],
        "Windows-1251",
    ),
    "carriage returns": ("a.csv", PLAIN.replace(b"\n", b"\r\n"), AB, ""),
    "old line ends": ("a.csv", PLAIN.replace(b"\n", b"\r"), AB, ""),
    "a line end of other kinds in a text": (
        "a.csv", "text,label\none\u2028still one\x85yes,x\n".encode(),
        [{"text": "one\u2028still one\x85yes", "label": "x"}], "",
    ),
    "semicolons": ("a.csv", PT.encode(), PT_ROWS, "semicolon"),
    "bars": ("a.csv", PLAIN.replace(b",", b"|"), AB, "bar"),
    "tabs in .csv": ("a.csv", PLAIN.replace(b",", b"\t"), AB, "tab"),
    "sep=": ("a.csv", b"sep=;\r\n" + PLAIN.replace(b",", b";"), AB, "sep=;"),
    "sep= in quotation marks": ("a.csv", b'"sep=;"\n' + PLAIN.replace(b",", b";"), AB, "sep=;"),
    "one column": ("a.csv", b"text\nhello\n\nworld\n", [{"text": "hello"}, {"text": None}, {"text": "world"}], ""),
    "empty columns at the end": ("a.csv", b"text,label,,,\na,x,,,\nb,y,,,\n", AB, "3 columns at the end have no name"),
    "text in columns without a name": ("a.csv", b"text,label,\na,x,\nb,y,more\n", AB, "the first on line 3"),
    "a column of numbers first": (
        "a.csv", b",text,label\n0,a,x\n1,b,y\n", [{"unnamed_1": "0", **AB[0]}, {"unnamed_1": "1", **AB[1]}], "",
    ),
    "a short first line": ("a.csv", b"text,label\na,x,,\nb,y\n", AB, ""),
    "quoted": ("a.csv", b'text,label\n"a ""b"", c\nd",x\n', [{"text": 'a "b", c\nd', "label": "x"}], ""),
    "backslashes": (
        "a.csv", b'text,label\n"he said \\"never\\", twice",x\n"C:\\new \\\\ \\"",y\n',
        [{"text": 'he said "never", twice', "label": "x"}, {"text": 'C:\\new \\ "', "label": "y"}], "backslash",
    ),
    "a backslash that is none": ("a.csv", b'text,label\n"C:\\new",x\n', [{"text": "C:\\new", "label": "x"}], ""),
    "TSV with quotation marks in texts": (
        "a.tsv", QUOTED,
        [
            {"text": '"Never again, I said', "label": "0"}, {"text": "plain", "label": "1"},
            {"text": 'He answered: "', "label": "1"},
        ],
        "begins with a quotation mark (line 2)",
    ),
    "TSV with one that is never closed": (
        "a.tsv", b'text\tlabel\na\tx\n"b\ty\n', [AB[0], {"text": '"b', "label": "y"}], "(line 3)",
    ),
    "TSV whose fields hold tabs": (
        "a.tsv", b'text\tlabel\n"a\tb\tc\nd"\tx\n', [{"text": "a\tb\tc\nd", "label": "x"}], "hold tabs or line ends",
    ),
    "TSV whose columns are quoted": ("a.tsv", b'"text"\t"label"\n"a"\t"x"\n"b"\t"y"\n', AB, "taken off"),
    "TSV that is not": ("a.tsv", PLAIN, AB, "comma"),
    "gzip": ("a.csv.gz", gzip.compress(PLAIN), AB, ""),
    "bzip2": ("a.csv.bz2", bz2.compress(PLAIN), AB, ""),
    "xz": ("a.csv.xz", lzma.compress(PLAIN), AB, ""),
    "zstandard": ("a.csv.zst", zstandard(PLAIN), AB, ""),
    "zip": ("a.zip", zipped(mail_DOT_csv=PLAIN, __MACOSX_IN___DOT__mail_DOT_csv=b"x"), AB, ""),
    "compressed Windows-1252": ("a.csv.gz", gzip.compress(PT.encode("cp1252")), PT_ROWS, "Windows-1252"),
    "records": ("a.json", json.dumps(AB, indent=1).encode(), AB, ""),
    "lines": ("a.jsonl", "".join(json.dumps(row) + "\n" for row in AB).encode(), AB, ""),
    "lines in .json": ("a.json", "".join(json.dumps(row) + "\n" for row in AB).encode(), AB, ""),
    "a list in .jsonl": ("a.jsonl", json.dumps(AB).encode(), AB, ""),
    "orient=columns": ("a.json", b'{"text":{"0":"a","1":"b"},"label":{"0":"x","1":"y"}}', AB, 'orient="columns"'),
    "orient=index": ("a.json", json.dumps({"0": AB[0], "1": AB[1]}).encode(), AB, 'orient="index"'),
    "orient=index by name": ("a.json", json.dumps({"m1": AB[0], "m2": AB[1]}).encode(), AB, 'orient="index"'),
    "orient=split": (
        "a.json", b'{"columns":["text","label"],"index":[0,1],"data":[["a","x"],["b","y"]]}', AB, 'orient="split"',
    ),
    "orient=list": ("a.json", b'{"text":["a","b"],"label":["x","y"]}', AB, "columns, each a list"),
    "orient=table": (
        "a.json", json.dumps({"schema": {"fields": [{"name": "text"}]}, "data": AB}).encode(), AB, "under 'data'",
    ),
    "data": ("a.json", json.dumps({"version": "1.0", "data": AB}, indent=2).encode(), AB, "under 'data'"),
    "one object": ("a.json", b'{"text": "a", "label": "x"}', AB[:1], ""),
    "a row of words": (
        "a.json", b'{"tokens": ["a", "b"], "tags": ["O", "O"]}', [{"tokens": ["a", "b"], "tags": ["O", "O"]}], "",
    ),
    "one line of lists": ("a.jsonl", b'{"text": ["a"], "label": ["x"]}\n', [{"text": ["a"], "label": ["x"]}], ""),
    "a list of texts": ("a.json", b'["a", "b"]', [{"text": "a"}, {"text": "b"}], "a list of texts"),
    "names once more": (
        "a.csv", PLAIN + b"text,label\nc,x\n", [*AB, {"text": "c", "label": "x"}], "line 4 is the columns' names once more",
    ),
    "Latin-9": (
        "a.csv", "text,label\nma sœur a payé 5 €,x\nle cœur,y\n".encode("iso8859_15"),
        [{"text": "ma sœur a payé 5 €", "label": "x"}, {"text": "le cœur", "label": "y"}], "8859-15",
    ),
    "no number among texts": (
        "a.jsonl", b'{"text": "a", "label": "x"}\n{"text": NaN, "label": "y"}\n',
        [{"text": "a", "label": "x"}, {"text": None, "label": "y"}], "",
    ),
    "several types": (
        "a.jsonl", b'{"text": "a"}\n{"text": 3}\n{"text": ["b"]}\n',
        [{"text": "a"}, {"text": "3"}, {"text": '["b"]'}], "",
    ),
}  # fmt: skip

REFUSED: dict[str, tuple[str, bytes, tuple[str, ...]]] = {
    "UTF-8 that breaks": ("a.csv", "text,label\ncafé,x\nb,y\n".encode() + b"caf\xe9,x\n", ("line 4", "0xe9", "UTF-8")),
    "no encoding": ("a.csv", b"text,label\na\xffb\xfe\x81,x\n", ("line 2", "0xff", "encoding:")),
    "a zero byte": ("a.csv", b"text,label\na,x\nb\0,y\n", ("line 3", "zero byte")),
    "digits by the thousand": ("a.jsonl", b'{"text": "a"}\n{"text": %s}' % (b"1" * 5000), ("line 2", "of digits")),
    "digits in a list": ("a.json", b'[{"text": %s}]' % (b"1" * 5000), ("thousands of digits",)),
    "open quotation mark": ("a.csv", b'text,label\na,x\n"b,y\nc,z\n', ("line 3", "never closed", '""')),
    "quotation mark in a text": ("a.csv", b'text,label\na,x\n"b" c,y\n', ("line 3", "middle of a field")),
    "rows swallowed": (
        "a.csv", b'text,label\na,0\n"Never again I said,0\nplain,1\nHe answered: ",1\nb,1\nc,0\n',
        ("line 3", "2 lines later", "twice"),
    ),
    "rows swallowed behind their labels": (
        "a.csv", b'label,text\n0,a\n1,"Never again I said\n0,plain\n1,He answered: "\n1,b\n0,c\n',
        ("line 3", "2 lines later", "twice"),
    ),
    "rows swallowed around their labels": (
        "a.csv", b'id,label,text\n1,0,a\n2,1,"Never again I said\n3,0,plain\n4,1,He answered: "\n5,1,b\n6,0,c\n7,0,d\n',
        ("line 3", "2 lines later", "('0')"),
    ),
    "a key twice": ("a.jsonl", b'{"text": "a"}\n{"text": "b", "text": "c"}\n', ("line 2", "'text' stands twice")),
    "a key twice in a document": ("a.json", b'[{"text": "a"},\n{"m": {"k": 1, "k": 1}}]', ("'k' stands twice", "keep one")),
    "too many fields": ("a.csv", b"text,label\na, b,x\n", ("line 2", "3 fields", "2", "quotation marks")),
    "too few fields": ("a.csv", b"text,label\na\n", ("line 2", "1 field")),
    "two separators": ("a.csv", b"text|a,label\nb|c,x\n", ("comma or a bar", "separator:")),
    "two of one name": ("a.csv", b"text,text ,label\na,b,x\n", ("same name", "'text'")),
    "two files": ("a.zip", zipped(a_DOT_csv=PLAIN, b_DOT_csv=PLAIN), ("2 files", "unpack")),
    "a file without a name": ("a.zip", zipped(**{"~": PLAIN}).replace(b"~", b"\0"), ("0 files", "unpack")),
    "no gzip": ("a.csv.gz", PLAIN, ("unpacked", "a.csv.gz")),
    "cut gzip": ("a.csv.gz", gzip.compress(PLAIN * 100)[:-20], ("unpacked",)),
    "cut xz": ("a.csv.xz", lzma.compress(PLAIN * 100)[:-20], ("unpacked",)),
    "no zip": ("a.zip", b"PK no", ("unpacked",)),
    "no zstandard": ("a.csv.zst", PLAIN, ("unpacked",)),
    "an old spreadsheet": ("a.xls", b"\xd0\xcf", (".xlsx or .csv",)),
    "a number": ("a.json", b"17", ("a number", "list of objects")),
    "a list of numbers": ("a.json", b"[1, 2]", ("item 1", "a number")),
    "lists of rows": ("a.json", json.dumps({"train": AB, "test": AB}).encode(), ("train, test", "file of its own")),
    "columns of different lengths": ("a.json", b'{"text":["a"],"label":["x","y"]}', ("text: 1, label: 2",)),
    "neither way round": ("a.json", b'{"a":{"b":1,"c":2},"d":{"b":1,"c":2}}', ('orient="records"',)),
    "a short row of split": ("a.json", b'{"columns":["text","label"],"data":[["a"]]}', ("item 1", "1 values for 2")),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_rows_are_read_and_what_was_assumed_is_said(case: str, tmp_path: Path) -> None:
    name, content, rows, said = READ[case]
    (tmp_path / name).write_bytes(content)
    notes: list[str] = []
    assert read_table(tmp_path / name, notes).to_pylist() == rows
    assert bool(notes) == bool(said), notes
    assert said in "; ".join(notes)
    assert all(note.startswith(f"{name}: ") for note in notes)


@pytest.mark.parametrize("case", READ)
def test_rows_read_one_by_one_are_those_of_the_table(case: str, tmp_path: Path) -> None:
    name, content, rows, _ = READ[case]
    (tmp_path / name).write_bytes(content)
    found = list(read_rows(SourceFile(tmp_path / name)))
    assert not [row.problem for row in found if row.problem]
    own = [{key: value or None for key, value in row.values.items()} for row in found]
    as_texts = [{key: None if value is None else str(value) for key, value in row.items()} for row in rows]
    if case != "several types":
        assert [row for row in own if any(row.values())] == [row for row in rows if any(row.values())]
    assert len(own) in (len(as_texts), len([row for row in rows if any(row.values())]))


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_told_is_one_sentence(case: str, tmp_path: Path) -> None:
    name, content, words = REFUSED[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_table(tmp_path / name, [])
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert all(word in sentence for word in (name, *words)), sentence


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_a_number_that_nobody_reads_is_said_of_its_row(name: str, tmp_path: Path) -> None:
    rows = ['{"text": "a"}', '{"text": "b", "label": %s}' % ("1" * 5000)]
    (tmp_path / name).write_text("\n".join(rows) if name == "a.jsonl" else f"[{', '.join(rows)}]", encoding="utf-8")
    found = read_rows(SourceFile(tmp_path / name))
    assert next(found).values == {"text": "a"}
    if name == "a.jsonl":
        assert next(found).problem == "a number has thousands of digits"
    else:
        with pytest.raises(UsageError, match="item 2: a number has thousands of digits"):
            next(found)


def test_what_a_person_says_of_a_file_is_done(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("text|a,label\né|c,x\n".encode("cp1250"))
    table = read_table(tmp_path / "a.csv", [], separator=",", encoding="cp1250")
    assert table.to_pylist() == [{"text|a": "é|c", "label": "x"}]
    assert read_table(tmp_path / "a.csv", [], separator="|", encoding="cp1250").column_names == ["text", "a,label"]
    with pytest.raises(UsageError, match="there is no 'utf-9'"):
        read_table(tmp_path / "a.csv", [], encoding="utf-9")
    with pytest.raises(UsageError, match=r"line 2.*ascii"):
        read_table(tmp_path / "a.csv", [], encoding="ascii")


def test_a_spreadsheet_is_read_and_its_sheet_named(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Mensagens"
    for row in (
        ["Mensagem ", "Nota", None],
        ["não chegou", 1, None],
        [None, 2.5, None],
        [None] * 3,
    ):
        sheet.append(row)
    book.create_sheet("Outra").append(["x"])
    book.save(tmp_path / "a.xlsx")
    notes: list[str] = []
    table = read_table(tmp_path / "a.xlsx", notes)
    assert table.to_pylist() == [
        {"Mensagem": "não chegou", "Nota": 1.0},
        {"Mensagem": None, "Nota": 2.5},
    ]
    assert "'Mensagens', of 2" in notes[0]
    # A formula that no spreadsheet has computed would seem an empty cell.
    sheet.append(["=1+1"])
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(UsageError, match=r"'Mensagens', cell A5: .*formula"):
        read_table(tmp_path / "a.xlsx", [])
    damaged = bytearray((tmp_path / "a.xlsx").read_bytes())
    for at in range(60, len(damaged), len(damaged) // 12):
        (tmp_path / "b.xlsx").write_bytes(bytes([*damaged[:at], *b"<&>\0", *damaged[at + 4 :]]))
        with pytest.raises(UsageError):
            read_table(tmp_path / "b.xlsx", [])
    (tmp_path / "b.xlsx").write_bytes(b"PK no")
    with pytest.raises(UsageError, match=r"b\.xlsx is no readable \.xlsx"):
        read_table(tmp_path / "b.xlsx", [])


# -- any dialect -----------------------------------------------------------------------------------------------------

CELL = st.text(st.characters(codec="cp1252", exclude_categories=("Cc",)) | st.sampled_from("\n,;\t|\"\\'"), max_size=12)
ROWS = st.integers(2, 3).flatmap(
    lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=1, max_size=6)
)


@pytest.mark.always
@settings(max_examples=150, deadline=None)
@given(
    rows=ROWS, separator=st.sampled_from(",;|\t"), quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]), codec=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    backslash=st.booleans(), bar=st.sampled_from(["", ".gz"]),
)  # fmt: skip
def test_a_table_that_any_program_wrote_is_the_same_rows_or_refused(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], separator: str, quoting: Any, end: str, codec: str,
    backslash: bool, bar: str,
) -> None:  # fmt: skip
    """What is written is read as it was, or refused: never as something else."""
    buffer = io.StringIO(newline="")
    how: dict[str, Any] = {"escapechar": "\\", "doublequote": False} if backslash else {}
    writer = csv.writer(buffer, delimiter=separator, quoting=quoting, lineterminator=end, **how)
    names = ["alpha", "beta", "gamma"][: len(rows[0])]
    writer.writerow(names)
    writer.writerows(rows)
    content = buffer.getvalue().encode(codec)
    path = tmp_path_factory.mktemp("any") / f"a.csv{bar}"
    path.write_bytes(gzip.compress(content) if bar else content)
    # A backslash is an escape only where quotation marks show it to be one: elsewhere it cannot be told.
    assume(not backslash or not any("\\" in cell for row in rows for cell in row))
    try:
        table = read_table(path, [])
    except UsageError:
        return
    wanted = [[cell if cell.strip() else None for cell in row] for row in rows]
    assert [list(row.values()) for row in table.to_pylist()] == wanted


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters="\t\n\r\0"), max_size=10), min_size=2, max_size=2
        ),
        min_size=1,
        max_size=6,
    )
)
def test_a_table_of_tabs_without_quoting_keeps_its_lines(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    """GLUE's files: each line is a row whatever quotation marks it has, unless all of them can only be quoting."""
    path = tmp_path_factory.mktemp("tabs") / "a.tsv"
    path.write_bytes("".join("\t".join(row) + "\n" for row in [["one", "two"], *rows]).encode())
    try:
        table = read_table(path, [])
    except UsageError:
        return
    assert table.num_rows == len(rows)
    for row, given_row in zip(table.to_pylist(), rows, strict=True):
        for found, written in zip(row.values(), given_row, strict=True):
            taken_off = (
                written[1:-1].replace('""', '"') if len(written) > 1 and written[0] == written[-1] == '"' else written
            )
            assert (found or "") in (written, taken_off) or not written.strip()


PORTUGUESE = ["não", "está", "avaliação", "três", "você", "às", "coração", "água", "pão", "único", "índice", "mês"]
FRENCH = ["très", "élève", "français", "où", "garçon", "été", "naïve", "cœur", "août"]
GERMAN = ["größer", "Straße", "über", "schön", "Bücher", "müde", "für", "Äpfel"]


@settings(max_examples=40, deadline=None)
@given(
    words=st.sampled_from([PORTUGUESE, FRENCH, GERMAN]).flatmap(
        lambda own: st.lists(st.sampled_from(own), min_size=6, unique=True)
    ),
    codec=st.sampled_from(["cp1252", "cp850", "mac_roman"]),
)  # fmt: skip
def test_western_texts_of_any_code_page_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, words: list[str], codec: str
) -> None:
    text = " ".join(words)
    try:
        content = f"text,label\n{text},x\n".encode(codec)
    except UnicodeEncodeError:
        assume(False)
    path = tmp_path_factory.mktemp("pages") / "a.csv"
    path.write_bytes(content)
    try:
        table = read_table(path, [])
    except UsageError:
        return
    assert table["text"].to_pylist() == [text]


@settings(max_examples=150, deadline=None)
@given(case=st.sampled_from(sorted(READ)), data=st.data())
def test_damaged_files_are_read_or_refused_in_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, case: str, data: st.DataObject
) -> None:
    """Whatever stands in a file, no reader fails in any other way."""
    name, content, _, _ = READ[case]
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(0, len(damaged) - 1)))
        piece = data.draw(
            st.sampled_from([b'"', b"\n", b"\r", b",", b"\t", b"{", b"[", b"\0", b'\\"', b"\xff\xfe", b"NaN", b""])
        )
        damaged[at : at + data.draw(st.integers(0, 3))] = piece
    path = tmp_path_factory.mktemp("damaged") / name
    path.write_bytes(bytes(damaged))
    for read in (lambda: read_table(path, []), lambda: list(read_rows(SourceFile(path)))):
        try:
            read()
        except UsageError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_columns_that_are_no_text_are_refused_with_their_row(suffix: str, tmp_path: Path) -> None:
    from pyarrow import ipc, parquet

    raw = arrow.array([b"a", b"caf\xe9"])
    table = arrow.table(
        {"text": arrow.StringArray.from_buffers(2, *raw.buffers()[1:])}, metadata={"huggingface": "no json"}
    )
    path = tmp_path / f"a.{suffix}"
    if suffix == "parquet":
        parquet.write_table(table, path)
    else:
        with ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table)
    with pytest.raises(UsageError, match=r"row 2: the text in column 'text' is not UTF-8"):
        read_table(path, [])
    assert label_names_of(table, "text") is None
    # The tools that clean data read it as they read other such bytes.
    assert [row.values["text"] for row in read_rows(SourceFile(path))] == ["a", "café"] if suffix == "parquet" else True


@pytest.mark.parametrize("case", [case for case in REFUSED if "swallowed" in case or case == "a key twice"])
def test_a_row_that_would_lose_something_is_kept_apart_where_rows_are_read_one_by_one(
    case: str, tmp_path: Path
) -> None:
    name, content, words = REFUSED[case]
    (tmp_path / name).write_bytes(content)
    found = list(read_rows(SourceFile(tmp_path / name)))
    (wrong,) = [row for row in found if row.problem]
    said = f"{wrong.place}: {wrong.problem}".replace("lines 3 to 5", "line 3")
    assert all(word in said for word in words if word != "twice"), said
    assert len(found) > 1 and all(row.values for row in found)


def test_a_key_twice_in_a_list_is_refused_where_rows_are_read_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"text": "a"}, {"text": "b", "text": "c"}]')
    with pytest.raises(UsageError, match=r"item 2: the key 'text' stands twice"):
        list(read_rows(SourceFile(tmp_path / "a.json")))


@pytest.mark.parametrize("suffix", [".arrow", ".parquet"])
def test_texts_as_polars_writes_them_are_plain_texts(suffix: str, tmp_path: Path) -> None:
    views = {name: arrow.array([row[name] for row in AB], arrow.string_view()) for name in AB[0]}
    table = arrow.table({**views, "parts": arrow.array([["a"], None], arrow.list_(arrow.string_view()))})
    if suffix == ".parquet":
        parquet.write_table(table, tmp_path / "a.parquet")
    else:
        with ipc.new_file(tmp_path / "a.arrow", table.schema) as writer:
            writer.write_table(table)
    found = read_table(tmp_path / f"a{suffix}", [])
    assert found.take([1, 0]).to_pylist() == [{**AB[1], "parts": None}, {**AB[0], "parts": ["a"]}]


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.bz2", "a.csv.zst", "a.parquet.gz", "a.csv"])
def test_a_file_that_would_fill_the_memory_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"text,label\n" + b"a" * 40_000_000
    packed = {".gz": gzip.compress, ".bz2": bz2.compress, ".zst": zstandard}.get(Path(name).suffix, bytes)
    (tmp_path / name).write_bytes(packed(data))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=100_000_000))
    with pytest.raises(UsageError, match=rf"{name} (unpacks to|has) more than 0.025 GB.*divide it"):
        read_table(tmp_path / name, [])


def test_a_folder_is_told_from_a_file_of_an_unknown_type(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    with pytest.raises(UsageError, match=r"parts is a folder, where one file is read; give \.csv, \.tsv"):
        check_file(tmp_path / "parts", FILES)
    (tmp_path / "parts" / "train.csv.gz").write_bytes(b"x")
    (tmp_path / "parts" / "notes.md").write_text("x")
    with pytest.raises(
        UsageError,
        match=r"parts is a folder, where one file is read; give one of those in it, such as train\.csv\.gz\.$",
    ):
        check_file(tmp_path / "parts", FILES)
