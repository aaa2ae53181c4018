"""`afina watch`: what has changed since an adapter's release."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from afina.cli.command import PANELS, command
from afina.cli.options import Adapter, BaseModel, BatchSize, Device, FailAbove, Force, Format, Language, Precision, Seed
from afina.cli.terminal import console_for, note, print_json, show_file, working

if TYPE_CHECKING:
    pass

__all__ = ["watch"]


@command("watch", panel=PANELS[2])
def watch(
    adapter: Adapter,
    rows: Annotated[
        list[Path] | None,
        typer.Argument(metavar="ROWS...", help="Files of new rows, folders that grow, or a log of afina serve."),
    ] = None,
    window: Annotated[
        int | None, typer.Option("--window", min=1, help="Rows of a window; default: a file is a window.")
    ] = None,
    every: Annotated[
        str | None, typer.Option("--every", help="Windows of time: hour, day, week or month (UTC), by --time or a log.")
    ] = None,
    season: Annotated[
        str | None,
        typer.Option(
            "--season", help="Compare like with like: hour, weekday or month; the first of each is learned from."
        ),
    ] = None,
    most: Annotated[
        int, typer.Option("--most", min=1, help="Rows of a window that are looked at; of more, so many are drawn.")
    ] = 2000,
    false_alarms: Annotated[
        float,
        typer.Option("--false-alarms", help="The probability that --over windows without change raise any alarm."),
    ] = 0.05,
    over: Annotated[int, typer.Option("--over", min=1, help="Windows that --false-alarms is of.")] = 52,
    last: Annotated[
        int | None,
        typer.Option("--last", min=1, help="Have findings, and the exit code, be of the last windows alone."),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="FILE", help="Right answers that came later, by the rows' ids.")
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", help="The column of texts; default: the adapter's (several with commas).")
    ] = None,
    text_pair: Annotated[str | None, typer.Option("--text-pair", help="The column of second texts.")] = None,
    label: Annotated[
        str | None, typer.Option("--label", help="The column of right answers; default: the adapter's, if there.")
    ] = None,
    time: Annotated[str | None, typer.Option("--time", help="The column that says when a row came.")] = None,
    id: Annotated[
        str | None, typer.Option("--id", help="The column of ids, in rows and --labels; default: id.")
    ] = None,
    group: Annotated[
        str | None, typer.Option("--group", help="A column of groups, whose shares of right answers are compared.")
    ] = None,
    adapter_name: Annotated[
        str | None,
        typer.Option("--adapter-name", metavar="NAME", help="The adapter's name in a log; default: its own."),
    ] = None,
    texts: Annotated[
        bool | None,
        typer.Option(
            "--texts/--no-texts", help="Quote the rows most unlike those before; default: not those of a log."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Write watch.json, watch.html and watch.prom; what was seen is kept."
        ),
    ] = None,
    make_reference: Annotated[
        Path | None,
        typer.Option("--make-reference", metavar="FILE", help="Make what is compared with of rows not trained on."),
    ] = None,
    train: Annotated[
        Path | None, typer.Option("--train", metavar="FILE", help="The train rows, for --make-reference.")
    ] = None,
    fail_above: FailAbove = None,
    seed: Seed = 0,
    batch_size: BatchSize = 32,
    model: BaseModel = None,
    device: Device = "auto",
    precision: Precision = None,
    force: Force = False,
    language: Language = "en",
    format: Format = "table",
) -> None:
    """Tell what has changed since an adapter's release: texts, words, languages, answers, and how often they are right.

    Example: `afina watch results/runs/RUN/adapter incoming/ --out watch/ --fail-above 0 --last 1`

    New rows are compared window by window with the test rows whose figures training kept, at a rate of false alarms that
    holds for many windows. Without labels the share of right answers is estimated. `--fail-above 0` makes any alarm exit
    code 3.
    """
    console = console_for(format)
    from afina import api
    from afina.api.watching import watch_files
    from afina.audit.watch.settings import WatchSettings
    from afina.audit.watch.watched import WatchAudit
    from afina.cli.audit_shown import hold, limits_of, show_audit
    from afina.errors import UsageError
    from afina.words.language import Words

    words, limits = Words(language), limits_of(fail_above, WatchAudit)
    settings = WatchSettings(
        window=window, every=every, season=season, most=most, false_alarms=false_alarms, over=over, last=last, text=text,
        text_pair=text_pair, label=label, time=time, id=id, group=group, labels=labels, adapter_name=adapter_name,
        texts=texts, seed=seed, batch_size=batch_size,
    )  # fmt: skip
    if make_reference is not None:
        if rows:
            raise UsageError("--make-reference is given the rows that it is made of, and no others.")
        path = api.watch_reference(
            adapter, make_reference, settings, train=train, model=model, device=device, precision=precision, force=force
        )
        show_file(console, path)
        if train is None:
            note(
                console,
                words(
                    "no --train: half of these rows stand for the train rows, and would be too well known "
                    "if they were watched"
                ),
            )
        return
    if not rows:
        raise UsageError("Give new rows: files, folders, or a log of afina serve.")
    with working(console, words("starting"), words) as tell:
        audit = api.watch(
            adapter,
            rows,
            settings,
            model=model,
            device=device,
            precision=precision,
            out=out,
            language=language,
            tell=tell,
        )
    if format == "json":
        print_json(audit.as_dict())
    else:
        show_audit(console, audit, words)
    for path in () if out is None else watch_files(out):
        show_file(console, path)
    hold(console, audit, limits, words)
