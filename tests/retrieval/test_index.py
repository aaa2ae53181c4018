"""An index is what its documents and settings make it, whatever was done to them before and wherever a run broke off."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

import afina
from afina import api
from afina.errors import AfinaError, UsageError
from afina.retrieval.build import build_index
from afina.retrieval.edition import Edition
from afina.retrieval.folder import IndexFolder, locked
from afina.retrieval.index import Index
from afina.retrieval.settings import IndexSettings
from commands import afina as run_command
from examples import examples
from readied import starting

TEXTS = {
    "pump.md": "# Pump\n\n## Cleaning\n\nClean the pump with warm water. Never use soap.\n\n"
    "## Warranty\n\nThe warranty lasts two years.",
    "prices.csv": "item,price\nfilter,12\nhose,30\n",
    "sub/horário.txt": "A loja abre às oito horas e fecha às dezoito. Aos domingos não abrimos.",
}


def write(folder: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def made_of(index: Path) -> list[Any]:
    """Return all that an index holds: files with their texts, chunks with their places, rows."""
    edition = IndexFolder(index).edition()
    assert edition is not None
    files = [(row.name, row.digest, row.problem, row.notes) for row in edition.files()]
    query = (
        "SELECT f.name, p.number, c.start, c.stop, c.heading, c.lead, c.row, s.start, s.stop, g.name FROM chunks c "
        "JOIN pages p ON p.id = c.page JOIN files f ON f.id = p.file LEFT JOIN chunks s ON s.id = c.same "
        "LEFT JOIN pages q ON q.id = s.page LEFT JOIN files g ON g.id = q.file ORDER BY c.id"
    )
    chunks = edition.base.execute(query).fetchall()
    texts = list(edition.texts())
    edition.close()
    return [files, chunks, texts]


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("documents"), TEXTS)


@pytest.fixture(scope="module")
def index(documents: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "index"
    report = build_index([documents], folder, precision="fp32")
    assert report.counts["files"] == 3 and report.files["new"] == 3 and not report.problems
    return folder


def test_a_question_finds_its_passage_with_the_very_words_and_their_place(index: Path) -> None:
    opened = Index(index)
    (hit, *_) = opened.search("How is the pump cleaned?", 3)
    assert (hit.chunk.file, hit.chunk.heading) == ("pump.md", "Pump > Cleaning")
    assert TEXTS["pump.md"][hit.chunk.start : hit.chunk.stop] == hit.chunk.text
    assert set(hit.parts) <= {"bm25", "bert"} and hit.parts["bert"][0] >= 1
    assert opened.edition.page_text("pump.md", None) == TEXTS["pump.md"]
    row = opened.search("price of a hose", 1)[0].chunk
    assert (row.file, row.page, row.counts, row.text) == ("prices.csv", 2, "row", "item: hose\nprice: 30")
    assert opened.search("domingo", 1)[0].chunk.file == "sub/horário.txt"
    opened.close()


def test_every_hit_is_a_span_of_its_page(index: Path) -> None:
    opened = Index(index)
    for hits in opened.search_several(["warranty", "loja", "filter", "soap and water"], 10):
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        for hit in hits:
            page = opened.edition.page_text(hit.chunk.file, hit.chunk.page)
            assert page[hit.chunk.start : hit.chunk.stop] == hit.chunk.text


def test_parts_of_a_hybrid_can_be_asked_alone(index: Path) -> None:
    opened = Index(index)
    assert not opened.search("zebra", 3, by="bm25")
    assert len(opened.search("zebra", 3, by="bert")) == 3
    with pytest.raises(UsageError, match="has no 'bm52'; did you mean 'bm25'"):
        opened.search("zebra", 3, by="bm52")
    with pytest.raises(UsageError, match="question is empty"):
        opened.search("  ", 3)


def test_a_second_run_changes_nothing_and_keeps_the_settings(index: Path, documents: Path) -> None:
    before = (index / "index.json").read_bytes()
    assert build_index([documents], index).changed is False
    assert (index / "index.json").read_bytes() == before
    with pytest.raises(UsageError, match="was made with tokens 200, not 100"):
        build_index([documents], index, tokens=100)


def test_other_documents_do_not_take_an_indexs_place_unasked(index: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", {"a.txt": "Something else."})
    with pytest.raises(UsageError, match="of which nothing is in"):
        build_index([other], index)
    assert made_of(index)[0][0][0] == "prices.csv"


def test_vectors_that_were_computed_are_not_computed_again(tmp_path: Path) -> None:
    folder = write(tmp_path / "documents", TEXTS)
    build_index([folder], tmp_path / "index", precision="fp32")
    (folder / "pump.md").rename(folder / "manual.md")
    (folder / "new.txt").write_text("A new notice about the garden.")
    (folder / "prices.csv").unlink()
    report = build_index([folder], tmp_path / "index")
    assert report.files == {"new": 1, "changed": 0, "moved": 1, "gone": 1, "same": 1}
    assert report.facts["bert"]["computed"] == 1 and report.facts["bert"]["reused"] == 3
    build_index([folder], tmp_path / "anew", precision="fp32")
    assert made_of(tmp_path / "index") == made_of(tmp_path / "anew")
    one, other = (
        np.load(IndexFolder(tmp_path / name).edition().folder / "hybrid" / "bert" / "vectors.npy")  # type: ignore[union-attr]
        for name in ("index", "anew")
    )
    np.testing.assert_allclose(one, other, atol=1e-5)
    assert [entry.name for entry in (tmp_path / "index").iterdir() if entry.is_dir()] == ["edition-2"]


NAMES = st.sampled_from(["a.md", "b.txt", "sub/c.txt", "d.csv", "e.txt"])
BODIES = st.sampled_from(
    ["", "One short text.", "# T\n\nOne short text.", "x,y\n1,2\n1,2\n3,4\n", "Broken \x00\x01\x02\x03 bytes",
     "A long passage. " * 30, "A long passage. " * 30 + "It ends otherwise.", "Another text, é."]
)  # fmt: skip
STEPS = st.one_of(
    st.tuples(st.just("write"), NAMES, BODIES),
    st.tuples(st.just("remove"), NAMES, st.just("")),
    st.tuples(st.just("move"), NAMES, NAMES),
    st.tuples(st.just("cut"), NAMES, st.just("")),
)


def do(folder: Path, step: tuple[str, str, str]) -> None:
    what, name, more = step
    path = folder / name
    if what == "write":
        write(folder, {name: more})
    elif path.is_file():
        if what == "remove":
            path.unlink()
        elif what == "move":
            (folder / more).parent.mkdir(exist_ok=True)
            path.rename(folder / more)
        else:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@examples(5, 12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(STEPS, min_size=1, max_size=4), min_size=1, max_size=4))
def test_whatever_is_done_to_documents_the_index_is_that_of_what_is_there(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[list[tuple[str, str, str]]]
) -> None:
    """No duplicates, no orphans: brought up to date it is equal to one made anew."""
    place = tmp_path_factory.mktemp("edits")
    folder = write(place / "documents", {"a.md": "The first text of all.", "b.txt": "And another one."})
    choice = {"representation": "bm25", "tokens": 40, "overlap": 8, "text_language": "none"}
    build_index([folder], place / "index", **choice)
    for number, steps in enumerate(rounds):
        for step in steps:
            do(folder, step)
        try:
            build_index([folder], place / f"anew{number}", **choice)
        except UsageError as error:  # nothing is left to be read: what stood stays
            before = made_of(place / "index")
            with pytest.raises(UsageError) as again:
                build_index([folder], place / "index")
            assert str(again.value) == str(error) and made_of(place / "index") == before
            continue
        build_index([folder], place / "index")
        made = made_of(place / "index")
        assert made == made_of(place / f"anew{number}")
        texts = [" ".join(text.split()) for text in made[2]]
        assert len(texts) == len(set(texts))
        names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert {name for name, *_ in made[0]} == names


@pytest.mark.always
def test_a_run_killed_anywhere_gives_the_same_index_when_it_is_run_again(tmp_path: Path) -> None:
    texts = {
        f"{number}.txt": f"Text {number} about the thing numbered {number}. " * (number + 1) for number in range(12)
    }
    folder = write(tmp_path / "documents", texts)
    options = ["--precision", "fp32", "--tokens", "40", "--overlap", "8"]
    command = "from afina.cli.main import main; main()"
    assert run_command("rag", "index", str(folder), "--out", str(tmp_path / "whole"), *options).returncode == 0
    for delay in (0.0, 0.4):
        with starting(command, "rag", "index", folder, "--out", tmp_path / "killed", *options) as process:
            deadline = time.monotonic() + 60
            while (
                process.is_alive() and time.monotonic() < deadline and not (tmp_path / "killed" / "journal.db").exists()
            ):
                time.sleep(0.02)
            process.join(delay)
    build_index([folder], tmp_path / "killed", precision="fp32", tokens=40, overlap=8)
    assert made_of(tmp_path / "killed") == made_of(tmp_path / "whole")
    one, other = Index(tmp_path / "killed"), Index(tmp_path / "whole")
    assert [(hit.row, pytest.approx(hit.score)) for hit in one.search("thing 7", 5)] == [
        (hit.row, hit.score) for hit in other.search("thing 7", 5)
    ]
    left = {entry.name for entry in (tmp_path / "killed").iterdir()}
    assert len([name for name in left if name.startswith(("edition", "building"))]) == 1 and "journal.db" not in left


def test_the_second_writer_is_told_to_wait(index: Path, documents: Path) -> None:
    with locked(index), pytest.raises(UsageError, match=rf"Another process \({os.getpid()}\) is writing"):
        build_index([documents], index)


def test_another_process_that_writes_is_named_and_loses_nothing(index: Path, documents: Path) -> None:
    code = "import sys; from pathlib import Path; from afina.retrieval.folder import locked\n"
    code += "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    before = made_of(index)
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code, str(index)], **pipes) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        for call in (lambda: build_index([documents], index), lambda: api.rag.threshold(index, remove=True)):
            with pytest.raises(UsageError, match=rf"Another process \({other.pid}\) is writing"):
                call()
        other.communicate()
    assert build_index([documents], index).changed is False and made_of(index) == before


@pytest.mark.covered("limit", [4_000, 150_000], [4_000, 60_000, 150_000])
def test_a_disk_that_is_full_is_one_sentence_and_what_was_indexed_stays(tmp_path: Path, limit: int) -> None:
    """No file may grow beyond a limit: whichever write meets it first, nothing of the index that stands is lost."""
    folder = write(tmp_path / "documents", {"a.txt": "The first text, which is short."})
    build_index([folder], tmp_path / "index", precision="fp32")
    before = made_of(tmp_path / "index")
    write(folder, {f"{number}.txt": f"Text {number} is about the thing {number}. " * 3 for number in range(120)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    asked = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        with pytest.raises((AfinaError, OSError)) as error:
            build_index([folder], tmp_path / "index")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, asked)
    # The command says of a system's error what it is; a data base's is said here.
    assert isinstance(error.value, OSError) or "cannot be written" in str(error.value)
    assert (
        made_of(tmp_path / "index") == before and Index(tmp_path / "index").search("text", 1)[0].chunk.file == "a.txt"
    )
    build_index([folder], tmp_path / "index")
    assert len(made_of(tmp_path / "index")[0]) == 121


def test_the_same_words_are_kept_once_with_all_their_places(tmp_path: Path) -> None:
    long = (
        "The valve is opened by turning the red wheel to the left until it stops, and closed by turning it back. " * 4
    )
    folder = write(
        tmp_path / "documents",
        {
            "a.txt": long, "b.txt": long.replace(" ", "  "), "c.txt": long + "Thanks.", "d.txt": long + "At 7 bar.",
            "e.txt": "Costs 3.", "f.txt": "Costs 4.",
        },
    )  # fmt: skip
    report = build_index([folder], tmp_path / "index", representation="bm25")
    assert report.counts["same"] == 2 and report.facts["near"] == 1
    opened = Index(tmp_path / "index")
    hits = opened.search("red wheel", 5)
    assert [(hit.chunk.file, [place.file for place in hit.places]) for hit in hits] == [
        ("a.txt", ["b.txt", "c.txt"]), ("d.txt", []),
    ]  # fmt: skip
    assert {hit.chunk.file for hit in opened.search("costs", 5)} == {"e.txt", "f.txt"}


def test_what_cannot_be_is_said_in_one_sentence(tmp_path: Path, documents: Path, index: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    cases = [
        (lambda: build_index([tmp_path / "nowhere"], tmp_path / "i"), "does not exist"),
        (lambda: build_index([documents], tmp_path / "mine"), "is no index and holds thesis.txt"),
        (lambda: build_index([documents], tmp_path / "i", representation="bm52"), "did you mean 'bm25'"),
        (
            lambda: build_index([documents], tmp_path / "i", tokens=500),
            "do not fit minilm, which reads 512: at most 446",
        ),
        (lambda: build_index([documents], tmp_path / "i", store="oracle"), "no store 'oracle'"),
        (lambda: Index(tmp_path / "mine"), "is no index; make one: afina rag index"),
        (lambda: Index(tmp_path / "none"), "does not exist; make one"),
        (lambda: build_index([tmp_path / "mine"], index / "index.json"), "is a file"),
    ]
    for call, words in cases:
        with pytest.raises(UsageError) as error:
            call()
        assert words in str(error.value) and "\n" not in str(error.value), str(error.value)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "mine"


def changed(index: Path, place: Path, **values: Any) -> Path:
    """Copy an index with other words in its `index.json`."""
    import shutil

    shutil.copytree(index, place)
    path = place / "index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return place


def test_an_index_of_another_afina_or_of_other_weights_is_refused(index: Path, documents: Path, tmp_path: Path) -> None:
    with pytest.raises(AfinaError, match="index of format 99"):
        Index(changed(index, tmp_path / "newer", format=99))
    other = changed(index, tmp_path / "other", weights="0" * 32)
    for call in (lambda: Index(other), lambda: build_index([documents], other)):
        with pytest.raises(UsageError, match="other weights than minilm has now"):
            call()
    made = IndexSettings.read(json.loads((index / "index.json").read_text())["settings"])
    gone = changed(index, tmp_path / "gone", settings=made.changed(model="/no/such/model").as_dict())
    with pytest.raises(UsageError, match="/no/such/model, which is gone"):
        Index(gone)


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bm25s", None)
    with pytest.raises(UsageError, match=r"needs bm25s, which is not installed: pip install 'afina\[rag\]'"):
        build_index([documents], tmp_path / "index", representation="bm25", text_language="none")


def test_search_prints_places_scores_and_the_very_words(index: Path) -> None:
    shown = run_command("rag", "search", str(index), "Never use soap", "--language", "pt")
    assert shown.returncode == 0 and "pump.md; Pump > Cleaning" in shown.stdout and "caracteres" in shown.stdout
    lines = run_command(
        "rag", "search", str(index), "Never use soap", "-k", "2", "--format", "jsonl"
    ).stdout.splitlines()
    (first, _) = map(json.loads, lines)
    assert TEXTS["pump.md"][first["start"] : first["stop"]] == first["text"] and "soap" in first["text"]
    assert api.rag.search(index, "Never use soap", most=1)[0].as_dict() == {
        key: value for key, value in first.items() if key not in ("question", "tells")
    }


def test_index_says_what_it_found(documents: Path, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for name in TEXTS:
        (tmp_path / "d" / Path(name).name).write_bytes((documents / name).read_bytes())
    (tmp_path / "d" / "a.pdf").write_bytes(b"no pdf")
    (tmp_path / "d" / "b.png").write_bytes(b"x")
    shown = run_command("rag", "index", str(tmp_path / "d"), "--out", str(tmp_path / "i"), "--representation", "bm25",
                        "--language", "pt")  # fmt: skip
    assert shown.returncode == 0
    text = shown.stdout
    assert "fica de fora: a.pdf: is no readable PDF" in text and ".png: 1" in text and "4 novos" in text
    assert afina.Index(tmp_path / "i").search("hose", 1)[0].chunk.file == "prices.csv"
    assert isinstance(afina.Index(tmp_path / "i").edition, Edition)
