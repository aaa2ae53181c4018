"""Predictions: what an adapter answers to texts, or to the rows of a file."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afina.one_or_more import one_or_more

if TYPE_CHECKING:
    from afina.data.predicting.asked import Asked
    from afina.export.opened import OpenedExport
    from afina.predictor.loading import Loading
    from afina.predictor.predictor import Predictor
    from afina.serve.predict import AnswersOnDemand, Counts

__all__ = ["opened", "predict", "predict_file"]

Tick = Callable[[int, int | None], None]


def predict(
    adapter: "Predictor | str | Path",
    texts: str | Iterable[str] = (),
    *,
    pair: str | Sequence[str] | None = None,
    file: str | Path | None = None,
    text: str | None = None,
    text_pair: str | None = None,
    file_separator: str | None = None,
    encoding: str | None = None,
    choice: str | Sequence[str] | None = None,
    format: str | None = None,
    out: str | Path | None = None,
    keep: str | Sequence[str] | None = None,
    at_least: float | None = None,
    separator: str | None = None,
    batch_size: int = 32,
    model: str | None = None,
    device: str = "auto",
    precision: str | None = None,
    trust_remote_code: bool = False,
    offload: str | None = None,
    one: str | None = None,
    force: bool = False,
    tick: Tick = lambda done, total: None,
) -> "AnswersOnDemand":
    """Predict labels with their probabilities (numbers, entities) for texts, each with its `pair`, or a `file`'s rows.

    A file's columns are `text` and `text_pair`, of those that are left out the adapter's own; `file_separator` and `encoding`
    are recognised. `choice` are answers to choose from; below `at_least` a row gets no label and is left to a person. Answers
    come as they are looked at; with `out` all are written there (over what is there only with `force`) in its ending's
    `format`, with the columns to be kept and `separator` between them. Of an export of several adapters `one` names who
    answers; `offload` is that of `afina.load`. Raises `UsageError` for what is wrong with texts or file, before it is loaded.
    """
    from afina.data.predicting.predicted import check_at_least, check_separator, form_of, kept_columns
    from afina.outputs import check_outputs

    pair, choice, keep = one_or_more(pair), one_or_more(choice), one_or_more(keep)
    check_at_least(at_least)
    mark, target = check_separator(separator), None if out is None else Path(out)
    form = form_of(format, target)
    check_outputs((target,), (file,), force=force)
    # An adapter says in its folder which columns it was trained on.
    folder = Path(adapter) if isinstance(adapter, str | Path) else adapter.folder
    asked = (
        _texts(texts, pair, read_so=encoding or file_separator) if file is None
        else _rows(texts, Path(file), text, text_pair, folder, file_separator, encoding)
    )  # fmt: skip
    columns = kept_columns(asked, keep, form or "jsonl")  # by the file's head, before anything is answered
    from afina.predictor.loading import Loading
    from afina.serve.predict import AnswersOnDemand, RowByRow

    how = Loading(model=model, device=device, precision=precision, offload=offload, trust_remote_code=trust_remote_code)
    row_by_row = RowByRow(_answering(adapter, how, one), at_least, batch_size, choice)
    answers = AnswersOnDemand(row_by_row, asked, columns, mark)
    # Without a file the answers are made while they are looked at, and nothing is held.
    if target is not None:
        assert form is not None
        answers.write(target, form, tick)
    return answers


def _answering(adapter: "Predictor | str | Path", loading: "Loading", one: str | None) -> Any:
    """Return what answers: an adapter, an export, or `one` of an export's."""
    from afina.errors import UsageError
    from afina.export.runtime import is_run

    if isinstance(adapter, str | Path) and is_run(adapter):
        return opened(
            adapter,
            model=loading.model,
            precision=loading.precision,
            device=loading.device,
            offload=loading.offload,
            one=one,
        )
    # Of what is no export there is only one that could answer.
    if one is not None:
        raise UsageError(f"{adapter} is no export of several adapters: leave out --adapter {one}.")
    return loading.load(adapter) if isinstance(adapter, str | Path) else adapter


def opened(
    place: str | Path, *, model: str | None = None, precision: str | None = None, device: str = "auto",
    offload: str | None = None, one: str | None = None,
) -> "OpenedExport":  # fmt: skip
    """Open what was exported in its runtime; `model` is the base's file of an adapter alone, `one` is which of several.

    Raises `UsageError` for settings of an adapter's base model.
    """
    from afina.errors import UsageError
    from afina.export.opened import open_export

    if device not in ("auto", "cpu"):
        raise UsageError(f"{place} is an export, and runs on the processor here: it takes no --device {device}.")
    if precision is not None:
        raise UsageError(f"{place} is an export, which holds its weights as they are: it takes no --precision.")
    if offload is not None:
        raise UsageError(f"{place} is an export, which its runtime reads: it takes no --offload {offload}.")
    return open_export(place, base=model, adapter=one)


def _texts(texts: str | Iterable[str], pair: Sequence[str] | None, *, read_so: str | None) -> "Asked":
    """Ask for texts that were given, or for those that come one after another."""
    from afina.data.predicting.asked import asked_lines, asked_texts
    from afina.errors import UsageError

    if read_so is not None:
        raise UsageError("--encoding and --file-separator say how to read --file; give one.")
    if isinstance(texts, str):
        texts = [texts]
    # A list is known whole; lines that still come are answered one by one.
    if not isinstance(texts, Iterator):
        return asked_texts(texts, pair)  # type: ignore[arg-type]
    if pair is not None:
        raise UsageError("--pair goes with texts that are given; lines that still come have none.")
    return asked_lines(texts)


def _rows(
    texts: str | Iterable[str], file: Path, text: str | None, text_pair: str | None, adapter: Path,
    separator: str | None, encoding: str | None,
) -> "Asked":  # fmt: skip
    """Ask for a file's rows."""
    from afina.data.predicting.asked import read_asked
    from afina.errors import UsageError
    from afina.separator import separator_of

    if not isinstance(texts, list | tuple) or texts:
        raise UsageError("Give texts or --file, not both.")
    return read_asked(file, text, text_pair, adapter=adapter, separator=separator_of(separator), encoding=encoding)


def predict_file(
    adapter: "Predictor | str | Path",
    file: str | Path,
    out: str | Path,
    *,
    text: str | None = None,
    text_pair: str | None = None,
    keep: str | Sequence[str] | None = None,
    at_least: float | None = None,
    form: str | None = None,
    separator: str | None = None,
    batch_size: int = 32,
    file_separator: str | None = None,
    encoding: str | None = None,
    force: bool = False,
) -> "Counts":
    """Predict for every row of a file and write the answers into another; return how many rows became what.

    The form is that of `out`'s ending unless given. Tables have all of the file's columns beside the predictions unless
    `keep` names some; `file_separator` and `encoding` are the file's, `separator` is of what is written. With `force` it may
    take the place of a file that is there. Raises `UsageError` for what is wrong with the file, before the adapter is loaded.
    """
    answers = predict(
        adapter, file=file, out=out, text=text, text_pair=text_pair, keep=keep, at_least=at_least, format=form,
        separator=separator, batch_size=batch_size, file_separator=file_separator, encoding=encoding, force=force,
    )  # fmt: skip
    return answers.counts
