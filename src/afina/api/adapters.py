"""Adapters at work: what they answer and write, what they are worth beside their base, and what they become elsewhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afina.api.conversations import loaded_from
from afina.one_or_more import one_or_more

if TYPE_CHECKING:
    from afina.card.write import WrittenCard
    from afina.evaluation.answers import Answering
    from afina.evaluation.evaluate import Battery, Evaluation
    from afina.export.check import CheckedExport
    from afina.export.export import Exported
    from afina.export.opened import OpenedExport
    from afina.export.push import Pushed
    from afina.generation.settings import GenerationSettings
    from afina.generation.writes import Writes

__all__ = ["Generated", "Reply", "card", "check_export", "evaluate", "export", "generate", "push"]

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Reply:
    """Holds what follows one prompt; `finish` is `length` where settings or the model's context cut it off, else `stop`."""

    prompt: str
    text: str
    finish: str
    tokens: int

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return dict(vars(self))


@dataclass(frozen=True)
class Generated:
    """All that was written, in the prompts' order."""

    replies: list[Reply]
    note: str | None = None
    """The reason for writing nothing, where nothing was written."""
    assumed: tuple[str, ...] = ()
    """The adapter's notes: what was assumed when it was loaded."""


def generate(
    adapter: str | Path,
    prompts: str | Sequence[str] = (),
    settings: "GenerationSettings | None" = None,
    *,
    file: str | Path | None = None,
    text: str | None = None,
    chat: bool = False,
    bare: bool = False,
    special: bool = False,
    batch_size: int = 16,
    model: str | None = None,
    device: str = "auto",
    precision: str | None = None,
    trust_remote_code: bool = False,
    offload: str | None = None,
    write: Callable[[str], None] | None = None,
) -> Generated:
    """Write what follows each prompt, or each text of a `file` (a line, or its column `text`).

    With `chat` a prompt is a user's message, `bare` leaves the adapter out. The names of control tokens in a prompt are text,
    unless it is `special`. `offload="disk"` is that of `afina.load`. Where there is one prompt, `write` is told each
    piece as it comes.
    """
    from afina.errors import UsageError
    from afina.generation.settings import GenerationSettings

    prompts = one_or_more(prompts)
    how = settings or GenerationSettings()
    if (file is None) == (not prompts):
        raise UsageError("Give prompts or --file, one of the two.")
    texts = list(prompts)
    if file is not None:
        from afina.data.labelled import read_texts

        texts = [each for each, _ in read_texts(Path(file), text, None, named_by="--text") if each.strip()]
    from afina.data.templates.controls import text_notes
    from afina.generation.writes import writes_of

    at = {"model": model, "device": device, "precision": precision, "offload": offload}
    loaded = writes_of(loaded_from(adapter, trust_remote_code=trust_remote_code, **at))
    # A string is text to go on with, a list of messages a conversation: the writer tells them apart by that.
    asked: list[Any] = [[{"role": "user", "content": each}] if chat else each for each in texts]
    # Told as they come, the pieces of several prompts would be mixed.
    if write is not None and len(asked) == 1:
        request = loaded.request(asked[0], None if bare else loaded, special=special)
        replies = [_piece_by_piece(loaded, request, texts[0], how, write)]
    else:
        routed = [None if bare else loaded] * len(asked)
        written = loaded.generate(asked, how, adapters=routed, batch_size=batch_size, special=special)
        replies = [Reply(each, one.text, one.finish, len(one.tokens)) for each, one in zip(texts, written, strict=True)]
    # The bare model has none of what was assumed of the adapter.
    read_so = () if chat or special else text_notes(loaded.tokenizer, texts)
    assumed = (*(() if bare else loaded.notes_for(how)), *read_so)
    if not texts or any(reply.text.strip() for reply in replies):
        return Generated(replies, assumed=assumed)
    # An adapter that was taught conversations may have nothing to add to a text in another form.
    taught = loaded.task.template is not None and not (chat or bare)
    form = "; it was taught conversations, whose form --chat gives a prompt" if taught else ""
    return Generated(replies, f"{'The bare model' if bare else adapter} wrote no word{form}.", assumed)


def _piece_by_piece(
    loaded: "Writes", request: Any, prompt: str, how: "GenerationSettings", tell: Callable[[str], None]
) -> Reply:  # fmt: skip
    reply = None
    for piece in loaded.write([request], how):
        tell(piece.text)
        reply = piece.written or reply
    assert reply is not None
    return Reply(prompt, reply.text, reply.finish, len(reply.tokens))


def evaluate(
    adapter: str | Path,
    *,
    text: str | Path | Sequence[str | Path] = (),
    answers: str | Path | Sequence[str | Path] = (),
    tasks: str | Path | Sequence[str | Path] = (),
    against_base: bool = True,
    column: str | None = None,
    answering: "Answering | None" = None,
    fewshot: int | None = None,
    chat: bool = False,
    limit: int | None = None,
    trust_tasks: bool = False,
    model: str | None = None,
    device: str = "auto",
    precision: str | None = None,
    trust_remote_code: bool = False,
    offload: str | None = None,
    batch_size: int = 16,
    context: int | None = None,
    out: str | Path | None = None,
    force: bool = False,
    tell: Tell = lambda status: None,
) -> "Evaluation":
    """Measure an adapter that speaks, Afina's or PEFT's, or a language model alone (its folder or name).

    `text` are files whose perplexity is measured (their texts in `column`), `answers` files of prompts and references, asked
    as `answering` says, `tasks` benchmarks of lm-evaluation-harness by name, file or folder; `fewshot` and `chat` are
    theirs, and their files run code of their own only with `trust_tasks`.
    `limit` takes the first items of each, `context` bounds the tokens read at once, `offload` is that of `load`, and into
    `out` all of it is written as JSON, over what is there only with `force`. Raises `UsageError` in one sentence for what is
    not there, cannot be read or does not speak.
    """
    text, answers, tasks = one_or_more(text), one_or_more(answers), one_or_more(tasks)
    # Before anything heavy is imported, as the measurement may take hours and its file could not be written.
    _check_out(out, (adapter, *text, *answers, *tasks), force=force)
    from afina.api.prediction import opened
    from afina.evaluation.answers import Answering
    from afina.evaluation.evaluate import Battery
    from afina.evaluation.evaluate import evaluate as measure
    from afina.export.runtime import is_run
    from afina.predictor.loading import Loading
    from afina.whole_file import write_json

    battery = Battery(
        text=text, answers=answers, tasks=tasks, column=column, answering=answering or Answering(), fewshot=fewshot,
        chat=chat, limit=limit, trust_tasks=trust_tasks,
    )  # fmt: skip
    at: dict[str, Any] = {"model": model, "precision": precision, "device": device, "offload": offload}
    # What was exported is asked in its runtime, without the base, so that there is nothing to compare it with.
    if is_run(adapter):
        evaluation = _evaluated(opened(adapter, **at), battery, context=context, tell=tell)
    else:
        loading = Loading(trust_remote_code=trust_remote_code, **at)
        evaluation = measure(
            adapter, battery, against_base=against_base, loading=loading, batch_size=batch_size, context=context, tell=tell,
        )  # fmt: skip
    if out is not None:
        write_json(Path(out), evaluation.as_dict())
    return evaluation


def _check_out(out: str | Path | None, reads: Sequence[str | Path], *, force: bool) -> None:
    """Raise `UsageError` where an evaluation cannot be written, before hours of it."""
    from afina.errors import UsageError
    from afina.outputs import check_outputs

    check_outputs((out,), reads, force=force)
    if out is not None and not Path(out).resolve().parent.is_dir():
        raise UsageError(f"--out: the folder {Path(out).resolve().parent} does not exist.")


def _evaluated(export: "OpenedExport", battery: "Battery", *, context: int | None, tell: Tell) -> "Evaluation":
    """Measure what was exported, in its runtime and alone: its base is not beside it."""
    from afina.errors import UsageError
    from afina.evaluation.evaluate import evaluate_alone
    from afina.export.opened import WritingExport
    from afina.export.speech import ExportSpeaker

    if not isinstance(export, WritingExport):
        raise UsageError(
            f"{export.folder} was exported, and what is evaluated here are language models; `afina export --check "
            f"{export.folder} --data FILE` measures what it answers."
        )
    speaker = ExportSpeaker(export, context=context, tick=lambda done, total: tell(f"{done:,} of {total:,}"))
    return evaluate_alone(
        str(export.folder), speaker, battery, template=None if export.task.template is None else export.template,
        facts={"runtime": export.runs_in, "precision": export.manifest.precision}, notes=export.notes,
    )  # fmt: skip


def export(
    adapter: str | Path | Sequence[str | Path],
    to: str,
    out: str | Path | None = None,
    *,
    data: str | None = None,
    rows: int = 200,
    model: str | None = None,
    language: str | None = None,
    force: bool = False,
    push: str | None = None,
    public: bool = False,
    tell: Tell = lambda status: None,
    **options: Any,
) -> "Exported":
    """Export an adapter `to` a form that other programs load, compared with what was tested before the folder stands.

    Its card (README.md) is in `language`, else in that of the adapter's; with `force` an export that is there is replaced,
    what a person wrote into its card kept. With `push` it is then uploaded to the hub under that name, where only its
    owner sees it unless `public`. `options` are the target's own, such as `rank` of "lora". Several adapters of one base
    become one graph, which takes each row's by its number. Raises `AfinaError`, and leaves no folder, where what is exported
    is not what was tested.
    """
    from afina.errors import UsageError
    from afina.export.target import folder_of, make_target

    several = one_or_more(adapter)
    if len(several) > 1 and data is not None:
        raise UsageError("Several adapters are compared each on its own test rows: leave out --data.")

    # What is wrong is said before torch is imported, which takes seconds.
    folder_of(Path(several[0]), make_target(to, options).name, None if out is None else Path(out), force=force)
    if public and push is None:
        raise UsageError("--public says who sees what --push uploads; give the two together.")
    from afina.export.push import place_for
    from afina.export.push import push as upload

    # The hub is asked for the name first: a login that lacks would be noticed only after the work.
    place = None if push is None else place_for(push, public=public)
    from afina.export.export import Out, export_adapter

    where = Out(out, force, language)
    if len(several) > 1:
        from afina.export.export_several import export_several

        made = export_several(several, to, out=where, rows=rows, model=model, tell=tell, **options)
    else:
        made = export_adapter(several[0], to, out=where, data=data, rows=rows, model=model, tell=tell, **options)
    return made if place is None else replace(made, pushed=upload(made.folder, place, tell=tell))


def check_export(folder: str | Path, data: str | None = None, *, model: str | None = None) -> "CheckedExport":
    """Look again at a folder that `export` wrote for another program, at any later time and without the adapter.

    Its files are held against their digests, it is opened in its runtime and asked what it was asked then; with `data` it is
    measured on the data set's test rows. An adapter alone is put onto its base, or onto `model`, a file of that. Raises
    `AfinaError` where it is damaged or gives something else than it did.
    """
    from afina.export.check import check_export as check

    return check(folder, data, base=model)


def card(adapter: str | Path, *, language: str | None = None) -> "WrittenCard":
    """Write an adapter's model card anew, or where there is none; what a person wrote into it stays.

    It is in the `language` of the card that is there unless told. Raises `UsageError` for what is no adapter of Afina's or
    PEFT's, and for an export, whose card its export writes.
    """
    from afina.adapters.format import format_of
    from afina.card.write import language_of_card, write_card_of
    from afina.predictor.load import load
    from afina.words.language import check_language

    if language is not None:
        check_language(language)
    folder = Path(adapter)
    record = format_of(folder).record(folder)
    if not record.task:  # of another program, which says it by what the base is loaded as
        record = load(folder).record
    return write_card_of(folder, record, language=language or language_of_card(folder))


def push(
    folder: str | Path, name: str, *, public: bool = False, model: str | None = None, tell: Tell = lambda status: None
) -> "Pushed":
    """Upload an adapter or an export to the hub under a name, with its card: private unless `public`.

    It is opened first: an adapter on its base, or on `model`, an export in its runtime. Raises
    `UsageError` before any work where nobody is logged in or the name is another's, `AfinaError` where the hub refuses.
    """
    from afina.export.push import place_for
    from afina.export.push import push as upload

    # Name and login are refused at once; opening it takes as long as loading a model.
    place = place_for(name, public=public)
    tell("opening it")
    from afina.export.verify import verify

    verify(Path(folder), model=model)
    return upload(Path(folder), place, tell=tell)
