"""A batch: rows join and leave between steps, and each is what it would be alone."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from afina.adapters.adapter import build_adapter
from afina.backbone.attachment import Attachment
from afina.backbone.load import Backbone, load_backbone
from afina.errors import AfinaError, UsageError
from afina.generation.batch import WritingBatch
from afina.generation.generate import encode_prompt, write
from afina.generation.memory import Memory
from afina.generation.rows import ChosenToken, Request, Row, Written
from afina.generation.settings import GenerationSettings
from afina.methods.base import make_method
from afina.methods.prefix import KeysAndValues
from conformance import can_be
from examples import examples
from pairs import FROZEN, stir

ALIKE = ("lora", "pfeiffer", "ia3", "dora")
"""Of these there are two, which are computed at once."""
TEXT = "where is my parcel and the lamp please help a cat the film is broken"


class Desk:
    """A small model with an adapter of every method that it can have, and what each writes alone."""

    def __init__(self, folder: Path, family: str) -> None:
        self.backbone: Backbone = load_backbone(str(folder), speaks=True)
        self.backbone.generation = type(self.backbone.generation)(eos_token_id=None)
        self.adapters: list[Any] = [None]
        for seed, name in enumerate([*FROZEN, *ALIKE]):
            if can_be(name, family):
                made = build_adapter(make_method(name, {}, {"rank": 3, "length": 3}), self.backbone, 1, seed=seed)
                stir(made)
                if seed >= len(FROZEN):
                    with torch.no_grad():
                        for value in made.parameters():
                            value.mul_(0.6)
                self.adapters.append(made)
        self.ids = encode_prompt(self.backbone, TEXT)
        self.memory = Memory(self.backbone)
        self.alone = cache(self._alone)

    def row(self, adapter: int, length: int, room: int, temperature: float, seed: int) -> Row:
        chosen = GenerationSettings(max_new_tokens=room, temperature=temperature, seed=seed)
        return Row(self.backbone, Request(self.ids[:length], self.adapters[adapter]), chosen)

    def _alone(self, *asked: Any) -> list[int]:
        row = self.row(*asked)
        (written,) = (piece.written for piece in write(self.backbone, [row.request], row.settings) if piece.written)
        return written.tokens


@pytest.fixture(scope="module", autouse=True)
def _short_rows_are_read_apart() -> Iterator[None]:
    """Leave out what a row does not see wherever there is any of it: with so short texts it would not be worth while.

    And have rows of unlike size stand in blocks of their own.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("afina.backbone.ways._SPARE", 0)
        patch.setattr("afina.backbone.arranged._SMALL", 4)
        patch.setattr("afina.backbone.kept._ROOM", 3)
        yield


@pytest.fixture(scope="module")
def desk(speaker: Callable[[str], Path]) -> Callable[[str], Desk]:
    return cache(lambda family: Desk(speaker(family), family))


ASKED = st.tuples(
    st.integers(0, 100), st.sampled_from([1, 2, 5, 9, 14]), st.integers(1, 12), st.sampled_from([0.0, 1.5]),
    st.integers(0, 2),
)  # fmt: skip
JOINS = st.lists(
    st.tuples(st.integers(0, 12), st.none() | st.integers(0, 8), ASKED), min_size=2, max_size=10
)  # when, how many turns later it is cancelled, what


@pytest.mark.always("llama", "bart")
@pytest.mark.parametrize("family", ["llama", "gpt2", "t5", "bart", "gemma2"])
@examples(6, 25)
@example(
    joins=[
        (turn, 3 if turn == 2 else None, (2 * turn + 1, [1, 9, 5, 14, 2][turn % 5], 4 + turn, 1.5 * (turn % 2), 0))
        for turn in (0, 0, 1, 2, 3, 3, 4, 6)
    ],
    prompt_tokens=8,
    most_idle=1,
)
@given(joins=JOINS, prompt_tokens=st.none() | st.sampled_from([1, 3, 8]), most_idle=st.integers(0, 3))
def test_rows_that_join_and_leave_at_random_are_what_they_are_alone(
    family: str, desk: Callable[[str], Desk], joins: list[Any], prompt_tokens: int | None, most_idle: int
) -> None:
    """Every language method and the bare base; a row that is cancelled leaves at once and no other notices."""
    at = desk(family)
    asked = [(one[0] % len(at.adapters), *one[1:]) for _, _, one in joins]
    rows = [at.row(*one) for one in asked]
    done: dict[int, Written] = {}
    with WritingBatch(at.backbone, prompt_tokens=prompt_tokens, most_idle=most_idle) as batch:
        turn = 0
        while turn <= 25 or batch.rows:
            for row, (begins, lives, _) in zip(rows, joins, strict=True):
                if turn == begins:
                    batch.add(row)
                if lives is not None and turn == begins + lives:
                    batch.drop([row])
                    assert row not in batch.rows
            for row, piece in batch.turn():
                if piece.written is not None:
                    done[rows.index(row)] = piece.written
            assert batch.kept_bytes <= at.memory.bytes_of(batch.rows)
            turn += 1
        assert batch.kept_bytes == 0
    for index, (row, (_, lives, _), one) in enumerate(zip(rows, joins, asked, strict=True)):
        whole = at.alone(*one)
        assert row.tokens == whole[: len(row.tokens)], (index, one)
        assert lives is not None or done[index].tokens == whole


@pytest.mark.always
def test_adapters_alike_with_unlike_many_rows_are_computed_at_once(desk: Callable[[str], Desk]) -> None:
    at, last = desk("llama"), len(desk("llama").adapters)
    pairs = [(1 + FROZEN.index(name), last - len(ALIKE) + place) for place, name in enumerate(ALIKE)]
    asked = [(one, length, 6 + length, 0.0, 0) for one, _ in pairs for length in (1, 5, 9)]
    asked += [(other, length, 9, 0.0, 0) for _, other in pairs for length in (2, 14)]
    rows = [at.row(*one) for one in asked]
    with WritingBatch(at.backbone) as batch:
        for row in rows:
            batch.add(row)
        while batch.rows:
            batch.turn()
    assert [row.tokens for row in rows] == [at.alone(*one) for one in asked]
    assert all(at.alone(one, 9, 12, 0.0, 0) != at.alone(other, 9, 12, 0.0, 0) for one, other in pairs)


def test_a_prompt_read_in_pieces_knows_its_ends_beside_one_with_virtual_tokens(desk: Callable[[str], Desk]) -> None:
    """Those take places in every row of a pass; LoReFT acts at the first and last of a text's own."""
    at = desk("llama")
    virtual, ends = (at.adapters[1 + FROZEN.index(name)] for name in ("prompt", "loreft"))
    asked = GenerationSettings(max_new_tokens=5, log_probabilities=0)
    request = Request(at.ids[:9], ends)
    said = [one for piece in write(at.backbone, [request], asked) for one in piece.said]
    row, beside = Row(at.backbone, request, asked), Row(at.backbone, Request(at.ids[:2], virtual), asked)
    pieces = []
    # Seven tokens are read first, beside five places of the other.
    with WritingBatch(at.backbone, prompt_tokens=12) as batch:
        for each in (beside, row):
            batch.add(each)
        while batch.rows:
            pieces += [piece for own, piece in batch.turn() if own is row]
    again = [one for piece in pieces for one in piece.said]
    assert [one.token for one in again] == [one.token for one in said]
    assert [one.log_probability for one in again] == pytest.approx([one.log_probability for one in said], abs=1e-4)


def test_a_row_that_leaves_frees_its_memory_in_the_same_turn(desk: Callable[[str], Desk]) -> None:
    at = desk("llama")
    rows = [at.row(number, 9, 12, 0.0, 0) for number in range(3)]
    with WritingBatch(at.backbone) as batch:
        for row in rows:
            batch.add(row)
        batch.turn()
        batch.turn()
        before = batch.kept_bytes
        batch.drop(rows[:1])
        assert batch.running == 2
        assert batch.kept_bytes == before * 2 // 3
        batch.drop(rows)
        assert (batch.running, batch.kept_bytes) == (0, 0)


def test_a_long_row_takes_its_own_room_and_not_that_of_the_short_ones_beside_it(desk: Callable[[str], Desk]) -> None:
    at = desk("llama")
    prefix = 1 + FROZEN.index("prefix")
    asked = [(number, 2, 6, 0.0, 0) for number in (0, 1, prefix, 0, 2, prefix, 1)]
    asked.insert(4, (0, 14, 40, 0.0, 0))
    rows = [at.row(*one) for one in asked]
    written, most = at.memory.written_bytes, []
    with WritingBatch(at.backbone) as batch:
        for row in rows:
            batch.add(row)
        while batch.rows:
            counted = at.memory.bytes_of(batch.rows)
            batch.turn()
            assert batch.kept_bytes <= counted
            most.append((counted, batch.running))
    # Of 54 places and the room behind them for one; of 8 for those without a prefix, and of 11 for those with one.
    assert most[0] == (written * (54 + 6 + 5 * (8 + 3) + 2 * (11 + 3)), len(rows))
    assert most[-2][1] == 1
    assert [row.tokens for row in rows] == [at.alone(*one) for one in asked]


def test_a_prefix_is_put_among_the_kept_keys_once(desk: Callable[[str], Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it may be: not where a window would count its places, where each token puts it before the others."""
    calls: list[int] = []
    before = KeysAndValues.before

    def counted(self: Any, *given: Any) -> Any:
        calls.append(given[0].shape[2])
        return before(self, *given)

    monkeypatch.setattr(KeysAndValues, "before", counted)
    for family, again in (("llama", False), ("gemma2", True)):
        at = desk(family)
        row = at.row(1 + FROZEN.index("prefix"), 5, 6, 0.0, 0)
        layers = len(at.backbone.anatomy.of_kind("layer"))
        calls.clear()
        with WritingBatch(at.backbone, prompt_tokens=3) as batch:
            batch.add(row)
            while batch.rows:
                batch.turn()
        assert len(calls) == layers * (7 if again else 1), "two pieces of a prompt and five tokens, or the first piece"
        assert row.tokens == at.alone(1 + FROZEN.index("prefix"), 5, 6, 0.0, 0)


def test_running_rows_go_on_while_a_long_prompt_is_read(desk: Callable[[str], Desk]) -> None:
    """Each turn reads a piece of it and writes a token of the others; a short prompt does not wait for its end."""
    at = desk("llama")
    running, long, short = at.row(1, 2, 12, 0.0, 0), at.row(0, 14, 3, 0.0, 0), at.row(0, 2, 3, 0.0, 0)
    with WritingBatch(at.backbone, prompt_tokens=4) as batch:
        batch.add(running)
        batch.turn()
        batch.add(long)
        counts = []
        for turn in range(7):
            batch.turn()
            counts.append((len(running.tokens), len(long.tokens), len(short.tokens)))
            if turn == 0:
                batch.add(short)
    assert counts[0] == (2, 0, 0)
    assert counts[1] == (3, 0, 1), "the short one came while the long one was read"
    assert counts[-1][0] == 8
    assert counts[-1][1] > 0


@pytest.mark.parametrize("adapter", ["bare", *sorted({FROZEN[0], "prefix", "llama-adapter"})])
def test_log_probabilities_are_those_of_the_whole_text(desk: Callable[[str], Desk], adapter: str) -> None:
    at = desk("gpt2" if adapter != "llama-adapter" else "llama")
    chosen = None if adapter == "bare" else at.adapters[1 + FROZEN.index(adapter)]
    request = Request(at.ids[:6], chosen)
    asked = GenerationSettings(max_new_tokens=7, temperature=1.5, seed=0, log_probabilities=3)
    pieces = list(write(at.backbone, [request], asked))
    said = [one for piece in pieces for one in piece.said]
    written = pieces[-1].written
    assert written is not None
    assert [one.token for one in said] == written.tokens
    from afina.generation.batch import Bare

    with Attachment(at.backbone, [Bare(at.backbone) if chosen is None else chosen]) as attached, torch.no_grad():
        ids = torch.tensor([[*request.prompt, *written.tokens]])
        states = attached.hidden({"input_ids": ids}).states[0, len(request.prompt) - 1 : -1]
        assert at.backbone.language is not None
        expected = at.backbone.language(states).log_softmax(1)
    for place, one in enumerate(said):
        assert one.log_probability == pytest.approx(float(expected[place, one.token]), abs=1e-4)
        assert [token for token, _ in one.likeliest] == expected[place].topk(3).indices.tolist()


def test_penalties_are_taken_from_what_the_answer_has(desk: Callable[[str], Desk]) -> None:
    """OpenAI's: once for being there, and once for each time; the prompt's tokens do not count."""
    at = desk("llama")
    plain, there, often = (
        Row(at.backbone, Request(at.ids[:5]), GenerationSettings(max_new_tokens=12, **penalty))
        for penalty in ({}, {"presence_penalty": 1e6}, {"frequency_penalty": 1e6})
    )
    with WritingBatch(at.backbone) as batch:
        for row in (plain, there, often):
            batch.add(row)
        for _ in range(12):
            batch.turn()
    assert len(set(plain.tokens)) < 12, "the test wants a model that repeats itself"
    assert len(set(there.tokens)) == len(set(often.tokens)) == 12
    assert plain.tokens[0] == there.tokens[0]


def test_rows_whose_scores_are_no_numbers_end_and_others_do_not(desk: Callable[[str], Desk]) -> None:
    at = desk("llama")
    broken = build_adapter(make_method("lora", {}), at.backbone, 1, seed=0)
    with torch.no_grad():
        for value in broken.parameters():
            value.fill_(math.nan)
    rows = [Row(at.backbone, Request(at.ids[:4], one), GenerationSettings(max_new_tokens=4)) for one in (None, broken)]
    with WritingBatch(at.backbone) as batch:
        for row in rows:
            batch.add(row)
        first = dict(batch.turn())
        assert first[rows[1]].written is not None
        assert first[rows[1]].written.finish == "error"
        while batch.rows:
            batch.turn()
    assert rows[0].tokens == at.alone(0, 4, 4, 0.0, 0)
    with pytest.raises(AfinaError, match="no numbers"):
        list(write(at.backbone, [rows[1].request], GenerationSettings()))


@given(st.text(alphabet="ab#END.çé😀🇧🇷 \n", max_size=40), st.booleans())
def test_pieces_have_the_tokens_of_their_text(desk: Callable[[str], Desk], text: str, stops: bool) -> None:
    """Characters of several tokens come whole, and of a stop text neither a character nor a token is given out."""
    row = _row_of_bytes(desk("llama").backbone, ("#END",) if stops else ())
    tokens = row.request.tokenizer.backend_tokenizer.encode(text).ids
    pieces = []
    for token in tokens:
        pieces.append(row.take(ChosenToken(token)))
        if pieces[-1].written is not None:
            break
    else:
        pieces.append(row.end("cancelled"))
    wanted = text.split("#END")[0] if stops else text
    shown, count = "", 0
    for piece in pieces:
        shown, count = shown + piece.text, count + len(piece.said)
        assert "\ufffd" not in piece.text
        assert count == len(shown.encode())
    whole = pieces[-1].written
    assert whole is not None
    assert shown == whole.text
    assert wanted.startswith(shown)
    assert [one.token for piece in pieces for one in piece.said] == tokens[: len(shown.encode())]


def _row_of_bytes(backbone: Backbone, stop: tuple[str, ...]) -> Row:
    request = Request([5], None, stop, 0, _bytes_tokenizer())
    return Row(backbone, request, GenerationSettings(max_new_tokens=60))


@cache
def _bytes_tokenizer() -> PreTrainedTokenizerBase:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = {letter: place for place, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    inner = Tokenizer(models.BPE(vocab=letters, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<end>")


def test_what_cannot_be_written_is_refused(desk: Callable[[str], Desk]) -> None:
    at = desk("llama")
    with pytest.raises(UsageError, match="Prompt 1 has 65 tokens and the model's 64 positions have room for 63"):
        Row(at.backbone, Request([7] * 65), GenerationSettings())
    with WritingBatch(at.backbone) as batch:
        batch.add(at.row(0, 2, 4, 0.0, 0))
        batch.turn()
        with pytest.raises(AfinaError, match="still writing another text"), WritingBatch(at.backbone):
            pass
    counts: dict[str, int] = defaultdict(int)
    for name, module in at.backbone.model.named_modules():
        counts[name] += len(module._forward_hooks) + len(module._forward_pre_hooks)
    assert not any(counts.values())
