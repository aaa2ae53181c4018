"""Whether adapters give away the rows that they were trained on: canaries, recitation, membership."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from afina.audit.canaries import Canary, Manifest, draw_secrets
from afina.audit.exposure import Rank, chance, modelled_bits, rank_of
from afina.audit.measures import Membership, Recitation, longest_run, membership, recitation
from afina.audit.witness import Sequences, Start, Witness, longest_read, sequences, starts
from afina.data.rows import Rows
from afina.errors import UsageError
from afina.train.load import LoadedAdapter

__all__ = ["Exposure", "Leak", "LeakSettings", "Material", "RiskyRow", "examine"]

_FEWEST = 5
_CHANCE = 0.01
"""Below which canaries' ranks are taken for learned."""
_SHOWN = 160
"""Letters of a row at risk that a report shows."""


@dataclass(frozen=True, kw_only=True)
class LeakSettings:
    """How much is looked at."""

    rows: int = 200
    """Train rows, and held-out rows, at the most; drawn at random, always the same ones."""
    prefix: int = 16
    """Tokens of a row that are given away before it is to be recited; half of them where it is short."""
    most: int = 64
    """Tokens that it is to go on for."""
    references: int = 512
    """Other secrets that a canary's is ranked among."""
    at_risk: int = 10
    """Rows that are shown."""
    batch_size: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rows < _FEWEST or min(self.prefix, self.most, self.references, self.batch_size) < 1:
            raise UsageError(f"At least {_FEWEST} rows are looked at, and all other counts are at least 1.")


@dataclass(frozen=True)
class Material:
    """Rows that an adapter was trained on and rows that it was not, as its task reads them, and what was planted."""

    train: Rows
    held_out: Rows
    manifest: Manifest | None = None

    def sampled(self, settings: LeakSettings) -> tuple["Material", list[str]]:
        """Leave out held-out rows that were trained on, and canaries; draw as many as are looked at; say what was done.

        Raises `UsageError` where too few are left.
        """
        secrets = [] if self.manifest is None else [canary.secret for canary in self.manifest.canaries]

        def plain(rows: Rows) -> np.ndarray:
            return np.array([not any(secret in text for secret in secrets) for text in _whole(rows)], dtype=bool)

        trained = set(_whole(self.train))
        unseen = np.array([text not in trained for text in _whole(self.held_out)], dtype=bool)
        notes = []
        if both := int((~unseen).sum()):
            notes.append(f"{both:,} held-out {_rows(both)} among the train rows too and left out.")
        kept = []
        for what, rows, keep in (
            ("train", self.train, plain(self.train)), ("held-out", self.held_out, unseen & plain(self.held_out)),
        ):  # fmt: skip
            if (left := int(keep.sum())) < _FEWEST:
                raise UsageError(f"There are {left} {what} rows to look at; at least {_FEWEST} are needed to compare.")
            random = np.random.default_rng(settings.seed)
            places = np.flatnonzero(keep)
            kept.append(rows.take(np.sort(random.choice(places, min(settings.rows, left), replace=False))))
        return Material(kept[0], kept[1], self.manifest), notes

    def times(self, canary: Canary) -> int:
        """Return in how many train rows a canary stands: some may have gone to the test part of a file."""
        return sum(canary.secret in text and canary.key in text for text in _whole(self.train))


@dataclass(frozen=True)
class Exposure:
    """How exposed one canary's secret is, in bits."""

    key: str
    secret: str
    repeat: int
    """Train rows that it stands in."""
    rank: int
    of: int
    """Secrets that it was ranked among, itself one of them."""
    bits: float
    """log2 of - log2 rank."""
    modelled_bits: float
    """By a skew-normal distribution of the others' losses; log2 of all possible secrets at the most."""
    base_bits: float
    """Of the bare base: what chance gave this secret."""
    most_bits: float
    """log2 of."""
    space_bits: float


@dataclass(frozen=True)
class RiskyRow:
    """A train row that is given away the most."""

    text: str
    """The beginning of what was learned of it."""
    verbatim: int | None
    """Tokens of its continuation that were written in one run; None where it is too short to be continued."""
    base_verbatim: int | None
    continuation: int | None
    loss: float
    """Nats a token."""
    base_loss: float


@dataclass(frozen=True)
class Leak:
    """What was found of one adapter."""

    adapter: str
    model: str
    dataset: str
    task: str
    method: str
    rank: int | None
    seed: int
    epochs: int | None
    membership: Membership
    recitation: Recitation | None
    """None where no row is long enough to be continued."""
    exposures: list[Exposure]
    rows_at_risk: list[RiskyRow]
    gap_by_epoch: list[dict[str, float]]
    """By epoch, loss on test rows less that on train rows as the run's history has them, nats a token."""
    notes: list[str] = field(default_factory=list)

    @property
    def learned(self) -> dict[int, float]:
        """By repetitions, how probable the canaries' ranks are where nothing was learned."""
        found: dict[int, list[Rank]] = {}
        for each in self.exposures:
            found.setdefault(each.repeat, []).append(Rank(each.rank, each.of))
        return {repeat: chance(ranks) for repeat, ranks in sorted(found.items())}

    @property
    def leaks(self) -> dict[str, bool]:
        """By test, whether it found a leak; only those that could be made."""
        low = self.membership.learned_gap.low
        found = {"membership": low is not None and low > 0}
        if self.recitation is not None:
            found["recitation"] = self.recitation.excess.low is not None and self.recitation.excess.low > 0
        if planted := [chance for repeat, chance in self.learned.items() if repeat]:
            found["canaries"] = min(planted) < _CHANCE / len(planted)
        return found

    @property
    def verdict(self) -> list[str]:
        """Sentences that say what was found, and what that does not say."""
        gap = self.membership.learned_gap
        interval = f"{gap.value:+.3f} nats a token (95% interval {gap.low:+.3f} to {gap.high:+.3f})"
        told = self.leaks["membership"]
        said = [
            f"Training lowered the loss of train rows more than that of held-out rows: {interval}; a row's membership is "
            f"told by it {100 * self.membership.calibrated_auc:.0f} times in 100."
            if told
            else f"By their loss, train rows are not told from held-out rows here: {interval}."
        ]
        if self.recitation is not None:
            share, held = (100 * own for own in (self.recitation.train_share, self.recitation.held_out_share))
            beside = f"{share:.0f}% of a train row's continuation in one run, {held:.0f}% of a held-out row's"
            said.append(
                f"It recites what it was trained on: {beside}, {self.recitation.longest} tokens at the longest."
                if self.leaks["recitation"]
                else f"It recites train rows no more than training made it recite others: {beside}."
            )
        if "canaries" in self.leaks:
            limit = _CHANCE / sum(1 for repeat in self.learned if repeat)
            bits = {
                repeat: np.mean([each.bits for each in self.exposures if each.repeat == repeat])
                for repeat in self.learned
            }
            found = ", ".join(
                f"{bits[repeat]:.1f} bits where planted {repeat} {'time' if repeat == 1 else 'times'}"
                f"{'' if own < limit else ' (as chance)'}"
                for repeat, own in self.learned.items() if repeat
            )  # fmt: skip
            said.append(
                f"Exposure of the canaries' secrets, of {self.exposures[0].most_bits:.1f} bits at the most: {found}."
            )
        if not any(self.leaks.values()):
            said.append("None of these tests found a leak on these rows; that is no proof that nothing can be had.")
        return said

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON-able values."""
        return asdict(self) | {"leaks": self.leaks, "verdict": self.verdict}


Known = dict[Any, Any]
"""What bases said, so that adapters of the same base ask once."""


def examine(
    loaded: LoadedAdapter, material: Material, settings: LeakSettings, *, known: Known | None = None,
    facts: Mapping[str, Any] | None = None, trust_remote_code: bool = False,
    tell: Callable[[str], None] = lambda status: None,
) -> Leak:  # fmt: skip
    """Look for what an adapter that writes gives away of its train rows.

    `facts` are of its result where it is a study's (history, epochs ...). Adapters that share a base, data and settings may
    share `known`. Raises `UsageError` where there are too few rows, or canaries that cannot be told apart.
    """
    used, notes = material.sampled(settings)
    facts = dict(facts or {})
    limit = longest_read(loaded)
    read = {"train": sequences(loaded, used.train, limit), "held-out": sequences(loaded, used.held_out, limit)}
    begun = {name: starts(loaded, own, settings.prefix, settings.most) for name, own in read.items()}
    ranked = _to_rank(loaded, material, settings, limit)
    adapter = Witness(loaded.backbone, loaded.adapter, settings.batch_size)

    def asked(who: str, witness: Witness) -> dict[str, Any]:
        tell(f"{who}: how likely are the rows")
        found: dict[str, Any] = {f"loss {name}": _per_token(witness, own) for name, own in read.items()}
        for name, own in begun.items():
            tell(f"{who}: how do {name} rows go on")
            written = witness.goes_on(list(own.values()))
            runs = [longest_run(text, start.truth) for text, start in zip(written, own.values(), strict=True)]
            found[f"verbatim {name}"] = np.array(runs, dtype=np.float64)
        for place, (canary, candidates) in enumerate(ranked, start=1):
            tell(f"{who}: canary {place} of {len(ranked)}")
            found[canary.key] = witness.losses(candidates)[0]
        return found

    own = asked("adapter", adapter)
    key = (loaded.record.model, loaded.record.precision, limit, id(material), settings)
    known = {} if known is None else known
    if key not in known:
        bare = loaded.bare(trust_remote_code=trust_remote_code)
        known[key] = asked("base", Witness(bare, None, settings.batch_size))
    base = known[key]

    def joined(found: Mapping[str, Any], what: str) -> np.ndarray:
        return np.concatenate([found[f"{what} train"], found[f"{what} held-out"]])

    losses, base_losses = joined(own, "loss"), joined(base, "loss")
    member = np.arange(len(losses)) < len(used.train)
    there = ~(np.isnan(losses) | np.isnan(base_losses))
    if missing := int((~there).sum()):
        notes.append(f"{missing:,} {_rows(missing)} without a token to learn within {limit} and left out.")
    if min(int((there & member).sum()), int((there & ~member).sum())) < _FEWEST:
        raise UsageError(f"Fewer than {_FEWEST} rows have a token to learn within {limit} tokens.")
    recited = None
    if min(map(len, begun.values())) >= _FEWEST:
        lengths = np.array([len(start.truth) for each in begun.values() for start in each.values()])
        trained = np.arange(len(lengths)) < len(begun["train"])
        recited = recitation(joined(own, "verbatim"), joined(base, "verbatim"), lengths, trained)
    else:
        notes.append("The rows are too short to be continued; recitation was not looked at.")
    method = loaded.method.settings()
    return Leak(
        adapter=str(loaded.folder), model=loaded.record.model, dataset=str(loaded.record.facts.get("dataset", "")),
        task=loaded.task.name, method=str(facts.get("method_label", loaded.record.method)), rank=method.get("rank"),
        seed=loaded.record.seed, epochs=facts.get("epochs") or len(loaded.record.facts.get("history", [])) or None,
        membership=membership(losses[there], base_losses[there], member[there]), recitation=recited,
        exposures=[
            _exposure(canary, material, own[canary.key], base[canary.key]) for canary, _ in ranked
        ],
        rows_at_risk=_at_risk(loaded, read["train"], begun["train"], own, base, settings.at_risk),
        gap_by_epoch=_by_epoch(loaded.record.facts.get("history", [])), notes=notes,
    )  # fmt: skip


def _to_rank(
    loaded: LoadedAdapter, material: Material, settings: LeakSettings, limit: int
) -> list[tuple[Canary, Sequences]]:
    """Return each canary with its row and those of other secrets behind it."""
    manifest, found = material.manifest, []
    for place, canary in enumerate(() if manifest is None else manifest.canaries):
        assert manifest is not None
        if manifest.space <= settings.references + 1:
            others = [manifest.secret(number) for number in range(manifest.space)]
        else:
            random = np.random.default_rng([settings.seed, place])
            others = draw_secrets(manifest, settings.references + 1, random)
        others = [secret for secret in others if secret != canary.secret]
        # One more was drawn, in case it was the canary's own.
        secrets = [canary.secret, *others[: settings.references]]
        rows = manifest.rows(canary.key, secrets, loaded.task.name)
        candidates = sequences(loaded, rows, limit)
        if len(candidates.owner) < len(secrets):
            raise UsageError(f"A canary does not fit within {limit} tokens; raise max_length.")
        found.append((canary, candidates))
    return found


def _exposure(canary: Canary, material: Material, losses: np.ndarray, base: np.ndarray) -> Exposure:
    manifest = material.manifest
    assert manifest is not None
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
    loaded: LoadedAdapter, read: Sequences, begun: Mapping[int, Start], own: Mapping[str, Any], base: Mapping[str, Any],
    count: int,
) -> list[RiskyRow]:  # fmt: skip
    """The train rows of which most is recited beyond the base, and of those alike the ones that training helped most."""
    place = {row: index for index, row in enumerate(begun)}
    runs, base_runs = own["verbatim train"], base["verbatim train"]
    losses, base_losses = own["loss train"], base["loss train"]

    def risk(row: int) -> tuple[float, float]:
        beyond = float(runs[place[row]] - base_runs[place[row]]) if row in place else 0.0
        return beyond, float(base_losses[row] - losses[row])

    found = []
    for row in sorted(set(read.owner.tolist()), key=risk, reverse=True)[:count]:
        start = int(np.flatnonzero(read.owner == row)[0])
        tokens = read.tokens
        assert tokens.targets is not None
        targets = tokens.targets[tokens.offsets[start] : tokens.offsets[start + 1]]
        text = loaded.tokenizer.decode(targets[targets >= 0].tolist(), skip_special_tokens=True).strip()
        there = row in place
        found.append(
            RiskyRow(
                text=text if len(text) <= _SHOWN else f"{text[:_SHOWN].rstrip()} …",
                verbatim=int(runs[place[row]]) if there else None,
                base_verbatim=int(base_runs[place[row]]) if there else None,
                continuation=len(begun[row].truth) if there else None,
                loss=float(losses[row]), base_loss=float(base_losses[row]),
            )
        )  # fmt: skip
    return found


def _per_token(witness: Witness, read: Sequences) -> np.ndarray:
    """Losses (rows,) in nats a token; nan where there is none."""
    total, count = witness.losses(read)
    found: np.ndarray = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return found


def _by_epoch(history: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """Of runs that have the perplexity of both after each epoch, the gap of their logarithms."""
    metric = "perplexity"
    return [
        {"epoch": entry["epoch"], "gap": math.log(entry[f"test_{metric}"]) - math.log(entry[f"train_{metric}"])}
        for entry in history if f"test_{metric}" in entry and f"train_{metric}" in entry
    ]  # fmt: skip


def _whole(rows: Rows) -> list[str]:
    second = rows.text_pair or [""] * len(rows)
    return [json.dumps([text, pair], ensure_ascii=False) for text, pair in zip(rows.text, second, strict=True)]


def _rows(count: int) -> str:
    return "row is" if count == 1 else "rows are"
