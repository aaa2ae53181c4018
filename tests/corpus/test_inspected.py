"""What `afina data` reads of a spreadsheet is what a study reads of it: the same text, the same labels."""

from pathlib import Path

import pytest

from afina.corpus.clean import clean
from afina.corpus.inspect import inspect_file
from afina.corpus.reading import Reading
from afina.data.dialogues.conversations import Columns
from afina.data.files.tables import read_table
from afina.errors import UsageError

MAILS = (
    'Data;Assunto;Mensagem;Categoria\n01/02/2025;Ajuda;"Onde está o pacote?\nObrigado";Entrega\n'
    "02/02/2025;Ajuda;O livro não chegou;Entrega \n03/02/2025;Pedido;Fui cobrado duas vezes;Cobrança\n"
    "04/02/2025;vazio;;Cobrança\n05/02/2025;;Quero falar com alguém;\n"
)


def test_the_text_of_a_spreadsheet_is_its_message_and_its_labels_are_those_that_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "mails.csv"
    path.write_text(MAILS, encoding="cp1252")
    found = inspect_file(path)
    assert found.lengths["row"].longest == 5  # words of the message alone, neither the date's nor the subject's
    assert found.empty == {"text": 1}
    assert found.labels == {"Entrega": 2, "Cobrança": 2, "(none)": 1}
    assert found.seen["labels with spaces or invisible characters, counted (and learned) without"] == 1
    with pytest.raises(UsageError, match=r"no known form of dialogue.*take the rows as plain texts with --plain"):
        clean(path, tmp_path / "b.parquet")
    clean(path, tmp_path / "b.parquet", how=Reading(plain=True))
    texts = read_table(tmp_path / "b.parquet")["text"].to_pylist()
    assert texts[0].split() == ["Onde", "está", "o", "pacote?", "Obrigado"] and len(texts) == 4


@pytest.mark.parametrize(
    ("header", "words"), [("premissa,hipotese", 4), ("Title,Description", 4), ("remark,other", 4), ("Frase,other", 2)]
)
def test_what_a_study_joins_or_reads_together_stays_together(header: str, words: int, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{header},label\n" + "a cat,an animal,x\na dog,no cat,y\n")
    assert inspect_file(path).lengths["row"].longest == words


def test_columns_without_a_known_name_are_read_together_and_that_is_said(tmp_path: Path) -> None:
    """A published set of mails has the columns v1 (its label) and v2, and three empty ones."""
    path = tmp_path / "spam.csv"
    path.write_text("v1,v2,,,\nham,see you soon,,,\nspam,you won a car,,,\n")
    found = inspect_file(path)
    asked = "texts of v1 and v2 together, a label among them maybe (--text and --label say which is which)"
    assert (found.seen[asked], found.labels) == (2, {})
    found = inspect_file(path, how=Reading(columns=Columns(text="v2", label="v1")))
    assert found.labels == {"ham": 1, "spam": 1}
    assert not any("together" in what for what in found.seen)
