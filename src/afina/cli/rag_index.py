"""`afina rag index`: cut documents into passages, which are searched by words and by meaning."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from afina.cli.command import PANELS, command
from afina.cli.options import AnySeed, Device, Force, Format, Language, Precision
from afina.cli.terminal import console_for, note, print_json, show_file, stages_bar

if TYPE_CHECKING:
    from rich.console import Console

    from afina.retrieval.build import BuildReport
    from afina.words.language import Words

__all__ = ["rag_index"]

_FILES = 8
"""Files that could not be read, and notes on files, that are shown one by one."""


@command("rag index", panel=PANELS[2])
def rag_index(
    documents: Annotated[
        list[Path],
        typer.Argument(
            metavar="DOCS...", help="Files, or folders with all below: md, txt, html, pdf, docx, csv, jsonl ..."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="INDEX", help="The index's folder, new or to be brought up to date.")
    ],
    representation: Annotated[
        str | None,
        typer.Option(
            "--representation",
            help="hybrid (in languages other than the built-in encoder's: bm25), bm25, tfidf, word2vec or bert.",
        ),
    ] = None,
    parts: Annotated[
        str | None, typer.Option("--parts", metavar="NAME,NAME", help="What a hybrid is of; default: bm25,bert.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="The encoder of bert; default: minilm.")] = None,
    adapter: Annotated[
        Path | None,
        typer.Option("--adapter", metavar="ADAPTER", help="An adapter of Afina's or PEFT's on that encoder."),
    ] = None,
    pooling: Annotated[str | None, typer.Option("--pooling", help="mean (default) or cls.")] = None,
    similarity: Annotated[
        str | None, typer.Option("--similarity", help="Of vectors: cosine (default), dot or euclidean.")
    ] = None,
    precision: Precision = None,
    tokens: Annotated[int | None, typer.Option("--tokens", help="Most tokens of a passage; default: 200.")] = None,
    overlap: Annotated[
        int | None, typer.Option("--overlap", help="Most tokens that neighbours share; default: 40.")
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", metavar="COL,COL", help="Of tables the columns of text; default: all.")
    ] = None,
    text_language: Annotated[
        str | None,
        typer.Option("--text-language", help="Of the documents: pt, en ..., none; default: told from the text."),
    ] = None,
    near: Annotated[
        float | None,
        typer.Option("--near", help="From which a near-duplicate is kept once; default: 0.95; 0 keeps all."),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option("--store", help="exact, usearch or postgresql://...; default: exact up to 100,000 passages."),
    ] = None,
    seed: AnySeed = None,
    device: Device = "auto",
    force: Force = False,
    language: Language = "en",
    format: Format = "table",
) -> None:
    """Index documents, or bring an index up to them: what changed is read, what is gone goes, what moved moves.

    Example: `afina rag index manual/ --out manual.index`

    Passages end at headings, paragraphs and sentences, and each knows file, page, heading and place. A run that was broken
    off goes on where it was. The index keeps its settings; to change them, give --force.
    """
    from afina import api
    from afina.words.language import Words

    console, words = console_for(format), Words(language)
    with stages_bar(console, words) as tell:
        report = api.rag.index(
            documents, out, representation=representation, parts=_names(parts), model=model, adapter=adapter,
            pooling=pooling, similarity=similarity, precision=precision, tokens=tokens, overlap=overlap,
            columns=_names(text), text_language=text_language, near=near, store=store, seed=seed, device=device, force=force,
            tell=tell,
        )  # fmt: skip
    if format == "json":
        print_json(report.as_dict())
    else:
        _show(console, report, words)


def _names(given: str | None) -> list[str] | None:
    return None if given is None else [name.strip() for name in given.split(",") if name.strip()]


def _show(console: "Console", report: "BuildReport", words: "Words") -> None:
    def say(text: str, style: str = "") -> None:
        console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)

    # A few by name: a folder may hold thousands of files of no known kind.
    for name, why in report.problems[:_FILES]:
        note(console, words("left out: {file}: {why}", file=name, why=words.note(why)), "red")
    if (more := len(report.problems) - _FILES) > 0:
        note(console, words.counted(more, "{count} more file left out", "{count} more files left out"), "red")
    for sentence in report.notes[:_FILES]:
        note(console, words.note(sentence))
    if (more := len(report.notes) - _FILES) > 0:
        note(console, words.counted(more, "{count} more note (--format json)", "{count} more notes (--format json)"))
    counts, files = report.counts, report.files
    if report.changed:
        kinds = {
            "new": words("{count} new", count=words.number(files["new"])),
            "changed": words("{count} changed", count=words.number(files["changed"])),
            "moved": words("{count} moved", count=words.number(files["moved"])),
            "gone": words("{count} gone", count=words.number(files["gone"])),
            "same": words("{count} as they were", count=words.number(files["same"])),
        }
        say(words("files: {kinds}", kinds=words.between.join(text for kind, text in kinds.items() if files[kind])))
    else:
        say(words("nothing has changed: the index is up to date"))
    sizes = (
        words.counted(counts["files"], "{count} document", "{count} documents"),
        words.counted(counts["chunks"], "{count} passage", "{count} passages"),
    )
    say(words.between.join(sizes))
    if counts["same"]:
        say(words.counted(counts["same"], "{count} passage stands there twice: kept once, with both places",
                          "{count} passages stand there twice: kept once, with all places"), "dim")  # fmt: skip
    show_file(console, report.index)
