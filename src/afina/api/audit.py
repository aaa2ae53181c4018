"""Audits: what a trained adapter gives away of its training data."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from afina.one_or_more import one_or_more

if TYPE_CHECKING:
    from afina.audit.bias.questions import BiasSettings
    from afina.audit.bias.run import BiasAudit
    from afina.audit.leak import LeakSettings
    from afina.audit.run import LeakAudit
    from afina.dataset_spec import DatasetSpec
    from afina.results.findings.audited import Audited

__all__ = ["audit_files", "bias", "canaries", "leak"]


def leak(
    target: str | Path,
    settings: "LeakSettings | None" = None,
    *,
    train: str | Path | None = None,
    held_out: str | Path | None = None,
    canaries: str | Path | None = None,
    columns: "DatasetSpec | None" = None,
    model: str | None = None,
    device: str = "auto",
    precision: str | None = None,
    trust_remote_code: bool = False,
    out: str | Path | None = None,
    cards: bool = False,
    force: bool = False,
    language: str = "en",
    tell: Callable[[str], None] = lambda status: None,
) -> "LeakAudit":
    """Measure what an adapter that writes, or each of a study's, gives away of its training rows.

    `train` and `held_out` are files of rows with their `columns`; by default they are the study's. `canaries` is the manifest
    of what was planted. Into the folder `out` leak.json and leak.html (in `language`) are written, into a file out.json the
    figures alone; over what is there only with `force`. With `cards` the verdict stands in the adapters' cards, too.
    """
    from afina.audit.run import audit_leak
    from afina.audit.targets import Looking
    from afina.outputs import check_outputs
    from afina.predictor.loading import Loading
    from afina.words.language import check_language

    check_language(language)
    # Where the files go is settled before the audit, which takes long, and checked with what it reads.
    files = [] if out is None else audit_files("leak", out)
    check_outputs(files, (train, held_out, canaries), force=force)
    loading = Loading(model=model, device=device, precision=precision, trust_remote_code=trust_remote_code)
    audit = audit_leak(
        target, train=train, held_out=held_out, canaries=canaries, columns=columns, settings=settings,
        how=Looking(loading, tell),
    )  # fmt: skip
    _write(audit, files, language)
    if cards:
        from afina.audit.in_cards import write_into_cards

        notes = [own.note for own in write_into_cards(audit.leaks) if own.note is not None]
        audit = replace(audit, notes=[*audit.notes, *notes])
    return audit


def bias(
    target: str | Path,
    settings: "BiasSettings | None" = None,
    *,
    file: str | Path | None = None,
    columns: "DatasetSpec | None" = None,
    model: str | None = None,
    device: str = "auto",
    precision: str | None = None,
    trust_remote_code: bool = False,
    out: str | Path | None = None,
    force: bool = False,
    language: str = "en",
    tell: Callable[[str], None] = lambda status: None,
) -> "BiasAudit":
    """Measure what an adapter that gives classes or writes, or each of a study's, does to one group and not to another.

    `file` has labelled rows with their `columns`; by default they are the study's test rows. Into the folder `out` bias.json
    and bias.html (in `language`) are written, into a file out.json the figures alone; over what is there only with `force`.
    """
    from afina.audit.bias.questions import BiasSettings
    from afina.audit.bias.run import audit_bias
    from afina.outputs import check_outputs
    from afina.predictor.loading import Loading
    from afina.words.language import check_language

    check_language(language)
    settings = settings or BiasSettings()
    files = [] if out is None else audit_files("bias", out)
    given = [text.partition("=")[2] or None for text in settings.sets]
    check_outputs(files, (file, settings.words, *given), force=force)
    loading = Loading(model=model, device=device, precision=precision, trust_remote_code=trust_remote_code)
    audit = audit_bias(target, settings, rows=file, columns=columns, loading=loading, tell=tell)
    _write(audit, files, language)
    return audit


def audit_files(name: str, out: str | Path) -> list[Path]:
    """Return what an audit writes into `out`: a folder gets its JSON and its page, a file out.json the figures alone."""
    place = Path(out)
    return [place] if place.suffix == ".json" else [place / f"{name}.json", place / f"{name}.html"]


def _write(audited: "Audited", files: Sequence[Path], language: str) -> None:
    """Write an audit as JSON for programs, and as a page for people; the figures are the same object's."""
    from afina.results.findings.page import page
    from afina.whole_file import write_text

    for path in files:
        if path.suffix == ".html":
            write_text(path, page(audited, language))
        else:
            audited.write(path)


def canaries(
    data: str | Path,
    out: str | Path,
    *,
    count: int = 4,
    repeat: int | Sequence[int] = (1, 4, 16),
    symbols: str = "0123456789",
    length: int = 8,
    columns: "DatasetSpec | None" = None,
    seed: int = 0,
    force: bool = False,
) -> Path:
    """Plant rows with random secrets in a copy of training data, and return the manifest, which is to be kept apart."""
    from afina.audit.canaries import Planting, plant

    repeat = one_or_more(repeat)
    planting = Planting(count=count, repeat=repeat, symbols=symbols, length=length, seed=seed)
    return plant(data, out, planting, columns=columns, force=force)
