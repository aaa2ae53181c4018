"""Measure how well each representation finds Cranfield's relevant documents, judged by ir-measures (pytrec-eval-terrier).

    python benchmarks/rag_quality.py ../shared/data/cranfield --out benchmarks/results/rag_quality.json

One index holds all representations; a document's score is that of its best passage. Grades 1 to 4 (1 is a complete answer)
become gains 4 to 1; -1, the document that a question was made from, has gain 4.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import ir_measures
import pyarrow.parquet as parquet
from ir_measures import AP, RR, R, nDCG

import afina
from afina.retrieval.representations.hybrid import fused

PARTS = ("bm25", "tfidf", "word2vec", "bert")
HYBRIDS = (("bm25", "bert"), ("tfidf", "bert"), ("bm25", "word2vec"), PARTS)
MEASURES = [nDCG @ 10, AP, RR @ 10, R @ 10, R @ 100]
GAINS = {1: 4, 2: 3, 3: 2, 4: 1, -1: 4}
DEPTH = 300
"""Passages that are ranked for a question, of which documents' best are taken."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--index", type=Path, help="Where the index is, or is to be kept.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        result = measure(given.data, given.index or Path(place) / "index")
    text = json.dumps(result, indent=2)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")
    print(text)


def measure(data: Path, folder: Path) -> dict[str, Any]:
    """Return the measures of each representation, and the seconds that the index took."""
    started = time.perf_counter()
    report = afina.index_documents(data / "documents.parquet", folder, columns=["title", "text"], parts=PARTS, near=0)
    seconds = time.perf_counter() - started
    ids = parquet.read_table(data / "documents.parquet").column("id").to_pylist()
    queries = parquet.read_table(data / "queries.parquet").to_pylist()
    judged = [
        ir_measures.Qrel(str(row["query"]), str(row["document"]), GAINS[row["grade"]])
        for row in parquet.read_table(data / "relevance.parquet").to_pylist()
    ]
    index = afina.Index(folder)
    documents = [str(ids[index.edition.chunk(row).page - 1]) for row in range(len(index))]  # type: ignore[operator]
    texts = [query["text"] for query in queries]
    ranked = {name: index.rankers[name].rank(texts, DEPTH) for name in PARTS}
    runs = {name: [list(zip(s, r, strict=True)) for s, r in zip(*ranked[name], strict=True)] for name in PARTS}
    for parts in HYBRIDS:
        together = [fused([ranked[name][1][number] for name in parts], DEPTH) for number in range(len(texts))]
        runs["+".join(parts)] = [list(zip(s, r, strict=True)) for s, r in together]
    scores = {}
    for name, run in runs.items():
        answers = [
            answer for query, found in zip(queries, run, strict=True) for answer in best(query["id"], found, documents)
        ]
        made = ir_measures.calc_aggregate(MEASURES, judged, answers)
        scores[name] = {str(measure): round(made[measure], 4) for measure in MEASURES}
    return {
        "passages": len(index),
        "index_seconds": round(seconds, 1),
        "settings": report.settings.as_dict(),
        "scores": scores,
    }


def best(query: Any, found: list[tuple[float, int]], documents: list[str]) -> list[Any]:
    """Return a question's documents, each with its best passage's score, from the highest down."""
    of_document: dict[str, float] = {}
    for score, row in found:
        if row >= 0:
            of_document.setdefault(documents[row], float(score))
    return [ir_measures.ScoredDoc(str(query), document, score) for document, score in of_document.items()]


if __name__ == "__main__":
    main()
