"""Measure passage retrieval on FaQuAD and Pira by each representation, and how often thresholds err on missing documents.

    python benchmarks/rag_passages.py ../shared/data --out benchmarks/results/rag_passages.json

A question's right passage is the text that it was asked of; judged by ir-measures (pytrec-eval-terrier). For the thresholds
every second text is left out of the index, so that half of the questions have no answer in it though they are of its matter.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ir_measures
import pyarrow as arrow
import pyarrow.parquet as parquet
from ir_measures import AP, R, nDCG

import afina
from afina import api
from afina.retrieval.representations.hybrid import fused
from rag_quality import DEPTH, best

PARTS = ("bm25", "tfidf", "word2vec", "bert")
HYBRIDS = (("bm25", "bert"), ("bm25", "word2vec"))
MEASURES = [nDCG @ 10, AP, R @ 10, R @ 100]


class Collection(NamedTuple):
    """Holds texts, and questions each with the number of the text that it was asked of."""

    name: str
    texts: list[str]
    questions: list[tuple[str, int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--adapter", type=Path, help="An adapter on minilm, measured as bert.")
    parser.add_argument("--precision", default="fp32")
    given = parser.parse_args()
    result: dict[str, Any] = {"precision": given.precision, "retrieval": {}, "threshold": {}}
    for collection in collections(given.data):
        with tempfile.TemporaryDirectory() as place:
            result["retrieval"][collection.name] = measured(collection, Path(place), given.adapter, given.precision)
        if given.adapter is None:
            with tempfile.TemporaryDirectory() as place:
                result["threshold"][collection.name] = threshold(collection, Path(place), given.precision)
        print(
            collection.name,
            json.dumps([each.get(collection.name) for each in (result["retrieval"], result["threshold"])]),
        )
    if given.out:
        given.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def collections(data: Path) -> Iterator[Collection]:
    """Yield FaQuAD, and Pira in both languages."""
    rows = _rows(data / "faquad", "train", "validation")
    yield _collection("faquad", [(row["question"], row["context"]) for row in rows])
    rows = _rows(data / "pira", "validation", "test")
    for language in ("pt", "en"):
        yield _collection(f"pira_{language}", [(row[f"question_{language}"], row[f"text_{language}"]) for row in rows])


def _rows(folder: Path, *parts: str) -> list[dict[str, Any]]:
    return [row for part in parts for row in parquet.read_table(folder / f"{part}.parquet").to_pylist()]


def _collection(name: str, pairs: Sequence[tuple[str, str]]) -> Collection:
    texts = list(dict.fromkeys(text for _, text in pairs))
    place = {text: number for number, text in enumerate(texts)}
    return Collection(name, texts, list({question: (question, place[text]) for question, text in pairs}.values()))


def indexed(texts: Sequence[str], place: Path, **settings: Any) -> afina.Index:
    """Return an index of texts, each a page of its own."""
    parquet.write_table(arrow.table({"text": texts}), place / "texts.parquet")
    afina.index_documents(place / "texts.parquet", place / "index", columns=["text"], near=0, **settings)
    return afina.Index(place / "index")


def measured(collection: Collection, place: Path, adapter: Path | None, precision: str) -> dict[str, Any]:
    """Return the measures of each representation."""
    settings = {"representation": "bert", "adapter": adapter} if adapter else {"parts": PARTS}
    index = indexed(collection.texts, place, precision=precision, **settings)
    documents = [str(index.edition.chunk(row).page - 1) for row in range(len(index))]  # type: ignore[operator]
    texts = [question for question, _ in collection.questions]
    ranked = {name: ranker.rank(texts, DEPTH) for name, ranker in index.rankers.items()}
    runs = {name: [list(zip(s, r, strict=True)) for s, r in zip(*made, strict=True)] for name, made in ranked.items()}
    for parts in HYBRIDS if adapter is None else ():
        together = [fused([ranked[name][1][number] for name in parts], DEPTH) for number in range(len(texts))]
        runs["+".join(parts)] = [list(zip(s, r, strict=True)) for s, r in together]
    judged = [ir_measures.Qrel(str(number), str(text), 1) for number, (_, text) in enumerate(collection.questions)]
    scores = {}
    for name, run in runs.items():
        answers = [answer for number, found in enumerate(run) for answer in best(number, found, documents)]
        made = ir_measures.calc_aggregate(MEASURES, judged, answers)
        scores[name] = {str(measure): round(made[measure], 4) for measure in MEASURES}
    counts = {"texts": len(collection.texts), "passages": len(index), "questions": len(texts)}
    index.close()
    return {**counts, "language": index.values["facts"]["language"], "scores": scores}


def threshold(collection: Collection, place: Path, precision: str) -> dict[str, Any]:
    """Return how often a threshold errs where every second text is missing: that of the best part, and of each alone."""
    kept = collection.texts[::2]
    index = indexed(kept, place, precision=precision)
    index.close()
    questions = [afina.JudgedQuestion(text, number % 2 == 0) for text, number in collection.questions]
    made = {}
    for name, at_most in (("least errors", None), ("refuse at most 10%", 0.1)):
        told = api.rag.threshold(place / "index", questions, refuse_at_most=at_most)
        assert told is not None
        made[name] = told.as_dict()
    return made


if __name__ == "__main__":
    main()
