"""Make quantised checkpoints, and say what was lost by it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afina.one_or_more import one_or_more

if TYPE_CHECKING:
    from afina.quantisation.report import QuantisedReport

__all__ = ["quantise"]

Tell = Callable[[str, int, int | None], None]


def quantise(
    model: str | Path,
    out: str | Path | None = None,
    *,
    bits: int = 4,
    method: str | None = None,
    group: int | None = None,
    act_order: bool = False,
    symmetric: bool = True,
    calibration: str | Path | None = None,
    column: str | None = None,
    samples: int = 128,
    length: int = 512,
    damp: float = 0.01,
    seed: int = 0,
    report: bool = False,
    original: str | None = None,
    text: str | Path | Sequence[str | Path] = (),
    tasks: str | Path | Sequence[str | Path] = (),
    limit: int | None = None,
    device: str = "auto",
    trust_remote_code: bool = False,
    force: bool = False,
    tell: Tell = lambda what, done, total: None,
) -> "QuantisedReport":
    """Quantise a plain model into the folder `out`, layer by layer from its files, and report what was lost.

    `method` is gptq unless another is named. `calibration` is a file of texts (in its `column`), of which `samples` pieces
    of `length` tokens go through the layers. On `text` files perplexity is measured before and after, on `tasks` benchmarks,
    as `afina.evaluate` does, of each the first `limit` items. With `report` a checkpoint that is there, whoever made it, is
    reported on alone, beside the `original` where that is given. Killed, the same call goes on. Raises `UsageError` or
    `AfinaError`, in one sentence, for what cannot be.
    """
    from afina.backbone.model_files import device_named
    from afina.quantisation.report import report_of
    from afina.quantisation.way import USUAL_WAY, QuantiseSettings

    text, tasks = one_or_more(text), one_or_more(tasks)
    name, place = str(model), device_named(device)
    folder = _folder_of(out, calibration, original, report=report)
    if folder is None:
        made, before = report_of(name, original, trust_remote_code=trust_remote_code), original
    else:
        settings = QuantiseSettings(
            bits=bits, method=method or USUAL_WAY, group=group, act_order=act_order, symmetric=symmetric, samples=samples,
            length=length, damp=damp, seed=seed,
        )  # fmt: skip
        texts = _texts(settings, calibration, column)
        if text or tasks:
            _check_measures(name, text, tasks, limit, trust_remote_code)
        from afina.quantisation.make import quantise_model

        quantise_model(
            name, folder, settings, texts, device=place, trust_remote_code=trust_remote_code, force=force, tell=tell
        )
        made, before = report_of(str(folder), trust_remote_code=trust_remote_code), name
    if text or tasks:
        measured = _measured(made.folder, before, text, tasks, limit, place, trust_remote_code, tell)
        made = replace(made, measured=measured)
    return made


def _folder_of(
    out: str | Path | None, calibration: str | Path | None, original: str | None, *, report: bool
) -> Path | None:
    """Return the folder that is to be written, None for a report alone; raises `UsageError` for what does not go together."""
    from afina.errors import UsageError

    if report:
        if out is not None or calibration is not None:
            raise UsageError("--report says what there is of a checkpoint: leave --out and --calibration out.")
        return None
    if out is None:
        raise UsageError("Say by --out into which folder the quantised model is to be written.")
    if original is not None:
        raise UsageError("--original is what a checkpoint was made of, for --report.")
    return Path(out)


def _check_measures(
    name: str, text: Sequence[str | Path], tasks: Sequence[str | Path], limit: int | None, trust_remote_code: bool
) -> None:
    """Raise `UsageError`, before hours of work, for what cannot be measured, or on this model."""
    from afina.backbone.load import model_class, read_config
    from afina.evaluation.evaluate import Battery

    model_class(read_config(name, trust_remote_code=trust_remote_code), speaks=True)
    Battery(text=text, tasks=tasks, limit=limit).read()


def _texts(settings: Any, calibration: str | Path | None, column: str | None) -> list[str]:
    """Read what is calibrated on; raises `UsageError` where there has to be something, and is not."""
    from afina.data.labelled import read_texts
    from afina.errors import UsageError
    from afina.quantisation.way import WAYS

    if calibration is None and WAYS[settings.method].needs_inputs:
        raise UsageError(
            f"{settings.method} rounds weights by what a model reads: give texts by --calibration FILE, or take --method rtn."
        )
    texts = (
        [text for text, _ in read_texts(Path(calibration), column, named_by="--column")]
        if calibration is not None
        else []
    )
    if calibration is not None and not any(text.strip() for text in texts):
        raise UsageError(f"{calibration} holds no text to calibrate on.")
    return texts


def _measured(
    folder: str, before: str | None, text: Sequence[str | Path], tasks: Sequence[str | Path], limit: int | None,
    device: str, trust_remote_code: bool, tell: Tell,
) -> Any:  # fmt: skip
    from afina.evaluation.evaluate import Battery, evaluate, evaluate_beside
    from afina.predictor.loading import Loading

    battery = Battery(text=text, tasks=tasks, limit=limit)
    loading = Loading(device=device, trust_remote_code=trust_remote_code)

    def said(status: str) -> None:
        tell(status, 0, None)

    if before is None:
        return evaluate(folder, battery, loading=loading, tell=said)
    return evaluate_beside(folder, before, battery, loading=loading, tell=said)
