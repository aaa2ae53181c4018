"""Models that learn to write: transformers' own losses, chunks, packing, every method, and studies of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from afina.adapters.adapter import build_adapter
from afina.backbone.attachment import Attachment
from afina.backbone.load import Backbone, load_backbone
from afina.backbone.rows import ROWS
from afina.data.rows import Rows
from afina.data.tokens.tokens import Tokens
from afina.methods.base import make_method
from afina.ops.vocabulary import plain_token_losses, token_losses
from afina.tasks.base import Task
from afina.tasks.language import Language
from afina.tasks.seq2seq import Seq2Seq
from afina.train.loop import Member, gradients
from afina.train.optimiser import Optimiser
from afina.train.passes import Passes
from cohorts import assert_same, trained
from families import BOTH, DECODERS, language_model, load_family
from pairs import FROZEN, stir

Speaker = Callable[[str], Path]
TEXTS = ["where is my parcel", "the lamp is broken please help", "a film", "team cat sat on my mat", "good kettle"]
TARGETS = ["late", "return the lamp", "great", "a cat", "good good good"]


def rows_of(family: str, backbone: Backbone, max_length: int = 40) -> tuple[Task, Tokens]:
    """Return the task that a family learns, and the texts above as its tokens."""
    task: Task = Seq2Seq() if family in BOTH else Language()
    rows = Rows(TEXTS, TARGETS, np.zeros(len(TEXTS), dtype=np.int64))
    return task, task.tokenize(backbone.tokenizer, rows, max_length, apart=family in BOTH)


# -- the loss --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [*DECODERS, *BOTH])
def test_the_loss_is_that_of_transformers(family: str, speaker: Speaker) -> None:
    backbone = load_family(speaker(family), speaks=True)
    adapter = build_adapter(make_method("bitfit", {}), backbone, outputs=0, seed=0)
    task, tokens = rows_of(family, backbone)
    with Attachment(backbone, [adapter]) as attached, torch.no_grad():
        scores = attached.outputs(attached.batch([(tokens, np.arange(len(TEXTS)))]))[0]
    ours = float(task.loss(scores, torch.zeros(len(TEXTS)))) / tokens.trained.sum()
    theirs = language_model(family).from_pretrained(speaker(family)).eval()
    encode, losses, hits = backbone.tokenizer, [], 0
    for text, target in zip(TEXTS, TARGETS, strict=True):
        read = torch.tensor([encode(text)["input_ids"]])
        if family in BOTH:
            labels = torch.tensor([encode(text_target=target)["input_ids"]])
        else:
            read = labels = torch.cat([read, torch.tensor([[encode.eos_token_id]])], dim=1)
        with torch.no_grad():
            found = theirs(read, labels=labels)
        said = labels if family in BOTH else labels[:, 1:]
        logits = found.logits if family in BOTH else found.logits[:, :-1]
        losses.append(float(found.loss) * said.shape[1])
        hits += int((logits.argmax(-1) == said).sum())
    assert ours == pytest.approx(sum(losses) / tokens.trained.sum(), rel=1e-4)
    np.testing.assert_allclose(scores[:, 0].numpy(), losses, rtol=1e-4)
    assert scores[:, 1].tolist() == tokens.trained.tolist() == tokens.labels.tolist()
    assert int(scores[:, 2].sum()) == hits
    metrics = task.measure(tokens.labels, task.decode(scores.numpy()))
    assert metrics["perplexity"] == pytest.approx(np.exp(ours), rel=1e-5)
    assert metrics["loss"] == pytest.approx(ours, rel=1e-5)
    assert metrics["token_accuracy"] == pytest.approx(hits / tokens.trained.sum())


@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_chunks_are_the_plain_loss(chunk: int, trained: bool, biased: bool, softcap: float | None) -> None:
    torch.manual_seed(0)
    states = torch.randn(7, 5, requires_grad=True)
    weight = torch.randn(11, 5, requires_grad=trained)
    targets = torch.tensor([3, 0, 10, 3, 7, 1, 5])
    upstream = torch.randn(7)
    settings: dict[str, Any] = {"scale": 0.7, "bias": torch.randn(11) if biased else None, "softcap": softcap}
    found = []
    for function, own in ((plain_token_losses, {}), (token_losses, {"chunk": chunk})):
        losses, hits = function(states, targets, weight, **settings, **own)
        wanted = (states, weight) if trained else (states,)
        found.append((losses.detach(), hits, *torch.autograd.grad((losses * upstream).sum(), wanted)))
    for plain, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-6)


def test_no_tensor_is_as_large_as_all_logits() -> None:
    """Of 64 places and 1,000 words, at four places a time, nothing of 64,000 numbers is ever made."""
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            for value in result if isinstance(result, (tuple, list)) else (result,):
                if isinstance(value, torch.Tensor):
                    largest = max(largest, value.numel())
            return result

    states, weight = torch.randn(64, 8, requires_grad=True), torch.randn(1000, 8)
    with Watch():
        token_losses(states, torch.arange(64), weight, chunk=4)[0].sum().backward()
    assert largest <= 8 * 1000


def test_micro_batches_cannot_change_the_gradient(speaker: Speaker) -> None:
    """Rows of unlike numbers of targets: a mean of means would weigh them otherwise."""
    backbone = load_family(speaker("llama"), speaks=True)
    task, tokens = rows_of("llama", backbone)
    found = []
    for size in (None, 1, 2):
        adapter = build_adapter(make_method("lora", {}, {"rank": 3}), backbone, outputs=0, seed=0)
        stir(adapter)
        optimiser = Optimiser(adapter.trainable(backbone), learning_rate=1.0, total_steps=1)
        member = Member(adapter, task, tokens, 0, 1, 5, optimiser, None, torch.zeros((), dtype=torch.float64))
        with Passes(backbone) as passes:
            gradients(passes, [member], size)
        found.append([value.grad.clone() for value in adapter.parameters() if value.grad is not None])
        whole = float(member.loss_sum) / int(tokens.trained.sum())
        with Attachment(backbone, [adapter]) as attached:
            scores = attached.outputs(attached.batch([(tokens, np.arange(5))]))[0]
        assert whole == pytest.approx(float((scores[:, 0].sum() / scores[:, 1].sum()).detach()), rel=1e-5)
    for other in found[1:]:
        for first, second in zip(found[0], other, strict=True):
            torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-7)
    mean = torch.autograd.grad(scores[:, 0].sum() / scores[:, 1].sum(), list(adapter.parameters()))
    for first, second in zip(found[0], mean, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-7)


@pytest.mark.pairs([name for name in FROZEN if name != "head"], ["llama", "gpt2", "t5", "bart"], fully=("llama",))
def test_every_method_learns_to_write(name: str, family: str, speaker: Speaker) -> None:
    backbone = load_family(speaker(family), speaks=True)
    before = {key: value.clone() for key, value in backbone.model.state_dict().items()}
    adapter = build_adapter(make_method(name, {}, {"rank": 3}), backbone, outputs=0, seed=0)
    task, tokens = rows_of(family, backbone)
    optimiser = torch.optim.Adam(adapter.parameters(), lr=0.003)
    losses = []
    with Attachment(backbone, [adapter]) as attached:
        batch = attached.batch([(tokens, np.arange(len(TEXTS)))], packing=True)
        for _ in range(8):
            loss = task.loss(attached.outputs(batch)[0], batch.labels[0])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    for key, value in backbone.model.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_all_weights_learn_tied_heads_too(family: str, speaker: Speaker) -> None:
    """The gradient of the embeddings is transformers' own, with what comes from the head tied to them."""
    folder = speaker(family)
    theirs = language_model(family).from_pretrained(folder, tie_word_embeddings=True).eval()
    theirs.save_pretrained(tied := folder.parent / f"{family}-tied")
    load_backbone(str(folder)).tokenizer.save_pretrained(tied) if family not in BOTH else None
    if family in BOTH:
        from families import tokenizer

        tokenizer(family).save_pretrained(tied)
    backbone = load_backbone(str(tied), speaks=True)
    backbone.model.requires_grad_(True)
    adapter = build_adapter(make_method("full", {}), backbone, outputs=0, seed=0)
    _, tokens = rows_of(family, backbone)
    with Attachment(backbone, [adapter]) as attached:
        batch = attached.batch([(tokens, np.array([1]))])
        (attached.outputs(batch)[0][:, 0].sum() / tokens.trained[1]).backward()
    encode = backbone.tokenizer
    read = torch.tensor([encode(TEXTS[1])["input_ids"]])
    if family in BOTH:
        theirs(read, labels=torch.tensor([encode(text_target=TARGETS[1])["input_ids"]])).loss.backward()
    else:
        read = torch.cat([read, torch.tensor([[4]])], dim=1)
        theirs(read, labels=read).loss.backward()
    name = backbone.anatomy.of_kind("embedding")[0].module
    wanted = theirs.get_input_embeddings().weight.grad
    got = backbone.model.get_submodule(name).weight.grad
    assert wanted is not None
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-5)


# -- packing ---------------------------------------------------------------------------------------------------------


def by_text(inputs: dict[str, torch.Tensor], states: torch.Tensor, tokens: Tokens) -> torch.Tensor:
    """Return the states of each text's tokens, text after text, wherever they stand in the batch."""
    found = []
    for text in range(len(tokens)):
        own = tokens.ids[tokens.offsets[text] : tokens.offsets[text + 1]].tolist()
        rows, columns = (inputs["input_ids"] == own[0]).nonzero(as_tuple=True)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            here = row, slice(column, column + len(own))
            if inputs["input_ids"][here].tolist() == own:
                found.append(states[here])
    assert len(found) == len(tokens)
    return torch.cat(found)


@pytest.mark.parametrize("name", ["lora", "prefix", "llama-adapter", "ia3", "parallel"])
@pytest.mark.parametrize("family", [name for name in DECODERS if ROWS[name].packs])
def test_packed_texts_are_as_alone(family: str, name: str, speaker: Speaker) -> None:
    backbone = load_family(speaker(family), speaks=True)
    settings = {"positions": "moved"} if name == "prefix" else {}
    adapter = build_adapter(make_method(name, settings, {"rank": 3}), backbone, outputs=0, seed=0)
    stir(adapter)
    task, tokens = rows_of(family, backbone)
    found = []
    assert backbone.language is not None
    with Attachment(backbone, [adapter]) as attached:
        for packing in (False, True):
            batch = attached.batch([(tokens, np.arange(len(TEXTS)))], packing=packing)
            assert (len(batch.inputs["input_ids"]) < len(TEXTS)) == packing
            states = attached.hidden(batch.inputs, batch.slices, targets=batch.targets).states
            logits = backbone.language(by_text(dict(batch.inputs), states, tokens)).detach()
            loss = task.loss(attached.outputs(batch)[0], batch.labels[0])
            found.append((logits, loss.detach(), *torch.autograd.grad(loss, list(adapter.parameters()))))
    for alone, packed in zip(*found, strict=True):
        torch.testing.assert_close(packed, alone, rtol=1e-3, atol=2e-4)


def test_a_cohort_is_packed_each_member_in_rows_of_its_own(speaker: Speaker) -> None:
    backbone = load_family(speaker("llama"), speaks=True)
    adapters = [build_adapter(make_method("lora", {}, {"rank": 3}), backbone, outputs=0, seed=seed) for seed in (0, 1)]
    for adapter in adapters:
        stir(adapter)
    _, tokens = rows_of("llama", backbone)
    parts = [np.array([0, 2, 4]), np.array([1, 3, 0, 2])]
    with Attachment(backbone, adapters) as attached, torch.no_grad():
        batch = attached.batch([(tokens, part) for part in parts], packing=True)
        together = attached.outputs(batch)
        assert len(batch.inputs["input_ids"]) < 7
        assert [len(labels) for labels in batch.labels] == [3, 4]
    for adapter, part, scores in zip(adapters, parts, together, strict=True):
        with Attachment(backbone, [adapter]) as attached, torch.no_grad():
            alone = attached.outputs(attached.batch([(tokens, part)]))[0]
        torch.testing.assert_close(scores.sum(dim=0), alone.sum(dim=0), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("family", "name"),
    [("llama", "prompt"), ("llama", "ptuning"), ("llama", "loreft"), ("t5", "lora"), ("opt", "lora")],
)
def test_what_cannot_be_packed_is_not(family: str, name: str, speaker: Speaker) -> None:
    backbone = load_family(speaker(family), speaks=True)
    adapter = build_adapter(make_method(name, {}, {"rank": 3}), backbone, outputs=0, seed=0)
    _, tokens = rows_of(family, backbone)
    with Attachment(backbone, [adapter]) as attached:
        assert len(attached.batch([(tokens, np.arange(len(TEXTS)))], packing=True).inputs["input_ids"]) == len(TEXTS)


def test_members_of_a_cohort_learn_what_they_learn_alone(speaker: Speaker) -> None:
    """Packed members, one that cannot be, batches of unlike numbers of targets, and micro-batches."""
    backbone = load_family(speaker("llama"), speaks=True)
    task, tokens = rows_of("llama", backbone)

    def member(name: str, seed: int) -> Member:
        method = make_method(name, {}, {"rank": 2})
        adapter = build_adapter(method, backbone, outputs=0, seed=seed)
        optimiser = Optimiser(adapter.trainable(backbone), learning_rate=0.005, total_steps=6)
        return Member(adapter, task, tokens, seed, 3, 4, optimiser, None, torch.zeros((), dtype=torch.float64))

    who = [("lora", 0), ("lora", 1), ("prefix", 0), ("loreft", 2), ("ia3", 1)]
    together = trained(backbone, [member(*one) for one in who], packing=True, micro_batch_size=3)
    for one, weights in zip(who, together, strict=True):
        (alone,) = trained(backbone, [member(*one)], packing=False)
        assert_same(alone, weights, one[0])
