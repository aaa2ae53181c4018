"""`afina rag search`: show the passages of an index that answer a question, word for word and with their places."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from afina.cli.command import PANELS, command
from afina.cli.options import Device, Language
from afina.cli.terminal import console_for, is_quiet, note

if TYPE_CHECKING:
    from rich.console import Console

    from afina.retrieval.index import Hit
    from afina.words.language import Words

__all__ = ["Index", "place_of", "rag_search"]

Index = Annotated[Path, typer.Argument(metavar="INDEX", help="An index's folder, made by afina rag index.")]


@command("rag search", panel=PANELS[2])
def rag_search(
    index: Index,
    questions: Annotated[
        list[str], typer.Argument(metavar="QUESTION...", help="Questions; - reads them line by line.")
    ],
    most: Annotated[int, typer.Option("--most", "-k", min=1, help="Passages for a question.")] = 5,
    by: Annotated[str | None, typer.Option("--by", help="One part of a hybrid alone, such as bm25.")] = None,
    rerank: Annotated[
        Path | None,
        typer.Option(
            "--rerank", metavar="ADAPTER", help="Rank the fifty best by an adapter that judges pairs of texts."
        ),
    ] = None,
    whole: Annotated[bool, typer.Option("--whole", help="Show passages whole, not their first lines.")] = False,
    device: Device = "auto",
    language: Language = "en",
    format: Annotated[
        str,
        typer.Option(
            "--format", help="text, or jsonl: an object a passage: file, page, span, scores, tells (threshold)."
        ),
    ] = "text",
) -> None:
    """Search an index: the passages that answer a question, each with file, page, heading, place and scores.

    Example: `afina rag search manual.index "How is the filter cleaned?"`
    """
    console_for(format, forms=("text", "jsonl"))
    import afina
    from afina.retrieval.threshold import limit_of, threshold_in
    from afina.words.language import Words

    # All questions are searched at once, as their vectors are made together.
    asked = [line.strip() for line in sys.stdin if line.strip()] if questions == ["-"] else questions
    opened = afina.Index(index, device=device)
    words = Words(language)
    from rich.console import Console

    console = Console()
    reranker = None
    if rerank is not None:
        from afina.retrieval.reranking import Reranker

        reranker = Reranker(rerank, device=device)
    # Fifty, so that a passage that the index ranks low can still be found to be the best.
    depth = most if reranker is None else max(most, 50)
    limit = None if threshold_in(opened) is None or by is not None else limit_of(opened, "index")
    for question, passages in zip(asked, opened.found(asked, depth, by=by) if asked else (), strict=True):
        hits = passages.hits if reranker is None else reranker.ranked(question, passages.hits, most)
        tells = None if limit is None else limit.tells(passages.best)
        if format == "jsonl":
            for hit in hits:
                print(json.dumps({"question": question, **hit.as_dict(), "tells": tells}, ensure_ascii=False))
            continue
        if len(asked) > 1:
            console.print(question, style="bold", markup=False, highlight=False, soft_wrap=True)
        if not hits and not is_quiet():
            console.print(words("no passage has any of these words"), style="yellow")
        for hit in hits:
            _show(console, hit, words, whole=whole)
        if tells is False and hits:
            note(console, words("by the index's threshold the documents do not tell: none of these is like enough"))


def place_of(hit: "Hit", words: "Words") -> str:
    """Return where a passage stands: `manual.pdf, page 3, Cleaning, characters 120 to 480`."""
    chunk = hit.chunk
    parts = [chunk.file]
    if chunk.page is not None:
        parts.append(
            words("page {page}", page=chunk.page) if chunk.counts == "page" else words("row {row}", row=chunk.page)
        )
    if chunk.heading:
        parts.append(chunk.heading)
    return words.between.join(parts)


def _show(console: "Console", hit: "Hit", words: "Words", *, whole: bool) -> None:
    from rich.padding import Padding
    from rich.text import Text

    span = words("characters {start} to {stop}", start=words.number(hit.chunk.start), stop=words.number(hit.chunk.stop))
    console.print(
        Text.assemble(f"{hit.rank:>2}  ", (place_of(hit, words), "bold"), (f"  {span}", "dim")), soft_wrap=True
    )
    scores = [words("{name} rank {rank} ({score})", name=name, rank=rank, score=words.compact(score))
              for name, (rank, score) in hit.parts.items()]  # fmt: skip
    shown = words.between.join(scores) or words("score {score}", score=words.compact(hit.score))
    console.print(Padding(Text(shown, style="dim"), (0, 0, 0, 4)))
    text = hit.chunk.text if whole else _short(hit.chunk.text)
    console.print(Padding(Text(text), (0, 0, 1 if not hit.places else 0, 4)))
    if hit.places:
        names = ", ".join(dict.fromkeys(each.file for each in hit.places))
        console.print(Padding(Text(words("also in {files}", files=names), style="dim"), (0, 0, 1, 4)))


def _short(text: str, most: int = 300) -> str:
    """Return the beginning of a text in one paragraph, up to a whole word."""
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[:most].rsplit(' ', 1)[0]} …"
