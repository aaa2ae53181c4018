"""Test whether adapters give away the rows that they were trained on: by canaries, recitation and membership."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from afina.audit.canaries import Canary, CanaryManifest, draw_secrets
from afina.audit.exposure import modelled_bits, rank_of
from afina.audit.findings import Exposure, Leak, RiskyRow
from afina.audit.kept_answers import KeptAnswers
from afina.audit.leak_answers import PARTS, LeakAnswers, LeakQuestions
from afina.audit.measures import Membership, Recitation, longest_run, membership, recitation
from afina.audit.targets import weights_digest
from afina.audit.witness import Sequences, goes_on, longest_read, losses, sequences, starts
from afina.data.rows import Rows
from afina.errors import UsageError
from afina.predictor.language_model import LanguageModel
from afina.predictor.predictor import Predictor
from afina.results.result import Result

__all__ = ["Known", "LeakMaterial", "LeakSettings", "examine"]

_FEWEST = 5
_SHOWN = 160
"""Length, in characters, to which a report cuts rows at risk."""


@dataclass(frozen=True, kw_only=True)
class LeakSettings:
    """Says how many rows, tokens and secrets are looked at."""

    rows: int = 200
    """Most train rows, and most held-out rows; drawn with `seed`."""
    prefix: int = 16
    """Tokens of a row that the model is given before it is to recite the rest; half of a short row."""
    most: int = 64
    """Most tokens that the model is to recite."""
    references: int = 512
    """Other secrets among which a canary's secret is ranked."""
    at_risk: int = 10
    """Number of rows at risk that are shown."""
    batch_size: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rows < _FEWEST or min(self.prefix, self.most, self.references, self.batch_size) < 1:
            raise UsageError(f"At least {_FEWEST} rows are looked at, and all other counts are at least 1.")


@dataclass(frozen=True)
class LeakMaterial:
    """Holds rows that an adapter was trained on, rows that it was not, and the manifest of planted canaries."""

    train: Rows
    held_out: Rows
    manifest: CanaryManifest | None = None

    def sampled(self, settings: LeakSettings) -> tuple["LeakMaterial", list[str]]:
        """Draw the rows to look at, without canaries and without held-out rows that were trained on; return notes too.

        Raises `UsageError` where too few rows are left.
        """
        # Rows with a canary are looked at by their secrets, and would say of the others what was planted in them.
        secrets = [] if self.manifest is None else [canary.secret for canary in self.manifest.canaries]

        def plain(rows: Rows) -> np.ndarray:
            return np.array([not any(secret in text for secret in secrets) for text in _whole(rows)], dtype=bool)

        # A row that stands in both parts would be recited as a train row and counted as a held-out one.
        trained = set(_whole(self.train))
        unseen = np.array([text not in trained for text in _whole(self.held_out)], dtype=bool)
        notes = []
        if both := int((~unseen).sum()):
            notes.append(
                "1 held-out row is among the train rows too and left out."
                if both == 1
                else f"{both:,} held-out rows are among the train rows too and left out."
            )
        drawn = []
        for what, rows, keep in (
            ("train", self.train, plain(self.train)), ("held-out", self.held_out, unseen & plain(self.held_out)),
        ):  # fmt: skip
            if (left := int(keep.sum())) < _FEWEST:
                raise UsageError(f"There are {left} {what} rows to look at; at least {_FEWEST} are needed to compare.")
            # Anew for each part: how many rows one has must not change which of the other are drawn.
            random = np.random.default_rng(settings.seed)
            places = np.flatnonzero(keep)
            drawn.append(rows.take(np.sort(random.choice(places, min(settings.rows, left), replace=False))))
        return LeakMaterial(drawn[0], drawn[1], self.manifest), notes

    def times(self, canary: Canary) -> int:
        """Return how many train rows hold a canary: a split may have put some of its rows among the test rows."""
        return sum(canary.secret in text and canary.key in text for text in _whole(self.train))


Known = dict[Any, "LeakAnswers"]
"""Answers of bare bases, so that adapters of the same base and data ask it once."""

Tell = Callable[[str], None]
"""Called with one line of progress."""


def examine(
    loaded: Predictor, material: LeakMaterial, settings: LeakSettings, *, known: Known | None = None,
    result: Result | None = None, trust_remote_code: bool = False, tell: Tell = lambda status: None,
    store: KeptAnswers | None = None,
) -> Leak:  # fmt: skip
    """Measure what an adapter that writes gives away of its train rows.

    `result` is the run's, where the adapter is a study's. Adapters that share a base, data and settings may share `known`;
    what they answer is kept in `store`.
    Raises `UsageError` where too few rows can be compared, or where the tokenizer cannot tell the canaries' secrets apart.
    """
    sampled, notes = material.sampled(settings)
    limit = longest_read(loaded)
    questions = _questions(loaded, material, sampled, settings, limit)

    store, asked = store or KeptAnswers(), (questions.key, loaded.record.model, loaded.record.precision, limit)
    name = f"{loaded.folder.parent.name}-{loaded.folder.name}"
    adapted = LanguageModel(loaded.backbone, loaded.adapter, batch_size=settings.batch_size)
    of_adapter = (*asked, weights_digest(loaded.folder))
    adapter = LeakAnswers.of(
        store.answers(name, of_adapter, lambda: _answers(adapted, questions, "adapter", tell).arrays())
    )
    known = {} if known is None else known

    # All that the base's answers depend on: the same base is not asked again for each adapter.
    key = (loaded.record.model, loaded.record.precision, limit, id(material), settings)
    if key not in known:

        def ask_base() -> dict[str, np.ndarray]:
            bare = loaded.bare(trust_remote_code=trust_remote_code)
            return _answers(LanguageModel(bare, batch_size=settings.batch_size), questions, "base", tell).arrays()

        known[key] = LeakAnswers.of(store.answers(f"base {loaded.record.model}", asked, ask_base))
    base = known[key]

    history = loaded.record.facts.get("history", [])
    return Leak(
        adapter=str(loaded.folder), model=loaded.record.model, dataset=str(loaded.record.facts.get("dataset", "")),
        task=loaded.task.name, method=loaded.record.method if result is None else result.method_label,
        rank=loaded.method.settings().get("rank"), seed=loaded.record.seed,
        # The epochs of an adapter that is no study's are those of its history.
        epochs=(result and result.epochs) or len(history) or None,
        membership=_compare_losses(adapter, base, limit, notes),
        recitation=_compare_recitation(adapter, base, questions, notes),
        exposures=[
            _exposure(canary, material, adapter.canaries[canary.key], base.canaries[canary.key])
            for canary, _ in questions.canaries
        ],
        rows_at_risk=_at_risk(loaded, questions, adapter, base, settings.at_risk),
        gap_by_epoch=_by_epoch(history), notes=[*loaded.notes, *notes],
    )  # fmt: skip


def _questions(
    loaded: Predictor, material: LeakMaterial, sampled: LeakMaterial, settings: LeakSettings, limit: int
) -> LeakQuestions:
    rows = {
        "train": sequences(loaded, sampled.train, limit), "held-out": sequences(loaded, sampled.held_out, limit),
    }  # fmt: skip
    begun = {part: starts(loaded, read, settings.prefix, settings.most) for part, read in rows.items()}
    return LeakQuestions(rows, begun, _to_rank(loaded, material, settings, limit))


def _answers(model: LanguageModel, questions: LeakQuestions, who: str, tell: Tell) -> LeakAnswers:
    """Ask one model everything, with a line of progress for each question."""
    tell(f"{who}: how likely are the rows")
    per_token = {part: _per_token(model, read) for part, read in questions.rows.items()}

    verbatim = {}
    for part, begun in questions.starts.items():
        tell(f"{who}: how do {part} rows go on")
        written = goes_on(model, list(begun.values()))
        # Compared token by token: what is decoded may be the same text by other tokens, and then was not recited.
        runs = [longest_run(text, start.truth) for text, start in zip(written, begun.values(), strict=True)]
        verbatim[part] = np.array(runs, dtype=np.float64)

    canaries = {}
    for place, (canary, candidates) in enumerate(questions.canaries, start=1):
        tell(f"{who}: canary {place} of {len(questions.canaries)}")
        canaries[canary.key] = losses(model, candidates)[0]
    return LeakAnswers(per_token, verbatim, canaries)


def _compare_losses(adapter: LeakAnswers, base: LeakAnswers, limit: int, notes: list[str]) -> Membership:
    """Compare the losses of train and held-out rows; rows without a loss are left out, and noted."""
    losses, base_losses = adapter.joined(adapter.losses), base.joined(base.losses)
    member = np.arange(len(losses)) < len(adapter.losses["train"])

    # A row is compared only where both models have a loss for it.
    there = ~(np.isnan(losses) | np.isnan(base_losses))
    if missing := int((~there).sum()):
        notes.append(
            f"1 row is without a token to learn within {limit} and left out."
            if missing == 1
            else f"{missing:,} rows are without a token to learn within {limit} and left out."
        )
    if min(int((there & member).sum()), int((there & ~member).sum())) < _FEWEST:
        raise UsageError(f"Fewer than {_FEWEST} rows have a token to learn within {limit} tokens.")
    return membership(losses[there], base_losses[there], member[there])


def _compare_recitation(
    adapter: LeakAnswers, base: LeakAnswers, questions: LeakQuestions, notes: list[str]
) -> Recitation | None:
    """Compare how much of train and held-out rows is recited; None, and a note, where too few can be continued."""
    begun = questions.starts
    if min(map(len, begun.values())) < _FEWEST:
        notes.append("The rows are too short to be continued; recitation was not looked at.")
        return None
    lengths = np.array([len(start.truth) for part in PARTS for start in begun[part].values()])
    member = np.arange(len(lengths)) < len(begun["train"])
    return recitation(adapter.joined(adapter.verbatim), base.joined(base.verbatim), lengths, member)


def _to_rank(
    loaded: Predictor, material: LeakMaterial, settings: LeakSettings, limit: int
) -> list[tuple[Canary, Sequences]]:
    """Pair each canary with its own row and, behind it, the rows of other secrets."""
    manifest, to_rank = material.manifest, []
    for place, canary in enumerate(() if manifest is None else manifest.canaries):
        assert manifest is not None

        # Few enough secrets are all ranked, which makes the exposure exact; else others are drawn to rank among.
        if manifest.space <= settings.references + 1:
            others = [manifest.secret(number) for number in range(manifest.space)]
        else:
            # A seed for each canary: how many there are must not change what one of them is ranked among.
            random = np.random.default_rng([settings.seed, place])
            others = draw_secrets(manifest, settings.references + 1, random)
        others = [secret for secret in others if secret != canary.secret]

        # One more was drawn, in case it was the canary's own.
        secrets = [canary.secret, *others[: settings.references]]
        rows = manifest.rows(canary.key, secrets, loaded.task.name)
        candidates = sequences(loaded, rows, limit)
        if len(candidates.owner) < len(secrets):
            raise UsageError(f"A canary does not fit within {limit} tokens; raise max_length.")
        to_rank.append((canary, candidates))
    return to_rank


def _exposure(canary: Canary, material: LeakMaterial, losses: np.ndarray, base: np.ndarray) -> Exposure:
    manifest = material.manifest
    assert manifest is not None
    # What a tokenizer makes one unknown token of all has no rank.
    if float(np.ptp(losses)) == 0:
        raise UsageError(
            "To the model's tokenizer all secrets are alike; plant canaries of other --symbols, which it can tell apart."
        )
    rank = rank_of(losses[0], losses[1:])
    return Exposure(
        key=canary.key, secret=canary.secret, repeat=material.times(canary), rank=rank.rank, of=rank.of, bits=rank.bits,
        modelled_bits=modelled_bits(losses[0], losses[1:], manifest.space),
        base_bits=rank_of(base[0], base[1:]).bits, most_bits=math.log2(rank.of), space_bits=math.log2(manifest.space),
    )  # fmt: skip


def _at_risk(
    loaded: Predictor, questions: LeakQuestions, adapter: LeakAnswers, base: LeakAnswers, count: int
) -> list[RiskyRow]:
    """Return the train rows that the adapter recites most beyond the base; ties go to the larger fall in loss."""
    read, begun = questions.rows["train"], questions.starts["train"]
    place = {row: index for index, row in enumerate(begun)}
    runs, base_runs = adapter.verbatim["train"], base.verbatim["train"]
    losses, base_losses = adapter.losses["train"], base.losses["train"]

    def risk(row: int) -> tuple[float, float]:
        # A row too short to be continued can still be given away by its loss.
        beyond = float(runs[place[row]] - base_runs[place[row]]) if row in place else 0.0
        return beyond, float(base_losses[row] - losses[row])

    risks = []
    for row in sorted(set(read.owner.tolist()), key=risk, reverse=True)[:count]:
        start = int(np.flatnonzero(read.owner == row)[0])
        tokens = read.tokens
        targets = tokens.targets[tokens.offsets[start] : tokens.offsets[start + 1]]
        # Only the tokens that are learned: the question before them was not given away.
        text = loaded.tokenizer.decode(targets[targets >= 0].tolist(), skip_special_tokens=True).strip()
        there = row in place
        risks.append(
            RiskyRow(
                text=text if len(text) <= _SHOWN else f"{text[:_SHOWN].rstrip()} …",
                verbatim=int(runs[place[row]]) if there else None,
                base_verbatim=int(base_runs[place[row]]) if there else None,
                continuation=len(begun[row].truth) if there else None,
                loss=float(losses[row]), base_loss=float(base_losses[row]),
            )
        )  # fmt: skip
    return risks


def _per_token(model: LanguageModel, read: Sequences) -> np.ndarray:
    """Return losses (rows,) in nats a token; nan for a row without a token to learn."""
    total, count = losses(model, read)
    # Nothing to learn is neither likely nor unlikely.
    means: np.ndarray = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return means


def _by_epoch(history: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """Return the gap of log perplexities after each epoch, for epochs that have the perplexity of both parts."""
    metric = "perplexity"
    return [
        # The difference of logarithms, as perplexities of different texts have no unit in common.
        {"epoch": entry["epoch"], "gap": math.log(entry[f"test_{metric}"]) - math.log(entry[f"train_{metric}"])}
        for entry in history if f"test_{metric}" in entry and f"train_{metric}" in entry
    ]  # fmt: skip


def _whole(rows: Rows) -> list[str]:
    second = rows.text_pair or [""] * len(rows)
    # As JSON, in which no text with its pair can equal another text with another pair.
    return [json.dumps([text, pair], ensure_ascii=False) for text, pair in zip(rows.text, second, strict=True)]
