"""Plan studies, carry them out, report on them and ask them for advice."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afina.one_or_more import one_or_more

if TYPE_CHECKING:
    from afina.config import StudyConfig
    from afina.report.moved import Moved
    from afina.report.write import ReportFiles
    from afina.results.mistakes import Mistakes
    from afina.results.recommend import Recommendation
    from afina.results.result import Result
    from afina.results.result_list import Results
    from afina.study.catalogue import MethodEntry
    from afina.study.planned import Ahead, Plan
    from afina.study.study import Study

__all__ = ["Outcome", "inspect", "methods", "mistakes", "plan", "recommend", "report", "study", "train"]

Observer = Callable[[Any], None]


def _unseen(event: Any) -> None:
    """Look at nothing that happens."""


@dataclass(frozen=True)
class Outcome:
    """A study that was carried out: its folder, the results of its runs and its report."""

    directory: Path
    results: "Results"
    report: "ReportFiles"

    @property
    def failed(self) -> "list[Result]":
        """Return the results of the runs that failed, each with its `error`."""
        return [result for result in self.results if result.status == "failed"]

    @property
    def untried(self) -> "list[Result]":
        """Return the results whose learning rate was chosen without some trials; the same study tries those again."""
        return [result for result in self.results if result.untried]

    @property
    def unaudited(self) -> "Mapping[str, str]":
        """Return the audits of the study that could not be made, each with the reason; the same study tries them again."""
        from afina.results.findings.audited import failed_audits

        return failed_audits(self.directory)

    @property
    def finished(self) -> "list[Result]":
        """Return the results of the runs that were trained and tested."""
        return [result for result in self.results if result.is_finished]

    @property
    def adapters(self) -> list[Path]:
        """Return the folders of the adapters that were trained."""
        return [self.directory / str(result.adapter) for result in self.finished]


def study(
    file: "str | Path | StudyConfig | Study | None" = None,
    out: str | Path | None = None,
    *,
    language: str = "en",
    reference: str | Path | None = None,
    observer: Observer = _unseen,
    **keys: Any,
) -> Outcome:
    """Carry out a study, or go on with it, and write its report; takes a study file, or its keys and the folder `out`.

    Without `out` the folder is called after the file. The observer is told what happens; `afina.Progress()` shows it.
    """
    from afina.words.language import check_language

    # Before the study runs: its report is written at the end.
    check_language(language)
    made = _study_of(file, out, keys)
    results = made.run(observer)
    files = report(made.directory, language=language, reference=reference)
    made.track_report([files.html], observer)
    return Outcome(made.directory, results, files)


def train(
    file: str | Path | None = None,
    out: str | Path | None = None,
    *,
    language: str = "en",
    observer: Observer = _unseen,
    **keys: Any,
) -> Outcome:
    """Train one adapter: a study of one run, with `method` and `seed` for its lists; it resumes like a study.

    Its `adapters` are that one, or none where it failed.
    """
    from afina.config import StudyConfig
    from afina.yaml_file import read_yaml

    if file is None:
        return study(out=out, language=language, observer=observer, **_of_one_run(keys, "train"))
    config = StudyConfig.parse(_of_one_run(read_yaml(Path(file)), str(file)), str(file))
    return study(config, out or Path(file).stem, language=language, observer=observer)


def _study_of(
    file: "str | Path | StudyConfig | Study | None", out: str | Path | None, keys: Mapping[str, Any]
) -> "Study":
    """Make the study that is asked for; what is wrong with its data is said before torch is imported, which takes seconds."""
    from afina.config import StudyConfig
    from afina.errors import UsageError
    from afina.study.data import read_ahead

    if file is not None and keys:
        raise UsageError("Give a study file or its keys, not both.")
    config: StudyConfig | None = None
    if isinstance(file, StudyConfig):
        config = file
    elif isinstance(file, str | Path):
        config, out = StudyConfig.read(Path(file)), out or Path(file).stem
    elif file is not None:
        return file
    if out is None:
        raise UsageError("Say with out= in which folder the study is to work.")
    # Read and checked here, as a slip in a column's name should cost no import of torch.
    if config is not None and not (Path(out) / "results.jsonl").exists():  # what has finished needs no data
        read_ahead(config)
    from afina.study.study import Study

    return Study(out, config, **keys)


def _of_one_run(values: Any, where: str) -> Any:
    """Return a study's keys for the keys of one run."""
    from afina.errors import UsageError

    if not isinstance(values, Mapping):
        return values  # the study's own check says what is wrong
    values = dict(values)
    # One word for one thing: both of them might say different things.
    for one, many in (("method", "methods"), ("seed", "seeds")):
        if one in values and many in values:
            raise UsageError(f"{where}: '{one}' and '{many}' say the same; leave '{many}' out.")
        if one in values:
            values[many] = [values.pop(one)]
    for key in ("model", "dataset", "methods", "seeds"):
        value = values.get(key)
        if isinstance(value, list) and len(value) == 1:
            # A list of one, as studies write it, names one.
            continue
        # `seeds: 3` is three seeds in a study file, not the third.
        if isinstance(value, list) or (key == "seeds" and isinstance(value, int) and value != 1):
            raise UsageError(f"{where}: '{key}' should name one, as a run is one adapter; `afina study` takes several.")
    return values


def plan(
    file: "str | Path | StudyConfig | Study | None" = None,
    *,
    devices: str | Sequence[str] | None = None,
    prices: Mapping[str, str | float] | str | Sequence[str] | None = None,
    grid: str | float | None = None,
    ahead: "Callable[[Ahead], None]" = _unseen,
    tell: Callable[[str], None] = _unseen,
    **keys: Any,
) -> "Plan":
    """Predict memory, time and disk of every run on this machine; takes a study, a study file, or a study file's keys.

    With `devices` ("T4", "RTX 3060 12GB", "24GB", "8GB RAM, 4 cores"), or `prices` of some ({"T4": "0.35/h"}), it plans for
    those (`machines`), in money and energy too, and in CO2 with the `grid`'s factor ("0.1 kg/kWh").
    `ahead` is told what there is to know before anything is timed, `tell` what is being timed. Loads no weights. Raises
    `UsageError` for what is wrong with the study or its data.
    """
    from afina.study.planned import plan as planned

    return planned(file, devices=devices, prices=prices, grid=grid, ahead=ahead, tell=tell, **keys)


def methods(
    model: str | None = None, *, rank: int | None = None, classes: int = 2, trust_remote_code: bool = False
) -> "list[MethodEntry]":
    """Return every method; with a model, also what each trains on it for a task of `classes`, without loading weights."""
    from afina.study.catalogue import catalogue

    return catalogue(model, classes=classes, settings={"rank": rank}, trust_remote_code=trust_remote_code)


def report(
    directory: "str | Path | Study", *, language: str = "en", reference: str | Path | None = None
) -> "ReportFiles":
    """Write the report.html and tables (Markdown, CSV, LaTeX) of a study, or a comparison of ways; return where they are."""
    from afina.report.ways import write_ways_report
    from afina.report.write import write_report
    from afina.results.comparison import is_comparison
    from afina.results.folder import folder_of

    if is_comparison(folder_of(directory)):
        return write_ways_report(folder_of(directory), language=language)

    return write_report(directory, language=language, reference=reference)


def mistakes(directory: "str | Path | Study", run: str) -> "Mistakes":
    """Return what a run got wrong: by class, what is taken for what, and row by row."""
    from afina.results.mistakes import read_mistakes

    return read_mistakes(directory, run)


def inspect(run: str | Path, *, page: str | Path | None = None, force: bool = False, language: str = "en") -> "Moved":
    """Measure how a run's parameters moved, from the steps that its study kept (`keep_checkpoints`); `page` is written.

    Raises `UsageError` for a folder that kept none.
    """
    from afina.outputs import check_outputs
    from afina.report.moved import read_moved
    from afina.report.moved_page import moved_page
    from afina.whole_file import write_text

    check_outputs([page], [run], force=force)
    moved = read_moved(Path(run))
    if page is not None:
        write_text(Path(page), moved_page(moved, language))
    return moved


def recommend(
    directory: "str | Path | Study",
    *,
    memory: str | float | None = None,
    minutes: float | None = None,
    metric: str | None = None,
    minimum: float | None = None,
    model: str | None = None,
    dataset: str | None = None,
    no_worse_than_base: str | Sequence[str] = (),
    language: str = "en",
) -> "Recommendation":
    """Choose one of a study's methods within a person's limits, with the reason, the runner-up and what is left out.

    `memory` is an amount such as "4GB", or a number of bytes; `no_worse_than_base` names audits that lie in its folder.
    """
    from afina.results.recommend import parse_memory
    from afina.results.recommend import recommend as choose
    from afina.words.language import Words

    no_worse_than_base = one_or_more(no_worse_than_base)
    if no_worse_than_base:
        # Imported where it is asked for: a recommendation needs no audit's code.
        from afina.study.audits import AUDITS

        for name in no_worse_than_base:
            AUDITS.named(name)
    most = parse_memory(memory) if isinstance(memory, str) else memory
    return choose(
        directory, memory_bytes=most, minutes=minutes, metric=metric, minimum=minimum,
        only={"model": model, "dataset": dataset}, no_worse_than_base=no_worse_than_base, words=Words(language),
    )  # fmt: skip
