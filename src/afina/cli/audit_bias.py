"""`afina audit bias`: what differs between groups of people in an adapter's answers."""

from pathlib import Path
from typing import Annotated

import typer

from afina.cli.audit import columns_of
from afina.cli.audit_shown import hold, limits_of, show_audit
from afina.cli.command import PANELS, command
from afina.cli.options import BaseModel, Device, FailAbove, Force, Format, Label, Language, Precision, Seed, Text
from afina.cli.terminal import console_for, print_json, show_file, working

__all__ = ["bias"]


@command("audit bias", panel=PANELS[2])
def bias(
    target: Annotated[str, typer.Argument(metavar="ADAPTER|STUDY", help="An adapter's folder, or a study's.")],
    file: Annotated[
        Path | None, typer.Option("--rows", metavar="FILE", help="Labelled rows; default: its study's test rows.")
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option("--group", metavar="COLUMN", help="A column of groups; several times.")
    ] = None,
    axis: Annotated[
        list[str] | None,
        typer.Option("--axis", help="gender, age, region, religion, race or income, by words; several times."),
    ] = None,
    word_file: Annotated[
        Path | None, typer.Option("--words", metavar="FILE", help="A YAML file of words in the place of Afina's own.")
    ] = None,
    fewest: Annotated[int, typer.Option("--fewest", min=5, help="Rows that a group needs to be tested.")] = 30,
    rows: Annotated[int, typer.Option("--most", min=10, help="Most rows looked at.")] = 2000,
    swap_rows: Annotated[int, typer.Option("--swap-rows", min=0, help="Most rows asked again in other words.")] = 200,
    intersections: Annotated[
        bool, typer.Option("--intersections/--no-intersections", help="Compare groups of two axes at once, too.")
    ] = True,
    base: Annotated[bool, typer.Option("--base/--no-base", help="Put the bare base beside, with a probe.")] = True,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME[=FILE]", help="moldes_pt, crows_pairs=FILE or bbq=FILE; several times."),
    ] = None,
    text: Text = None,
    label: Label = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR|FILE.json", help="Write bias.json and bias.html, or JSON alone."),
    ] = None,
    fail_above: FailAbove = None,
    seed: Seed = 0,
    model: BaseModel = None,
    device: Device = "auto",
    precision: Precision = None,
    force: Force = False,
    language: Language = "en",
    format: Format = "table",
) -> None:
    """Measure what adapters do to one group and not to another, beside the bare base and each other.

    Example: `afina audit bias study/ --axis gender --out audits/ --fail-above 0.05`

    Of classes, by group: wrong answers, how often a class is answered, false positives and negatives, certainty; the same
    texts said by people of different groups, and typed otherwise. Of what writes, and of encoders with a language head where
    sets are named: which sentences or answers it finds likelier. P-values are corrected for all tests of an adapter. A passed
    audit is not fairness.
    """
    console = console_for(format)
    from afina import api
    from afina.api.audit import audit_files
    from afina.audit.bias.questions import BiasSettings
    from afina.audit.bias.run import BiasAudit
    from afina.words.language import Words

    limits = limits_of(fail_above, BiasAudit)
    settings = BiasSettings(
        groups=tuple(axis or ()), columns=tuple(group or ()), words=None if word_file is None else str(word_file),
        fewest=fewest, rows=rows, swap_rows=swap_rows, intersections=intersections, base=base,
        sets=tuple(sets or ()), seed=seed,
    )  # fmt: skip
    words = Words(language)
    with working(console, words("starting"), words) as tell:
        audit = api.audit.bias(
            target, settings, file=file, columns=columns_of(file, text, None, None, label), model=model, device=device,
            precision=precision, out=out, force=force, language=language, tell=tell,
        )  # fmt: skip
    if format == "json":
        print_json(audit.as_dict())
    else:
        show_audit(console, audit, words)
    for path in () if out is None else audit_files("bias", out):
        show_file(console, path)
    hold(console, audit, limits, words)
