"""Students and teachers: the losses are the definitions', the teacher is asked once, and what cannot teach is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div

import afina
from afina.adapters.adapter import build_adapter
from afina.backbone.attachment import Attachment
from afina.data.rows import Rows
from afina.distil.signal import SIGNALS, Said, make_signals
from afina.distil.taught import Taught, TaughtWriter, places_of, read_taught, starts_of
from afina.distil.teaching import Teaching
from afina.errors import UsageError
from afina.methods.base import make_method
from afina.ops.soft_targets import plain_soft_token_losses, soft_losses, soft_token_losses, top_tokens
from afina.ops.vocabulary import VocabularyHead, plain_logits
from afina.results.result import Result
from afina.study import teach
from afina.study.events import Event, Teach
from afina.study.study import Study
from afina.tasks.classification import Classification
from afina.tasks.language import Language
from commands import afina as command
from commands import refused
from families import load_family
from pairs import stir
from studies import Loader, settings, write_csv

LEARNS = {"methods": ["full"], "epochs": 16, "learning_rate": 3e-3, "evaluate": "last"}
"""Settings by which a small model learns its few rows."""
TEXTS = ["where is my parcel", "the lamp is broken please help", "a film", "team cat sat on my mat", "good kettle"]


# -- the losses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize(("chunk", "trained", "temperature"), [(1, False, 1.0), (3, True, 2.0), (100, False, 2.5)])
def test_soft_tokens_in_chunks_are_their_definition(
    chunk: int, trained: bool, temperature: float, softcap: float | None
) -> None:
    torch.manual_seed(0)
    states, weight = torch.randn(7, 5, requires_grad=True), torch.randn(11, 5, requires_grad=trained)
    upstream, bias = torch.randn(7), torch.randn(11)
    teacher = VocabularyHead(torch.randn(11, 6), temperature=temperature)
    top = top_tokens(torch.randn(7, 6), teacher, 4)
    head = VocabularyHead(weight, 0.7, bias, softcap, temperature)
    found = []
    for losses in (plain_soft_token_losses(states, top, head), soft_token_losses(states, top, head, chunk=chunk)):
        wanted = (states, weight) if trained else (states,)
        found.append((losses.detach(), *torch.autograd.grad((losses * upstream).sum(), wanted)))
    for plain, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-6)


def test_all_tokens_are_torchs_divergence_and_fewer_never_more() -> None:
    """Classes that are put together cannot be told apart by more: the loss of some is at most that of all."""
    torch.manual_seed(1)
    theirs, ours = torch.randn(6, 9), torch.randn(6, 9)
    teacher, student = (VocabularyHead(torch.randn(13, 9), temperature=2.0) for _ in range(2))
    logits = [plain_logits(*pair) / 2 for pair in ((ours, student), (theirs, teacher))]
    whole = 4 * kl_div(*(own.log_softmax(1) for own in logits), reduction="none", log_target=True).sum(1)
    torch.testing.assert_close(soft_token_losses(ours, top_tokens(theirs, teacher, 13), student), whole)
    some = soft_token_losses(ours, top_tokens(theirs, teacher, 5), student)
    assert (some <= whole + 1e-5).all() and (some < whole - 1e-3).any()
    nothing = soft_token_losses(theirs, top_tokens(theirs, teacher, 5), teacher)
    torch.testing.assert_close(nothing, torch.zeros(6), atol=1e-5, rtol=0)


@pytest.mark.parametrize("weight", [0.25, 1.0])
def test_a_students_loss_is_that_of_transformers_example_of_distillation(weight: float) -> None:
    """alpha_ce KL(batchmean) T^2 + alpha_squad CE, as run_squad_w_distillation.py has it; here sums over rows."""
    torch.manual_seed(2)
    logits, theirs, labels = torch.randn(5, 3, requires_grad=True), torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    temperature = 2.0
    soft = kl_div((logits / temperature).log_softmax(1), (theirs / temperature).softmax(1), reduction="batchmean")
    wanted = weight * soft * temperature**2 + (1 - weight) * cross_entropy(logits, labels)
    task: Any = Classification(["a", "b", "c"])
    made = teaching({"answers": theirs.numpy()}, ["soft"], weight, labelled(5))
    said = Said(task, _NO_HEAD, None, logits, labels)  # type: ignore[arg-type]
    loss = made.loss(task.loss(logits, labels), said, np.arange(5)) / 5
    torch.testing.assert_close(loss, wanted)


_NO_HEAD: Any = None


def labelled(rows: int) -> Any:
    """Return rows of one term each."""
    from afina.data.tokens.tokens import LabelledTokens

    ids = np.arange(rows, dtype=np.int32)
    return LabelledTokens(ids, np.arange(rows + 1), np.zeros(rows, dtype=np.int64))


def teaching(arrays: dict[str, np.ndarray], signals: list[Any], weight: float, tokens: Any) -> Teaching:
    return Teaching(Taught(arrays, {"width": 4}), tokens, make_signals(signals), weight, width=4, seed=0)


@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression", "choices"])
def test_a_student_that_says_what_its_teacher_says_has_nothing_to_learn(kind: str) -> None:
    from afina.tasks.base import TASKS

    made = {
        "classification": lambda cls: cls(["a", "b", "c"]), "multilabel": lambda cls: cls(["a", "b", "c"]),
        "regression": lambda cls: cls(mean=3.0, deviation=2.0), "choices": lambda cls: cls(3, ("a", "b", "c")),
    }[kind](TASKS[kind])  # fmt: skip
    torch.manual_seed(3)
    shape = {"regression": (6, 1), "choices": (6, 3, 4)}.get(kind, (6, 3))
    theirs = torch.randn(shape)
    if kind == "choices":  # a row may have fewer answers
        theirs[0, 2, 0] = -torch.inf
    ours = theirs.clone().requires_grad_()
    loss = made.soft_loss(ours, theirs, 2.0)
    (gradient,) = torch.autograd.grad(loss, ours)
    assert float(loss.detach()) == pytest.approx(0, abs=1e-5) and float(gradient.abs().max()) < 1e-5
    other = made.soft_loss(theirs + torch.randn(shape), theirs, 2.0)
    assert float(other) > 0.1


def test_soft_labels_are_told_by_temperature() -> None:
    ours, theirs = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    first, second = (float(soft_losses(ours, theirs, t)) for t in (1.0, 4.0))
    share = torch.tensor([0.0, 1.0]).softmax(0)
    assert second == pytest.approx(16 * float((share * (share / 0.5).log()).sum()), rel=1e-5) and first != second


def test_a_teachers_outputs_are_said_as_the_task_has_them() -> None:
    """Its labels may stand in another order, and its number in another unit."""
    from afina.study.answerer import LoadedAnswerer

    nothing: Any = type("", (), {"head": None})()
    ordered = LoadedAnswerer(nothing, nothing, None, 8, [2, 0, 1], (1.0, 0.0), answers=True)
    assert ordered.outputs(torch.tensor([[1.0, 2.0, 3.0]])).tolist() == [[3.0, 1.0, 2.0]]
    # Of mean 10 and deviation 4, for a student's mean 4 and deviation 2.
    number = LoadedAnswerer(nothing, nothing, None, 8, None, (4 / 2, (10 - 4) / 2), answers=True)
    assert number.outputs(torch.tensor([[1.5]])).tolist() == [[(10 + 1.5 * 4 - 4) / 2]]


# -- which term is whose ---------------------------------------------------------------------------------------------


def test_terms_of_rows_stand_where_they_are_looked_up() -> None:
    counts = np.array([2, 0, 3, 1])
    starts = np.concatenate([[0], np.cumsum(counts)])
    assert places_of(starts, np.array([2, 0, 1, 3])).tolist() == [2, 3, 4, 0, 1, 5]


@pytest.mark.parametrize("signal", list(SIGNALS))
@pytest.mark.parametrize("family", ["llama", "t5"])
def test_packed_texts_are_taught_as_texts_alone(family: str, signal: str, speaker: Callable[[str], Path]) -> None:
    """The loss over a batch is the sum of its rows', however they stand in it; a teacher is looked up by its places."""
    from afina.tasks.seq2seq import Seq2Seq

    backbone = load_family(speaker(family), speaks=True)
    task: Any = Language() if family == "llama" else Seq2Seq()
    rows = Rows(
        TEXTS, ["late", "return the lamp", "great", "a cat", "good good good"], np.zeros(len(TEXTS), dtype=np.int64)
    )
    tokens = task.tokenize(backbone.tokenizer, rows, 40, apart=family == "t5")
    adapter = build_adapter(make_method("lora", {}, {"rank": 3}), backbone, outputs=0, seed=0)
    (own,) = signals = make_signals([signal])
    with Attachment(backbone, [adapter]) as attached, torch.no_grad():

        def said(chosen: np.ndarray, *, packing: bool = False) -> tuple[Said, np.ndarray]:
            batch = attached.batch([(tokens, chosen)], packing=packing)
            ((hidden, outputs),) = attached.seen(batch)
            return Said(task, adapter.head, hidden, outputs, batch.labels[0]), batch.order[0]

        arrays: dict[str, list[Tensor]] = {}
        for row in range(len(TEXTS)):
            for name, value in own.kept(said(np.array([row]))[0]).items():
                arrays.setdefault(name, []).append(value)
        kept = {name: torch.cat(values).numpy() for name, values in arrays.items()}
        stir(adapter)
        facts = {"width": backbone.anatomy.width}
        made = Teaching(Taught(kept, facts), tokens, signals, 1.0, width=backbone.anatomy.width, seed=0)
        alone = [made.loss(torch.zeros(()), *said(np.array([row]))) for row in range(len(TEXTS))]
        packed, order = said(np.arange(len(TEXTS))[::-1].copy(), packing=True)
        together = made.loss(torch.zeros(()), packed, order)
    assert float(together) > 0.01
    torch.testing.assert_close(together, torch.stack(alone).sum(), rtol=2e-4, atol=1e-5)


# -- a study with a teacher ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, family_folder: Loader, csv_folder: Path) -> Path:
    """Return the adapter's folder of a teacher that has learned its labels."""
    folder = tmp_path_factory.mktemp("teacher")
    study = Study(folder, **settings(family_folder, csv_folder, **LEARNS))
    (result,) = study.run()
    assert result.test_metric > 0.8
    return folder / str(result.adapter)


def student(family_folder: Loader, csv_folder: Path, teacher: Path, **more: Any) -> dict[str, Any]:
    """Return the study of a student of another width."""
    own = {"model": str(family_folder("bert", sizes=(32, 41))), "teacher": str(teacher), **more}
    return settings(family_folder, csv_folder) | own


def mislabelled(folder: Path, csv_folder: Path) -> Path:
    """Write the same rows with every train label turned into the other, in a file whose first label is another too."""
    shutil.copytree(csv_folder, folder)
    lines = (folder / "train.csv").read_text().splitlines()
    turn = {"praise": "complaint", "complaint": "praise"}
    turned = [",".join((text, turn[label])) for text, _, label in (line.rpartition(",") for line in lines[1:])]
    (folder / "train.csv").write_text("\n".join([lines[0], *turned]) + "\n")
    return folder


def test_a_student_learns_from_its_teacher_where_labels_would_mislead_it(
    tmp_path: Path, family_folder: Loader, csv_folder: Path, taught: Path
) -> None:
    """With the whole loss the teacher's, train labels are not looked at; by the labels alone it would be wrong."""
    data = mislabelled(tmp_path / "mail", csv_folder)
    more = {**LEARNS, "seeds": 2}
    seen: list[Event] = []
    study = Study(tmp_path / "taught", **student(family_folder, data, taught, teacher_weight=1, **more))
    results = study.run(seen.append)
    (misled,) = Study(
        tmp_path / "misled", **student(family_folder, data, taught) | more | {"teacher": None, "seeds": 1}
    ).run()
    assert min(result.test_metric for result in results) > 0.6 > 0.4 > misled.test_metric

    # Both seeds by one asking, and the second start by none.
    assert [event.done for event in seen if isinstance(event, Teach) and event.split == "train"] == [60]
    again: list[Event] = []
    Study(tmp_path / "taught", **student(family_folder, data, taught, teacher_weight=1, **more)).run(again.append)
    assert not any(isinstance(event, Teach) for event in again)

    by = results[0].taught_by
    assert by is not None and (by.teacher, by.weight) == (str(taught), 1)
    assert by.signals == ["soft targets (temperature 2)"]
    own = read_taught(next((tmp_path / "taught" / "cache").glob("teacher-*")))
    loaded = afina.load(taught)
    rows = [line.rpartition(",")[0] for line in (data / "train.csv").read_text().splitlines()[1:]]
    assert own is not None
    np.testing.assert_allclose(own.arrays["answers"], loaded.logits(rows), rtol=1e-4, atol=1e-4)
    tests = [line.rpartition(",") for line in (data / "test.csv").read_text().splitlines()[1:]]
    right = [p.label == label for p, (_, _, label) in zip(loaded.predict([t for t, _, _ in tests]), tests, strict=True)]
    assert by.test_metrics["accuracy"] == pytest.approx(np.mean(right))
    page = afina.write_report(tmp_path / "taught", language="pt").html.read_text()
    assert "alvos suaves (temperatura 2), 100% da perda. Nas mesmas linhas de teste" in page


def test_hidden_states_are_learned_by_a_map_that_is_no_part_of_the_student(
    tmp_path: Path, family_folder: Loader, csv_folder: Path
) -> None:
    """A bare model teaches them, of another width; the adapter has nothing of the map, and its size is its own."""
    teacher = family_folder("bert")
    common = student(family_folder, csv_folder, teacher, epochs=1)
    (result,) = Study(tmp_path / "taught", **common, distil=["hidden"]).run()
    (plain,) = Study(tmp_path / "plain", **common | {"teacher": None}).run()
    assert result.trainable_parameters == plain.trainable_parameters
    assert result.taught_by.test_metrics == {} and result.history[0].train_loss != plain.history[0].train_loss
    files = [set(tensors(tmp_path / name / str(run.adapter))) for name, run in (("taught", result), ("plain", plain))]
    assert files[0] == files[1]
    kept = read_taught(next((tmp_path / "taught" / "cache").glob("teacher-*")))
    model = transformers.AutoModel.from_pretrained(teacher).eval()
    encode = transformers.AutoTokenizer.from_pretrained(teacher)
    first = (csv_folder / "train.csv").read_text().splitlines()[1].rpartition(",")[0]
    with torch.no_grad():
        state = model(**encode(first, return_tensors="pt")).last_hidden_state[0, 0]
    assert kept is not None
    np.testing.assert_allclose(kept.arrays["states"][0], state, rtol=2e-3, atol=2e-3)


def tensors(folder: Path) -> list[str]:
    from safetensors.torch import load_file

    return list(load_file(folder / "adapter_model.safetensors"))


def test_a_killed_asking_goes_on_where_it_was(
    tmp_path: Path, family_folder: Loader, csv_folder: Path, taught: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teach, "_ROWS_AT_ONCE", 16)
    common = student(family_folder, csv_folder, taught, epochs=1)
    whole = Study(tmp_path / "whole", **common).run()

    def broken(event: Event) -> None:
        if isinstance(event, Teach) and event.done == 48:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Study(tmp_path / "killed", **common).run(broken)
    seen: list[Event] = []
    results = Study(tmp_path / "killed", **common).run(seen.append)
    assert [event.done for event in seen if isinstance(event, Teach) and event.split == "train"] == [48, 60]
    places = [next((tmp_path / name / "cache").glob("teacher-*")) for name in ("whole", "killed")]
    first, second = (read_taught(place) for place in places)
    assert first is not None and second is not None and places[0].name == places[1].name
    np.testing.assert_array_equal(first.arrays["answers"], second.arrays["answers"])
    assert results[0].history[0].train_loss == whole[0].history[0].train_loss

    # What is damaged is asked again.
    (places[1] / "answers.npy").write_bytes(b"")
    assert read_taught(places[1]) is None and TaughtWriter(places[1], 60).done == 0


def test_a_writer_is_healed_by_what_the_whole_model_says(tmp_path: Path, speaker: Callable[..., Path]) -> None:
    """No label is needed: texts and the model that it was made of; the likeliest tokens are transformers' own."""
    whole = speaker("llama")
    small = tmp_path / "small"
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS * 8) + "\n")
    afina.compress_model(str(whole), small, drop_layers=1, data=str(tmp_path / "texts.txt"))
    common = {
        "model": str(small), "dataset": str(tmp_path / "texts.txt"), "task": "language", "methods": ["lora"], "epochs": 12,
        "precision": "fp32", "max_length": 32, "learning_rate": 2e-3, "targets": "all", "evaluate": "last",
        "teacher": str(whole), "teacher_weight": 1, "distil": {"soft": {"top": 7}},
    }  # fmt: skip
    (result,) = Study(tmp_path / "healed", **common).run()
    losses = [entry.train_loss for entry in result.history]
    assert losses[-2] < 0.5 * losses[0]  # the last one is that of an evaluation
    assert (
        result.taught_by.signals == ["soft targets (temperature 1)"] and "perplexity" in result.taught_by.test_metrics
    )
    kept = read_taught(next((tmp_path / "healed" / "cache").glob("teacher-*")))
    from afina.data.tokens.token_files import load_tokens

    tokens = load_tokens(next((tmp_path / "healed" / "cache").glob("tokens-*.npz")))["train"]
    model = transformers.AutoModelForCausalLM.from_pretrained(whole).eval()
    places = places_of(starts_of(tokens), np.array([3]))
    with torch.no_grad():
        ids = torch.from_numpy(tokens.ids[tokens.offsets[3] : tokens.offsets[4]].astype(np.int64))
        shares = model(ids[None]).logits[0].softmax(1)[: len(places)].topk(7)
    assert kept is not None and kept.arrays["ids"].shape[1] == 7
    np.testing.assert_array_equal(kept.arrays["ids"][places], shares.indices)
    np.testing.assert_allclose(kept.arrays["shares"][places], shares.values, rtol=2e-3, atol=1e-5)
    np.testing.assert_allclose(kept.arrays["rest"][places], 1 - shares.values.sum(1), rtol=1e-3, atol=1e-5)


def test_what_cannot_teach_is_refused_before_anything_trains(
    tmp_path: Path, family_folder: Loader, csv_folder: Path, taught: Path, speaker: Callable[..., Path]
) -> None:
    write_csv(tmp_path / "numbers.csv", 40, 0, number=True)
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS * 8) + "\n")
    other = csv_folder.parent / "other"
    other.mkdir(exist_ok=True)
    for split in ("train", "test"):
        (other / f"{split}.csv").write_text((csv_folder / f"{split}.csv").read_text().replace("praise", "thanks"))
    fewer = tmp_path / "fewer"
    shutil.copytree(speaker("llama"), fewer)
    words = json.loads((fewer / "tokenizer.json").read_text())
    last = max(words["model"]["vocab"], key=words["model"]["vocab"].get)
    words["model"]["vocab"]["zebra"] = words["model"]["vocab"].pop(last)
    (fewer / "tokenizer.json").write_text(json.dumps(words))
    writes = {"model": str(speaker("llama")), "dataset": str(tmp_path / "texts.txt"), "task": "language"}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"teacher": "./nowhere"}, "teacher: './nowhere' is not there"),
        ({"teacher": str(tmp_path)}, "teacher: "),
        ({"teacher": str(family_folder("bert"))}, "a text is: its head tells others apart (class 0, class 1)"),
        ({"dataset": str(other)}, "tells other labels apart (complaint, praise) than these rows have (complaint, thanks)"),
        ({"dataset": str(tmp_path / "numbers.csv")}, "was trained for task: classification, and these rows are read for"),
        (writes, "teacher: A bert model writes no text"),
        (writes | {"teacher": str(fewer)}, "has another vocabulary"),
        (writes | {"teacher": str(family_folder("bert"))}, "writes no text"),
        (writes | {"teacher": str(speaker("t5"))}, "reads and writes apart and the other does not"),
        ({"distil": "softt"}, "distil: Unknown signal of a teacher 'softt'; did you mean 'soft'"),
        ({"distil": {"soft": {"temprature": 2}}}, "did you mean 'temperature'"),
        ({"distil": {"soft": {"temperature": -2}}}, "temperature should be above 0"),
        ({"distil": ["soft", {"soft": {"temperature": 2}}]}, "soft stands twice"),
        ({"teacher": None, "distil": "hard"}, "say what a teacher teaches: name one"),
        ({"teacher": None, "teacher_weight": 1}, "say what a teacher teaches: name one"),
        ({"methods": ["features"]}, "features takes no steps"),
        ({"temperature": 2}, "does not read it; write distil: {soft: {temperature: ...}}"),
        ({"teacher_weight": 0}, "greater than 0"),
    ]  # fmt: skip
    for number, (more, part) in enumerate(cases):
        with pytest.raises(UsageError) as caught:
            Study(tmp_path / f"case{number}", **student(family_folder, csv_folder, taught) | more).run()
        assert part in str(caught.value), more
        assert not list((tmp_path / f"case{number}").glob("runs/*/checkpoint*"))


def test_a_number_has_no_temperature_and_pairs_of_passages_no_teacher() -> None:
    from afina.tasks.base import TASKS

    (soft,) = make_signals([{"soft": {"temperature": 3}}])
    with pytest.raises(UsageError, match="a number has no temperature"):
        soft.check(TASKS["regression"](mean=0.0, deviation=1.0))  # type: ignore[call-arg]
    (hidden,) = make_signals(["hidden"])
    with pytest.raises(UsageError, match="hidden does not teach task: choices; write distil: hard or soft"):
        hidden.check(TASKS["choices"](3, None))  # type: ignore[call-arg]
    unlearned = [name for name, cls in TASKS.items() if not cls.taught_by]
    assert unlearned == ["embedding", "retrieval"]


def test_the_command_refuses_a_teacher_that_is_not_there(
    tmp_path: Path, csv_folder: Path, family_folder: Loader
) -> None:
    lines = [f"{key}: {value}" for key, value in student(family_folder, csv_folder, tmp_path / "gone").items()]
    (tmp_path / "study.yaml").write_text("\n".join(lines).replace("'", '"') + "\n")
    result = command("study", tmp_path / "study.yaml", "--out", tmp_path / "out")
    refused(result, "teacher: ", "is not there")


def test_a_result_without_a_teacher_says_none() -> None:
    assert Result.made(run="a").taught_by is None
