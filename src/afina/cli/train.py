"""`afina train`: one adapter."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    app.command(name="train")(train)


def train(
    file: Annotated[Path, typer.Argument(metavar="RUN.yaml", help="What to train; a study file with one of each.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to work; by default named after the file.")
    ] = None,
    language: Annotated[str, typer.Option("--language", help="Language of the report: en or pt.")] = "en",
) -> None:
    """Train one adapter: a study file with `method` and `seed` in place of lists; it resumes like a study.

    Example: `afina train tickets-lora.yaml --out tickets-lora`

    Exit code 0: trained, and the adapter is at the path printed last; 1: it failed; 2: the file or data need mending.
    """
    from afina.cli.study import run_and_report
    from afina.config import StudyConfig
    from afina.yaml_file import read_yaml

    config = StudyConfig.parse(_as_study(read_yaml(file), file), str(file))
    directory = out or Path(file.stem)
    run_and_report(config, directory, language)
    from afina.results.results_jsonl import read_results

    (result,) = read_results(directory)
    print(directory / str(result.adapter))


def _as_study(values: Any, file: Path) -> Any:
    from afina.errors import UsageError

    if not isinstance(values, Mapping):
        return values  # the study's own check says what is wrong
    values = dict(values)
    for one, many in (("method", "methods"), ("seed", "seeds")):
        if one in values and many in values:
            raise UsageError(f"{file}: '{one}' and '{many}' say the same; leave '{many}' out.")
        if one in values:
            values[many] = [values.pop(one)]
    for key in ("model", "dataset", "methods", "seeds"):
        value = values.get(key)
        if isinstance(value, list) and len(value) == 1:
            continue
        if isinstance(value, list) or (key == "seeds" and isinstance(value, int) and value != 1):
            raise UsageError(f"{file}: '{key}' should name one, as a run is one adapter; `afina study` takes several.")
    return values
