"""Watching: what has changed in the rows of an adapter since its release."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from afina.one_or_more import one_or_more

if TYPE_CHECKING:
    from afina.audit.watch.settings import WatchSettings
    from afina.audit.watch.watched import WatchAudit

__all__ = ["watch", "watch_files", "watch_reference"]


def watch(
    adapter: str | Path,
    rows: str | Path | Sequence[str | Path],
    settings: "WatchSettings | None" = None,
    *,
    model: str | None = None,
    device: str = "auto",
    precision: str | None = None,
    trust_remote_code: bool = False,
    out: str | Path | None = None,
    language: str = "en",
    tell: Callable[[str], None] = lambda status: None,
) -> "WatchAudit":
    """Compare rows that came after an adapter's release with those that it was tested on, window by window.

    `rows` are files, folders that grow, or logs of `afina serve`. Into the folder `out` watch.json, watch.html (in
    `language`) and watch.prom are written, in the place of earlier ones, and figures of the rows (no text), so that a window
    that was looked at before is not answered again. Raises `UsageError` for an adapter without a reference.
    """
    from afina.audit.watch.page import time_line
    from afina.audit.watch.prometheus import as_prometheus
    from afina.audit.watch.run import watch_adapter
    from afina.audit.watch.settings import WatchSettings
    from afina.predictor.loading import Loading
    from afina.results.findings.page import page
    from afina.whole_file import write_text
    from afina.words.language import Words

    words = Words(language)
    files = [] if out is None else watch_files(out)
    _check_ours(files)
    paths = [Path(own) for own in one_or_more(rows)]
    loading = Loading(model=model, device=device, precision=precision, trust_remote_code=trust_remote_code)
    audit = watch_adapter(
        Path(adapter), paths, settings or WatchSettings(), loading=loading,
        cache_folder=None if out is None else Path(out) / "seen", tell=tell,
    )  # fmt: skip
    for path in files:
        if path.suffix == ".html":
            write_text(path, page(audit, language, drawn=time_line(audit, words)))
        elif path.suffix == ".prom":
            write_text(path, as_prometheus(audit))
        else:
            audit.write(path)
    return audit


def watch_files(out: str | Path) -> list[Path]:
    """Return what `watch` writes into the folder `out`, beside figures of the rows."""
    return [Path(out) / f"watch.{ending}" for ending in ("json", "html", "prom")]


def _check_ours(files: Sequence[Path]) -> None:
    """Raise `UsageError` where a file would be replaced that an earlier watch did not write."""
    from afina.errors import AfinaError, UsageError
    from afina.json_files import read_json_object

    if files and files[0].parent.is_file():
        raise UsageError(f"{files[0].parent} is a file, where a folder should be; choose another.")
    there = [path for path in files if path.exists()]
    if not there:
        return
    try:
        ours = read_json_object(files[0]).get("audit") == "watch"
    except (FileNotFoundError, AfinaError):
        ours = False
    if not ours:
        raise UsageError(f"{there[0]} is there already and no earlier watch's; choose another folder.")


def watch_reference(
    adapter: str | Path,
    rows: str | Path,
    settings: "WatchSettings | None" = None,
    *,
    train: str | Path | None = None,
    model: str | None = None,
    device: str = "auto",
    precision: str | None = None,
    trust_remote_code: bool = False,
    force: bool = False,
) -> Path:
    """Make what `watch` compares with, of rows that the adapter was not trained on; return the file in its folder.

    With the `train` rows' file new words are told by it, else by half of `rows`. Over one that is there only with `force`.
    """
    from afina.audit.watch.run import reference_of_rows
    from afina.audit.watch.settings import WatchSettings
    from afina.drift.reference import FILE
    from afina.outputs import check_outputs
    from afina.predictor.loading import Loading

    check_outputs([Path(adapter) / FILE], [rows, train], force=force)
    loading = Loading(model=model, device=device, precision=precision, trust_remote_code=trust_remote_code)
    return reference_of_rows(
        Path(adapter),
        Path(rows),
        settings or WatchSettings(),
        train=None if train is None else Path(train),
        loading=loading,
    )
