"""`afina rag rows`: make rows that teach a writer to read passages, and to cite and refuse."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from afina.cli.command import PANELS, command
from afina.cli.options import Answer, Device, Force, Format, Language, Precision, Question, Seed
from afina.cli.rag_search import Index
from afina.cli.terminal import console_for, note, print_json, show_file, stages_bar

if TYPE_CHECKING:
    from rich.console import Console

    from afina.retrieval.rows import ReadingRows
    from afina.words.language import Words

__all__ = ["rag_rows"]


@command("rag rows", panel=PANELS[2])
def rag_rows(
    index: Index,
    questions: Annotated[
        Path, typer.Argument(metavar="QUESTIONS", help="A table of questions, answers and passages that tell them.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="ROWS", help="The rows, a .jsonl file.")],
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="MODEL|ADAPTER", help="What is to learn from them: prompts are fitted for it."),
    ] = None,
    question: Question = None,
    answer: Answer = None,
    key: Annotated[
        str | None, typer.Option("--key", help="The column of what a right answer holds; default: the answers.")
    ] = None,
    passage: Annotated[
        str | None, typer.Option("--passage", help="The column of passages that tell, as the documents have them.")
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", help="The column of documents' names, where there are no passages.")
    ] = None,
    most: Annotated[int, typer.Option("--most", "-k", min=1, help="Passages of a prompt, if they fit.")] = 5,
    without: Annotated[
        float, typer.Option("--without", min=0, max=1, help="Share of prompts without the passage that tells.")
    ] = 0.2,
    lacking: Annotated[
        str, typer.Option("--lacking", help="What is said there: refuse, or answer, as in the paper of RAFT.")
    ] = "refuse",
    quote: Annotated[
        bool, typer.Option("--quote/--no-quote", help="Begin answers with the sentence that tells them.")
    ] = True,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", min=1, help="Tokens that prompts leave for the answer.")
    ] = 256,
    base: Annotated[
        str | None,
        typer.Option("--base", metavar="MODEL", help="An adapter's base model, where it is not where it was."),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = None,
    force: Force = False,
    language: Language = "en",
    format: Format = "table",
) -> None:
    """Make chat rows for `task: chat` that teach a writer to read: `rag ask`'s own prompts, with right and wrong passages.

    Example: `afina rag rows manual.index questions.csv --out rows.jsonl --model smollm2`

    Questions without an answer are those that the documents do not tell, and are refused; so are prompts that lack the
    passage that tells. Questions that give no row are counted by why.
    """
    from afina import api
    from afina.words.language import Words

    console, words = console_for(format), Words(language)
    with stages_bar(console, words) as tell:
        made = api.rag.rows(
            index, questions, out, model=model, question=question, answer=answer, key=key, passage=passage, file=file,
            most=most, without=without, lacking=lacking, quote=quote, max_new_tokens=max_new_tokens, base=base, seed=seed,
            device=device, precision=precision, force=force, tell=tell,
        )  # fmt: skip
    if format == "json":
        print_json(made.as_dict())
    else:
        _show(console, made, words)


def _show(console: "Console", made: "ReadingRows", words: "Words") -> None:
    for sentence in made.notes:
        note(console, words.note(sentence))
    for why, count in made.dropped.most_common():
        note(console, words("{count} left out: {why}", count=words.number(count), why=words.note(why)))
    kinds = {
        "told": words("{count} with the passage that tells", count=words.number(made.kinds["told"])),
        "without": words("{count} without it", count=words.number(made.kinds["without"])),
        "not_told": words("{count} that the documents do not tell", count=words.number(made.kinds["not_told"])),
    }
    total = words.counted(len(made.rows), "{count} row", "{count} rows")
    parts = words.between.join(text for kind, text in kinds.items() if made.kinds[kind])
    console.print(f"{total}: {parts}", highlight=False, markup=False, soft_wrap=True)
    if made.out is not None:
        show_file(console, made.out)
