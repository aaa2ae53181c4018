"""Language models measured: likelihoods and benchmarks as others have them, intervals, and what an adapter changed."""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import afina
from afina.adapters.adapter import build_adapter, save_adapter
from afina.adapters.record import AdapterRecord
from afina.backbone.load import load_backbone
from afina.errors import AfinaError, UsageError
from afina.evaluation import harness
from afina.evaluation import speaker as speaking
from afina.evaluation.answers import Answering, Questions, answer_perplexity
from afina.evaluation.evaluate import MeasuredRow
from afina.evaluation.harness import as_harness_model, load_tasks, run_tasks
from afina.evaluation.perplexity import perplexity, read_documents
from afina.evaluation.speaker import Speaker, windows
from afina.generation.template import template_of
from afina.measure.bootstrap import Estimate, Measure, estimates, mean_of
from afina.measure.text import TEXT_METRICS, contains, exact_match, text_measures, token_f1
from afina.methods.base import make_method
from afina.tasks.choices import Choices
from commands import afina as run_afina
from commands import afina_apart, refused
from families import BOTH, DECODERS, language_model, load_family
from pairs import FROZEN, stir

Folder = Callable[[str], Path]
TASKS = Path(__file__).parents[2] / "studies" / "tasks"
# What the harness and its Hugging Face model say of libraries that they use is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:lm_eval", "ignore::FutureWarning:lm_eval")


def adapted(name: str, family: str, speaker: Folder, folder: Path, *, stirred: bool = True) -> Path:
    """Save an adapter of a method, away from its start, for a language model."""
    backbone = load_family(speaker(family), speaks=True)
    method = make_method(name, {}, {"rank": 3})
    adapter = build_adapter(method, backbone, outputs=3, seed=0)
    if stirred:
        stir(adapter)
    if method.owns_backbone and stirred:
        with torch.no_grad():
            for value in backbone.model.parameters():
                value.mul_(1.1)
    record = AdapterRecord(
        model=str(speaker(family)), method=name, settings=method.settings(), task=Choices(3).state(), max_length=60,
        precision="fp32", seed=0, total_steps=100,
    )  # fmt: skip
    save_adapter(folder, adapter, backbone, record)
    return folder


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


# -- metrics of texts --------------------------------------------------------------------------------------------------

SAID = ["The cat sat on the mat.", "a lamp, broken", "", "send the parcel back", "nothing in common"]
WANTED = ["A cat sat on a mat", "The broken lamp!", "an order", "Please send back the parcel today.", "where is it?"]


def test_exact_match_and_f1_are_of_normal_words() -> None:
    assert [exact_match(*pair) for pair in zip(SAID, WANTED, strict=True)] == [1, 0, 0, 0, 0]
    # By hand: 2 words of 2 and 2 in common; 3 in common (send, parcel, back) of 3 and 5.
    assert [token_f1(*pair) for pair in zip(SAID, WANTED, strict=True)] == pytest.approx([1, 1, 0, 2 * 3 / 8, 0])
    assert token_f1("the", "a") == exact_match("the", "a") == 1  # both are nothing but an article
    assert token_f1("yes yes no", "yes") == pytest.approx(2 * 1 / (3 + 1))  # a word counts as often as both have it


def test_containment_is_of_whole_words_letter_for_letter() -> None:
    said = ["It costs 31 reais.", "It costs 131 reais.", "Ana Lúcia does.", "ana lúcia does", "A Ana.", "R$ 5 (five)"]
    wanted = ["31 reais", "31 reais", "Ana Lúcia", "Ana Lúcia", "Ana.", "R$ 5"]
    assert [contains(*pair) for pair in zip(said, wanted, strict=True)] == [1, 0, 1, 0, 1, 1]


def test_answer_perplexity_is_of_the_answer_and_its_end_after_the_prompt() -> None:
    backbone = load_backbone("afina-small", speaks=True)
    template = template_of(None, backbone.tokenizer)
    questions = Questions(["What do bees make?", "Who are you?"], ["Bees make honey.", "I am a lamp of glass."])
    measure = answer_perplexity(Speaker(backbone), questions, template)
    lost, count = 0.0, 0
    for asked, said in zip(questions.prompts, questions.references, strict=True):
        prompt = backbone.tokenizer(f"<|user|>{asked}<|end|><|assistant|>")["input_ids"]
        ids = torch.tensor([prompt + backbone.tokenizer(f"{said}<|end|>")["input_ids"]])
        with torch.no_grad():
            scores = backbone.language(backbone.model(ids).last_hidden_state)[0, len(prompt) - 1 : -1].float()
        lost += float(torch.nn.functional.cross_entropy(scores, ids[0, len(prompt) :], reduction="sum"))
        count += ids.shape[1] - len(prompt)
    assert measure.overall == pytest.approx(np.exp(lost / count), rel=1e-4)
    assert not measure.higher_is_better


def test_rouge_bleu_and_chrf_are_their_libraries_own() -> None:
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu import corpus_bleu, corpus_chrf

    found = {one.name: one.overall for one in text_measures(SAID, WANTED)}
    assert list(found) == list(TEXT_METRICS)
    assert found["bleu"] == pytest.approx(corpus_bleu(SAID, [WANTED]).score, rel=1e-12)
    assert found["chrf"] == pytest.approx(corpus_chrf(SAID, [WANTED]).score, rel=1e-12)
    assert 0 < found["bleu"] < found["chrf"] < 100
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    scores = [scorer.score(wanted, said) for said, wanted in zip(SAID, WANTED, strict=True)]
    for name in ("rouge1", "rouge2", "rougeL"):
        assert found[name] == pytest.approx(np.mean([score[name].fmeasure for score in scores])), name


def test_rouge_reads_every_script() -> None:
    (same,) = text_measures(["A ação é nossa"], ["a açao e nossa"], ["rouge1"])
    assert same.overall == 0.5  # rouge-score's own words would be a, a, o, nossa


def test_unknown_and_missing_metrics_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no text metric 'rougel'; did you mean 'rougeL'"):
        text_measures(SAID, WANTED, ["rougel"])
    for module, name, library in (
        ("rouge_score.rouge_scorer", "rouge1", "rouge-score"),
        ("sacrebleu", "bleu", "sacrebleu"),
    ):
        with monkeypatch.context() as gone:
            gone.setitem(sys.modules, module, None)
            with pytest.raises(UsageError, match=rf"{name} needs {library}: pip install 'afina\[evaluate\]'"):
                text_measures(SAID, WANTED, [name])
            assert len(text_measures(SAID, WANTED, ["exact_match", "token_f1"])) == 2


# -- intervals ---------------------------------------------------------------------------------------------------------


def test_intervals_of_means_are_as_wide_as_theory_has_them() -> None:
    random = np.random.default_rng(1)
    first = random.normal(size=400)
    second = first + 0.2 + 0.1 * random.normal(size=400)  # nearly the same items: paired, the difference is clear
    values, differences = estimates([mean_of("a", first), mean_of("b", second)])
    for value, numbers in zip(values, (first, second), strict=True):
        half = 1.96 * numbers.std() / math.sqrt(400)
        assert value.value == pytest.approx(numbers.mean())
        assert (value.low, value.high) == pytest.approx((numbers.mean() - half, numbers.mean() + half), abs=0.15 * half)
    gap = second - first
    assert differences[0] == Estimate(0, 0, 0)
    assert differences[1].value == pytest.approx(gap.mean())
    half = 1.96 * gap.std() / math.sqrt(400)
    assert differences[1].high - differences[1].low == pytest.approx(2 * half, rel=0.15)


def test_intervals_of_ratios_and_of_bleu() -> None:
    parts = np.array([[10.0, 5], [30, 10], [2, 4]])
    ratio = Measure("r", parts, lambda sums: math.exp(sums[0] / sums[1]), higher_is_better=False)
    ((value,), _) = estimates([ratio])
    assert value.value == pytest.approx(math.exp(42 / 19))
    assert value.low is not None
    assert math.exp(2 / 4) <= value.low < value.value < value.high <= math.exp(3)
    assert estimates([mean_of("one", np.array([3.0]))])[0] == [Estimate(3.0)]
    from sacrebleu.metrics import BLEU

    said, wanted = SAID * 8, WANTED[:3] * 2 + SAID[3:] + WANTED * 6 + SAID[:2]
    theirs = BLEU().corpus_score(said, [wanted], n_bootstrap=1000)
    ((ours,), _) = estimates([*text_measures(said, wanted, ["bleu"])])
    assert ours.low is not None
    assert ours.high - ours.low == pytest.approx(2 * theirs._ci, rel=0.2)


def test_what_counts_as_better() -> None:
    def verdict(low: float | None, high: float | None, *, higher: bool) -> str | None:
        return MeasuredRow("s", "m", 9, higher, Estimate(0), Estimate(0), Estimate(0, low, high)).verdict

    assert verdict(0.1, 0.2, higher=True) == verdict(-0.2, -0.1, higher=False) == "better"
    assert verdict(0.1, 0.2, higher=False) == verdict(-0.2, -0.1, higher=True) == "worse"
    assert verdict(-0.1, 0.2, higher=True) == verdict(0, 0, higher=True) == "unclear"
    assert verdict(None, None, higher=True) is None
    assert MeasuredRow("s", "m", 9, True, Estimate(0)).verdict is None


# -- likelihoods -------------------------------------------------------------------------------------------------------


@given(st.integers(1, 60), st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_windows_are_the_harness_own(length: int, size: int) -> None:
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    tokens = list(range(100, 100 + length))
    ours = [(list(read), list(said)) for read, said in windows(tokens, 7, size)]
    theirs = map(make_disjoint_window, get_rolling_token_windows(tokens, 7, size, 1))
    assert ours == [(list(read), list(said)) for read, said in theirs]
    assert [token for _, said in ours for token in said] == tokens


PAIRS = [
    ([5, 9, 12], [6, 8]),
    ([5, 9, 12], [6, 7]),
    ([30], [31, 32, 33, 34, 35]),
    ([5, 9, 12, 6], [8]),
    ([11, 14], [40]),
]


def of_transformers(family: str, model: Any, read: list[int], said: list[int]) -> tuple[float, bool]:
    """The log-probability of what is said, by transformers alone, one text at a time."""
    answer = torch.tensor([said])
    with torch.no_grad():
        if family in BOTH:
            first = read[-1] if family == "mbart" else model.config.decoder_start_token_id
            logits = model(
                input_ids=torch.tensor([read]), decoder_input_ids=torch.tensor([[first, *said[:-1]]])
            ).logits[0]
        else:
            logits = model(torch.tensor([[*read, *said]])).logits[0, len(read) - 1 : -1]
    of_token = logits.log_softmax(-1).gather(1, answer[0][:, None])
    return float(of_token.sum()), bool((logits.argmax(-1) == answer[0]).all())


@pytest.mark.parametrize("family", [*DECODERS, *BOTH])
def test_likelihoods_are_those_of_transformers(family: str, speaker: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speaking, "_LOGITS", 200)  # the vocabulary's logits of two or three places at once
    backbone = load_family(speaker(family), speaks=True)
    model = language_model(family).from_pretrained(speaker(family)).eval()
    # One answer that greedy decoding gives, so that both truths are seen.
    best = max(range(backbone.config.vocab_size), key=lambda token: of_transformers(family, model, [5, 9], [token])[0])
    pairs = [*PAIRS, ([5, 9], [best])]
    told: list[tuple[int, int]] = []
    total, greedy = Speaker(backbone, batch_size=3, tick=lambda *at: told.append(at)).likelihoods(pairs)
    wanted = [of_transformers(family, model, *pair) for pair in pairs]
    np.testing.assert_allclose(total, [value for value, _ in wanted], rtol=1e-4, atol=1e-4)
    assert greedy.tolist() == [right for _, right in wanted]
    assert greedy[-1]
    assert not greedy.all()
    assert told[-1] == (len(pairs), len(pairs))


def test_requests_that_differ_in_the_last_token_are_computed_once(speaker: Folder) -> None:
    backbone = load_family(speaker("llama"), speaks=True)
    rows: list[int] = []
    handle = backbone.model.register_forward_pre_hook(
        lambda _, args, given: rows.append(len(given["input_ids"])), with_kwargs=True
    )
    try:
        Speaker(backbone).likelihoods([([5, 9, 12], [token]) for token in (20, 21, 22, 23)])
        assert sum(rows) == 1
        # The same tokens parted elsewhere say something else.
        total, _ = Speaker(backbone).likelihoods([([5, 9, 12], [20]), ([5, 9], [12, 20])])
    finally:
        handle.remove()
    assert total[0] > total[1]


def test_what_is_too_long_loses_its_start(speaker: Folder) -> None:
    backbone = load_family(speaker("gpt2"), speaks=True)
    short = Speaker(backbone, context=6)
    read = [5, 9, 12, 6, 8, 30, 31]
    assert short.likelihoods([(read, [40, 41])])[0] == pytest.approx(short.likelihoods([(read[2:], [40, 41])])[0])
    assert short.likelihoods([(read, [40, 41])])[0] != pytest.approx(short.likelihoods([(read[3:], [40, 41])])[0])
    with pytest.raises(UsageError, match="An answer of 7 tokens is longer than the 6"):
        short.likelihoods([([5], read)])
    with pytest.raises(UsageError, match="2 to 64 here, not 65"):
        Speaker(backbone, context=65)
    # A model's whole context is read: 64 tokens before the last.
    whole = [10 + place % 50 for place in range(64)]
    assert np.isfinite(Speaker(backbone).likelihoods([(whole, [20])])[0]).all()


@pytest.mark.pairs([*FROZEN, "full"], ["llama", "gpt2", "t5"])
def test_adapters_of_every_method_are_heard(name: str, family: str, speaker: Folder, tmp_path: Path) -> None:
    """The scores are those of the adapter's own task, and not the base's."""
    loaded = afina.load(adapted(name, family, speaker, tmp_path / "adapter"))
    ours = Speaker(loaded.backbone, loaded.adapter)
    texts = ["where is my parcel", "the lamp is broken"]
    said = ["late", "charged twice"]
    wanted = loaded.logits(texts, choices=[said, said])[..., 1]  # the sums
    encode = loaded.backbone.tokenizer.encode
    ends = [4] if family == "t5" else []
    pairs = [(encode(text), encode(one, add_special_tokens=False) + ends) for text in texts for one in said]
    found, _ = ours.likelihoods(pairs)
    np.testing.assert_allclose(found.reshape(2, 2), wanted, rtol=1e-4, atol=1e-4)
    if name != "head":
        base = load_family(speaker(family), speaks=True)
        assert np.abs(found - Speaker(base).likelihoods(pairs)[0]).max() > 1e-3


def test_perplexity_is_that_of_each_token_after_all_before_it(speaker: Folder, tmp_path: Path) -> None:
    backbone = load_family(speaker("llama"), speaks=True)
    model = language_model("llama").from_pretrained(speaker("llama")).eval()
    texts = ["my lamp is broken", "where", "the parcel was late and the order is not the order"]
    tokens = [backbone.tokenizer.encode(text, add_special_tokens=False) for text in texts]
    lost = [
        -of_transformers("llama", model, [4], own)[0] for own in tokens
    ]  # no start mark: the end mark stands before
    by_token, by_byte = perplexity(Speaker(backbone), texts)
    value, _ = estimates([by_token])
    assert value[0].value == pytest.approx(math.exp(sum(lost) / sum(map(len, tokens))), rel=1e-5)
    assert value[0].low is not None
    ((bits,), _) = estimates([by_byte])
    assert bits.value == pytest.approx(sum(lost) / math.log(2) / sum(len(text.encode()) for text in texts), rel=1e-5)
    assert not by_token.higher_is_better
    (tmp_path / "a.txt").write_text("one\ntwo\n\n  \nthree\n")
    assert read_documents(tmp_path / "a.txt") == ["one\ntwo", "three"]
    (tmp_path / "b.txt").write_text("one\ntwo\nthree\n")
    assert read_documents(tmp_path / "b.txt") == ["one", "two", "three"]
    rows = [{"body": "one", "story": "x"}, {"body": " ", "story": "y"}]
    assert read_documents(lines(tmp_path / "c.jsonl", rows)) == ["one"]
    assert read_documents(tmp_path / "c.jsonl", "story") == ["x", "y"]
    (tmp_path / "d.txt").write_text("\n\n")
    with pytest.raises(UsageError, match="holds no text"):
        read_documents(tmp_path / "d.txt")


# -- writing -----------------------------------------------------------------------------------------------------------

PROMPTS = ["where is my parcel", "the lamp", "a film is not good and the kettle is late"]


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "t5", "bart"])
def test_what_is_written_is_what_transformers_generates(family: str, speaker: Folder) -> None:
    backbone = load_family(speaker(family), speaks=True)
    model = language_model(family).from_pretrained(speaker(family)).eval()
    ours = Speaker(backbone, batch_size=2).write(PROMPTS, stop=[], most=9)
    for text, prompt in zip(ours, PROMPTS, strict=True):
        ids = backbone.tokenizer(prompt, return_tensors="pt")["input_ids"]
        theirs = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=9, do_sample=False, pad_token_id=0, eos_token_id=4,
            forced_eos_token_id=None, forced_bos_token_id=None, use_cache=True,
        )[0]  # fmt: skip
        new = theirs[1:] if family in BOTH else theirs[ids.shape[1] :]
        assert text == backbone.tokenizer.decode(new, skip_special_tokens=True)


def test_nothing_is_written_behind_a_stop_string(speaker: Folder) -> None:
    ours = Speaker(load_family(speaker("llama"), speaks=True))
    (free,) = ours.write(PROMPTS[:1], stop=[], most=12)
    words = free.split()
    assert len(set(words)) > 3
    # Two tokens, and only the end of a word: neither is one token that could be looked for.
    for mark in (" ".join(words[3:5]), words[4][-1] + " " + words[5][:1], words[-1]):
        (stopped,) = ours.write(PROMPTS[:1], stop=["never said", mark, ""], most=12)
        assert stopped == free[: free.index(mark)]
    together = ours.write(PROMPTS, stop=[words[3]], most=12)
    apart = [ours.write([prompt], stop=[words[3]], most=12)[0] for prompt in PROMPTS]
    assert together == apart
    with pytest.raises(UsageError, match="To write 64 tokens leaves none of the 64"):
        ours.write(PROMPTS, stop=[], most=64)


@pytest.mark.parametrize("name", ["prompt", "prefix", "lora"])
@pytest.mark.parametrize("family", ["gpt2", "bart"])
def test_adapters_write_what_they_find_likeliest(name: str, family: str, speaker: Folder, tmp_path: Path) -> None:
    loaded = afina.load(adapted(name, family, speaker, tmp_path / "adapter"))
    ours = Speaker(loaded.backbone, loaded.adapter)
    taken = loaded.method.settings()["length"] if name == "prompt" else 0
    assert ours.context == 64 - taken
    room = 6
    long = " ".join(["lamp", "order"] * 40)  # more than fits
    for prompt in (*PROMPTS, long):
        (text,) = ours.write([prompt], stop=[], most=room)
        said = loaded.backbone.tokenizer.encode(text, add_special_tokens=False)
        ends = [] if len(said) == room else [4]
        read = ours.encode(prompt)[room - ours.context :]
        assert ours.likelihoods([(read, said + ends)])[1].all()


# -- the harness -------------------------------------------------------------------------------------------------------


def hugging_face(model: Any, **settings: Any) -> Any:
    from lm_eval.models.huggingface import HFLM

    model = str(model) if isinstance(model, Path) else model
    return HFLM(model, device="cpu", dtype="float32", batch_size=3, **settings)


def both_run(ours: Any, theirs: Any, names: list[Path], **settings: Any) -> tuple[Any, Any]:
    """Let the harness evaluate two models on the same tasks."""
    from lm_eval.evaluator import evaluate

    results = []
    for model in (ours, theirs):
        loaded = load_tasks(names)
        for task in loaded["tasks"].values():
            task.set_fewshot_seed(seed=1234)
        results.append(evaluate(model, loaded, bootstrap_iters=0, **settings))
    return results[0], results[1]


def same(ours: Any, theirs: Any) -> None:
    """Every score, and every likelihood and text below it, is the same."""
    for task, scores in theirs["results"].items():
        assert {k: v for k, v in ours["results"][task].items() if "," in k} == {
            k: v if isinstance(v, str) else pytest.approx(v, rel=1e-4) for k, v in scores.items() if "," in k
        }
        for mine, other in zip(ours["samples"][task], theirs["samples"][task], strict=True):
            for (one,), (two,) in zip(mine["resps"], other["resps"], strict=True):
                if isinstance(two, tuple):
                    assert one == (pytest.approx(two[0], rel=1e-4, abs=1e-3), two[1])
                else:
                    assert one == (two if isinstance(two, str) else pytest.approx(two, rel=1e-4, abs=1e-3))


@pytest.mark.always
def test_scores_are_those_of_the_harness_own_model(shared: Path) -> None:
    """On a pretrained model: MMLU with letters and with answers, one of which is too long, and GSM8K's sums, written."""
    folder = shared / "data" / "stories260k"
    ours, theirs = Speaker(load_backbone(str(folder), speaks=True)), hugging_face(folder)
    names = [TASKS / "mmlu.yaml", TASKS / "mmlu_cloze.yaml"]
    mine, other = both_run(as_harness_model(ours), theirs, names, limit=28)
    assert any(sample["doc"]["question"] for sample in mine["samples"]["mmlu_files"])
    same(mine, other)
    cloze = mine["results"]["mmlu_cloze_files"]
    assert cloze["acc,none"] != cloze["acc_norm,none"]
    written = yaml.safe_load((TASKS / "gsm8k.yaml").read_text())
    assert written["num_fewshot"] == 5
    loaded = load_tasks([TASKS / "gsm8k.yaml"])
    (task,) = loaded["tasks"].values()
    task.set_config("generation_kwargs", {"max_gen_toks": 24}, update=True)
    from lm_eval.evaluator import evaluate

    results = []
    for model in (as_harness_model(ours), theirs):
        task.set_fewshot_seed(seed=1234)
        results.append(evaluate(model, loaded, limit=2, bootstrap_iters=0))
    same(*results)
    assert all(len(sample["resps"][0][0]) > 20 for sample in results[0]["samples"]["gsm8k_files"])


ROWS = [
    {"question": "where is my parcel", "choices": ["late", "not my order"], "answer": 0, "text": "the lamp is broken"},
    {"question": "the lamp is", "choices": ["broken please help", "good"], "answer": 0, "text": "where is my parcel " * 30},
    {"question": "a film", "choices": ["bad", "great terrible"], "answer": 1, "text": "a good film"},
]  # fmt: skip


def task_files(folder: Path) -> list[Path]:
    """Write one small task of each kind of request."""
    lines(folder / "rows.jsonl", ROWS)
    base = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": "rows.jsonl"}}, "test_split": "test"}
    acc = [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")]
    choose = {"task": "choose", "output_type": "multiple_choice", "doc_to_text": "{{question}}", "metric_list": acc,
              "doc_to_choice": "{{choices}}", "doc_to_target": "answer"}  # fmt: skip
    word = {"metric": "word_perplexity", "aggregation": "weighted_perplexity", "higher_is_better": False}
    roll = {"task": "roll", "output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{text}}",
            "metric_list": [word]}  # fmt: skip
    match = {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}
    say = {"task": "say", "output_type": "generate_until", "doc_to_text": "{{question}}", "doc_to_target": "late",
           "metric_list": [match], "generation_kwargs": {"until": ["order"], "max_gen_toks": 12}}  # fmt: skip
    found = []
    for task in (choose, roll, say):
        found.append(folder / f"{task['task']}.yaml")
        found[-1].write_text(yaml.safe_dump(base | task))
    return found


@pytest.mark.parametrize("family", ["llama", "gpt2", "t5"])
def test_every_kind_of_request_is_answered_as_the_harness_does(family: str, speaker: Folder, tmp_path: Path) -> None:
    names = task_files(tmp_path)[: 2 if family == "t5" else 3]
    ours = Speaker(load_family(speaker(family), speaks=True), batch_size=2, context=64)
    same(*both_run(as_harness_model(ours), hugging_face(speaker(family), max_length=64), names))


@pytest.mark.parametrize("kind", ["lora", "ia3", "prefix"])
def test_an_adapter_of_peft_scores_as_the_harness_has_it(kind: str, speaker: Folder, tmp_path: Path) -> None:
    import peft

    configs = {
        "lora": peft.LoraConfig(r=3, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
        "ia3": peft.IA3Config(
            target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"], task_type="CAUSAL_LM"
        ),
        "prefix": peft.PrefixTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"),
    }  # fmt: skip
    base = language_model("llama").from_pretrained(speaker("llama"))
    model = peft.get_peft_model(base, configs[kind])
    torch.manual_seed(3)
    with torch.no_grad():
        for value in model.parameters():
            if value.requires_grad:
                value.add_(torch.randn_like(value) * 0.3)
    model.save_pretrained(tmp_path / "adapter")
    loaded = afina.load(tmp_path / "adapter")
    assert loaded.task.speaks
    ours = Speaker(loaded.backbone, loaded.adapter, context=40)
    names = task_files(tmp_path)[: 3 if kind != "prefix" else 1]
    # Loaded by peft: with its path alone the harness would cut the model's vocabulary to its tokenizer's.
    theirs = hugging_face(model.eval(), tokenizer=str(speaker("llama")), max_length=40)
    mine, other = both_run(as_harness_model(ours), theirs, names)
    same(mine, other)
    # It says something other than its base, and chooses among answers from the command line too.
    bare, _ = both_run(as_harness_model(Speaker(loaded.backbone, context=40)), theirs, names[:1])
    assert bare["samples"]["choose"][0]["resps"] != mine["samples"]["choose"][0]["resps"]
    assert loaded.predict(["the lamp is"], choices=[["good", "broken"]])[0].label in ("good", "broken")


def test_tasks_become_measures_over_items(speaker: Folder, tmp_path: Path) -> None:
    files = task_files(tmp_path)
    (tmp_path / "all.yaml").write_text(yaml.safe_dump({
        "group": "all", "task": ["choose", "say"],
        "aggregate_metric_list": [{"metric": "acc", "aggregation": "mean", "weight_by_size": True, "filter_list": "none"}],
    }))  # fmt: skip
    ours = Speaker(load_family(speaker("llama"), speaks=True))
    loaded = load_tasks([tmp_path])  # the folder: the group, and roll, which is in none
    found = run_tasks(ours, loaded)
    assert {name: [one.name for one in own] for name, own in found.items()} == {
        "all": ["acc"], "choose": ["acc", "acc_norm"], "roll": ["word_perplexity"], "say": ["exact_match"],
    }  # fmt: skip
    (acc, norm), (rolled,) = found["choose"], found["roll"]
    assert len(acc.parts) == len(norm.parts) == len(found["all"][0].parts) == 3
    assert not rolled.higher_is_better
    assert len(rolled.parts) == 0
    assert estimates([rolled])[0][0].low is None
    assert estimates([rolled])[0][0].value > 1
    again = run_tasks(ours, loaded, limit=2)
    np.testing.assert_array_equal(again["choose"][0].parts, acc.parts[:2])
    with pytest.raises(UsageError, match="The task 'choose' is asked for twice"):
        load_tasks([files[0], files[0]])


def test_examples_before_a_question_are_the_same_each_time(speaker: Folder, tmp_path: Path) -> None:
    (name, *_) = task_files(tmp_path)
    name.write_text(name.read_text() + "fewshot_split: test\n")
    loaded = load_tasks([name])
    ours = Speaker(load_family(speaker("llama"), speaks=True))
    asked: list[list[str]] = []
    for _ in range(2):
        run_tasks(ours, loaded, fewshot=2)
        asked.append([instance.args[0] for instance in loaded["tasks"]["choose"].instances])
    assert asked[0] == asked[1]
    assert all(text.count("\n\n") == 2 for text in asked[0])


def test_a_chat_template_is_put_around_questions(
    speaker: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = Speaker(load_family(speaker("llama"), speaks=True))
    (name, *_) = task_files(tmp_path)
    loaded = load_tasks([name])
    with pytest.raises(UsageError, match="has no chat template"):
        run_tasks(ours, loaded, chat=True)
    each = "{% for m in messages %}{{ m.role }} {{ m.content }}\n{% endfor %}"
    template = each + "{% if add_generation_prompt %}assistant {% endif %}"
    monkeypatch.setattr(ours.backbone.tokenizer, "chat_template", template)
    run_tasks(ours, loaded, chat=True)
    assert loaded["tasks"]["choose"].instances[0].args[0] == "user where is my parcel\nassistant "
    talk = [{"role": "user", "content": "see </s> and <unk>"}, {"role": "assistant", "content": "</s>"}]
    prompt = as_harness_model(ours).apply_chat_template(talk, add_generation_prompt=False)
    assert prompt == "user see <\u2060/s> and <\u2060unk>\nassistant <\u2060/s>"  # what tasks say commands nothing
    assert talk[0]["content"] == "see </s> and <unk>"


def test_names_are_the_harness_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one folder of its tasks, as to read about all fourteen thousand takes a while."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    folder = Path(lm_eval.__file__).parent / "tasks" / "arc"
    few = TaskManager(include_path=str(folder), include_defaults=False)
    monkeypatch.setattr(harness, "_own_tasks", lambda: few)
    with pytest.raises(UsageError, match=r"'arc_eazy' is neither a task file nor .*; did you mean 'arc_easy'"):
        load_tasks(["arc_eazy"])
    with pytest.raises(UsageError, match=r"'none' is neither a task file nor .*; `lm-eval ls tasks` lists"):
        load_tasks(["none"])
    # The hub's data, offline.
    with pytest.raises(UsageError, match="The task arc_easy cannot be loaded: its data are not on this machine"):
        load_tasks(["arc_easy"])


def test_tasks_that_are_not_there_are_one_sentence(
    speaker: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = task_files(tmp_path)
    (tmp_path / "rows.jsonl").unlink()
    with pytest.raises(UsageError, match=r"The task .*choose.yaml cannot be loaded: .*rows.jsonl"):
        load_tasks(files[:1])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no task"):
        load_tasks([tmp_path / "empty"])
    (tmp_path / "empty" / "no.yaml").write_text("model: x\n")
    with pytest.raises(UsageError, match=r"no\.yaml cannot be loaded"):
        load_tasks([tmp_path / "empty" / "no.yaml"])
    lines(tmp_path / "rows.jsonl", ROWS)
    files[2].write_text(files[2].read_text().replace("max_gen_toks: 12", "do_sample: true"))
    with pytest.raises(UsageError, match="The task say samples"):
        run_tasks(Speaker(load_family(speaker("llama"), speaks=True)), load_tasks(files[2:]))
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(UsageError, match=r"lm-evaluation-harness: pip install 'afina\[evaluate\]'"):
        load_tasks(files)


# -- all of it ---------------------------------------------------------------------------------------------------------


def measured_on(folder: Path) -> tuple[Path, Path]:
    texts = [
        {"text": text} for text in ("my lamp is broken", "where is my parcel", "good film", "the cat sat on the mat")
    ]
    questions = [{"question": row["question"], "answer": row["choices"][0]} for row in ROWS]
    return lines(folder / "texts.jsonl", texts), lines(folder / "questions.jsonl", questions)


@pytest.mark.parametrize("name", ["lora", "prompt", "full"])
def test_an_adapter_is_measured_beside_its_base(name: str, speaker: Folder, tmp_path: Path) -> None:
    texts, questions = measured_on(tmp_path)
    adapter = adapted(name, "gpt2", speaker, tmp_path / "adapter")
    how = Answering(max_new_tokens=5, metrics=["token_f1", "chrf"])
    settings: dict[str, Any] = {
        "text": [texts],
        "answers": [questions],
        "tasks": task_files(tmp_path)[:1],
        "answering": how,
    }
    found = afina.evaluate(adapter, **settings)
    assert [(row.source, row.measure, row.items) for row in found.rows] == [
        (str(texts), "perplexity", 4), (str(texts), "bits_per_byte", 4), (str(questions), "token_f1", 3),
        (str(questions), "chrf", 3), ("choose", "acc", 3), ("choose", "acc_norm", 3),
    ]  # fmt: skip
    context = afina.load(adapter).backbone.context - (20 if name == "prompt" else 0)
    assert found.facts["context"] == context
    base = afina.evaluate(speaker("gpt2"), context=context, **settings)
    alone = afina.evaluate(adapter, against_base=False, **settings)
    for row, bare, own in zip(found.rows, base.rows, alone.rows, strict=True):
        assert row.base == bare.value
        assert row.value == own.value
        assert row.difference is not None
        assert row.difference.value == pytest.approx(row.value.value - bare.value.value)
        assert own.difference is bare.difference is None
    assert found.rows[0].value.value != pytest.approx(found.rows[0].base.value, rel=1e-3)
    (first, *_) = found.written[str(questions)]
    assert first["prompt"] == "where is my parcel"
    assert first["base"] == base.written[str(questions)][0]["written"]
    json.dumps(found.as_dict())


def test_an_adapter_that_changes_nothing_is_neither_better_nor_worse(speaker: Folder, tmp_path: Path) -> None:
    texts, _ = measured_on(tmp_path)
    adapter = adapted("lora", "llama", speaker, tmp_path / "adapter", stirred=False)
    for row in afina.evaluate(adapter, text=[texts]).rows:
        assert row.difference == Estimate(0, 0, 0)
        assert row.verdict == "unclear"


def test_what_was_gained_and_what_was_lost_is_seen(speaker: Folder, tmp_path: Path) -> None:
    """Tuned by hand on one kind of sentence, a model knows these better than its base, and others worse."""
    from afina.backbone.attachment import Attachment

    random = np.random.default_rng(0)
    draw = lambda words: random.choice(words.split(), 40)  # noqa: E731
    kinds = [
        [f"my {one} is {two}" for one, two in zip(draw("lamp kettle parcel"), draw("broken late"), strict=True)],
        [f"{one} sport {two} market" for one, two in zip(draw("film team cat"), draw("good great bad"), strict=True)],
    ]
    backbone = load_family(speaker("llama"), speaks=True)
    adapter = build_adapter(make_method("lora", {}, {"rank": 4}), backbone, outputs=2, seed=0)
    ours = Speaker(backbone, adapter)
    own = [([4], ours.encode(text)) for text in kinds[0][:20]]
    optimiser = torch.optim.Adam(adapter.parameters(), lr=0.02)
    with Attachment(backbone, [adapter]) as attached:
        inputs, targets = ours._inputs([((*read, *said)[:-1], said) for read, said in own])
        for _ in range(60):
            hidden = attached.hidden(inputs, targets=targets)
            logits = backbone.language(hidden.states[targets >= 0])
            loss = torch.nn.functional.cross_entropy(logits, targets[targets >= 0])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    record = AdapterRecord(
        model=str(speaker("llama")), method="lora", settings=adapter.method.settings(), task=Choices(2).state(),
        max_length=60, precision="fp32", seed=0,
    )  # fmt: skip
    save_adapter(tmp_path / "adapter", adapter, backbone, record)
    files = [
        lines(tmp_path / f"{place}.jsonl", [{"text": text} for text in kind[20:]]) for place, kind in enumerate(kinds)
    ]
    gained, _, lost, _ = afina.evaluate(tmp_path / "adapter", text=files).rows
    assert gained.base is not None
    assert gained.value.value < 0.5 * gained.base.value
    assert (gained.verdict, lost.verdict) == ("better", "worse")


def test_the_command_shows_a_table_and_writes_json(speaker: Folder, tmp_path: Path) -> None:
    texts, questions = measured_on(tmp_path)
    (task, *_) = task_files(tmp_path)
    adapter = adapted("lora", "llama", speaker, tmp_path / "adapter")
    shown = afina_apart(
        "evaluate", adapter, "--text", texts, "--answers", questions, "--tasks", f"{task}", "--max-new-tokens", 4,
        "--stop", "order", "--template", "{prompt}\\n", "--metrics", "exact_match,rougeL", "--limit", 2, "--out",
        "out.json", cwd=tmp_path,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    assert "it/s" not in shown.stderr
    for word in ("texts.jsonl", "perplexity", "questions.jsonl", "rougeL", "choose", "acc_norm", "difference"):
        assert word in shown.stdout, shown.stdout
    found = json.loads((tmp_path / "out.json").read_text())
    assert {row["measure"] for row in found["rows"]} == {
        "perplexity", "bits_per_byte", "exact_match", "rougeL", "acc", "acc_norm",
    }  # fmt: skip
    assert all(row["items"] == 2 and row["verdict"] for row in found["rows"])
    assert found["facts"]["answering"]["stop"] == ["order"]
    assert found["facts"]["answering"]["template"] == "{prompt}\n"
    python = afina.evaluate(adapter, text=[texts], limit=2)
    assert python.rows[0].value.value == pytest.approx(found["rows"][0]["value"]["value"], rel=1e-6)


def test_bad_input_is_one_sentence(speaker: Folder, family_folder: Folder, tmp_path: Path) -> None:
    texts, questions = measured_on(tmp_path)
    adapter = adapted("lora", "llama", speaker, tmp_path / "adapter")
    refused(run_afina("evaluate", adapter, "--text", "none.txt"), "none.txt does not exist")
    refused(run_afina("evaluate", adapter, "--text", texts, "--out", "none/out.json"), "none does not exist")

    def no(said: str, **settings: Any) -> None:
        with pytest.raises(AfinaError, match=said):
            afina.evaluate(settings.pop("adapter", adapter), **settings)

    no("Nothing to measure")
    no("A limit is at least 1", text=[texts], limit=0)
    no("does not exist", text=[tmp_path / "none.jsonl"])
    no("no column 'story'", text=[texts], column="story")
    no("no column that looks like a prompt", answers=[lines(tmp_path / "a.jsonl", [{"x": "y"}])])
    no("no column 'asked'; did you mean|no column 'asked'", answers=[questions], answering=Answering(prompt="asked"))
    no("row 2: the reference in column 'answer' is empty",
       answers=[lines(tmp_path / "b.jsonl", [{"prompt": "x", "answer": "y"}, {"prompt": "x", "answer": " "}])])  # fmt: skip
    no("tokens read at once are 2 to 64", text=[texts], context=100)
    no("A bert model writes no text", adapter=family_folder("bert"), text=[texts])
    with pytest.raises(UsageError, match=r"should hold \{prompt\}"):
        Answering(template="{text}")
    with pytest.raises(UsageError, match="max_new_tokens is at least 1"):
        Answering(max_new_tokens=0)


def test_an_adapter_that_does_not_speak_is_refused(family_folder: Folder, tmp_path: Path) -> None:
    backbone = load_backbone(str(family_folder("bert")))
    method = make_method("bitfit", {})
    state = {"name": "classification", "label_names": ["a", "b"]}
    record = AdapterRecord(
        model=str(family_folder("bert")), method="bitfit", settings=method.settings(), task=state, max_length=60,
        precision="fp32", seed=0,
    )  # fmt: skip
    save_adapter(tmp_path / "adapter", build_adapter(method, backbone, outputs=2, seed=0), backbone, record)
    texts, _ = measured_on(tmp_path)
    with pytest.raises(UsageError, match="was trained for classification; what is evaluated here are language models"):
        afina.evaluate(tmp_path / "adapter", text=[texts])
