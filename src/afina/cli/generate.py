"""`afina generate`: what a model writes after given prompts."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    app.command(name="generate")(generate)


def generate(
    adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="An adapter's folder, Afina's or PEFT's.")],
    prompts: Annotated[list[str] | None, typer.Argument(metavar="PROMPT...", help="Texts to go on from.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="A prompt a line, or .csv, .tsv, .jsonl, .parquet with a text column.")
    ] = None,
    text_column: Annotated[str | None, typer.Option("--text", help="The file's column of prompts.")] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="Each prompt is a user's message, put in the form of a chat.")
    ] = False,
    bare: Annotated[bool, typer.Option("--bare", help="The model without the adapter.")] = False,
    temperature: Annotated[float, typer.Option("--temperature", help="0 takes the likeliest token each time.")] = 0.0,
    top_p: Annotated[float | None, typer.Option("--top-p", help="Draw among the likeliest, up to this share.")] = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", help="Most tokens of a text.")] = 256,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="The same texts each time.")] = None,
    stop: Annotated[
        list[str] | None, typer.Option("--stop", help="A text that ends what is written; several times.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="An object a line: prompt, text, finish, tokens.")] = False,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Texts computed at once.")] = 16,
    model: Annotated[str | None, typer.Option("--model", help="The base model, where it is not where it was.")] = None,
) -> None:
    """Write what follows each prompt; one prompt alone appears as it is written.

    Example: `afina generate stories/runs/tiny/adapter "Once upon a time" --max-new-tokens 100`
    """
    from afina.errors import UsageError
    from afina.generation.settings import GenerationSettings

    settings = GenerationSettings(
        max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, seed=seed, stop=tuple(stop or ())
    )
    if (file is None) == (not prompts):
        raise UsageError("Give prompts or --file, one of the two.")
    texts = list(prompts or ())
    if file is not None:
        from afina.data.sources import read_texts

        texts = [text for text, _ in read_texts(file, text_column, None) if text.strip()]
    import afina

    loaded = afina.load(adapter, model=model)
    asked = [[{"role": "user", "content": text}] if chat else text for text in texts]
    own = [None if bare else loaded] * len(asked)
    said = False
    if len(asked) == 1 and not as_json and not bare:
        for piece in loaded.stream(asked[0], settings):
            said = said or bool(piece.strip())
            sys.stdout.write(piece)
            sys.stdout.flush()
        print()
    else:
        found = loaded.generate(asked, settings, adapters=own, batch_size=batch_size)
        for text, written in zip(texts, found, strict=True):
            said = said or bool(written.text.strip())
            entry = {"prompt": text, "text": written.text, "finish": written.finish, "tokens": len(written.tokens)}
            print(json.dumps(entry, ensure_ascii=False) if as_json else written.text)
    if texts and not said:
        taught = getattr(loaded.task, "template", None) is not None and not (chat or bare)
        form = "; it was taught conversations, whose form --chat gives a prompt" if taught else ""
        print(f"{loaded.record.model if bare else adapter} wrote no word{form}.", file=sys.stderr)
