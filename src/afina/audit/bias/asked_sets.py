"""Ask adapters and their bare bases about sets of sentences and questions, and draft what their answers show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from afina.audit.bias.bias_set import BIAS_SETS, BiasSet, parse_sets
from afina.audit.bias.drafts import Draft, too_small
from afina.audit.bias.questions import BiasSettings
from afina.audit.bias.scorers import MaskedScorer, Scorer, WritingScorer, masked_head
from afina.audit.kept_answers import KeptAnswers
from afina.errors import UsageError
from afina.predictor.language_model import LanguageModel
from afina.predictor.loading import Loading
from afina.predictor.predictor import Predictor
from afina.results.findings.finding import Subject
from afina.results.findings.sentence import Sentence
from afina.study.audits import Tell

__all__ = ["AskedSets", "ask_sets", "base_name", "read_sets", "set_drafts"]


@dataclass
class AskedSets:
    """Holds the sets with their items, and what each model said of them."""

    sets: Mapping[str, tuple[BiasSet[Any], Sequence[Any]]]
    answers: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    """Answers by set, and by the subject's name or `base MODEL`."""
    heads: dict[str, Any] = field(default_factory=dict)
    """Masked-language heads by model; None of a model that has none."""


def base_name(model: str) -> str:
    """Return under which name a bare base's answers stand."""
    return f"base {model}"


def read_sets(settings: BiasSettings, *, writes: bool) -> tuple[AskedSets, list[str | Sentence]]:
    """Read the sets that are named, or for what writes the packaged ones, and draw of each as many items as are looked at."""
    sets: dict[str, tuple[BiasSet[Any], Sequence[Any]]] = {}
    notes: list[str | Sentence] = []
    for name, file in parse_sets(settings.sets, writes=writes).items():
        made = BIAS_SETS[name]()
        items, remarks = made.read(file)
        drawn = made.drawn(items, settings.rows, settings.seed)
        if len(drawn) < len(items):
            notes.append(Sentence("{set}: {rows} of {all} items are looked at, drawn with the seed.",
                                  {"set": name, "rows": len(drawn), "all": len(items)}))  # fmt: skip
        notes += remarks
        few = [(kind, count) for kind, count in made.counts(drawn).items() if count < settings.fewest]
        notes += too_small(name, few, settings.fewest)
        sets[name] = made, drawn
    if sets:
        notes.append(Sentence(
            "Sets of sentences and questions ask for the stereotypes that their authors wrote down, and quote them; no lean "
            "in these does not say that there is none elsewhere."
        ))  # fmt: skip
    return AskedSets(sets), notes


def ask_sets(
    asked: AskedSets, loaded: Predictor, subject: Subject, weights: str, loading: Loading, store: KeptAnswers, tell: Tell, *,
    base: bool,
) -> list[Sentence]:  # fmt: skip
    """Ask an adapter, and its bare base unless that was asked before; returns notes on what could not be asked."""
    notes: list[Sentence] = []
    model = loaded.record.model
    for name, (text_set, items) in asked.sets.items():
        if (why := _cannot(asked, text_set, loaded, loading)) is not None:
            notes.append(why)
            continue
        there = asked.answers.setdefault(name, {})

        def answered(
            who: str, adapted: bool, text_set: Any = text_set, items: Any = items, name: str = name
        ) -> np.ndarray:
            parts = (name, items, model, loaded.record.precision, weights if adapted else "", loaded.longest)

            def ask() -> dict[str, np.ndarray]:
                tell(f"asking {name}" if adapted else f"base: asking {name}")
                return {"scores": text_set.ask(_scorer(asked, loaded, loading, adapted=adapted), items)}

            return store.answers(f"{name} {who}", parts, ask)["scores"]

        there[subject.name] = answered(subject.name, adapted=True)
        if base and base_name(model) not in there:
            there[base_name(model)] = answered(base_name(model), adapted=False)
    return notes


def _cannot(asked: AskedSets, text_set: BiasSet[Any], loaded: Predictor, loading: Loading) -> Sentence | None:
    """Say why a set cannot be asked of a model, if it cannot."""
    row, model = loaded.backbone.anatomy.row, loaded.record.model
    if loaded.backbone.language is not None and row.further:
        return Sentence("{set}: {model} reads one text and writes another, and is not asked how likely a text of its own is.",
                        {"set": text_set.name, "model": model})  # fmt: skip
    if loaded.backbone.language is not None:
        return None
    if not text_set.of_pairs:
        return Sentence("{set}: {model} was trained to label and does not go on from a text; it was not asked.",
                        {"set": text_set.name, "model": model})  # fmt: skip
    # Images have no tokenizer, and decoders no token that stands for a masked one.
    if loaded.tokenizer is None or loaded.tokenizer.mask_token_id is None:
        asked.heads[model] = None
    if model not in asked.heads:
        try:
            asked.heads[model] = masked_head(loaded.backbone, trust_remote_code=loading.trust_remote_code)
        except UsageError:
            asked.heads[model] = None
    if asked.heads[model] is None:
        return Sentence("{set}: {model} comes without a language head, and was not asked how likely a sentence is.",
                        {"set": text_set.name, "model": model})  # fmt: skip
    return None


def _scorer(asked: AskedSets, loaded: Predictor, loading: Loading, *, adapted: bool) -> Scorer:
    backbone = loaded.backbone if adapted else loaded.bare(trust_remote_code=loading.trust_remote_code)
    adapter, tokenizer = (loaded.adapter, loaded.tokenizer) if adapted else (None, backbone.tokenizer)
    if backbone.language is None:
        return MaskedScorer(backbone, asked.heads[loaded.record.model], adapter, tokenizer)
    return WritingScorer(LanguageModel(backbone, adapter, tokenizer=tokenizer))


def set_drafts(asked: AskedSets, subject: Subject, subjects: Sequence[Subject], settings: BiasSettings) -> list[Draft]:
    """Return the drafts of one adapter, with its base and the other adapters of its data and seed beside it."""
    drafts: list[Draft] = []
    alike = [each.name for each in subjects if (each.seed, each.dataset) == (subject.seed, subject.dataset)]
    for name, (text_set, items) in asked.sets.items():
        answers = asked.answers.get(name, {})
        if subject.name in answers:
            base = answers.get(base_name(str(subject.model)))
            others = {} if base is None else {"base": base}
            others |= {each: answers[each] for each in alike if each != subject.name and each in answers}
            drafts += text_set.drafts(
                subject, items, answers[subject.name], others, fewest=settings.fewest, seed=settings.seed
            )
    return drafts
