"""Inspect, clean, convert and generate dialogues and texts."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from afina.corpus.clean import CleanReport
    from afina.corpus.convert import ConvertReport
    from afina.corpus.generate import GenerateReport
    from afina.corpus.inspect import Inspection
    from afina.corpus.rules import CleanSettings
    from afina.corpus.writers import Writer
    from afina.data.dialogues.conversations import Columns
    from afina.data.dialogues.speakers import Speakers

__all__ = ["clean", "convert", "generate", "inspect"]

Tick = Callable[[int], None]


def inspect(
    file: str | Path,
    *,
    html: str | Path | None = None,
    json_file: str | Path | None = None,
    tokenizer: str | None = None,
    similarity: float = 0.8,
    plain: bool = False,
    speakers: "Speakers | None" = None,
    columns: "Columns | None" = None,
    tick: Tick | None = None,
) -> "Inspection":
    """Say what a file holds, read once: lengths, duplicates, empty sides, labels, languages, personal data.

    `html` and `json_file` are written as well. Lengths are in tokens of the `tokenizer`'s model, words unless given.
    """
    from afina.corpus.inspect import inspect_file
    from afina.corpus.inspect_page import inspection_page
    from afina.whole_file import whole_file

    found = inspect_file(
        file, speakers=speakers, columns=columns, plain=plain or None, tokens=_counter(tokenizer), tokenizer=tokenizer,
        similarity=similarity, tick=tick,
    )  # fmt: skip
    figures = json.dumps(found.as_dict(), ensure_ascii=False, indent=2)
    for path, content in ((html, inspection_page(found)), (json_file, figures)):
        if path is not None:
            with whole_file(Path(path)) as partial:
                partial.write_text(content, encoding="utf-8")
    return found


def clean(
    file: str | Path,
    out: str | Path,
    settings: "CleanSettings | None" = None,
    *,
    tokenizer: str | None = None,
    plain: bool = False,
    speakers: "Speakers | None" = None,
    columns: "Columns | None" = None,
    force: bool = False,
    tick: Tick | None = None,
) -> "CleanReport":
    """Make clean interactions of a file; what goes is kept in OUT.rejects with the reason."""
    from afina.corpus.clean import clean as run

    return run(
        file, out, settings, speakers=speakers, columns=columns, tokens=_counter(tokenizer), plain=plain, force=force,
        tick=tick,
    )  # fmt: skip


def convert(
    file: str | Path,
    out: str | Path,
    *,
    plain: bool = False,
    speakers: "Speakers | None" = None,
    columns: "Columns | None" = None,
    force: bool = False,
    tick: Tick | None = None,
) -> "ConvertReport":
    """Write dialogues of any known form as one: a column `messages` of role and content (texts: a column `text`)."""
    from afina.corpus.convert import convert as run

    return run(file, out, speakers=speakers, columns=columns, plain=plain or None, force=force, tick=tick)


def generate(
    prompt: str,
    out: str | Path,
    writer: "Writer",
    *,
    topics: Sequence[str] = (),
    count: int = 100,
    settings: "CleanSettings | None" = None,
    seed: int = 0,
    observe: Callable[[Mapping[str, Any]], None] | None = None,
) -> "GenerateReport":
    """Have a model (`afina.Endpoint` or `afina.LocalModel`) write interactions, deduplicated as they come; resumable.

    In the prompt `{topic}` stands for the topics in turn; `settings` are the rules that each answer has to pass.
    """
    from afina.corpus.generate import generate as run

    return run(
        writer, prompt, out, topics=topics, count=count, seed=seed, settings=settings, embed=_embed, observe=observe
    )  # fmt: skip


def _counter(tokenizer: str | None) -> Callable[[str], int] | None:
    """Return what counts a text's tokens as a model does."""
    if tokenizer is None:
        return None
    from afina.backbone.load import load_tokenizer

    loaded, _ = load_tokenizer(tokenizer)
    return lambda text: len(loaded(text, add_special_tokens=False, verbose=False)["input_ids"])


def _embed(texts: list[str]) -> Any:
    from afina.train.embed import text_embedder

    return text_embedder()(texts)
