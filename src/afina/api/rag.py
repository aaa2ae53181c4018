"""Documents that are searched: an index of them, the passages that answer a question, and answers that cite them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afina.one_or_more import one_or_more

if TYPE_CHECKING:
    from afina.corpus.writers import TextWriter
    from afina.evaluation.comparing.config import CompareConfig
    from afina.generation.settings import GenerationSettings
    from afina.generation.writes import Writes
    from afina.report.write import ReportFiles
    from afina.results.comparison import WaysCompared
    from afina.retrieval.asking import Answer, QuestionPrompt
    from afina.retrieval.build import BuildReport
    from afina.retrieval.index import Hit
    from afina.retrieval.judged import JudgedQuestion
    from afina.retrieval.pairs import MadePairs
    from afina.retrieval.rows import ReadingRows
    from afina.retrieval.threshold import Threshold

__all__ = ["Compared", "ask", "compare", "index", "pairs", "rows", "search", "threshold", "writer_for"]

Tell = Callable[[str, int, int | None], None]


def index(
    documents: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    representation: str | None = None,
    parts: str | Sequence[str] | None = None,
    model: str | None = None,
    adapter: str | Path | None = None,
    pooling: str | None = None,
    similarity: str | None = None,
    precision: str | None = None,
    tokens: int | None = None,
    overlap: int | None = None,
    columns: str | Sequence[str] | None = None,
    text_language: str | None = None,
    near: float | None = None,
    store: str | None = None,
    seed: int | None = None,
    device: str = "auto",
    force: bool = False,
    tell: Tell = lambda what, done, total: None,
) -> "BuildReport":
    """Make an index of documents, files or folders with all below them, or bring one up to them.

    What changed is read again, what is gone goes, what moved keeps its vectors; a run that was broken off goes on. Settings
    (`IndexSettings` says what each is) are kept in the index: left out, an index keeps its own, and other ones are refused
    unless `force` makes it anew. `tell` is told what is being done, how much is done, and of how much. Raises `UsageError`
    in one sentence, and leaves what stands as it was.
    """
    from afina.retrieval.build import build_index

    parts, columns = one_or_more(parts), one_or_more(columns)
    places = one_or_more(documents)
    return build_index(
        places, out, device=device, force=force, tell=tell, representation=representation,
        parts=None if parts is None else tuple(parts), model=model, adapter=None if adapter is None else str(adapter),
        pooling=pooling, similarity=similarity, precision=precision, tokens=tokens, overlap=overlap,
        columns=None if columns is None else tuple(columns), text_language=text_language, near=near, store=store, seed=seed,
    )  # fmt: skip


def search(
    index: str | Path, question: str, *, most: int = 5, by: str | None = None, rerank: str | Path | None = None,
    device: str = "auto",
) -> "list[Hit]":  # fmt: skip
    """Return the passages of an index that answer a question best, the best first; `by` is one part of a hybrid alone.

    With `rerank`, an adapter that gives pairs of texts one of two labels or a number, the fifty best are ranked by that.

    For several questions open the index once: `afina.Index(folder).search_several(questions)`.
    """
    from afina.retrieval.index import Index

    opened = Index(index, device=device)
    try:
        if rerank is None:
            return opened.search(question, most, by=by)
        from afina.retrieval.reranking import Reranker

        # Fifty, so that a passage that the index ranks low can still be found to be the best.
        return Reranker(rerank, device=device).ranked(question, opened.search(question, max(most, 50), by=by), most)
    finally:
        opened.close()


def ask(
    index: str | Path,
    question: str,
    model: "str | Path | Writes",
    settings: "GenerationSettings | None" = None,
    *,
    most: int = 5,
    threshold: "float | str | None" = "index",
    base: str | None = None,
    device: str = "auto",
    precision: str | None = None,
    dry_run: bool = False,
    tell: Callable[[str], None] = lambda piece: None,
) -> "Answer | QuestionPrompt":
    """Answer a question from an index's passages, by a language model, an adapter or an export; with `dry_run` the prompt.

    The best passages that fit stand in the prompt, where none of their words can act as marks of the chat. Citations in the
    answer are held against them. Where the best passage's similarity is below the `threshold` (`index`: the index's own, if
    one was set; None: none) the documents are said not to tell, and nothing is asked of the model, with `dry_run` too.
    `base` is an adapter's base model, where it is not where it was. Raises `UsageError` for what does not write.
    """
    from afina.generation.settings import GenerationSettings
    from afina.retrieval.asking import ask as answered
    from afina.retrieval.index import Index

    how = settings or GenerationSettings()
    opened = Index(index, device=device)
    try:
        # After the index, which says first if it is not there: a language model takes longer to load.
        writer = writer_for(model, base=base, device=device, precision=precision)
        return answered(opened, question, writer, how, most=most, threshold=threshold, dry_run=dry_run, tell=tell)
    finally:
        opened.close()


def threshold(
    index: str | Path, questions: "str | Path | Sequence[JudgedQuestion] | None" = None, *, question: str | None = None,
    answerable: str | None = None, refuse_at_most: float | None = None, remove: bool = False, seed: int = 0,
    device: str = "auto", notes: list[str] | None = None,
) -> "Threshold | None":  # fmt: skip
    """Set the score below which an index's documents do not tell, and keep it in the index; return it.

    `questions` are a table (columns `question` and `answerable`, or answers that may be empty) or `JudgedQuestion`s, ten or
    more of each kind. Half of them choose the part of the index and the score that errs least, or with `refuse_at_most`
    lets the fewest through of those without an answer while at most that share of the others is refused; the other half
    says how often it errs. What was assumed of the file goes to `notes`. Without questions the one that is kept is
    returned, None where there is none; with `remove` it goes. Raises `UsageError` in one sentence, and leaves the index as
    it was.
    """
    from afina.errors import UsageError
    from afina.retrieval.folder import IndexFolder
    from afina.retrieval.index import Index
    from afina.retrieval.judged import read_judged
    from afina.retrieval.threshold import chosen_threshold, threshold_in

    if questions is None and (question, answerable, refuse_at_most) != (None, None, None):
        raise UsageError("--question, --answerable and --refuse-at-most are about QUESTIONS; give the file.")
    if remove and questions is not None:
        raise UsageError("--remove takes the threshold out of the index, and QUESTIONS set one: give one of the two.")
    opened = Index(index, device=device)
    try:
        if questions is None and not remove:
            return threshold_in(opened)
        made = None
        if isinstance(questions, str | Path):
            questions = read_judged(Path(questions), question=question, answerable=answerable, notes=notes)
        if questions is not None:
            made = chosen_threshold(opened, questions, refuse_at_most=refuse_at_most, seed=seed)
        IndexFolder(Path(index)).keep_threshold(None if made is None else made.as_dict(), opened.values["edition"])
        return made
    finally:
        opened.close()


def rows(
    index: str | Path,
    questions: str | Path,
    out: str | Path,
    *,
    model: "str | Path | Writes | None" = None,
    question: str | None = None,
    answer: str | None = None,
    key: str | None = None,
    passage: str | None = None,
    file: str | None = None,
    most: int = 5,
    without: float = 0.2,
    lacking: str = "refuse",
    quote: bool = True,
    max_new_tokens: int = 256,
    base: str | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str | None = None,
    force: bool = False,
    tell: Tell = lambda what, done, total: None,
) -> "ReadingRows":
    """Write chat rows that teach a writer to read: the questions in `ask`'s own prompt, with right and wrong passages.

    `model` is what is to learn from them, for which the prompts are fitted. `question`, `answer`, `key`, `passage` and `file`
    are the table's columns (`QuestionsSpec` says what each is); `RowSettings` says how prompts are mixed. Raises
    `UsageError` in one sentence, and writes nothing then.
    """
    from afina.errors import UsageError
    from afina.outputs import check_outputs
    from afina.retrieval.index import Index
    from afina.retrieval.questions import QuestionsSpec, read_questions
    from afina.retrieval.rows import RowSettings, reading_rows

    place = Path(out)
    if place.suffix.lower() != ".jsonl":
        raise UsageError(f"{place}: rows of messages are written as .jsonl; choose such a name.")
    check_outputs([place], [questions], force=force)
    settings = RowSettings.parse(
        {"passages": most, "without": without, "lacking": lacking, "quote": quote, "max_new_tokens": max_new_tokens,
         "seed": seed},
        "rows",
    )  # fmt: skip
    spec = QuestionsSpec.parse(
        {"path": str(questions), "question": question, "answer": answer, "key": key, "passage": passage, "file": file},
        "questions",
    )  # fmt: skip
    notes: list[str] = []
    asked = read_questions(spec, notes)
    opened = Index(index, device=device)
    try:
        writer = None if model is None else writer_for(model, base=base, device=device, precision=precision)
        made = reading_rows(opened, asked, writer, settings, tell)
    finally:
        opened.close()
    made.notes[:0] = notes
    made.write(place)
    return made


@dataclass(frozen=True)
class Compared:
    """A comparison that was carried out: its folder, what came out, and its report."""

    directory: Path
    ways: "WaysCompared"
    report: "ReportFiles"


def compare(
    file: "str | Path | CompareConfig | None" = None,
    out: str | Path | None = None,
    *,
    language: str = "en",
    observer: Callable[[Any], None] = lambda event: None,
    tell: Tell = lambda what, done, total: None,
    **keys: Any,
) -> Compared:
    """Compare ways of answering from documents, or go on with it, and write its report; takes a file, or its keys and `out`.

    The same questions are answered from memory, with retrieval and with the right passage, by the base, by a model tuned on
    questions, and by one tuned for reading (`CompareConfig` says what the keys are). Without `out` the folder is called after
    the file. `observer` is told what happens in the studies that tune, `tell` what else is being done.
    """
    from afina.errors import UsageError
    from afina.evaluation.comparing.compare import compare_ways
    from afina.evaluation.comparing.config import CompareConfig
    from afina.report.ways import write_ways_report
    from afina.words.language import check_language

    check_language(language)
    if file is not None and keys:
        raise UsageError("Give a comparison's file or its keys, not both.")
    if isinstance(file, str | Path):
        config, out = CompareConfig.read(Path(file)), out or Path(file).stem
    else:
        config = file if file is not None else CompareConfig.parse(keys, "comparison")
    if out is None:
        raise UsageError("Say with out= in which folder the comparison is to work.")
    made = compare_ways(config, out, observer=observer, tell=tell)
    return Compared(made.directory, made, write_ways_report(made.directory, language=language))


def writer_for(
    model: "str | Path | Writes", *, base: str | None = None, device: str = "auto", precision: str | None = None
) -> "Writes":
    """Load what is to write: an adapter's folder, an export's, or a language model alone."""
    from afina.export.runtime import is_run
    from afina.generation.writes import writes_of

    if not isinstance(model, str | Path):
        return model
    if is_run(model):
        from afina.api.prediction import opened

        return writes_of(opened(model, model=base, precision=precision, device=device))
    # By what lies in the folder: a language model has neither file.
    if any((Path(model) / name).is_file() for name in ("afina.json", "adapter_config.json")):
        from afina.predictor.loading import Loading

        return writes_of(Loading(model=base, device=device, precision=precision).load(model))
    from afina.retrieval.bare import BareWriter

    return BareWriter(str(model), device=device, precision=precision)


def pairs(
    index: str | Path, out: str | Path, writer: "TextWriter | None" = None, *, keep: float = 0.1, seed: int = 0,
    force: bool = False, tell: Tell = lambda what, done, total: None,
) -> "MadePairs":  # fmt: skip
    """Make questions for an index's passages, on which `task: retrieval` tunes its encoder; nobody needs to have asked any.

    A question is one of a passage's sentences, which is taken out of it but for a share `keep`; with a `writer`
    (`afina.LocalModel`, `afina.Endpoint`) a model is asked for each, and every row says that it is generated. Raises
    `UsageError` where none can be made.
    """
    from afina.outputs import check_outputs
    from afina.retrieval.index import Index
    from afina.retrieval.pairs import write_pairs

    check_outputs((out,), (index,), force=force)
    opened = Index(index)
    try:
        return write_pairs(opened, Path(out), writer=writer, keep=keep, seed=seed, tell=tell)
    finally:
        opened.close()
