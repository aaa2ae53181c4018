"""Generation: kept keys and values change nothing, a batch changes nothing, transformers and peft write the same."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import afina
from afina.adapters.adapter import Adapter, build_adapter, save_adapter
from afina.adapters.record import AdapterRecord
from afina.backbone.attachment import Attachment
from afina.backbone.incremental import Writing
from afina.backbone.load import Backbone, load_backbone
from afina.data.templates.named import Message, TokenizerTemplate
from afina.errors import AfinaError, UsageError
from afina.generation.batch import Bare
from afina.generation.generate import encode_prompt, write
from afina.generation.rows import ChosenToken, Request, Row, longest_prompt
from afina.generation.sampling import choose, draw
from afina.generation.settings import GenerationSettings
from afina.generation.template import PlainTemplate
from afina.generation.text import TextStream
from afina.methods.base import make_method
from families import BOTH, DECODERS, language_model, save_family
from pairs import FROZEN, stir
from saved_adapters import saved

SPEAKERS = (*DECODERS, *BOTH)
PROMPTS = ["where is my parcel and the lamp please help a cat", "the lamp is broken", "a film"]
Speaker = Callable[[str], Backbone]


@pytest.fixture(scope="module")
def loaded_speaker(speaker: Callable[[str], Path]) -> Speaker:
    made: dict[str, Backbone] = {}

    def give(family: str) -> Backbone:
        if family not in made:
            made[family] = load_backbone(str(speaker(family)), speaks=True)
        return made[family]

    return give


def stirred(name: str, backbone: Backbone, seed: int = 0) -> Adapter:
    adapter = build_adapter(make_method(name, {}, {"rank": 3, "length": 3}), backbone, outputs=1, seed=seed)
    stir(adapter)
    return adapter


def in_one_pass(backbone: Backbone, adapter: Any, prompt: list[int], said: list[int]) -> Tensor:
    """Logits (len(said) + 1, V) from the prompt on, by the pass that training makes, nothing kept, the row alone."""
    ids = torch.tensor([prompt + said])
    targets = torch.full_like(ids, -100)
    targets[0, len(prompt) - 1 :] = torch.tensor([*said, 1])
    with Attachment(backbone, [adapter]) as attached, torch.no_grad():
        states = attached.hidden({"input_ids": ids}, targets=targets).states[0]
        assert backbone.language is not None
        return backbone.language(states[-len(said) - 1 :])


@pytest.mark.pairs(FROZEN, SPEAKERS)
def test_what_is_kept_and_who_is_beside_changes_no_logits(name: str, family: str, loaded_speaker: Speaker) -> None:
    """A batch of unlike lengths, token by token, beside each row alone in one pass; the tokens are given, not chosen."""
    backbone = loaded_speaker(family)
    adapter = stirred(name, backbone)
    prompts = [encode_prompt(backbone, text) for text in PROMPTS]
    said = torch.randint(5, 60, (3, 6), generator=torch.Generator().manual_seed(4))
    with Attachment(backbone, [adapter]) as attached, torch.no_grad():
        writing = Writing(attached, prompts, [slice(0, 3)])
        steps = [writing.logits]
        steps += [writing.go_on(tokens) for tokens in said[:, :3].T]
        writing.keep([0, 2])
        steps += [writing.go_on(tokens) for tokens in said[[0, 2], 3:].T]
    for row, prompt in enumerate(prompts):
        ours = [step[row] for step in steps[:4]] + [step[row // 2] for step in steps[4:] if row != 1]
        expected = in_one_pass(backbone, adapter, prompt, said[row, : len(ours) - 1].tolist())
        torch.testing.assert_close(torch.stack(ours), expected, rtol=1e-4, atol=1e-4)
    # By the shortest prompt: windows hide from the end of a longer one what stands before it.
    adapted, bare = (in_one_pass(backbone, own, prompts[2], said[2].tolist()) for own in (adapter, Bare(backbone)))
    assert not torch.allclose(adapted, bare, atol=1e-3) or name == "head", (
        "the adapter does nothing: nothing was tested"
    )


def finished(pieces: Iterator[Any]) -> dict[int, Any]:
    texts: dict[int, str] = {}
    done = {}
    for piece in pieces:
        texts[piece.number] = texts.get(piece.number, "") + piece.text
        if piece.written is not None:
            done[piece.number] = piece.written
    assert texts == {number: written.text for number, written in done.items()}
    return done


@pytest.mark.parametrize("family", SPEAKERS)
def test_greedy_text_is_that_of_transformers(
    family: str, speaker: Callable[[str], Path], loaded_speaker: Speaker
) -> None:
    backbone = loaded_speaker(family)
    theirs = language_model(family).from_pretrained(speaker(family)).eval()
    prompts = [encode_prompt(backbone, text) for text in PROMPTS]
    ours = finished(
        write(
            backbone, [Request(ids, number=n) for n, ids in enumerate(prompts)], GenerationSettings(max_new_tokens=12)
        )
    )
    for number, ids in enumerate(prompts):
        # mBART's decoder starts with the language mark, which is the question's last token.
        start = {"decoder_start_token_id": ids[-1]} if family == "mbart" else {}
        whole = theirs.generate(
            torch.tensor([ids]), max_new_tokens=12, do_sample=False, pad_token_id=0,
            attention_mask=torch.ones(1, len(ids), dtype=torch.long), **start,
        )[0].tolist()  # fmt: skip
        said = whole[1:] if family in BOTH else whole[len(ids) :]
        assert ours[number].tokens == [token for token in said if token != 4]
        assert ours[number].finish == ("stop" if 4 in said else "length")


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2", "opt", "t5", "bart"])
def test_rows_of_one_batch_have_their_own_adapters(family: str, loaded_speaker: Speaker) -> None:
    """Twelve rows of all kinds of branches and of none, ends at unlike times; each is what it is alone."""
    backbone = loaded_speaker(family)
    names = ["lora", "prompt", "loreft", "prefix", "parallel", "llama-adapter", "ia3", "pfeiffer", "bitfit", "ptuning"]
    adapters = [None, *(stirred(name, backbone, seed) for seed, name in enumerate(names)), None]
    prompts = [encode_prompt(backbone, PROMPTS[index % 3]) for index in range(len(adapters))]
    settings = GenerationSettings(max_new_tokens=8, temperature=2.0, seed=0)
    requests = [Request(ids, adapter, number=n) for n, (ids, adapter) in enumerate(zip(prompts, adapters, strict=True))]
    whole = {request.number: finished(write(backbone, [request], settings))[request.number] for request in requests}
    # Every third stops within its own text.
    stops = {n: tuple(written.text.split()[n % 4 :][:1]) if n % 3 == 0 else () for n, written in whole.items()}
    requests = [Request(r.prompt, r.adapter, stops[r.number], r.number) for r in requests]
    alone = {request.number: finished(write(backbone, [request], settings))[request.number] for request in requests}
    shuffled = [requests[index] for index in np.random.default_rng(0).permutation(len(requests))]
    assert finished(write(backbone, shuffled, settings)) == alone
    assert len({written.text for written in whole.values()}) > 8
    assert any(alone[n].text != whole[n].text for n in whole)


def test_prompts_of_adapters_leave_room_to_their_last_place(loaded_speaker: Speaker) -> None:
    backbone = loaded_speaker("gpt2")
    prompt, moved = (
        build_adapter(make_method(name, settings), backbone, outputs=1, seed=0)
        for name, settings in (("prompt", {"length": 5}), ("prefix", {"length": 5, "positions": "moved"}))
    )
    assert [longest_prompt(backbone, adapter) for adapter in (None, prompt, moved)] == [63, 58, 58]
    for adapter in (None, prompt, moved):
        most = longest_prompt(backbone, adapter)
        settings = GenerationSettings(max_new_tokens=50)
        full = finished(write(backbone, [Request([7] * most, adapter)], settings))[0]
        assert (len(full.tokens), full.finish) in (((1, "length")), (0, "stop"))
        with pytest.raises(UsageError, match=rf"Prompt 1 has {most + 1} tokens .* room for {most}"):
            next(write(backbone, [Request([7] * (most + 1), adapter)], settings))
    with pytest.raises(UsageError, match="empty"):
        next(write(backbone, [Request([])], GenerationSettings()))


@pytest.mark.parametrize("family", ["llama", "t5"])
@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 0.7}, {"temperature": 1.0, "top_k": 5}, {"temperature": 1.3, "top_p": 0.6},
        {"temperature": 1.0, "min_p": 0.2}, {"temperature": 1.0, "repetition_penalty": 1.8},
        {"temperature": 0.8, "top_k": 20, "top_p": 0.9, "min_p": 0.01, "repetition_penalty": 0.7},
    ],
    ids=lambda changes: "-".join(changes),
)  # fmt: skip
def test_tokens_are_drawn_from_what_transformers_draws_from(
    changes: dict[str, Any], family: str, speaker: Callable[[str], Path], loaded_speaker: Speaker
) -> None:
    """The scores of the third token after the same two, by transformers' generate and by ours."""
    ids = encode_prompt(loaded_speaker(family), PROMPTS[0])
    theirs = language_model(family).from_pretrained(speaker(family)).eval()
    torch.manual_seed(0)
    out = theirs.generate(
        torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), do_sample=True, max_new_tokens=3,
        output_scores=True, output_logits=True, return_dict_in_generate=True, pad_token_id=0, eos_token_id=None,
        **({"top_k": 0} | changes),
    )  # fmt: skip
    settings = GenerationSettings(**changes)
    so_far = out.sequences[:, 1:3] if family in BOTH else out.sequences[:, : len(ids) + 2]
    if family in BOTH:  # transformers counts the decoder's start among the tokens that repeat
        so_far = out.sequences[:, :3]
    ours = settings.processors()(so_far, out.logits[2])
    torch.testing.assert_close(ours.softmax(1), out.scores[2].softmax(1))


def test_draws_follow_the_probabilities_and_never_take_what_has_none() -> None:
    scores = torch.tensor([[0.0, -torch.inf, 1.0, -torch.inf, 2.0, -torch.inf]]).log_softmax(1)
    generator = torch.Generator().manual_seed(0)
    counts = torch.zeros(6)
    for _ in range(4000):
        counts[draw(scores, [generator])[0]] += 1
    torch.testing.assert_close(counts / 4000, scores[0].exp(), atol=0.02, rtol=0)
    assert counts[[1, 3, 5]].sum() == 0


def test_rounding_draws_no_other_token() -> None:
    """As large a vocabulary as models have, and differences as large as another batch makes."""
    places = torch.Generator().manual_seed(0)
    scores = torch.randn(200, 50_000, generator=places) * 3
    moved = scores + torch.randn(scores.shape, generator=places) * 3e-5
    one, other = (draw(own, [torch.Generator().manual_seed(row) for row in range(200)]) for own in (scores, moved))
    assert torch.equal(one, other) and len(set(one.tolist())) > 150
    # A number that is 0 takes nothing that has no probability.
    only = torch.full((1, 50_000), -torch.inf)
    only[0, 7] = 0.0
    assert all(draw(only, [torch.Generator().manual_seed(row)]).item() == 7 for row in range(20))


def test_a_wider_vocabulary_beside_a_row_changes_none_of_its_draws() -> None:
    """Words that another row's adapter brought have no probability for this one, at this step and those behind it."""
    scores = torch.randn(5, 40, generator=torch.Generator().manual_seed(0))
    wider = torch.cat([scores, torch.full((5, 3), -torch.inf)], dim=1)
    found = []
    for rows in (scores, wider):
        generator = torch.Generator().manual_seed(7)
        found.append([draw(own[None], [generator]).item() for own in rows])
    assert found[0] == found[1]


def test_rare_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    """A million tokens of 2^-26 each, which are one draw in 64 together; of coarser numbers one draw in 800."""
    scores = torch.full((1, 1 << 20), -26 * np.log(2))
    scores[0, 0] = 0.0
    assert any(draw(scores, [torch.Generator().manual_seed(seed)]).item() for seed in range(300))


def test_the_same_tokens_are_drawn_as_by_transformers() -> None:
    """Chi squared over twelve tokens, drawn by its processors and torch.multinomial, and by ours."""
    logits = torch.tensor([[2.0, 1.5, 1.4, 1.0, 0.5, 0.2, 0.0, -0.5, -1.0, -1.5, -2.0, -4.0]])
    for settings in ({"temperature": 0.6}, {"temperature": 1.7, "top_k": 6}, {"temperature": 1.2, "top_p": 0.8}):
        scores = GenerationSettings(**settings).processors()(None, logits)
        theirs = torch.multinomial(scores.softmax(1), 4000, True, generator=torch.Generator().manual_seed(1))
        counts = [torch.bincount(own.flatten(), minlength=12).float() for own in (theirs, _many(scores, 4000))]
        both = sum(counts)
        seen = both > 0
        squared = sum(((own - both / 2) ** 2)[seen].div(both[seen] / 2).sum() for own in counts)
        # Beyond it lies one in ten thousand of those that are alike, at eleven degrees of freedom.
        assert squared < 37.4, (settings, counts)


def _many(scores: Tensor, count: int) -> Tensor:
    return torch.cat([draw(scores, [torch.Generator().manual_seed(seed)]) for seed in range(count)])


@pytest.mark.parametrize("temperature", [1e-30, 1e-39, 1e-46, 1e-320])
def test_hardly_any_temperature_takes_the_likeliest_token(temperature: float, loaded_speaker: Speaker) -> None:
    row = _row(loaded_speaker("llama"), temperature=temperature, seed=3)
    for sign in (1, -1):
        (choice,) = choose([row], sign * torch.tensor([[20.0, 20.5, 21.0, 18.0]]))
        assert choice is not None and choice.token == (2 if sign == 1 else 3)


def test_no_probability_at_all_takes_the_likeliest_token(loaded_speaker: Speaker) -> None:
    """As OpenAI has `top_p: 0`; transformers sums up to 1 and beyond, and keeps several of a flat distribution."""
    logits = torch.full((1, 60_000), 2.0)
    logits[0, 7] += 1e-6
    for seed in range(5):
        row = _row(loaded_speaker("llama"), temperature=1.3, top_p=0, seed=seed)
        (choice,) = choose([row], logits)
        assert choice is not None and choice.token == 7
    penalised = _row(loaded_speaker("llama"), temperature=1.3, top_p=0, presence_penalty=2.0)
    penalised.take(ChosenToken(7))
    (choice,) = choose([penalised], logits)
    assert choice is not None and choice.token != 7


def test_penalties_are_not_lost_in_bfloat16(loaded_speaker: Speaker) -> None:
    """The neighbours of 20 are 0.125 apart there."""
    row = _row(loaded_speaker("llama"), presence_penalty=0.13)
    row.tokens = [1]
    (choice,) = choose([row], torch.tensor([[0.0, 20.125, 20.0]], dtype=torch.bfloat16))
    assert choice is not None and choice.token == 2


def _row(backbone: Backbone, **settings: Any) -> Row:
    return Row(backbone, Request([5, 6]), GenerationSettings(**settings))


@pytest.mark.parametrize("seed", [-1, 2**63, 2**64 - 1, 2**64, -(2**64)])
def test_every_whole_number_is_a_seed(seed: int, loaded_speaker: Speaker) -> None:
    """Also that of a later row, beyond what torch takes."""
    settings = GenerationSettings(max_new_tokens=4, temperature=1.0, seed=seed)
    texts = [
        [
            piece.written.tokens
            for piece in write(
                loaded_speaker("llama"), [Request([5, 6], number=number) for number in range(3)], settings
            )
            if piece.written
        ]
        for _ in range(2)
    ]
    assert texts[0] == texts[1] and len(set(map(tuple, texts[0]))) > 1


def test_what_is_no_whole_number_is_no_seed() -> None:
    for seed in (1.0, True, "1"):
        with pytest.raises(UsageError, match="seed should be a whole number, not"):
            GenerationSettings(seed=seed)  # type: ignore[arg-type]


def test_a_seed_gives_a_row_its_text_in_any_batch(loaded_speaker: Speaker) -> None:
    backbone = loaded_speaker("llama")
    ids = [encode_prompt(backbone, text) for text in [*PROMPTS, PROMPTS[0]]]
    settings = GenerationSettings(max_new_tokens=10, temperature=1.5, seed=3)
    together = finished(write(backbone, [Request(own, number=n) for n, own in enumerate(ids)], settings))
    for number, own in enumerate(ids):
        alone = finished(write(backbone, [Request(own)], settings.changed(seed=3 + number)))[0]
        assert alone.tokens == together[number].tokens
    assert together[0].tokens != together[3].tokens
    fresh = [finished(write(backbone, [Request(ids[0])], settings.changed(seed=None)))[0].tokens for _ in range(3)]
    assert len({tuple(own) for own in fresh}) > 1


def byte_tokenizer() -> Any:
    """A token for every byte, as GPT-2's smallest, and one special one."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = {letter: place for place, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    inner = Tokenizer(models.BPE(vocab=letters, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<end>")


BYTES = byte_tokenizer()


def streamed(tokenizer: Any, ids: list[int], stop: tuple[str, ...], before: list[int], *, cut: bool) -> list[str]:
    stream = TextStream(tokenizer, stop, before)
    pieces = [stream.add(token) for token in ids]
    pieces.append(stream.end(cut=cut))
    assert "".join(pieces) == stream.text
    return pieces


@given(st.text(max_size=90), st.lists(st.text(min_size=1, max_size=5), max_size=3), st.text(max_size=12))
def test_pieces_are_whole_characters_and_end_before_the_stop(text: str, stop: list[str], before: str) -> None:
    text = text.replace("\ufffd", "")
    encode = BYTES.backend_tokenizer.encode
    # Of stops within one another the one that is whole first, before all of what made it.
    places = [(place + len(own), place) for own in stop if (place := text.find(own)) >= 0]
    wanted = text[: min(places)[1]] if places else text
    pieces = streamed(BYTES, encode(text).ids, tuple(stop), encode(before).ids, cut=False)
    assert "".join(pieces) == wanted
    assert not any("\ufffd" in piece for piece in pieces)


class Pieces:
    """A tokenizer whose tokens are their texts."""

    def decode(self, tokens: list[str], **how: Any) -> str:
        return "".join(tokens)


@pytest.mark.parametrize("tokens", [["1", "0", "0"], ["10", "0"], ["100"]])
def test_the_stop_that_is_whole_first_ends_a_text_however_it_is_cut_into_tokens(tokens: list[Any]) -> None:
    stream = TextStream(Pieces(), ("0", "100"))
    assert "".join(map(stream.add, tokens)) == "1"
    assert stream.stopped


@given(st.text(alphabet="#END. a\nçé😀", max_size=100))
def test_nothing_of_a_stop_leaks_while_it_may_still_come(text: str) -> None:
    stop = "### END."
    stream, given_so_far, ids = TextStream(BYTES, (stop,)), "", []
    for token in BYTES.backend_tokenizer.encode(text).ids:
        given_so_far += stream.add(token)
        ids.append(token)
        seen = BYTES.decode(ids, clean_up_tokenization_spaces=False).rstrip("\ufffd")
        # What a stop may begin with is held back; of "####" the first cannot be its beginning any more.
        coming = max((n for n in range(1, len(stop) + 1) if seen.endswith(stop[:n])), default=0)
        assert len(given_so_far) <= len(seen) - coming
    assert stop not in given_so_far
    held = stream.end(cut=True)
    assert held == ""


def test_a_character_that_is_cut_off_is_left_out_and_a_broken_one_is_shown() -> None:
    smile = BYTES.backend_tokenizer.encode("a😀").ids
    assert streamed(BYTES, smile[:-1], (), [], cut=True) == ["a", "", "", "", ""]
    assert "".join(streamed(BYTES, [*smile[:-1], smile[0]], (), [], cut=False)) == "a\ufffda"


def test_text_goes_on_from_its_prompt_byte_by_byte(shared: Path) -> None:
    """A tokenizer of sentencepiece's kind, whose first space decoding drops and whose rare characters are bytes."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(shared / "data" / "stories260k")
    whole = 'Once upon a time, 日本 😀😀 said: "ação"! ' * 8
    ids = tokenizer(whole)["input_ids"]
    for cut in (1, 2, 7, 12, 20):
        before = tokenizer.decode(ids[:cut], skip_special_tokens=True)
        pieces = streamed(tokenizer, ids[cut:], (), ids[:cut], cut=False)
        if "\ufffd" not in before:
            assert before + "".join(pieces) == whole.rstrip() or before + "".join(pieces) == whole


def test_stops_end_the_text_of_a_real_model(shared: Path) -> None:
    backbone = load_backbone(str(shared / "data" / "stories260k"), speaks=True)
    ids = encode_prompt(backbone, "Once upon a time, there was")
    whole = finished(write(backbone, [Request(ids)], GenerationSettings(max_new_tokens=80)))[0].text
    assert " loved to play" in whole
    for stop in ("named Li", " loved to", "y outs"):  # each spans tokens
        pieces = list(write(backbone, [Request(ids)], GenerationSettings(max_new_tokens=80, stop=[stop])))
        assert "".join(piece.text for piece in pieces) == whole[: whole.index(stop)]
        assert pieces[-1].written is not None
        assert pieces[-1].written.finish == "stop"
    ended = finished(write(backbone, [Request(ids)], GenerationSettings(max_new_tokens=400)))[0]
    assert ended.finish == "stop" or len(ended.tokens) == 400
    # A special token, which no text shows, may be a stop too.
    assert finished(write(backbone, [Request(ids)], GenerationSettings(stop=["<s>"])))[0].text.startswith(
        " a little girl"
    )


def test_end_tokens_of_the_checkpoint_and_special_stops_end_a_text(loaded_speaker: Speaker) -> None:
    backbone = loaded_speaker("llama")
    ids = encode_prompt(backbone, PROMPTS[0])
    free = finished(write(backbone, [Request(ids)], GenerationSettings(max_new_tokens=10)))[0]
    own, backbone.generation = backbone.generation, type(backbone.generation)(eos_token_id=[4, free.tokens[3]])
    try:
        ended = finished(write(backbone, [Request(ids)], GenerationSettings(max_new_tokens=10)))[0]
    finally:
        backbone.generation = own
    first = free.tokens.index(free.tokens[3])
    assert (ended.tokens, ended.finish) == (free.tokens[:first], "stop")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": -1}, "temperature should be at least 0, not -1"),
        ({"top_p": -1, "max_new_tokens": 0}, "max_new_tokens should be at least 1, not 0; top_p should be from 0 to 1"),
        ({"stop": "abc"}, "stop should be a list of texts"),
        ({"stop": [""]}, "none empty"),
        ({"temprature": 1}, "no setting 'temprature'; did you mean 'temperature'"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        GenerationSettings().changed(**changes)


def test_adapters_are_loaded_beside_one_another_and_mixed(speaker: Callable[[str], Path], tmp_path: Path) -> None:
    base = speaker("qwen2")
    paths = [saved(name, base, tmp_path / name) for name in ("lora", "prompt", "prefix")]
    apart = [afina.load(path).generate(PROMPTS, max_new_tokens=6) for path in paths]
    first = afina.load(paths[0])
    others = [afina.load(path, beside=first) for path in paths[1:]]
    assert all(other.backbone is first.backbone for other in others)
    mixed = first.generate(
        PROMPTS * 3, adapters=[a for a in (first, *others) for _ in PROMPTS], max_new_tokens=6, batch_size=4
    )
    assert mixed == [written for own in apart for written in own]
    bare = first.generate(PROMPTS, adapters=[None] * 3, max_new_tokens=6)
    assert bare != apart[0]
    assert [str(written) for written in others[0].generate(PROMPTS, max_new_tokens=6)] == [w.text for w in apart[1]]
    assert first.generate([]) == []
    assert "".join(first.stream(PROMPTS[1], max_new_tokens=6)) == apart[0][1].text
    with pytest.raises(UsageError, match="a list of prompts"):
        first.generate(PROMPTS[0])
    with pytest.raises(UsageError, match="2 adapters for 3 prompts"):
        first.generate(PROMPTS, adapters=[None, None])
    with pytest.raises(UsageError, match="has a model of its own"):
        first.generate(PROMPTS[:1], adapters=[afina.load(paths[1])])
    with pytest.raises(UsageError, match=r"adapts .*gpt2, not .*qwen2"):
        afina.load(saved("lora", speaker("gpt2"), tmp_path / "other"), beside=first)


def test_a_stream_keeps_the_model_until_it_is_closed(speaker: Callable[[str], Path], tmp_path: Path) -> None:
    loaded = afina.load(saved("lora", speaker("llama"), tmp_path / "a"))
    whole = loaded.generate(PROMPTS[:1], max_new_tokens=6)[0].text
    stream = loaded.stream(PROMPTS[0], max_new_tokens=6)
    begun = next(stream)
    assert torch.is_inference_mode_enabled() is False
    with pytest.raises(AfinaError, match="still writing another text"):
        loaded.generate(PROMPTS)
    stream.close()
    assert whole.startswith(begun)
    assert loaded.generate(PROMPTS[:1], max_new_tokens=6)[0].text == whole
    before = {name: len(m._forward_hooks) for name, m in loaded.backbone.model.named_modules()}
    assert not any(before.values())


def test_what_was_trained_to_label_does_not_write(tmp_path: Path) -> None:
    base = save_family("llama", tmp_path / "llama")
    backbone = load_backbone(str(base))
    adapter = build_adapter(make_method("lora", {}), backbone, outputs=2, seed=0)
    task = {"name": "classification", "label_names": ["a", "b"]}
    record = AdapterRecord(str(base), "lora", make_method("lora", {}).settings(), task, 60, "fp32", 0)
    save_adapter(tmp_path / "labels", adapter, backbone, record)
    with pytest.raises(UsageError, match="trained to label texts, not to write; use predict"):
        afina.load(tmp_path / "labels").generate(["where"])


def test_a_full_model_writes_and_has_no_bare_one(speaker: Callable[[str], Path], tmp_path: Path) -> None:
    loaded = afina.load(saved("full", speaker("llama"), tmp_path / "full"))
    assert loaded.generate(PROMPTS[:1], max_new_tokens=4)[0].tokens
    with pytest.raises(UsageError, match="changed the whole model"):
        loaded.generate(PROMPTS[:1], adapters=[None])
    with pytest.raises(UsageError, match="cannot share a model: full changes all of it"):
        afina.load(tmp_path / "full", beside=loaded)


CONVERSATION = [
    {"role": "system", "content": "Be kind."}, {"role": "user", "content": "my lamp is broken"},
    {"role": "assistant", "content": "help"}, {"role": "user", "content": "where"},
]  # fmt: skip


def test_conversations_become_prompts(speaker: Callable[[str], Path], tmp_path: Path) -> None:
    turns = [Message(**message) for message in CONVERSATION]
    plain = PlainTemplate().prompt(turns)
    assert plain == "Be kind.\nUser: my lamp is broken\nAssistant: help\nUser: where\nAssistant:"
    loaded = afina.load(saved("lora", speaker("llama"), tmp_path / "a"))
    assert isinstance(loaded.template, PlainTemplate)
    assert loaded.generate([CONVERSATION], max_new_tokens=5) == loaded.generate([plain], max_new_tokens=5)
    tokenizer = loaded.backbone.tokenizer
    each = "{% for m in messages %}{{ m.role }} {{ m.content }} . {% endfor %}"
    tokenizer.chat_template = each + "{% if add_generation_prompt %}help{% endif %}"
    assert isinstance(loaded.template, TokenizerTemplate)
    assert loaded.template.prompt(turns[1:2]) == "user my lamp is broken . help"
    tokenizer.chat_template = "{{ raise_exception('no system messages') }}"
    with pytest.raises(UsageError, match="refuses the conversation: no system messages"):
        loaded.generate([CONVERSATION])
    for wrong in ([], CONVERSATION[:3], [{"role": "robot", "content": "x"}], [{"role": "user"}]):
        with pytest.raises(UsageError, match=r"last message|has the role 'robot'|the user's, has no content"):
            loaded.generate([wrong])


def test_a_task_brings_its_own_template_and_stops(
    speaker: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Own:
        stop, marks = ("lamp",), True

        def prompt(self, messages: Any) -> str:
            return f"### {messages[-1].content} ###"

    loaded = afina.load(saved("lora", speaker("llama"), tmp_path / "a"))
    raw = loaded.generate(["### where ###"], max_new_tokens=8)[0].text
    monkeypatch.setattr(Own, "stop", (raw.split()[2],))
    loaded.task.template = Own()  # type: ignore[attr-defined]
    ended = loaded.generate([CONVERSATION, "### where ###"], max_new_tokens=8)
    assert [written.text for written in ended] == [raw[: raw.index(raw.split()[2])]] * 2
    assert all(written.finish == "stop" for written in ended)


def peft_configs() -> dict[str, Callable[[str], Any]]:
    import peft

    def modules(family: str) -> list[str]:
        return {"gpt2": ["c_attn"], "t5": ["q", "v"]}.get(family, ["q_proj", "v_proj"])

    def kind(family: str) -> str:
        return "SEQ_2_SEQ_LM" if family in BOTH else "CAUSAL_LM"

    return {
        "lora": lambda f: peft.LoraConfig(
            task_type=kind(f), r=3, target_modules=modules(f), fan_in_fan_out=f == "gpt2"
        ),
        "ia3": lambda f: peft.IA3Config(
            task_type=kind(f), target_modules=modules(f), feedforward_modules=[], fan_in_fan_out=f == "gpt2"
        ),
        "prompt": lambda f: peft.PromptTuningConfig(task_type=kind(f), num_virtual_tokens=4),
        "ptuning": lambda f: peft.PromptEncoderConfig(task_type=kind(f), num_virtual_tokens=4, encoder_hidden_size=8),
        "prefix": lambda f: peft.PrefixTuningConfig(task_type=kind(f), num_virtual_tokens=4),
        "adaption": lambda f: peft.AdaptionPromptConfig(task_type=kind(f), adapter_len=4, adapter_layers=1),
    }


CASES = [
    *itertools.product(["lora", "ia3"], ["llama", "gpt2", "mistral", "gemma3_text", "t5", "bart"]),
    *itertools.product(["prompt", "ptuning", "prefix"], ["llama", "gpt2", "qwen3"]),
    ("adaption", "llama"),
]


@pytest.mark.filterwarnings("ignore:Position ids are not supported:UserWarning")
@pytest.mark.parametrize(("name", "family"), CASES)
def test_language_models_that_peft_trained_write_the_same(
    name: str, family: str, speaker: Callable[[str], Path], tmp_path: Path
) -> None:
    from peft import get_peft_model

    base = language_model(family).from_pretrained(speaker(family))
    model = get_peft_model(base, peft_configs()[name](family))
    torch.manual_seed(3)
    with torch.no_grad():
        for value in model.parameters():
            if value.requires_grad:
                value.add_(torch.randn_like(value))
    model.save_pretrained(tmp_path)
    model.eval()
    loaded = afina.load(tmp_path)
    ours = loaded.generate(PROMPTS, max_new_tokens=10)
    for text, written in zip(PROMPTS, ours, strict=True):
        ids = encode_prompt(loaded.backbone, text)
        whole = model.generate(
            input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), max_new_tokens=10,
            do_sample=False, pad_token_id=0,
        )[0].tolist()  # fmt: skip
        said = whole[1:] if family in BOTH else whole[len(ids) :]
        assert written.tokens == [token for token in said if token != 4]
    assert ours != loaded.generate(PROMPTS, adapters=[None] * 3, max_new_tokens=10)
    # What writes says too which of several answers is likelier.
    (answer,) = loaded.predict([PROMPTS[0]], choices=[["late", "not my order"]])
    assert set(answer.probabilities or {}) == {"late", "not my order"}


def test_what_peft_has_and_we_do_not_is_refused(speaker: Callable[[str], Path], tmp_path: Path) -> None:
    from peft import get_peft_model

    for family, config, message in (
        ("t5", peft_configs()["prompt"]("t5"), "before the decoder's text too"),
        ("gpt2", peft_configs()["adaption"]("gpt2"), "another function in gpt2"),
    ):
        model = get_peft_model(language_model(family).from_pretrained(speaker(family)), config)
        model.save_pretrained(tmp_path / family, save_embedding_layers=False)
        with pytest.raises(AfinaError, match=message):
            afina.load(tmp_path / family)
