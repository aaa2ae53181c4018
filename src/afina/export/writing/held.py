"""Hold a graph that writes beside its adapter: what follows each token, in batches, step by step; what both write and ask.

The adapter's side is what `afina generate` runs (`backbone/incremental.py`), in float32.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from afina.backbone.attachment import Attachment
from afina.backbone.incremental import Writing
from afina.backbone.language_head import answer_scores, answers_apart, question_mask
from afina.data.rows import Rows
from afina.data.tokens.batching import collate
from afina.data.tokens.tokens import IGNORED
from afina.errors import AfinaError, UsageError
from afina.export.chat import TALKS, rendered
from afina.export.held import TEXTS, check_tokens
from afina.export.opened import OpenedExport
from afina.export.parity import TOLERANCE, Parity, parity_of
from afina.export.writing.beside import ends_of
from afina.export.writing.session import WritingSession
from afina.generation.batch import Bare
from afina.generation.generate import write
from afina.generation.rows import Request
from afina.generation.settings import GenerationSettings
from afina.generation.template import check_messages, template_of
from afina.predictor.predictor import Predictor

__all__ = ["hold_writer"]

_ROWS, _LENGTHS, _STEPS, _GREEDY = (1, 3, 8), (4, 9, 21, 120), 3, 50
Prompts = Sequence[Sequence[int]]


def hold_writer(
    tested: Predictor, exact: Predictor, opened: OpenedExport, rows: Rows | None, *, judged: bool = True
) -> tuple[Parity, float | None]:
    """Compare an opened graph with its adapter on these rows, and on batches of several sizes, step by step.

    Returns how near they are, and how much the adapter's branches change what follows (None: it has none). What was asked is
    written into the folder. Raises `AfinaError` where tokens or conversations are others, and where what is written is,
    unless that is not to be `judged`, of a graph whose weights were rounded.
    """
    session = opened.session
    assert rows is not None and isinstance(session, WritingSession)
    check_tokens(tested, opened)
    talks = _check_talks(tested, opened)
    parity = _on_rows(tested, exact, session, rows)
    batches = list(_batches(tested, session.context))
    expected = [_steps(exact, batch) for batch in batches]
    given = [_steps_of(session, batch) for batch in batches]
    _keep(opened, batches, expected, given)
    apart = max(_furthest(expected, given), _one_by_one(session, batches[-1][0]))
    scale = max(float(own.abs().max()) for own in expected)
    if judged and apart > TOLERANCE * max(1.0, scale):
        raise _parted(f"what may follow parts by up to {apart:.2g} in logits (they reach {scale:.3g})")
    effect = None
    if exact.adapter.placed():
        effect = _furthest(expected, [_steps(exact, batch, bare=True) for batch in batches])
    table = (
        ("largest difference of logits of what may follow", f"{apart:.2g} (they reach {scale:.3g})"),
        ("written alike, taking the likeliest token", _check_greedy(exact, opened, batches[-1], judged)),
        *talks,
    )
    return replace(parity, told=table), effect


def _on_rows(tested: Predictor, exact: Predictor, session: WritingSession, rows: Rows) -> Parity:
    """Compare how likely both find what the rows have to say."""
    tokens = tested.tokens(rows)
    outside: list[Tensor] = []
    both = {"tested": tested} if exact is tested else {"tested": tested, "exact": exact}
    ours: dict[str, list[Tensor]] = {name: [] for name in both}
    for row in range(len(tokens)):
        batch = collate([(tokens, np.array([row]))], 0, most=1)
        targets = batch.targets
        assert targets is not None
        for name, loaded in both.items():
            with Attachment(loaded.backbone, [loaded.adapter]) as attached, torch.inference_mode():
                ours[name].append(attached(batch.inputs, targets=targets)[0].float())

        outside.append(_scored(exact, session, batch.inputs, targets))
    task = exact.task
    outputs = task.compared_outside(torch.cat(outside), len(outside))
    compared = {name: task.compared(torch.cat(own)) for name, own in ours.items()}
    return parity_of(task, tokens, outputs, {"exact": compared["tested"], **compared})


def _scored(loaded: Predictor, session: WritingSession, inputs: Mapping[str, Tensor], targets: Tensor) -> Tensor:
    """Return how likely a graph finds what one row (1, T) is to say (1, 4)."""
    if loaded.backbone.anatomy.row.further:
        apart = answers_apart(inputs, targets)
        asked = apart.inputs["input_ids"][apart.inputs["attention_mask"].bool()].tolist()
        logits = session.answered(asked, apart.ids[0, : int(apart.mask.sum()) - 1].tolist())
        return answer_scores(torch.from_numpy(logits), apart.targets)
    # Up to the token whose next is the first that it says, it is read; the rest it goes on with.
    read = int(question_mask(targets, None).sum())
    logits = session.next_logits(inputs["input_ids"][0].tolist(), read)
    return answer_scores(torch.from_numpy(logits)[targets[0] != IGNORED], targets)


def _batches(loaded: Predictor, context: int) -> Iterator[Prompts]:
    """Yield prompts of 1, 3 and 8 rows at four lengths, the rows of a batch of unlike length.

    None is made of a person's rows: what was asked is kept in the folder, which others are given.
    """
    texts = [ids for text in TEXTS if (ids := loaded.tokenizer(text)["input_ids"])]
    most = context - _STEPS
    for rows in _ROWS:
        for length in sorted({min(length, most) for length in _LENGTHS}):
            lengths = [max(1, length - (row * length) // 9) for row in range(rows)]
            yield [np.resize(texts[row % len(texts)], size).tolist() for row, size in enumerate(lengths)]


def _steps(loaded: Predictor, prompts: Prompts, *, bare: bool = False) -> Tensor:
    """Return the logits (steps + 1, B, V) of what follows prompts and some more tokens, from the adapter or its base."""
    adapter: Any = Bare(loaded.backbone, 0) if bare else loaded.adapter
    with Attachment(loaded.backbone, [adapter]) as attached, torch.inference_mode():
        writing = Writing(attached, prompts, [slice(0, len(prompts))])
        logits = [writing.logits]
        logits += [writing.go_on(torch.from_numpy(tokens)) for tokens in _more(prompts)]
    return torch.stack(logits).float()


def _steps_of(session: WritingSession, prompts: Prompts) -> Tensor:
    going = session.begin(prompts)
    logits = [going.logits]
    logits += [going.go_on(tokens) for tokens in _more(prompts)]
    return torch.from_numpy(np.stack(logits))


def _more(prompts: Prompts) -> list[np.ndarray]:
    """Return what is said behind prompts, one token a row and step: the prompts' own tokens from their start."""
    return [np.array([prompt[step % len(prompt)] for prompt in prompts]) for step in range(_STEPS)]


def _furthest(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    # An adapter may have words that its base has not.
    pairs = [(one, other[..., : one.shape[-1]]) for one, other in zip(first, second, strict=True)]
    return max(float((one[..., : other.shape[-1]] - other).abs().max()) for one, other in pairs)


def _one_by_one(session: WritingSession, prompt: Sequence[int]) -> float:
    """Return how far a text that is read at once is from the same token by token; of both the first token is read alone."""
    ids = list(prompt[:24])
    whole, going = session.answered(ids[:1], ids[1:]), session.begin([ids[:1]])
    alone = [going.logits[0], *(going.go_on([token])[0] for token in ids[1:])]
    return float(np.abs(whole - np.stack(alone)).max())


def _check_greedy(exact: Predictor, opened: OpenedExport, prompts: Prompts, judged: bool) -> str:
    """Compare what both write of some prompts; where they part, both tokens have to be as likely, if that is `judged`."""
    session, ends, same, count = opened.session, opened.manifest.reading["ends"], 0, 0
    assert isinstance(session, WritingSession)
    for prompt in [own[: max(1, len(own) // 2)] for own in prompts[:3]]:
        most = min(_GREEDY, session.room(prompt))
        settings = GenerationSettings(max_new_tokens=most, temperature=0.0)
        request = Request(prompt, exact.adapter, (), 0, exact.tokenizer)
        (ours,) = [own.written.tokens for own in write(exact.backbone, [request], settings) if own.written is not None]
        theirs = session.greedy(prompt, most, ends)
        alike = next((place for place, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), None)
        if alike is None and len(ours) != len(theirs):
            alike = min(len(ours), len(theirs))
        if judged and alike is not None:
            logits = session.answered(prompt, ours[:alike])[-1]
            near = np.sort(logits)[-2:]
            if near[1] - near[0] > 2 * TOLERANCE * max(1.0, float(np.abs(logits).max())):
                raise _parted(
                    f"behind {exact.tokenizer.decode(prompt)[:60]!r} it writes another token, the {alike + 1}th"
                )
        same, count = same + (len(ours) if alike is None else alike), count + len(ours)
    return f"{same} of {count} tokens"


def _check_talks(tested: Predictor, opened: OpenedExport) -> list[tuple[str, str]]:
    """Hold conversations, as the folder's template writes them, beside what the adapter is asked, to the byte."""
    path, task, tokenizer = opened.folder / "chat_template.jinja", tested.task, tested.tokenizer
    if list(opened.manifest.reading["ends"]) != ends_of(tested)[0]:
        raise _parted("other tokens end what it writes")
    if task.template is None and not getattr(tokenizer, "chat_template", None):
        return []
    template, count = template_of(task, tokenizer), 0
    source = path.read_text(encoding="utf-8") if path.is_file() else ""
    for talk in TALKS:
        try:
            ours = template.prompt(check_messages(talk, tokenizer))
        except UsageError:  # a template without a system turn, say
            continue
        theirs = rendered(source, opened.manifest.reading["chat"]["specials"], talk).rstrip(" ")
        if ours != theirs:
            raise _parted(f"it is asked {theirs[:120]!r} where the adapter is asked {ours[:120]!r}")
        count += 1
    return [("conversations written alike, to the byte", str(count))]


def _keep(
    opened: OpenedExport, batches: Sequence[Prompts], expected: Sequence[Tensor], given: Sequence[Tensor]
) -> None:
    """Keep what followed the prompts of some batches, to ask again at any time: a vocabulary is too large for all."""
    values: dict[str, np.ndarray] = {}
    first_of_size = {len(batch): place for place, batch in reversed(list(enumerate(batches)))}
    for index, place in enumerate(sorted(first_of_size.values())):
        batch = batches[place]
        ids = np.full((len(batch), max(map(len, batch))), opened.pad, np.int64)
        mask = np.zeros_like(ids)
        for row, prompt in enumerate(batch):
            ids[row, : len(prompt)], mask[row, : len(prompt)] = prompt, 1
        values |= {f"{index}.input_ids": ids, f"{index}.attention_mask": mask}
        values |= {f"{index}/adapter": expected[place][0].numpy(), f"{index}/export": given[place][0].numpy()}
    with (opened.folder / opened.probe).open("wb") as file:
        np.savez_compressed(file, **values)  # type: ignore[arg-type]


def _parted(how: str) -> AfinaError:
    return AfinaError(f"What was exported is not what was tested: {how}; nothing was written. Please report this.")
