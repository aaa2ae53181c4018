"""Tagging: transformers' own logits, words at their tokens, the loss by words, entities as seqeval has them, studies."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import afina
import commands
from afina.adapters.adapter import build_adapter, save_adapter
from afina.adapters.record import AdapterRecord
from afina.backbone.attachment import Attachment
from afina.backbone.load import Backbone, load_backbone
from afina.backbone.quantise import is_quantised
from afina.backbone.rows import ROWS as ARCHITECTURES
from afina.config import StudyConfig
from afina.data.labels.tags import untagged
from afina.data.rows import Rows
from afina.data.tokens.token_files import load_tokens, save_tokens
from afina.data.tokens.tokens import IGNORED, Tokens
from afina.data.tokens.words import tokenize_words
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.export.merge import merge
from afina.export.parity import check_parity, load_merged, load_peft
from afina.export.peft import write_peft
from afina.measure.entities import count_entities, entities, is_entity_tag
from afina.measure.metrics.base import metric_named, metrics_of
from afina.methods.base import make_method
from afina.results.predictions import Predictions, read_predictions
from afina.results.statistics import compare
from afina.study.study import Study
from afina.tasks.base import restore
from afina.tasks.classification import Classification, class_weights
from afina.tasks.reading import load_text_dataset
from afina.tasks.tagging import Tagging
from afina.train.evaluate import predict_logits
from afina.train.loop import Callbacks, Clock, Member, train
from afina.train.optimiser import Optimiser
from afina.train.passes import Passes
from families import BOTH, TEXT, load_family, save_family
from kills import killed_and_resumed
from pairs import COVERING_TEXT, FROZEN, stir

Model = Callable[[str], Path]
NAMES = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
WORDS = [["where", "is", "my", "parcel"], ["the", "lamp", "is", "broken", "please", "help", "team"], ["film"]]
TAGS = [[0, 0, 1, 2], [3, 4, 0, 1, 1, 2, 0], [3]]
OUTSIDE = tuple(family for family in TEXT if family not in ("opt", "gemma3_text", "bart", "mbart"))
"""Families that transformers tags tokens with."""


def rows_of(words: list[list[str]], tags: list[list[int]]) -> Rows:
    label = np.full((len(words), max(map(len, words))), IGNORED, dtype=np.int16)
    for row, own in zip(label, tags, strict=True):
        row[: len(own)] = own
    return replace(untagged(words), label=label)


ROWS = rows_of(WORDS, TAGS)


@pytest.fixture(scope="session")
def model(family_folder: Callable[..., Path]) -> Model:
    return lambda family: family_folder(family, num_labels=len(NAMES), tags=family in OUTSIDE)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Sentences in which words of two kinds are entities of two types, by the word alone."""
    draw = np.random.default_rng(0)
    folder = tmp_path / "mail"
    folder.mkdir()
    for split, count in (("train", 60), ("test", 30)):
        lines = []
        for _ in range(count):
            words, tags = ["the"], ["O"]
            for _ in range(draw.integers(1, 4)):
                kind = draw.integers(0, 3)
                found = [("parcel", "B-PER"), ("order", "I-PER")] if kind == 0 else [("lamp", "B-LOC")]
                for word, tag in found if kind < 2 else [("is", "O"), ("late", "O")]:
                    words.append(word)
                    tags.append(tag)
            lines.append({"tokens": words, "tags": tags})
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def settings_of(models: Model, data: Path, **more: Any) -> dict[str, Any]:
    return {
        "model": str(models("bert")), "dataset": str(data), "task": "ner", "methods": ["lora"], "epochs": 3, "rank": 2,
        "precision": "fp32", "max_length": 32, "learning_rate": 2e-2, **more,
    }  # fmt: skip


def run_afina(*arguments: object) -> str:
    """Run a command and return what it prints."""
    result = commands.afina(*arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


# -- the head ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", OUTSIDE)
def test_logits_are_those_of_transformers(family: str, model: Model) -> None:
    from transformers import AutoModelForTokenClassification

    backbone = load_family(model(family), tags=True)
    own = [f"class {place}" for place in range(len(NAMES))]  # by whose names its head is taken
    adapter = build_adapter(make_method("head", {}), backbone, len(NAMES), 0, own)
    tokens = tokenize_words(backbone.tokenizer, ROWS, 32)
    theirs = AutoModelForTokenClassification.from_pretrained(model(family)).eval()
    with Attachment(backbone, [adapter]) as attached, torch.no_grad():
        batch = attached.batch([(tokens, np.arange(3))])
        ours = attached.outputs(batch)[0]
        wanted = theirs(**batch.inputs).logits
    at = batch.labels[0] != IGNORED
    assert at.sum() == 12
    torch.testing.assert_close(ours[at], wanted[at], rtol=1e-4, atol=1e-5)
    # The head's own dropout is theirs too.
    assert adapter.head.dropout == next(m.p for n, m in theirs.named_modules() if n in ("dropout", "drop"))


@pytest.mark.parametrize("family", ["bart", "mbart", "opt", "gemma3_text"])
def test_families_that_transformers_does_not_tag_with_are_tagged_here_alone(
    family: str, model: Model, tmp_path: Path
) -> None:
    loaded = afina.load(trained_folder("lora", family, model, tmp_path))
    assert [len(one.tags) for one in loaded.predict(WORDS)] == [4, 7, 1]
    assert loaded.predict([]) == []
    with pytest.raises(UsageError, match=f"no model that tags tokens with {family}"):
        merge(loaded, tmp_path / "merged")


@pytest.mark.pairs(FROZEN, ["bert", "gpt2", "modernbert", "t5", "bart"], fully=("bert",))
def test_every_method_learns_to_tag(name: str, family: str, model: Model) -> None:
    backbone = load_family(model(family), tags=True)
    before = {key: value.clone() for key, value in backbone.model.state_dict().items()}
    adapter = build_adapter(make_method(name, {}, {"rank": 3}), backbone, len(NAMES), seed=0)
    task, tokens = Tagging(NAMES), tokenize_words(backbone.tokenizer, ROWS, 32)
    optimiser = torch.optim.Adam(adapter.parameters(), lr=0.01)
    losses = []
    with Attachment(backbone, [adapter]) as attached:
        for _ in range(6):
            batch = attached.batch([(tokens, np.arange(3))])
            loss = task.loss(attached.outputs(batch)[0], batch.labels[0])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        attached.train(False)
        # What is to be tagged is no part of what is read.
        assert batch.targets is None
        assert torch.equal(attached.outputs(batch)[0], attached(batch.inputs)[0])
    assert losses[-1] < losses[0]
    for key, value in backbone.model.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.covered("family", COVERING_TEXT, TEXT)
@pytest.mark.parametrize("name", ["head", "llama-adapter"])
def test_lower_layers_whose_states_are_known_change_no_tag(name: str, family: str, model: Model) -> None:
    backbone = load_family(model(family), tags=True)
    method = make_method(name, {} if name == "head" else {"layers": 1}, {"rank": 2})
    adapter = build_adapter(method, backbone, len(NAMES), seed=0)
    stir(adapter)
    tokens = tokenize_words(backbone.tokenizer, ROWS, 32)
    with Attachment(backbone, [adapter]) as attached:
        plain = predict_logits(attached, tokens, batch_size=2)[0]
    with Passes(backbone) as passes:
        for _ in range(2):
            known = predict_logits(passes.attached([adapter], training=False), tokens, batch_size=2)[0]
            np.testing.assert_allclose(known, plain, atol=1e-5)


# -- words and tokens --------------------------------------------------------------------------------------------------


def byte_level(prefix: bool) -> Any:
    """A small tokenizer as GPT-2's, RoBERTa's and ModernBERT's, which writes the space before a word into its tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=prefix), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=330, initial_alphabet=alphabet, special_tokens=["<pad>"], show_progress=False
    )
    inner.train_from_iterator([" ".join(words) for words in WORDS] * 20, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>")


def test_byte_level_words_are_read_as_in_their_text() -> None:
    plain, prefixed = byte_level(False), byte_level(True)
    words = [["where", "is", "Zoë's", "parcel", "?"], ["lamp"]]
    tokens = tokenize_words(plain, untagged(words), 64)
    for row, own in enumerate(words):
        piece = slice(tokens.offsets[row], tokens.offsets[row + 1])
        assert tokens.ids[piece].tolist() == plain(" ".join(own))["input_ids"]
        starts = np.flatnonzero(tokens.targets[piece] != IGNORED)
        pieces = np.split(tokens.ids[piece], starts[1:])
        assert [plain.decode(part).strip() for part in pieces] == own
    # Where the tokenizer puts the space itself it is not put twice.
    twice = tokenize_words(prefixed, untagged(words), 64)
    assert twice.ids[: twice.offsets[1]].tolist() == prefixed(" ".join(words[0]))["input_ids"]
    assert (twice.targets != IGNORED).sum() == 6


def test_the_first_token_of_each_word_has_its_tag(shared: Path) -> None:
    from transformers import AutoTokenizer

    from afina.backbone.model_files import model_path

    tokenizer = AutoTokenizer.from_pretrained(model_path("minilm"))
    found = load_text_dataset(DatasetSpec(path=str(shared / "data" / "lener_br")), test_limit=50, train_limit=50).test
    tokens = tokenize_words(tokenizer, found, 512)
    theirs = tokenizer(found.words, is_split_into_words=True, truncation=True, max_length=512)
    for row, tags in enumerate(found.label):
        words, wanted, seen = theirs.word_ids(row), [], set()
        for word in words:
            wanted.append(IGNORED if word is None or word in seen else int(tags[word]))
            seen.add(word)
        piece = slice(tokens.offsets[row], tokens.offsets[row + 1])
        assert tokens.ids[piece].tolist() == theirs["input_ids"][row]
        assert tokens.targets[piece].tolist() == wanted
    assert tokens.cut == 0
    assert tokens.trained.tolist() == [len(words) for words in found.words]


def test_words_behind_the_limit_and_words_of_no_token(model: Model) -> None:
    from afina.backbone.load import load_tokenizer

    minilm, _ = load_tokenizer("minilm")
    # A soft hyphen is nothing to BERT's tokenizer: it stands as the unknown word, and those after it keep their tags.
    rows = rows_of([["my", "\xad", "lamp"], ["a"] * 9], [[0, 1, 3], [0] * 8 + [1]])
    tokens = tokenize_words(minilm, rows, 8)
    assert tokens.trained.tolist() == [3, 6]
    assert tokens.cut == 1
    assert tokens.targets[: tokens.offsets[1]].tolist() == [IGNORED, 0, 1, 3, IGNORED]
    logits = np.zeros((9, len(NAMES)))
    logits[:, 3] = 1
    decoded = Tagging(NAMES).decode_rows(tokens, logits)
    # What was cut off is no entity's, and was to be one's: it is missed.
    assert decoded.predictions.tolist() == [[3] * 3 + [IGNORED] * 6, [3] * 6 + [0] * 3]
    assert decoded.scores.tolist() == [[1, 3, 2], [0, 6, 1]]


def test_tokens_are_taken_and_kept(model: Model, tmp_path: Path) -> None:
    backbone = load_family(model("bert"), tags=True)
    tokens = tokenize_words(backbone.tokenizer, ROWS, 32)
    taken = tokens.take(np.array([2, 0]))
    assert taken.trained.tolist() == [1, 4]
    assert taken.output_labels().tolist() == [3, 0, 0, 1, 2]
    save_tokens(tmp_path / "tokens.npz", {"train": tokens})
    again = load_tokens(tmp_path / "tokens.npz")["train"]
    assert np.array_equal(again.targets, tokens.targets)
    assert np.array_equal(again.labels, tokens.labels)
    adapter = build_adapter(make_method("head", {}), backbone, len(NAMES), seed=0)
    with Attachment(backbone, [adapter]) as attached:
        one, two = (predict_logits(attached, tokens, batch_size=size)[0] for size in (1, 3))
        assert one.shape == (12, len(NAMES))
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


# -- the loss ----------------------------------------------------------------------------------------------------------


def weights_after_training(backbone: Backbone, tokens: Tokens, micro: int | None) -> tuple[torch.Tensor, float]:
    task = Tagging(NAMES, smoothing=0.1, weights=[0.5, 1, 2, 1, 1])
    method = make_method("lora", {}, {"rank": 2})
    adapter = build_adapter(method, backbone, len(NAMES), seed=0)
    adapter.head.dropout = 0.0
    optimiser = Optimiser(adapter.trainable(backbone), learning_rate=1e-2, total_steps=4)
    member = Member(adapter, task, tokens, 0, 2, 6, optimiser, None, torch.zeros((), dtype=torch.float64))
    losses: list[float] = []
    with Passes(backbone) as passes:
        told = Callbacks(lambda: None, lambda ended: losses.append(float(member.loss_sum)))
        train(passes, [member], Clock(), told, micro_batch_size=micro)
    return torch.cat([value.detach().flatten() for value in adapter.parameters()]), losses[0]


def test_micro_batches_do_not_change_the_gradient(tmp_path: Path) -> None:
    """Rows of 1 to 7 words: a mean by row or by micro-batch would weigh their words differently."""
    folder = save_family("bert", tmp_path / "bert")
    config = json.loads((folder / "config.json").read_text())
    off = {key: 0.0 for key in config if "dropout" in key and config[key] is not None}
    (folder / "config.json").write_text(json.dumps(config | off))
    backbone = load_backbone(str(folder), tags=True)
    tokens = tokenize_words(backbone.tokenizer, rows_of(WORDS * 4, TAGS * 4), 32)
    whole, loss = weights_after_training(backbone, tokens, None)
    parts, again = weights_after_training(backbone, tokens, 1)
    torch.testing.assert_close(whole, parts, rtol=2e-3, atol=2e-4)
    assert loss == pytest.approx(again, rel=1e-4)


def test_the_loss_is_summed_over_tagged_words() -> None:
    logits = torch.randn(2, 4, 5, dtype=torch.float64)
    targets = torch.tensor([[IGNORED, 0, 2, IGNORED], [4, IGNORED, IGNORED, IGNORED]])
    by_hand = sum(-logits[b, t].log_softmax(-1)[targets[b, t]] for b, t in ((0, 1), (0, 2), (1, 0)))
    torch.testing.assert_close(Tagging(NAMES).loss(logits, targets), by_hand)


def test_weights_of_classes_are_of_words() -> None:
    task = Tagging(NAMES, weights=class_weights("balanced", ROWS.label, NAMES))
    counts = np.array([4, 3, 2, 2, 1])
    np.testing.assert_allclose(np.asarray(task.weights), 12 / (5 * counts), rtol=1e-6)
    again = restore(task.state())
    assert isinstance(again, Tagging)
    assert again.state() == task.state()


# -- entities ----------------------------------------------------------------------------------------------------------

TAG = st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "E-LOC", "S-PER", "I"])
PAIR = st.integers(1, 8).flatmap(lambda n: st.tuples(*[st.lists(TAG, min_size=n, max_size=n)] * 2))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(PAIR, min_size=1, max_size=5))
def test_metrics_are_those_of_seqeval(rows: list[tuple[list[str], list[str]]]) -> None:
    from seqeval.metrics import accuracy_score, classification_report, f1_score, precision_score, recall_score

    gold, predicted = [row[0] for row in rows], [row[1] for row in rows]
    answers = predictions(gold, predicted)
    ours = {name: own.value(answers) for name, own in metrics_of("entities", 9, ["LOC", "PER", "_"]).items()}
    assert ours["f1"] == pytest.approx(f1_score(gold, predicted, zero_division=0))
    assert ours["precision"] == pytest.approx(precision_score(gold, predicted, zero_division=0))
    assert ours["recall"] == pytest.approx(recall_score(gold, predicted, zero_division=0))
    assert ours["word_accuracy"] == pytest.approx(accuracy_score(gold, predicted))
    if any(tag != "O" for row in gold + predicted for tag in row):
        report = classification_report(gold, predicted, output_dict=True, zero_division=0)
        for kind in ("LOC", "PER", "_"):
            assert ours[f"f1_{kind}"] == pytest.approx(report.get(kind, {"f1-score": 0})["f1-score"])


def test_an_entity_may_begin_with_i_as_conlleval_has_it() -> None:
    assert entities(("O", "I-PER", "I-PER", "I-LOC", "O")) == {("PER", 1, 2), ("LOC", 3, 3)}
    assert count_entities(["O", "B-PER", "I-PER"], ["O", "I-PER", "I-PER"]) == (1, 1, 1)
    assert [is_entity_tag(tag) for tag in ("O", "B-x", "E-y", "I", "NOUN", "B-", "L-x")] == [True] * 4 + [False] * 3


def test_seqeval_missing_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "seqeval.metrics", None)
    with pytest.raises(UsageError, match=re.escape("pip install 'afina[tagging]'")):
        entities(("B-never", "I-seen", "B-before"))


def predictions(gold: list[list[str]], predicted: list[list[str]]) -> Predictions:
    columns = [np.fromiter(map(tuple, rows), dtype=object, count=len(rows)) for rows in (gold, predicted)]
    return Predictions(np.arange(len(gold)), *columns, np.zeros((len(gold), 3)))


def test_methods_are_compared_by_corpus_f1_row_by_row() -> None:
    draw = np.random.default_rng(0)
    gold = [[NAMES[tag] for tag in draw.integers(0, 5, 6)] for _ in range(200)]

    def spoiled(share_of_words: float) -> list[list[str]]:
        return [["O" if draw.random() < share_of_words else tag for tag in row] for row in gold]

    good, also, bad = spoiled(0.1), spoiled(0.1), spoiled(0.5)
    runs = {
        "good": {0: predictions(gold, good)},
        "also": {0: predictions(gold, also)},
        "bad": {0: predictions(gold, bad)},
    }
    for metric in ("f1", "precision", "f1_PER", "word_accuracy"):
        found = {(one.first, one.second): one for one in compare(runs, metric, resamples=400)}
        values = {
            name: metric_named(metric).value(predictions(gold, rows)) for name, rows in (("good", good), ("bad", bad))
        }
        gap = found["good", "bad"]
        assert gap.difference == pytest.approx(values["good"] - values["bad"])
        assert gap.low < gap.difference < gap.high
        assert not gap.tie
        assert gap.p_holm < 0.01
        assert found["good", "also"].tie


# -- reading -----------------------------------------------------------------------------------------------------------


def write_parquet(path: Path, **columns: Any) -> None:
    from pyarrow import parquet

    parquet.write_table(arrow.table(columns), path)


def test_columns_of_lists_are_taken_for_tagging(data: Path) -> None:
    found = load_text_dataset(DatasetSpec(path=str(data)))
    assert (found.task, found.label_names) == ("tagging", ("O", "B-LOC", "B-PER", "I-PER"))
    assert found.train.words is not None
    assert found.train.text[0] == " ".join(found.train.words[0])
    few = load_text_dataset(DatasetSpec(path=str(data)), train_limit=7)
    assert (len(few.train), few.train.label.shape[1]) == (7, found.train.label.shape[1])
    assert few.digest != found.digest
    for name in ("tagging", "ner", "token_classification"):
        assert DatasetSpec(path="x", task=name).task == "tagging"


def test_numbers_have_the_names_of_their_features(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features(
        {
            "words": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=list(NAMES))),
        }
    )
    rows = {"words": WORDS * 4, "ner_tags": TAGS * 4}
    path = tmp_path / "rows.parquet"
    write_parquet(path, **rows)
    with pytest.raises(UsageError, match="row 1: the tag 0 has no name; write tags as words"):
        load_text_dataset(DatasetSpec(path=str(path), task="tagging"))
    datasets.Dataset.from_dict(rows, features=features).with_format("arrow")
    from pyarrow import parquet

    parquet.write_table(datasets.Dataset.from_dict(rows, features=features).with_format("arrow")[:], path)
    found = load_text_dataset(DatasetSpec(path=str(path)))
    assert found.label_names == NAMES
    assert "80/20" in found.notes[0]
    assert len(found.train) + len(found.test) == 12


@pytest.mark.parametrize(
    ("rows", "spec", "said"),
    [
        ([{"tokens": ["a", "b"], "tags": ["O", "B-x", "O"]}] * 6, {}, "row [0-9]: it has 3 tags for 2 words"),
        ([{"tokens": ["a", "b"], "tags": ["O", "x"]}] * 6, {}, "the tag 'x' is none of BIO, IO or BIOES"),
        ([{"tokens": ["a", "b"], "tags": ["O", None]}] * 6, {}, "row [0-9]: a word without a tag"),
        ([{"tokens": ["a", "b"], "tags": ["O", "O"]}] * 6, {}, "every word has the tag 'O'"),
        ([{"tokens": [], "tags": []}] * 6, {}, "no row has a word"),
        ([{"tokens": "a b", "tags": ["O", "O"]}] * 6, {}, "no column of lists called tokens or words"),
        ([{"tokens": "a b", "tags": ["O", "O"]}] * 6, {"text": "tokens"}, "column 'tokens' holds string, not lists"),
        ([{"tokens": ["a"], "tags": ["O"]}] * 6, {"label": "tag"}, "no column 'tag' for label; did you mean 'tags'"),
    ],
)
def test_bad_tags_are_one_sentence(rows: list[dict[str, Any]], spec: dict[str, str], said: str, tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(UsageError, match=said):
        load_text_dataset(DatasetSpec(path=str(tmp_path / "data.jsonl"), task="tagging", **spec))


def test_tags_that_mark_no_entities_are_scored_by_word(model: Model, tmp_path: Path) -> None:
    lines = [{"tokens": ["the", "cat", "sat"], "tags": ["DET", "NOUN", "VERB"]}] * 20
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, [*lines, {"tokens": [], "tags": []}])))
    (result,) = Study(tmp_path / "out", **settings_of(model, tmp_path / "data.jsonl")).run()
    assert (result["metric"], result["test_metrics"]) == ("word_accuracy", {"word_accuracy": 1.0})
    resolved = yaml.safe_load((tmp_path / "out" / "study.yaml").read_text())["resolved"]
    assert "row without a word left out" in str(resolved["data"])
    (one,) = afina.load(tmp_path / "out" / result["adapter"]).predict(["the cat"])
    assert one.as_dict() == {"tokens": ["the", "cat"], "tags": ["DET", "NOUN"], "entities": []}


# -- studies, adapters and exports -------------------------------------------------------------------------------------


def test_a_study_of_every_kind_of_method(model: Model, data: Path, tmp_path: Path) -> None:
    methods = ["lora", "head", "features", {"full": {"learning_rate": 5e-3}}]
    more = {
        "methods": methods,
        "early_stopping": 2,
        "epochs": 4,
        "class_weights": "balanced",
        "train_evaluation_limit": 20,
    }
    results = {r["method"]: r for r in Study(tmp_path / "out", **settings_of(model, data, **more)).run()}
    assert all(result["status"] == "ok" for result in results.values()), results
    lora = results["lora"]
    assert (lora["task"], lora["metric"], lora["label_names"]) == ("tagging", "f1", ["O", "B-LOC", "B-PER", "I-PER"])
    assert list(lora["test_metrics"]) == ["f1", "precision", "recall", "word_accuracy", "f1_LOC", "f1_PER"]
    assert lora["test_metric"] > 0.95
    assert "validation_f1" in lora["history"][0]
    found = read_predictions(tmp_path / "out", lora)
    assert metric_named("f1").value(found) == lora["test_metric"]
    assert found.scores.shape == (30, 3)
    right, predicted, there = found.scores.sum(axis=0)
    assert 2 * right / (predicted + there) == pytest.approx(lora["test_metric"])
    run_afina("report", tmp_path / "out")
    table = (tmp_path / "out" / "tables" / "types-bert-mail.md").read_text()
    assert "| method | LOC | PER |" in table
    assert "By type of entity" in (tmp_path / "out" / "report.html").read_text()
    assert "f1_PER" in run_afina("recommend", tmp_path / "out", "--metric", "f1_PER")

    adapter = tmp_path / "out" / lora["adapter"]
    said = json.loads(run_afina("predict", adapter, "the  lamp is parcel order", "--format", "jsonl"))
    assert said["tags"] == ["O", "B-LOC", "O", "B-PER", "I-PER"]
    assert [(one["type"], one["text"], one["start"], one["end"]) for one in said["entities"]] == [
        ("LOC", "lamp", 5, 9), ("PER", "parcel order", 13, 25),
    ]  # fmt: skip
    assert 0.5 < said["entities"][1]["probability"] <= 1
    lines = run_afina("predict", adapter, "--file", data / "test.jsonl", "--format", "jsonl").splitlines()
    first = json.loads((data / "test.jsonl").read_text().splitlines()[0])
    assert json.loads(lines[0])["tokens"] == first["tokens"]
    assert "parcel order" in run_afina("predict", adapter, "the parcel order", "is", "--format", "table")
    with pytest.raises(UsageError, match="Text 1 of 1 has no word"):
        afina.load(adapter).predict([" "])
    assert "words with the same label" in run_afina("export", adapter, "--to", "merged", "--out", tmp_path / "merged")
    # A feature-based run tags too.
    assert results["features"]["test_metric"] > 0.5
    (one,) = afina.load(tmp_path / "out" / results["features"]["adapter"]).predict([["the", "lamp"]])
    assert len(one.tags) == 2


def test_words_that_are_cut_are_said(model: Model, data: Path, tmp_path: Path) -> None:
    told: list[str] = []

    def observe(event: Any) -> None:
        told.extend(event["notes"] if event["kind"] == "prepared" else ())

    (result,) = Study(tmp_path / "out", **settings_of(model, data, max_length=6, epochs=1)).run(observe)
    lines = [json.loads(line) for line in (data / "train.jsonl").read_text().splitlines()]
    lost = sum(max(0, len(line["tokens"]) - 4) for line in lines)
    words = sum(len(line["tokens"]) for line in lines)
    assert result["texts_cut"]["train"] == sum(len(line["tokens"]) > 4 for line in lines)
    assert any(f"with them {lost:,} of {words:,} words" in note for note in told)


def test_a_cohort_and_its_members_alone(model: Model, data: Path, tmp_path: Path) -> None:
    """Without dropout in the small model's head and layers, company changes nothing."""
    folder = tmp_path / "bert"
    save_family("bert", folder, tags=True)
    config = json.loads((folder / "config.json").read_text())
    off = {key: 0.0 for key in config if "dropout" in key and config[key] is not None}
    (folder / "config.json").write_text(json.dumps(config | off))
    more = {"model": str(folder), "methods": ["lora", "ia3", "bitfit"], "epochs": 2, "learning_rate": 3e-3}
    outs = {}
    for name, cohort in (("alone", "off"), ("together", 3)):
        study = Study(tmp_path / name, **settings_of(model, data, **more, cohort=cohort))
        outs[name] = {r["run"]: r for r in study.run()}
    for run, result in outs["together"].items():
        assert result["cohort_size"] == 3
        ours, alone = (entry["history"][-1] for entry in (result, outs["alone"][run]))
        assert ours["train_loss"] == pytest.approx(alone["train_loss"], rel=1e-3)
        assert ours["test_word_accuracy"] == pytest.approx(alone["test_word_accuracy"], abs=0.01)


def test_killed_and_resumed_is_as_if_undisturbed(model: Model, data: Path, tmp_path: Path) -> None:
    killed_and_resumed(settings_of(model, data, epochs=8), tmp_path, [15])


def trained_folder(name: str, family: str, model: Model, folder: Path, **settings: Any) -> Path:
    backbone = load_family(model(family), tags=True)
    method = make_method(name, settings, {"rank": 3})
    adapter = build_adapter(method, backbone, len(NAMES), seed=0)
    stir(adapter)
    record = AdapterRecord(
        model=str(model(family)), method=name, settings=method.settings(), task=Tagging(NAMES).state(), max_length=40,
        precision="fp32", seed=0, total_steps=100,
    )  # fmt: skip
    save_adapter(folder / "adapter", adapter, backbone, record)
    return folder / "adapter"


@pytest.mark.parametrize("family", OUTSIDE)
def test_what_tags_is_exported(family: str, model: Model, tmp_path: Path) -> None:
    targets = [role for role in ("attention_out", "ffn_down") if role not in ARCHITECTURES[family].lacks]
    loaded = afina.load(trained_folder("lora", family, model, tmp_path, targets=targets))
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["task_type"] == "TOKEN_CLS"
    (tmp_path / "peft").mkdir()
    write_peft(loaded, tmp_path / "peft")
    outside = [load_peft(loaded, tmp_path / "peft")]
    merge(afina.load(tmp_path / "adapter"), tmp_path / "merged")
    outside.append(load_merged(loaded, tmp_path / "merged"))
    for theirs, tokenizer in outside:
        parity = check_parity(loaded, loaded, theirs, tokenizer, ROWS)
        assert parity.equal, parity
        assert (parity.rows, parity.outputs, parity.agreeing) == (3, 12, 12)
        assert "f1" in parity.metrics
    assert list(outside[1][0].config.id2label.values()) == list(NAMES)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
@pytest.mark.parametrize("classify", ["text", "prompt"])
def test_a_prompt_takes_no_words_place(family: str, classify: str, model: Model, tmp_path: Path) -> None:
    """PEFT tags the prompt's places too; the words' tags are the same, whatever a text's classifier would look at."""
    loaded = afina.load(trained_folder("prompt", family, model, tmp_path, length=3, classify=classify))
    (tmp_path / "peft").mkdir()
    write_peft(loaded, tmp_path / "peft")
    parity = check_parity(loaded, loaded, *load_peft(loaded, tmp_path / "peft"), ROWS)
    assert parity.equal, parity


def test_adapters_share_a_model_where_both_tag(model: Model, tmp_path: Path) -> None:
    first = afina.load(trained_folder("lora", "bert", model, tmp_path / "one"))
    second = afina.load(trained_folder("ia3", "bert", model, tmp_path / "two"), beside=first)
    assert second.backbone is first.backbone
    assert [len(one.tags) for one in second.predict(WORDS)] == [4, 7, 1]
    record = json.loads((tmp_path / "two" / "adapter" / "afina.json").read_text())
    record["task"] = Classification(NAMES).state()
    (tmp_path / "two" / "adapter" / "afina.json").write_text(json.dumps(record))
    with pytest.raises(UsageError, match="cannot share a model: one of them tags words, one does not"):
        afina.load(tmp_path / "two" / "adapter", beside=first)


def test_a_quantised_base_tags(model: Model, data: Path, tmp_path: Path) -> None:
    folder = save_family("bert", tmp_path / "bert", num_labels=len(NAMES), tags=True, sizes=(64, 128))
    (result,) = Study(tmp_path / "out", **settings_of(model, data, model=str(folder), precision="nf4")).run()
    assert (result["precision"], result["status"]) == ("nf4", "ok")
    assert result["test_metric"] > 0.9
    adapter = tmp_path / "out" / result["adapter"]
    assert is_quantised(afina.load(adapter).backbone.model.get_submodule("encoder.layer.0.attention.self.query"))
    said = run_afina("export", adapter, "--to", "merged", "--out", tmp_path / "merged")
    words = sum(len(json.loads(line)["tokens"]) for line in (data / "test.jsonl").read_text().splitlines())
    assert f"of {words} words keep their label" in said.replace("\n", " ")


def test_an_adapter_that_peft_made_tags_here(model: Model, tmp_path: Path) -> None:
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import AutoModelForTokenClassification

    base = AutoModelForTokenClassification.from_pretrained(model("bert"))
    base.config.id2label = dict(enumerate(NAMES))
    torch.manual_seed(0)
    theirs = get_peft_model(
        base, LoraConfig(task_type=TaskType.TOKEN_CLS, r=2, target_modules=["query"], init_lora_weights=False)
    ).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    loaded = afina.load(tmp_path / "theirs", model=str(model("bert")))
    inputs = loaded.backbone.tokenizer("where is my parcel", return_tensors="pt")
    with torch.no_grad():
        wanted = theirs(**inputs).logits[0, 1:-1].numpy()
    np.testing.assert_allclose(loaded.logits(["where is my parcel"]), wanted, rtol=1e-4, atol=1e-5)
    (one,) = loaded.predict(["where is my parcel"])
    assert one.tags == tuple(f"class {index}" for index in wanted.argmax(axis=1))


def test_what_tagging_costs_is_planned(model: Model, data: Path) -> None:
    from afina.study.estimate import estimate_study

    for family, methods in {"bert": ["lora", "head", "features"], "bart": ["head"]}.items():
        study = settings_of(model, data, model=str(model(family)), methods=methods)
        estimates, failed = estimate_study(StudyConfig.parse(study, "test"))
        assert not failed
        head = next(one for one in estimates if one.run.method.name == "head")
        assert head.trainable_parameters == 24 * 4 + 4
        assert head.train_seconds > 0


def test_images_cannot_be_tagged(family_folder: Model, data: Path, tmp_path: Path, model: Model) -> None:
    with pytest.raises(UsageError, match="takes images, and mail has texts"):
        Study(tmp_path / "out", **settings_of(model, data, model=str(family_folder("vit")))).run()


def test_every_family_is_tried() -> None:
    assert set(BOTH) <= {*OUTSIDE, "bart", "mbart"}
