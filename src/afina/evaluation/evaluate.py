"""Measure a language model with and without its adapter: what was gained, and what was lost."""

import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from afina.backbone.load import Backbone, load_backbone
from afina.errors import UsageError
from afina.evaluation.answers import Answering, Questions, answers_of, read_questions
from afina.evaluation.harness import load_tasks, run_tasks
from afina.evaluation.perplexity import perplexity, read_documents
from afina.evaluation.speaker import Speaker
from afina.generation.asked import AskedModel
from afina.generation.template import Template
from afina.measure.bootstrap import Estimate, Measure, estimates
from afina.predictor.loading import Loading
from afina.predictor.writer import Writer
from afina.words.language import Words

__all__ = ["Battery", "Evaluation", "MeasuredRow", "evaluate", "evaluate_alone", "evaluate_beside", "load_speaker"]


@dataclass(frozen=True)
class MeasuredRow:
    """Holds one measure on one source, for the adapter (or a model alone) and for its bare base on the same items."""

    source: str
    measure: str
    items: int | None
    """Number of documents, prompts or questions; None for a benchmark's figure that is no mean over them."""
    higher_is_better: bool
    value: Estimate
    base: Estimate | None = None
    difference: Estimate | None = None
    """Value minus base, with its paired interval."""

    @property
    def verdict(self) -> str | None:
        """Return "better" or "worse" where the interval excludes 0, else "unclear"; None without an interval."""
        if self.difference is None or self.difference.low is None or self.difference.high is None:
            return None
        if self.difference.low <= 0 <= self.difference.high:
            return "unclear"
        # For an error the smaller value is the better one.
        return "better" if (self.difference.low > 0) == self.higher_is_better else "worse"


_UNLIKE = (
    "The base reads with its own tokenizer, as it has no vectors for all of the adapter's tokens: a perplexity is by token, "
    "so the two do not compare; bits per byte do."
)


@dataclass(frozen=True)
class Evaluation:
    """Holds all that was measured."""

    adapter: str
    model: str
    rows: list[MeasuredRow]
    written: dict[str, list[dict[str, str]]]
    """Answers by file of prompts: each prompt with its reference, the answer, and the base's answer."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Settings and versions."""
    notes: tuple[str, ...] = ()
    """Sentences that a reader of the rows has to know."""

    def as_dict(self) -> dict[str, Any]:
        """Return the evaluation as values that JSON can hold."""
        return vars(self) | {"rows": [asdict(row) | {"verdict": row.verdict} for row in self.rows]}


@dataclass(frozen=True, kw_only=True)
class Battery:
    """Holds what a model is measured on: texts, prompts with references, benchmarks.

    Raises `UsageError` where it is nothing.
    """

    text: Sequence[str | Path] = ()
    """Files whose perplexity is measured."""
    answers: Sequence[str | Path] = ()
    """Files of prompts and references."""
    tasks: Sequence[str | Path] = ()
    """Benchmarks of lm-evaluation-harness by name, file or folder."""
    column: str | None = None
    """The column of texts, where it has no usual name."""
    answering: Answering = field(default_factory=Answering)
    fewshot: int | None = None
    """Examples before each question of a benchmark."""
    chat: bool = False
    """True puts a benchmark's questions into the tokenizer's chat template."""
    limit: int | None = None
    """First items of each file and benchmark."""
    trust_tasks: bool = False
    """True lets files of benchmarks run the code that they name."""

    def __post_init__(self) -> None:
        if not (self.text or self.answers or self.tasks):
            raise UsageError("Nothing to measure: give texts, files of prompts and references, or tasks.")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"A limit is at least 1, not {self.limit}.")

    def read(self) -> "_Sources":
        """Read all of it; raises `UsageError` for what is not there or cannot be read."""
        return _Sources(
            {str(path): read_documents(Path(path), self.column)[: self.limit] for path in self.text},
            # Limits are the first items, as those of benchmarks are: what was measured can be looked up.
            {str(path): read_questions(Path(path), self.answering).first(self.limit) for path in self.answers},
            load_tasks(self.tasks, trusted=self.trust_tasks) if self.tasks else None,
            self.answering,
            {"fewshot": self.fewshot, "chat": self.chat, "limit": self.limit, "trusted": self.trust_tasks},
        )


@dataclass(frozen=True)
class _Sources:
    documents: dict[str, list[str]]
    questions: dict[str, Questions]
    tasks: dict[str, Any] | None
    answering: Answering
    harness: dict[str, Any]

    def measure(
        self, speaker: AskedModel, template: Template | None
    ) -> tuple[dict[str, list[Measure]], dict[str, list[str]]]:
        """Return the measures by source, and what was written by file of prompts, which are put in the chat template."""
        measured = {name: perplexity(speaker, texts) for name, texts in self.documents.items()}
        written: dict[str, list[str]] = {}
        for name, questions in self.questions.items():
            written[name], measured[name] = answers_of(speaker, questions, self.answering, template)
        return measured | (run_tasks(speaker, self.tasks, **self.harness) if self.tasks else {}), written


@dataclass(frozen=True)
class _Pair:
    """A model with its adapter, and its bare base where that is measured too."""

    loaded: Writer | None
    backbone: Backbone
    bare: Backbone | None
    batch_size: int
    tell: Callable[[str], None]

    @property
    def template(self) -> Template | None:
        """Return the chat template that the adapter was trained with; its base is asked in it too."""
        return None if self.loaded is None else self.loaded.task.template

    @property
    def same_tokens(self) -> bool:
        """Return whether the base reads the adapter's own tokens, as it does unless it has no vectors for them."""
        if self.loaded is None:
            return False
        return self.bare is None or self.loaded.tokens_fit(self.bare.config.vocab_size)

    def ours(self, context: int | None) -> Speaker:
        """Return the model with its adapter."""
        who = "model" if self.loaded is None else "adapter"
        return self._speaker(who, self.backbone, self.loaded and self.loaded.adapter, context)

    def theirs(self, context: int) -> Speaker:
        """Return the bare base."""
        assert self.bare is not None
        return self._speaker("base", self.bare, None, context)

    def _speaker(self, who: str, backbone: Backbone, adapter: Any, context: int | None) -> Speaker:
        tokenizer = (
            self.loaded.tokenizer if self.loaded is not None and (adapter is not None or self.same_tokens) else None
        )
        return Speaker(
            backbone, adapter, batch_size=self.batch_size, context=context, tokenizer=tokenizer,
            tick=lambda done, total: self.tell(f"{who}: {done}/{total}"),
        )  # fmt: skip


def evaluate(
    adapter: str | Path, battery: Battery, *, against_base: bool = True, loading: Loading | None = None,
    batch_size: int = 16, context: int | None = None, tell: Callable[[str], None] = lambda status: None,
) -> Evaluation:  # fmt: skip
    """Measure an adapter that speaks, Afina's or PEFT's, or a language model alone (its folder or name).

    `context` bounds the tokens read at once. Raises `UsageError` in one sentence for what is not there, cannot be read or
    does not speak.
    """
    tell("reading what to measure on")
    # Everything that can be wrong with the files, before a model is loaded.
    sources = battery.read()
    tell("loading the model")
    at = loading or Loading()
    loaded, backbone = _load(str(adapter), at)
    bare = loaded.bare(trust_remote_code=at.trust_remote_code) if loaded is not None and against_base else None
    pair = _Pair(loaded, backbone, bare, batch_size, tell)
    ours = pair.ours(context)
    measured, written = sources.measure(ours, pair.template)
    theirs: dict[str, list[Measure]] = {}
    by_base: dict[str, list[str]] = {}
    if bare is not None:
        # With as much read at once as there is room for beside the adapter's prompt, so that both say the same tokens.
        theirs, by_base = sources.measure(pair.theirs(ours.context), pair.template)
    return Evaluation(
        adapter=str(adapter), model=backbone.name,
        rows=[
            _row(source, measure, theirs[source][place] if theirs else None)
            for source, measures in measured.items() for place, measure in enumerate(measures)
        ],
        written={
            name: _beside(sources.questions[name], texts, by_base.get(name)) for name, texts in written.items()
        },
        facts={
            **sources.harness, "answering": asdict(sources.answering), "context": ours.context,
            "device": str(backbone.device),
            "precision": backbone.precision if loaded is None else loaded.record.precision, "versions": _versions(),
        },
        notes=(
            *map(Words().sentence, (loaded or backbone).notes),
            *((_UNLIKE,) if bare is not None and not pair.same_tokens else ()),
        ),
    )  # fmt: skip


def evaluate_alone(
    name: str, speaker: AskedModel, battery: Battery, *, template: Template | None, facts: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> Evaluation:  # fmt: skip
    """Measure what has no base beside it; `facts` are what is to be known of where it ran."""
    sources = battery.read()
    measured, written = sources.measure(speaker, template)
    return Evaluation(
        adapter=name, model=speaker.name,
        rows=[_row(source, measure, None) for source, measures in measured.items() for measure in measures],
        written={file: _beside(sources.questions[file], texts, None) for file, texts in written.items()},
        facts={
            **sources.harness, "answering": asdict(sources.answering), "context": speaker.context, **facts,
            "versions": _versions(),
        },
        notes=tuple(map(Words().sentence, notes)),
    )  # fmt: skip


def evaluate_beside(
    name: str, other: str, battery: Battery, *, loading: Loading | None = None, batch_size: int = 16,
    context: int | None = None, tell: Callable[[str], None] = lambda status: None,
) -> Evaluation:  # fmt: skip
    """Measure one language model beside another on the same items, such as a quantised one beside what it was made of.

    One after the other is in memory, the `other` first; in the rows it is the base.
    """
    tell("reading what to measure on")
    sources, at = battery.read(), loading or Loading()
    measured = []
    for path in (other, name):
        tell("loading the model")
        backbone = load_backbone(path, speaks=True, device=at.device, trust_remote_code=at.trust_remote_code)
        speaker = _Pair(None, backbone, None, batch_size, tell).ours(context)
        measured.append(sources.measure(speaker, None)[0])
    return Evaluation(
        adapter=name, model=other,
        rows=[
            _row(source, measure, measured[0][source][place])
            for source, measures in measured[1].items() for place, measure in enumerate(measures)
        ],
        written={},
        facts={
            **sources.harness, "context": speaker.context, "device": str(backbone.device), "precision": backbone.precision,
            "versions": _versions(),
        },
        notes=tuple(map(Words().sentence, backbone.notes)),
    )  # fmt: skip


def load_speaker(path: str, at: Loading, *, batch_size: int) -> tuple[Speaker, Template | None]:
    """Load an adapter that speaks, or a language model alone, with the template that it was taught."""
    loaded, backbone = _load(path, at)
    pair = _Pair(loaded, backbone, None, batch_size, lambda status: None)
    return pair.ours(None), pair.template


def _load(path: str, at: Loading) -> tuple[Writer | None, Backbone]:
    folder = Path(path)
    # A language model has a configuration and no adapter's.
    alone = folder.is_dir() and (folder / "config.json").is_file() and not (folder / "adapter_config.json").is_file()
    named = not folder.exists() and not path.startswith((".", "/")) and path.count("/") < 2  # of the hub, or built in
    if alone or named:
        backbone = load_backbone(
            path, speaks=True, device=at.device, precision=at.precision, trust_remote_code=at.trust_remote_code
        )  # fmt: skip
        return None, backbone
    loaded = at.load(folder)
    if not isinstance(loaded, Writer):
        raise UsageError(f"{path} was trained for {loaded.task.name}; what is evaluated here are language models.")
    return loaded, loaded.backbone


def _row(source: str, measure: Measure, base: Measure | None) -> MeasuredRow:
    # Resampled together: the same items are drawn for adapter and base, which makes the difference paired.
    values, differences = estimates([measure] if base is None else [base, measure])
    both = (values[0], differences[1]) if base is not None else ()
    return MeasuredRow(source, measure.name, len(measure.parts) or None, measure.higher_is_better, values[-1], *both)


def _beside(questions: Questions, written: list[str], by_base: list[str] | None) -> list[dict[str, str]]:
    columns = {"prompt": questions.prompts, "reference": questions.references, "written": written}
    columns |= {} if by_base is None else {"base": by_base}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _versions() -> dict[str, str]:
    versions = {}
    for name in ("afina", "torch", "transformers", "lm_eval", "sacrebleu", "rouge-score"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            # What is not installed had no part in it.
            continue
    return versions
