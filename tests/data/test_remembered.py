"""Which columns of a file are read to predict: the named ones, the adapter's, then those of usual names."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from afina.data.predicting.asked import read_asked
from afina.data.predicting.remembered import Remembered, remembered
from afina.errors import UsageError
from afina.separator import separator_of


def adapter(folder: Path, **facts: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "afina.json").write_text(json.dumps({"facts": facts}), encoding="utf-8")
    return folder


@pytest.fixture
def warned() -> Iterator[list[str]]:
    """Give what is warned of, as a terminal shows it."""
    handler, lines = logging.Handler(logging.WARNING), []
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("afina").addHandler(handler)
    yield lines
    logging.getLogger("afina").removeHandler(handler)


MAILS = "id;Assunto;Mensagem;text\n1;Atraso;Onde está?;x\n2;;Obrigada!;y\n3;;;z\n"


def test_joined_columns_are_joined_again_and_every_row_has_a_text(tmp_path: Path) -> None:
    (tmp_path / "mails.csv").write_text(MAILS, encoding="utf-8")
    own = adapter(tmp_path / "a", columns={"text": ["Assunto", "Mensagem"], "label": "Categoria"})
    asked = read_asked(tmp_path / "mails.csv", adapter=own)
    assert list(asked.text) == ["Atraso\nOnde está?", "Obrigada!", ""]
    assert list(asked.columns) == ["id", "Assunto", "Mensagem", "text"]
    assert asked.separator == ";"
    # What a person names comes first.
    assert list(read_asked(tmp_path / "mails.csv", "text", adapter=own).text) == ["x", "y", "z"]
    assert list(read_asked(tmp_path / "mails.csv", "id, text").text) == ["1\nx", "2\ny", "3\nz"]


def test_columns_that_are_not_there_are_refused_or_said(tmp_path: Path, warned: list[str]) -> None:
    (tmp_path / "mails.csv").write_text(MAILS.replace("Assunto", "Asunto"), encoding="utf-8")
    both = adapter(tmp_path / "a", columns={"text": ["Assunto", "Mensagem"]})
    with pytest.raises(UsageError, match=r"no column 'Assunto', and .*--text which .*; did you mean 'Asunto'\?$"):
        read_asked(tmp_path / "mails.csv", adapter=both)
    pairs = adapter(tmp_path / "b", columns={"text": "text", "text_pair": "answer"})
    with pytest.raises(
        UsageError,
        match=r"no column 'answer', and .*--text-pair which columns are to be read; possible: Asunto, Mensagem, id, text$",
    ):
        read_asked(tmp_path / "mails.csv", adapter=pairs)
    asked = read_asked(tmp_path / "mails.csv", adapter=adapter(tmp_path / "c", columns={"text": "corpo"}))
    assert list(asked.text) == ["x", "y", "z"]
    assert "no column 'corpo'" in warned[-1]


@pytest.mark.parametrize(
    "facts", ["{}", "[]", "not json", '{"facts": 3}', '{"facts": {"columns": ["a"], "source": 7}}']
)
def test_a_record_that_says_nothing_of_columns_is_no_error_here(tmp_path: Path, facts: str) -> None:
    (tmp_path / "afina.json").write_text(facts)
    assert remembered(tmp_path) == Remembered()
    assert remembered(tmp_path / "elsewhere") == Remembered()


def test_a_separator_that_had_to_be_said_is_remembered(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("text|label;x\na|b;c\n")
    with pytest.raises(UsageError, match="separator:"):
        read_asked(tmp_path / "new.csv")
    own = adapter(tmp_path / "a", columns={"text": "text"}, source={"separator": "|"})
    assert list(read_asked(tmp_path / "new.csv", adapter=own).text) == ["a"]


def test_what_had_to_be_said_of_one_file_is_not_read_into_another(tmp_path: Path) -> None:
    own = adapter(tmp_path / "a", columns={"text": "text"}, source={"separator": "|", "encoding": "cp850"})

    def asked(content: bytes) -> list[str]:
        (tmp_path / "new.csv").write_bytes(content)
        return list(read_asked(tmp_path / "new.csv", adapter=own).text)

    assert asked("text|n\né|1\n".encode("cp850")) == ["é"]
    assert asked("text|n\né|1\n".encode()) == ["é"]
    assert asked("text|n\né|1\n".encode("utf-16")) == ["é"]
    assert asked("text;n\né, ã|b;1\n".encode()) == ["é, ã|b"]
    other = adapter(tmp_path / "b", columns={"text": "text"}, source={"encoding": "iso2022_jp"})
    (tmp_path / "new.csv").write_bytes("text,n\nこんにちは,1\n".encode("iso2022_jp"))
    assert list(read_asked(tmp_path / "new.csv", adapter=other).text) == ["こんにちは"]


def test_a_file_may_be_read_as_a_person_says(tmp_path: Path) -> None:
    file = tmp_path / "mails.csv"
    file.write_bytes("texto;extra\nolá, mundo¡;1\n".encode("cp850"))
    asked = read_asked(file, separator=";", encoding="cp850")
    assert (list(asked.text), asked.separator) == (["olá, mundo¡"], ";")
    with pytest.raises(UsageError, match="2 fields where the first line has 1"):
        read_asked(file, "texto;extra", separator=",", encoding="cp850")
    lines = tmp_path / "lines.txt"
    lines.write_bytes("ação\n".encode("cp850"))
    assert list(read_asked(lines, encoding="cp850").text) == ["ação"]
    with pytest.raises(UsageError, match="encoding: there is no 'cp85O'"):
        read_asked(lines, encoding="cp85O")
    with pytest.raises(UsageError, match="A separator is one character, or tab, comma, semicolon, bar; not 'ab'"):
        separator_of("ab")
    assert (separator_of("tab"), separator_of(None), separator_of("^")) == ("\t", None, "^")


def test_a_header_in_the_middle_of_a_file_moves_no_row(tmp_path: Path, warned: list[str]) -> None:
    """Files put together from several have their header again: later answers keep the numbers that their rows have."""
    file = tmp_path / "mails.csv"
    file.write_text("id,text\n1,a\nid,text\n3,c\n", encoding="utf-8")
    asked = read_asked(file)
    assert [(row.number, row.text) for row in asked.rows()] == [(1, "a"), (2, ""), (3, "c")]
    assert asked.columns["id"] == ["1", None, "3"]
    assert "line 3 is the columns' names once more, and no row: without an answer" in warned[-1]
