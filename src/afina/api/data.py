"""Inspect, clean, convert and generate dialogues and texts."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afina.one_or_more import one_or_more

if TYPE_CHECKING:
    from afina.corpus.clean import CleanReport
    from afina.corpus.convert import ConvertReport
    from afina.corpus.generate import GenerateReport
    from afina.corpus.inspect import Inspection
    from afina.corpus.rules import CleanSettings
    from afina.corpus.writers import TextWriter
    from afina.data.dialogues.conversations import Columns
    from afina.data.dialogues.speakers import Speakers

__all__ = ["clean", "convert", "generate", "generate_data", "inspect"]

Tick = Callable[[int], None]
Count = Callable[[str], int]
Observe = Callable[[Mapping[str, Any]], None]


def inspect(
    file: str | Path,
    *,
    html: str | Path | None = None,
    json_file: str | Path | None = None,
    tokenizer: str | None = None,
    similarity: float = 0.8,
    test: str | Path | None = None,
    groups: str | Sequence[str] = (),
    words: str | Path | None = None,
    plain: bool | None = None,
    speakers: "Speakers | None" = None,
    columns: "Columns | None" = None,
    tokens: Count | None = None,
    force: bool = False,
    tick: Tick | None = None,
    language: str = "en",
) -> "Inspection":
    """Say what a file holds, read once: lengths, duplicates, doubted labels, languages, personal data, leaked test rows.

    `html`, in this language, and `json_file` are written as well, over what is there only with `force`. Lengths are in
    tokens of the `tokenizer`'s model, or as `tokens` counts a text's, and in words unless either is given. Rows of a file
    `test` are looked for among those of `file`. Labels are counted by the columns `groups`, and by groups that a file of
    `words` has in the place of Afina's own.
    """
    from afina.corpus.balance import Balance
    from afina.corpus.inspect import inspect_file
    from afina.corpus.inspect_page import inspection_page
    from afina.corpus.reading import Reading
    from afina.data.groups.word_lists import read_word_lists
    from afina.outputs import check_outputs
    from afina.whole_file import write_text
    from afina.words.language import Words

    groups = one_or_more(groups)
    # What may not be overwritten is said before a large file is read.
    check_outputs((html, json_file), (file,) if test is None else (file, test), force=force)
    inspection = inspect_file(
        file, how=Reading.of(speakers, columns, plain), tokens=tokens or _counter(tokenizer), tokenizer=tokenizer,
        similarity=similarity, test=test, balance=Balance(groups, read_word_lists(words)), tick=tick,
    )  # fmt: skip
    figures = json.dumps(inspection.as_dict(), ensure_ascii=False, indent=2)
    for path, content in ((html, inspection_page(inspection, Words(language))), (json_file, figures)):
        if path is not None:
            write_text(Path(path), content)
    return inspection


def clean(
    file: str | Path,
    out: str | Path,
    settings: "CleanSettings | None" = None,
    *,
    tokenizer: str | None = None,
    plain: bool | None = None,
    speakers: "Speakers | None" = None,
    columns: "Columns | None" = None,
    tokens: Count | None = None,
    force: bool = False,
    tick: Tick | None = None,
) -> "CleanReport":
    """Make clean interactions of a file; what goes is kept in OUT.rejects with the reason.

    For `max_tokens` a text's tokens are counted as the `tokenizer`'s model does, or by `tokens`.
    """
    from afina.corpus.clean import clean as run
    from afina.corpus.reading import Reading

    how = Reading.of(speakers, columns, plain)
    return run(file, out, settings, how, tokens=tokens or _counter(tokenizer), force=force, tick=tick)


def convert(
    file: str | Path,
    out: str | Path,
    *,
    plain: bool | None = None,
    speakers: "Speakers | None" = None,
    columns: "Columns | None" = None,
    force: bool = False,
    tick: Tick | None = None,
) -> "ConvertReport":
    """Write dialogues of any known form as one: a column `messages` of role and content (texts: a column `text`)."""
    from afina.corpus.convert import convert as run
    from afina.corpus.reading import Reading

    return run(file, out, how=Reading.of(speakers, columns, plain), force=force, tick=tick)


def generate(
    prompt: str,
    out: str | Path,
    writer: "TextWriter",
    *,
    topics: str | Sequence[str] = (),
    count: int = 100,
    settings: "CleanSettings | None" = None,
    seed: int = 0,
    observe: Observe | None = None,
) -> "GenerateReport":
    """Have a model (`afina.Endpoint` or `afina.LocalModel`) write interactions, deduplicated as they come; resumable.

    In the prompt `{topic}` stands for the topics in turn; `settings` are the rules that each answer has to pass.
    """
    return generate_data(
        writer, prompt, out, topics=topics, count=count, settings=settings, seed=seed, embed=_embed, observe=observe
    )  # fmt: skip


def generate_data(
    writer: "TextWriter",
    prompt: str,
    out: str | Path,
    *,
    topics: str | Sequence[str] = (),
    count: int = 100,
    seed: int = 0,
    settings: "CleanSettings | None" = None,
    speakers: "Speakers | None" = None,
    embed: Callable[[list[str]], Any] | None = None,
    observe: Observe | None = None,
) -> "GenerateReport":
    """Have any writer write interactions as `generate` does, read with these `speakers`.

    The embeddings' spread is measured with `embed` (one vector a text), where that is given.
    """
    from afina.corpus.generate import Wanted
    from afina.corpus.generate import generate as run

    wanted = Wanted(prompt, tuple(one_or_more(topics)), count, seed)
    return run(writer, wanted, out, settings, speakers=speakers, embed=embed, observe=observe)


def _counter(tokenizer: str | None) -> Callable[[str], int] | None:
    """Return what counts a text's tokens as a model does."""
    if tokenizer is None:
        return None
    # Imported where it is asked for: most files are counted in words, which needs no tokenizer.
    from afina.backbone.load import load_tokenizer

    loaded, _ = load_tokenizer(tokenizer)
    return lambda text: len(loaded(text, add_special_tokens=False, verbose=False)["input_ids"])


def _embed(texts: list[str]) -> Any:
    from afina.train.embed import text_embedder

    return text_embedder()(texts)
