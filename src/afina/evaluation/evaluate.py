"""Measure a language model with and without its adapter: what was gained, and what was lost."""

import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from afina.backbone.load import Backbone, load_backbone
from afina.errors import UsageError
from afina.evaluation.answers import Answering, Questions, answers_of, read_questions
from afina.evaluation.harness import load_tasks, run_tasks
from afina.evaluation.perplexity import perplexity, read_documents
from afina.evaluation.speaker import Speaker
from afina.generation.template import Template
from afina.measure.bootstrap import Estimate, Measure, estimates
from afina.train.load import LoadedAdapter

__all__ = ["Evaluation", "Row", "evaluate"]


@dataclass(frozen=True)
class Row:
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
    rows: list[Row]
    written: dict[str, list[dict[str, str]]]
    """For each file of prompts: each prompt with its reference, the answer, and the base's answer."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Settings and versions."""
    notes: tuple[str, ...] = ()
    """Sentences that a reader of the rows has to know."""

    def as_dict(self) -> dict[str, Any]:
        """Return the evaluation as values that JSON can hold."""
        return vars(self) | {"rows": [asdict(row) | {"verdict": row.verdict} for row in self.rows]}


@dataclass(frozen=True)
class _Sources:
    documents: dict[str, list[str]]
    questions: dict[str, Questions]
    tasks: dict[str, Any] | None
    answering: Answering
    template: Template | None
    """The chat template that the adapter was trained with; its base is asked in the same one."""
    harness: dict[str, Any]

    def measure(self, speaker: Speaker) -> tuple[dict[str, list[Measure]], dict[str, list[str]]]:
        """Return the measures by source, and the answers by file of prompts."""
        found = {name: perplexity(speaker, texts) for name, texts in self.documents.items()}
        written: dict[str, list[str]] = {}
        for name, questions in self.questions.items():
            written[name], found[name] = answers_of(speaker, questions, self.answering, self.template)
        return found | (run_tasks(speaker, self.tasks, **self.harness) if self.tasks else {}), written


def evaluate(
    adapter: str | Path, *, text: Sequence[str | Path] = (), answers: Sequence[str | Path] = (),
    tasks: Sequence[str | Path] = (), against_base: bool = True, column: str | None = None,
    answering: Answering | None = None, fewshot: int | None = None, chat: bool = False, limit: int | None = None,
    model: str | None = None, device: str = "cpu", trust_remote_code: bool = False, batch_size: int = 16,
    context: int | None = None, tell: Callable[[str], None] = lambda status: None,
) -> Evaluation:  # fmt: skip
    """Measure an adapter that speaks, Afina's or PEFT's, or a language model alone (its folder or name).

    `text` are files whose perplexity is measured (their texts in `column`), `answers` files of prompts and references,
    `tasks` benchmarks of lm-evaluation-harness by name, file or folder; `fewshot` and `chat` are theirs (`run_tasks`).
    `limit` takes the first items of each, `context` bounds the tokens read at once. Raises `UsageError` in one sentence for
    what is not there, cannot be read or does not speak.
    """
    if not (text or answers or tasks):
        raise UsageError("Nothing to measure: give texts, files of prompts and references, or tasks.")
    if limit is not None and limit < 1:
        raise UsageError(f"A limit is at least 1, not {limit}.")
    how = answering or Answering()
    tell("reading what to measure on")
    documents, questions = (
        {str(path): read_documents(Path(path), column)[:limit] for path in text},
        {str(path): read_questions(Path(path), how).first(limit) for path in answers},
    )
    benchmarks = load_tasks(tasks) if tasks else None
    tell("loading the model")
    at: dict[str, Any] = {"device": device, "trust_remote_code": trust_remote_code}
    loaded, backbone = _load(str(adapter), model, at)
    sources = _Sources(
        documents, questions, benchmarks, how, getattr(loaded and loaded.task, "template", None),
        {"fewshot": fewshot, "chat": chat, "limit": limit},
    )  # fmt: skip
    bare = loaded.bare(trust_remote_code=trust_remote_code) if loaded is not None and against_base else None

    # The base reads what the adapter reads, in the same tokens, unless it has no vectors for them.
    same_tokens = loaded is not None and (bare is None or loaded.tokens_fit(bare.config.vocab_size))

    def speaker(who: str, backbone: Backbone, adapter: Any, context: int | None) -> Speaker:
        own = loaded.tokenizer if loaded is not None and (adapter is not None or same_tokens) else None
        return Speaker(
            backbone, adapter, batch_size=batch_size, context=context, tokenizer=own,
            tick=lambda done, total: tell(f"{who}: {done:,} of {total:,}"),
        )  # fmt: skip

    ours = speaker("model" if loaded is None else "adapter", backbone, loaded and loaded.adapter, context)
    found, written = sources.measure(ours)
    theirs: dict[str, list[Measure]] = {}
    by_base: dict[str, list[str]] = {}
    if bare is not None:
        # With as much read at once as there is room for beside the adapter's prompt, so that both say the same tokens.
        theirs, by_base = sources.measure(speaker("base", bare, None, ours.context))
    return Evaluation(
        adapter=str(adapter), model=backbone.name,
        rows=[
            _row(source, measure, theirs[source][place] if theirs else None)
            for source, measures in found.items() for place, measure in enumerate(measures)
        ],
        written={
            name: _beside(sources.questions[name], texts, by_base.get(name)) for name, texts in written.items()
        },
        facts={
            **sources.harness, "answering": asdict(how), "context": ours.context, "device": str(backbone.device),
            "precision": "fp32" if loaded is None else loaded.record.precision, "versions": _versions(),
        },
        notes=(_UNLIKE,) if bare is not None and not same_tokens else (),
    )  # fmt: skip


def _load(path: str, model: str | None, at: dict[str, Any]) -> tuple[LoadedAdapter | None, Backbone]:
    folder = Path(path)
    if folder.is_dir() and (folder / "config.json").is_file() and not (folder / "adapter_config.json").is_file():
        return None, load_backbone(path, speaks=True, **at)
    if not folder.exists() and not path.startswith((".", "/")) and path.count("/") < 2:
        return None, load_backbone(path, speaks=True, **at)  # a name of the hub's, or built in
    loaded = LoadedAdapter(folder, model=model, **at)
    if not loaded.task.speaks:
        raise UsageError(f"{path} was trained for {loaded.task.name}; what is evaluated here are language models.")
    return loaded, loaded.backbone


def _row(source: str, measure: Measure, base: Measure | None) -> Row:
    values, differences = estimates([measure] if base is None else [base, measure])
    both = (values[0], differences[1]) if base is not None else ()
    return Row(source, measure.name, len(measure.parts) or None, measure.higher_is_better, values[-1], *both)


def _beside(questions: Questions, written: list[str], by_base: list[str] | None) -> list[dict[str, str]]:
    columns = {"prompt": questions.prompts, "reference": questions.references, "written": written}
    columns |= {} if by_base is None else {"base": by_base}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _versions() -> dict[str, str]:
    found = {}
    for name in ("afina", "torch", "transformers", "lm_eval", "sacrebleu", "rouge-score"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
