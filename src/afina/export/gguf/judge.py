"""Hold a GGUF file beside what was tested, in two programs that read it: transformers, and llama.cpp where it is installed.

By turns: the merged model is the adapter, to float32's rounding. The file, read back, is the merged model with its weights
rounded as the file's type rounds them, to the same tolerance, so that what rounding changes hides no fault. llama.cpp
computes from the file what transformers does, to its own rounding, reads the same tokens, writes the same template, and
stops at the end tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from afina.backbone.gguf_tensors import gguf_names
from afina.errors import AfinaError, UsageError
from afina.export.chat import TALKS, rendered
from afina.export.gguf.compare import divergence, far, logits, round_like, samples
from afina.export.gguf.file import own_shapes
from afina.export.gguf.llama_cpp import INSTALL, LlamaCpp, llama_cpp_there
from afina.export.gguf.settings import GgufForm
from afina.export.gguf.types import TYPES
from afina.export.gguf.vocabulary import TEXTS, with_special
from afina.export.parity import TOLERANCE, check_parity
from afina.predictor.predictor import Predictor

__all__ = ["Judgement", "Spoken", "bare_logits", "judge_in_llama_cpp", "judge_model"]

_GREEDY = 50
_NOTHING = 1e-9
"""Nats a token below which nothing is changed."""


@dataclass(frozen=True)
class Judgement:
    """Holds what was compared, as rows of a table, and what a person should know of it."""

    rows: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    effect: float | None = None
    """The largest change that the adapter makes to its base's logits, if it was measured."""


@dataclass(frozen=True)
class Spoken:
    """Holds what a file says besides its weights, as the adapter's side has it."""

    form: GgufForm
    kind: str
    tokenizer: Any
    template: str | None
    ends: Sequence[int]

    @property
    def specials(self) -> dict[str, str]:
        return {key: str(value) for key, value in self.tokenizer.special_tokens_map.items() if value}


def judge_model(path: Path, spoken: Spoken, merged: Any, read: Any, exact: Predictor, sample: Any) -> Judgement:
    """Return what was compared; raises `AfinaError` where the file is not what was tested.

    `read` is the model that transformers reads from it. Changes the merged model in place.
    """
    # A few rows: each token of each is asked of llama.cpp too.
    few = sample.take(np.arange(min(8, len(sample))))
    parity = check_parity(exact, exact, merged, exact.tokenizer, few)
    if not parity.equal:
        raise parted(f"merged, logits part by up to {parity.exact_difference:.2g} (they reach {parity.scale:.2g})")
    ids = samples(exact.tokens(few))
    whole, base = logits(merged, ids), bare_logits(exact, ids)

    # The file is held beside a model that was rounded in the same way: what is left is llama.cpp's own doing.
    shapes = own_shapes(merged)
    round_like(merged, spoken.form, spoken.kind, shapes, gguf_names(spoken.form.row, list(shapes)))
    wanted, actual = logits(merged, ids), logits(read, ids)
    difference, scale = far(wanted, actual)
    if difference > TOLERANCE * max(1.0, scale):
        raise parted(f"read back by transformers, logits part by up to {difference:.2g} (they reach {scale:.2g})")
    lost, moved = divergence(whole, actual), divergence(whole, base)
    rows = [
        (f"lost by rounding to {spoken.kind}, of what the adapter changed", f"{lost:.2g} of {moved:.2g} nats a token"),
    ]
    notes = []
    # Not for an adapter that changes nothing, which rounding cannot lose.
    if lost >= moved > _NOTHING:
        notes.append(
            f"Rounding to {spoken.kind} loses {lost:.2g} nats a token and the adapter changed less ({moved:.2g}): take a "
            "type with more bits."
        )
    in_llama_cpp = judge_in_llama_cpp(path, spoken, exact, ids, actual, lost=lost)
    return Judgement((*rows, *in_llama_cpp.rows), (*notes, *in_llama_cpp.notes), far(whole, base)[0])


def bare_logits(loaded: Predictor, ids: Sequence[Sequence[int]]) -> list[Tensor]:
    """Return the base model's own logits (T, V) of each row."""
    bare = loaded.bare()
    assert bare.language is not None
    with torch.inference_mode():
        states = [bare.model(input_ids=torch.tensor([list(row)])).last_hidden_state for row in ids]
        return [bare.language(own)[0].float() for own in states]


def judge_in_llama_cpp(
    path: Path, spoken: Spoken, exact: Predictor, ids: Sequence[Sequence[int]], wanted: Sequence[Tensor], *, lost: float,
    lora: Path | None = None,
) -> Judgement:  # fmt: skip
    """Return how llama.cpp reads the file; raises `AfinaError` where it computes, reads or writes something else.

    What rounding the weights `lost` bounds what it may lose by rounding the other factor of each product likewise.
    Without xllamacpp there is only a note that says so.
    """
    if not llama_cpp_there():
        return Judgement(notes=(f"xllamacpp is not installed, so that llama.cpp itself was not asked: {INSTALL}.",))
    with LlamaCpp(
        path, lora=lora, context=min(exact.backbone.context, 1024), threads=torch.get_num_threads(), exact=True
    ) as cpp:
        # What rounding weights loses, rounding the other factor of each product may lose again.
        most = max(2 * lost, TYPES[spoken.kind].apart)
        rows = [_computes(cpp, most, ids, wanted), _reads(cpp, spoken)]
        notes = [note for note in (_composes(spoken),) if note]
        if spoken.template is not None:
            verdict, note = _writes(cpp, spoken)
            rows.append(("chat template in llama.cpp", verdict))
            notes += [note] if note else []
        rows.append(_goes_on(cpp, exact, ids))
        if spoken.ends:
            _ends(cpp, spoken, ids[0])
    return Judgement(tuple(rows), tuple(notes))


def _computes(cpp: LlamaCpp, most: float, ids: Sequence[Sequence[int]], wanted: Sequence[Tensor]) -> tuple[str, str]:
    # At the end of each text and in its middle: a fault of positions or masks shows at one of them.
    places = [(row, end) for row, own in enumerate(ids) for end in {len(own), max(1, len(own) // 2)}]
    worst, total = 0.0, 0.0
    for row, end in places:
        ours = wanted[row][end - 1].double().log_softmax(-1)
        theirs = torch.from_numpy(cpp.log_probabilities(ids[row][:end]))
        if len(theirs) != len(ours):
            raise parted(f"llama.cpp has {len(theirs):,} tokens to choose from, where the model has {len(ours):,}")

        # What llama.cpp leaves out it holds for impossible.
        value = float((ours.exp() * (ours - theirs.clamp(min=-1e3))).sum())
        worst, total = max(worst, value), total + max(value, 0.0)
    mean = total / len(places)
    if not mean <= most:
        raise parted(
            f"llama.cpp parts from transformers on the same file by {mean:.2g} nats a token (at most {most:.2g} is rounding)"
        )
    return "llama.cpp against transformers on the file", f"{mean:.1g} nats a token, at most {worst:.1g}"


def _composing(spoken: Spoken) -> bool:
    """Return whether the tokenizer composes characters first (NFC), which llama.cpp does not."""
    # A letter and its accent apart, which NFC makes one.
    normalizer = spoken.tokenizer.backend_tokenizer.normalizer
    return normalizer is not None and normalizer.normalize_str("e\u0301") == "é"


def _composes(spoken: Spoken) -> str | None:
    if not _composing(spoken):
        return None
    return (
        "The tokenizer composes characters (NFC) before it reads them, which llama.cpp does not: give it composed texts, as "
        "keyboards write them."
    )


def _reads(cpp: LlamaCpp, spoken: Spoken) -> tuple[str, str]:
    texts = [*TEXTS, *with_special(spoken.tokenizer)]
    if _composing(spoken):
        import unicodedata

        texts = [unicodedata.normalize("NFC", text) for text in texts]
    for text in texts:
        ours, theirs = spoken.tokenizer(text)["input_ids"], cpp.tokens(text)
        if list(ours) != theirs:
            raise parted(f"of {text!r} llama.cpp makes the tokens {theirs[:12]}, the tokenizer {list(ours)[:12]}")
    return "read alike in llama.cpp", f"{len(texts)} texts"


def _writes(cpp: LlamaCpp, spoken: Spoken) -> tuple[str, str | None]:
    """Hold the rendered template beside the adapter's, to the byte.

    Returns how many were the same, and a note of a mark that llama.cpp adds.
    """
    assert spoken.template is not None
    first, count, note = spoken.specials.get("bos_token", ""), 0, None
    for talk in TALKS:
        try:
            ours = rendered(spoken.template, spoken.specials, talk)
        except UsageError:  # a template without a system turn, say
            continue
        theirs = cpp.rendered(talk)
        if theirs != ours and first + theirs != ours:  # a first mark that it writes anyway, llama.cpp takes off
            raise parted(f"llama.cpp writes a conversation as {theirs[:120]!r}, the template as {ours[:120]!r}")
        plain = spoken.tokenizer(ours, add_special_tokens=False)["input_ids"]
        if list(plain) != cpp.tokens(theirs) and note is None:
            note = (
                f"llama.cpp begins conversations with {first}, which the chat template does not write; elsewhere they begin "
                "without it."
            )
        count += 1
    return f"equal to the byte in {count} conversations", note


def _goes_on(cpp: LlamaCpp, exact: Predictor, ids: Sequence[Sequence[int]]) -> tuple[str, str]:
    """Compare what both write, taking the likeliest token each time."""
    from afina.generation.generate import write
    from afina.generation.rows import Request
    from afina.generation.settings import GenerationSettings

    same = written = 0
    for row in ids:
        prompt = list(row[: max(1, len(row) // 2)])
        settings = GenerationSettings(max_new_tokens=_GREEDY, temperature=0.0)
        request = Request(prompt, exact.adapter, (), 0, exact.tokenizer)
        (ours,) = [
            piece.written.tokens for piece in write(exact.backbone, [request], settings) if piece.written is not None
        ]
        theirs = cpp.greedy(prompt, len(ours)).tokens if ours else []
        written += len(ours)

        # Up to the first token that differs: behind it the two write different texts.
        same += next(
            (place for place, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), len(theirs)
        )
        if written >= _GREEDY:
            break
    return "written alike, taking the likeliest token", f"{same} of {written} tokens"


def _ends(cpp: LlamaCpp, spoken: Spoken, prompt: Sequence[int]) -> None:
    """Have each end token come, and see that the text ends there; the first is what the file says."""
    first, theirs = spoken.tokenizer.decode(spoken.ends[:1]), cpp.ask("/props").get("eos_token")
    if first != theirs:
        raise parted(f"llama.cpp ends texts at {theirs!r}, the tokenizer at {first!r}")
    for end in spoken.ends:
        # The end token is made the likeliest by a bias: waiting for it could take for ever.
        answer = cpp.greedy(prompt[: max(1, len(prompt) // 2)], 3, logit_bias=[[end, 1000.0]])
        if not answer.ended:
            raise parted(f"llama.cpp writes on after the end token {spoken.tokenizer.convert_ids_to_tokens(end)}")


def parted(how: str) -> AfinaError:
    """Return the error of a file that is not what was tested."""
    return AfinaError(f"What was exported is not what was tested: {how}; nothing was written. Please report this.")
