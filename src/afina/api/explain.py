"""Explaining: which words decided an adapter's answers, and what a study's adapters go by."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afina.one_or_more import one_or_more

if TYPE_CHECKING:
    from afina.explanation.explained import Explained
    from afina.explanation.ways.base import AttributionWay
    from afina.explanation.whole import Whole

__all__ = ["explain", "explain_study"]


def explain(
    adapters: str | Path | Sequence[str | Path],
    texts: str | Sequence[str] = (),
    text_pairs: str | Sequence[str] | None = None,
    *,
    file: str | Path | None = None,
    text: str | None = None,
    text_pair: str | None = None,
    way: str = "integrated-gradients",
    steps: int | None = None,
    samples: int | None = None,
    label: str | None = None,
    word: str | None = None,
    following: str | None = None,
    contrast: bool = False,
    page: str | Path | None = None,
    model: str | None = None,
    device: str = "auto",
    precision: str | None = None,
    trust_remote_code: bool = False,
    force: bool = False,
    language: str = "en",
    seed: int = 0,
    tell: Callable[[str], None] = lambda status: None,
) -> "list[Explained]":
    """Tell which words of each text, or row of a file, decided the answer of one adapter, or of several.

    `text` and `text_pair` name the file's columns, by default the adapter's. `way` is `integrated-gradients`,
    `gradient-input`, `occlusion` or `shapley`, with its `steps` or `samples`. The answer is the one that the adapter
    gives, or `label`; of a tagger the tags of all words, or of `word`; of a writer the first word that it writes, or
    `following`. `contrast` asks the bare base too. `page` is written as HTML.

    Raises `UsageError` for an empty text, for what has no gradients where the way needs them, and for a base that is gone.
    """
    from afina.explanation.explained import explained
    from afina.explanation.kinds.base import WantedAnswer
    from afina.explanation.page import explained_page
    from afina.outputs import check_outputs
    from afina.predictor.loading import Loading
    from afina.whole_file import write_text

    texts, text_pairs = one_or_more(texts), one_or_more(text_pairs)
    folders = one_or_more(adapters)
    _refuse_exports(folders)
    given, pairs = _given(texts, text_pairs, file, (text, text_pair), Path(folders[0]))
    check_outputs([page], [*folders, file], force=force)
    wanted = WantedAnswer(label=label, word=word, following=following)
    made = _way(way, {"steps": steps, "samples": samples, "seed": seed})
    loading = Loading(model=model, device=device, precision=precision, trust_remote_code=trust_remote_code)
    explanations = []
    for folder in folders:
        tell("loading the model")
        # One after another: an adapter that owns its base cannot share it, and the others load it in a moment.
        predictor = loading.load(folder)
        explanations.append(explained(predictor, given, pairs, made, wanted, contrast=contrast, seed=seed, tell=tell))
    if page is not None:
        write_text(Path(page), explained_page(explanations, language))
    return explanations


def _refuse_exports(folders: Sequence[str | Path]) -> None:
    from afina.errors import UsageError
    from afina.export.runtime import is_run

    if exported := [folder for folder in folders if is_run(folder)]:
        raise UsageError(
            f"{exported[0]} is an export, which has no gradients and no hooks: explain the adapter that it was made of."
        )


def _given(
    texts: Sequence[str], pairs: Sequence[str] | None, file: str | Path | None,
    columns: tuple[str | None, str | None], adapter: Path,
) -> tuple[list[str], list[str] | None]:  # fmt: skip
    """Return what is to be explained; raises `UsageError` for nothing, or too much."""
    from afina.data.predicting.asked import asked_texts, read_asked
    from afina.errors import UsageError

    given = list(texts)
    if file is not None and given:
        raise UsageError("Give texts or --file, not both.")
    if file is None and any(columns):
        raise UsageError("--text and --text-pair name columns of --file; give one.")
    if file is not None and pairs:
        raise UsageError("--pair stands beside texts; of a file, --text-pair names the column of second texts.")
    asked = asked_texts(given, pairs) if file is None else read_asked(Path(file), *columns, adapter=adapter)
    rows = list(asked.text)
    if not rows:
        raise UsageError("There is no text to explain; give one, or a file of them.")
    return rows, None if asked.text_pair is None else [pair or "" for pair in asked.text_pair]


def explain_study(
    study: str | Path,
    *,
    way: str = "integrated-gradients",
    steps: int | None = None,
    samples: int | None = None,
    run: str | None = None,
    rows: int = 100,
    train_rows: int = 300,
    wrong: int = 5,
    page: str | Path | None = None,
    model: str | None = None,
    device: str = "auto",
    precision: str | None = None,
    trust_remote_code: bool = False,
    force: bool = False,
    language: str = "en",
    seed: int = 0,
    tell: Callable[[str], None] = lambda status: None,
) -> "list[Whole]":
    """Tell what a study's classifiers go by: decisive words by class, errors in groups, the surest that are wrong.

    And the train rows that pull towards these answers, by the cosine of gradients at the adapter's parameters. Of each
    model, data set and method the first seed's run is looked at, or `run` alone; `rows` test rows are explained and
    `train_rows` looked at, drawn with the labels' shares. Raises `UsageError` for a folder without such a run.
    """
    from afina.explanation.whole import WholeSettings, explain_runs
    from afina.explanation.whole_page import whole_page
    from afina.outputs import check_outputs
    from afina.predictor.loading import Loading
    from afina.whole_file import write_text

    check_outputs([page], [study], force=force)
    chosen = WholeSettings(run=run, rows=rows, train_rows=train_rows, wrong=wrong, seed=seed)
    loading = Loading(model=model, device=device, precision=precision, trust_remote_code=trust_remote_code)
    explanations = explain_runs(
        Path(study), _way(way, {"steps": steps, "samples": samples, "seed": seed}), chosen, loading, tell
    )
    if page is not None:
        write_text(Path(page), whole_page(explanations, language))
    return explanations


def _way(name: str, settings: dict[str, Any]) -> "AttributionWay":
    """Make a way of attributing of those settings that are its own; raises `UsageError` for an unknown name."""
    from afina.explanation.ways.base import WAYS
    from afina.settings import checked_settings

    cls: Any = WAYS.named(name)
    known = {entry.name for entry in fields(cls)}
    # A seed is everybody's; what else another way has is refused by its name.
    given = {key: value for key, value in settings.items() if value is not None and (key != "seed" or key in known)}
    return cls(**checked_settings(cls, name, given))  # type: ignore[no-any-return]
