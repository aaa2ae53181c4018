"""Base models as people have them on disk: every weight accounted for, heads matched by their labels' names."""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import afina
from afina.adapters.adapter import build_adapter, save_adapter
from afina.adapters.record import AdapterRecord
from afina.backbone.attachment import Attachment
from afina.backbone.labels import known_rows
from afina.backbone.load import Backbone, load_backbone
from afina.backbone.look import look_over
from afina.errors import UsageError
from afina.export.merge import merge
from afina.export.parity import load_merged, load_peft
from afina.export.peft import write_peft
from afina.methods.base import make_method
from afina.ops.dropout import DropoutSource
from afina.study.prepare import prepare
from families import DECODERS, FAMILIES, TEXT, load_family
from pairs import COVERING_LAYOUTS, batch, logits

Loader = Callable[..., Path]
Change = Callable[[dict[str, Tensor]], Mapping[str, Tensor]]
LABELS = ["class 0", "class 1"]


def changed(folder: Path, to: Path, change: Change, **config: Any) -> Path:
    """Copy a model's folder with other weights, and other keys in its config.json."""
    shutil.copytree(folder, to)
    weights = {name: value.contiguous() for name, value in change(load_file(folder / "model.safetensors")).items()}
    save_file(weights, to / "model.safetensors", metadata={"format": "pt"})
    stored = json.loads((to / "config.json").read_text()) | config
    (to / "config.json").write_text(json.dumps(stored))
    return to


def without(*parts: str) -> Change:
    return lambda weights: {name: value for name, value in weights.items() if not any(part in name for part in parts)}


def a_layer_weight(folder: Path, backbone: Backbone) -> tuple[str, str]:
    """Name a weight of the last layer, as the file does and as the model does."""
    site = [site for site in backbone.anatomy.sites if site.kind == "linear" and site.layer is not None][-1]
    own = backbone.model.get_submodule(site.module).get_parameter("weight")
    weights = load_file(folder / "model.safetensors")
    name = next(name for name, value in weights.items() if value.shape == own.shape and torch.equal(value, own))
    return name, f"{backbone.prefix}{site.module}.weight"


def trained(backbone: Backbone, method: Any, family: str, seed: int = 3) -> Any:
    """Return an adapter after three steps with dropout."""
    adapter = build_adapter(method, backbone, 2, seed, LABELS)
    optimiser = torch.optim.AdamW(adapter.parameters(), lr=1e-2)
    with Attachment(backbone, [adapter], DropoutSource(seed), training=True) as attached:
        for _ in range(3):
            torch.nn.functional.cross_entropy(attached(batch(family))[0], torch.tensor([0, 1, 0])).backward()
            optimiser.step()
            optimiser.zero_grad()
    return adapter


def saved(adapter: Any, backbone: Backbone, folder: Path, base: Path) -> Path:
    task = {"name": "classification", "label_names": LABELS, "smoothing": 0.0, "weights": None}
    record = AdapterRecord(
        model=str(base), method=adapter.method.name, settings=adapter.method.settings(), task=task, max_length=32,
        precision="fp32", seed=3,
    )  # fmt: skip
    save_adapter(folder, adapter, backbone, record)
    return folder


@pytest.mark.covered("family", COVERING_LAYOUTS, FAMILIES)
def test_a_base_that_lacks_a_weight_is_refused_by_its_name(family: str, family_folder: Loader, tmp_path: Path) -> None:
    stored, name = a_layer_weight(family_folder(family), load_family(family_folder(family)))
    base = changed(family_folder(family), tmp_path / "base", without(stored))
    with pytest.raises(UsageError, match=f"lack {re.escape(name)}; nothing is drawn at random"):
        load_backbone(str(base))


@pytest.mark.covered("family", COVERING_LAYOUTS, FAMILIES)
@pytest.mark.covered("start", ["wrapped.model."], ["_orig_mod.", "wrapped.model."])
def test_a_prefix_of_all_names_is_taken_off_and_said(
    start: str, family: str, family_folder: Loader, tmp_path: Path
) -> None:
    def prefixed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return {f"{start}{name}": value for name, value in weights.items()}

    plain = load_family(family_folder(family))
    backbone = load_backbone(str(changed(family_folder(family), tmp_path / "base", prefixed)))
    assert backbone.notes == (f"the names of the model's weights are read without their '{start}'",)
    found, expected = (
        logits(own, build_adapter(make_method("head", {}), own, 2, 0, LABELS), batch(family))
        for own in (backbone, plain)
    )
    weights = plain.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in backbone.model.state_dict().items())
    # Where weights lie in memory is another matter with names of another length, and decides the last bit of a product.
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.covered("family", COVERING_LAYOUTS, FAMILIES)
def test_two_equal_runs_give_the_same_adapter_to_the_byte(family: str, family_folder: Loader, tmp_path: Path) -> None:
    """On a base of which only the bare model was saved, so that all that is drawn is drawn; whatever ran before."""
    prefix = load_family(family_folder(family)).prefix

    def bare(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: value for name, value in weights.items() if name.startswith(prefix) and "pooler" not in name}

    base, written = changed(family_folder(family), tmp_path / "base", bare), []
    for before in (11, 12):
        torch.manual_seed(before)
        backbone = load_backbone(str(base))
        adapter = trained(backbone, make_method("lora", {"rank": 2, "dropout": 0.1}), family)
        folder = saved(adapter, backbone, tmp_path / str(before), base)
        written.append({file.name: file.read_bytes() for file in folder.iterdir()})
    assert written[0] == written[1]
    assert len(written[0]) == 3


@pytest.mark.parametrize("family", ["bert", "albert"])
def test_a_pooler_that_the_base_lacks_is_drawn_from_the_seed_trained_and_saved(
    family: str, family_folder: Loader, tmp_path: Path
) -> None:
    base = changed(family_folder(family), tmp_path / "base", without("pooler"))
    (note,) = (note for note in look_over(str(base), labels=["a", "b"]) if "pooler" in note)
    assert "drawn from each run's seed, trained with the head and saved" in note
    backbone = load_backbone(str(base))
    fresh = [build_adapter(make_method("head", {}), backbone, 2, seed).head for seed in (3, 3, 4)]
    poolers = [head.get_parameter(f"{backbone.pooler}.weight") for head in fresh]
    assert torch.equal(poolers[0], poolers[1])
    assert not torch.equal(poolers[0], poolers[2])
    adapter = trained(backbone, make_method("lora", {"rank": 2}), family)
    assert not torch.equal(adapter.head.get_parameter(f"{backbone.pooler}.weight"), poolers[0])
    expected = logits(backbone, adapter, batch(family))
    folder = saved(adapter, backbone, tmp_path / "adapter", base)
    for before in (1, 2, 3):
        torch.manual_seed(before)
        loaded = afina.load(folder)
        torch.testing.assert_close(logits(loaded.backbone, loaded.adapter, batch(family)), expected)
    merge(loaded, tmp_path / "merged")
    write_peft(loaded, (tmp_path / "peft").mkdir() or tmp_path / "peft")  # type: ignore[func-returns-value]
    for model, _ in (load_merged(loaded, tmp_path / "merged"), load_peft(loaded, tmp_path / "peft")):
        with torch.no_grad():
            torch.testing.assert_close(model(**batch(family)).logits, expected, rtol=1e-4, atol=1e-5)
    (tmp_path / "peft" / "afina.json").unlink()
    theirs = afina.load(tmp_path / "peft")  # as one that PEFT has saved
    torch.testing.assert_close(logits(theirs.backbone, theirs.adapter, batch(family)), expected, rtol=1e-4, atol=1e-5)


def test_a_cohort_of_seeds_has_a_pooler_each(family_folder: Loader, tmp_path: Path) -> None:
    backbone = load_backbone(str(changed(family_folder("bert"), tmp_path / "base", without("pooler"))))
    adapters = [build_adapter(make_method("lora", {"rank": 2}), backbone, 2, seed) for seed in (0, 1)]
    rows = {name: torch.cat([value, value]) for name, value in batch("bert").items()}
    with Attachment(backbone, adapters) as attached, torch.no_grad():
        together = attached(rows, [slice(0, 3), slice(3, 6)])
    for adapter, own in zip(adapters, together, strict=True):
        torch.testing.assert_close(own, logits(backbone, adapter, batch("bert")))
    assert not torch.allclose(*together)


def test_poolers_that_no_head_looks_through_are_not_spoken_of(family_folder: Loader, tmp_path: Path) -> None:
    base = str(changed(family_folder("bert"), tmp_path / "base", without("pooler", "classifier")))
    assert look_over(base, tags=True, labels=["O", "B-X"]) == ()
    assert look_over(base, labels=["a", "b"], scored=False) == ()


def test_a_pooler_of_half_its_weights_is_no_pooler(family_folder: Loader, tmp_path: Path) -> None:
    base = changed(family_folder("bert"), tmp_path / "base", without("pooler.dense.bias"))
    with pytest.raises(UsageError, match=r"lack bert\.pooler\.dense\.bias;"):
        load_backbone(str(base))


def test_old_names_of_norms_are_read(family_folder: Loader, tmp_path: Path) -> None:
    def old(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
            for name, value in weights.items()
        }

    plain = load_family(family_folder("bert")).model.state_dict()
    found = load_backbone(str(changed(family_folder("bert"), tmp_path / "base", old))).model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in plain.items())


def test_weights_of_another_size_or_of_more_layers_are_refused(family_folder: Loader, tmp_path: Path) -> None:
    plain = family_folder("bert")
    base = changed(plain, tmp_path / "wider", dict, vocab_size=99)
    with pytest.raises(UsageError, match=r"hold bert\.embeddings\.word_embeddings\.weight of size \(\d+, 24\), where"):
        load_backbone(str(base))
    base = changed(plain, tmp_path / "shallow", dict, num_hidden_layers=1)
    with pytest.raises(
        UsageError, match=r"hold bert\.encoder\.layer\.1\..* \(16 such\), for which a model of its config"
    ):
        load_backbone(str(base))
    base = changed(plain, tmp_path / "deep", dict, num_hidden_layers=3)
    with pytest.raises(UsageError, match=r"lack bert\.encoder\.layer\.2\..* and 15 more weights"):
        load_backbone(str(base))

    def pair(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return {f"{side}.{name}": value.clone() for name, value in weights.items() for side in ("question", "passage")}

    with pytest.raises(UsageError, match=r"lack bert\."):  # which of the two encoders is meant?
        load_backbone(str(changed(plain, tmp_path / "pair", pair)))


@pytest.mark.parametrize("family", DECODERS)
def test_a_classifier_of_a_decoder_does_not_speak(family: str, family_folder: Loader) -> None:
    config = load_family(family_folder(family)).config
    if config.tie_word_embeddings:  # the words' vectors are its language head
        assert load_backbone(str(family_folder(family)), speaks=True).language is not None
    else:
        with pytest.raises(UsageError, match=r"hold no language head \(lm_head\.weight\)"):
            load_backbone(str(family_folder(family)), speaks=True)


class Named:
    """A configuration with names of labels."""

    def __init__(self, *names: str, **more: Any) -> None:
        self.id2label = dict(enumerate(names))
        vars(self).update(more)


@pytest.mark.parametrize(
    ("config", "labels", "rows"),
    [
        (Named("pos", "neg"), ["neg", "pos"], [1, 0]),
        (Named("Positive", " NEGATIVE"), ["negative", "positive "], [1, 0]),
        (Named("neg", "neutral", "pos"), ["neg", "pos"], [0, 2]),
        (Named("neg", "pos"), ["neg", "neutral", "pos"], None),
        (Named("LABEL_0", "LABEL_1"), ["neg", "pos"], None),
        (Named("LABEL_0", "LABEL_1"), ["LABEL_0", "LABEL_1"], None),
        (Named("pos", "POS"), ["pos"], None),
        (Named("pos", "neg", label2id={"pos": 1, "neg": 0}), ["neg", "pos"], None),
        (Named("pos", "neg", problem_type="multi_label_classification"), ["neg", "pos"], None),
        (Named("pos", "neg", problem_type="regression"), ["neg", "pos"], None),
        (Named("pos", "neg"), None, None),
        (Named(), ["neg", "pos"], None),
    ],
)
def test_rows_of_a_head_are_found_by_their_labels_names(config: Any, labels: Any, rows: Any) -> None:
    assert known_rows(config, labels) == rows


@pytest.mark.parametrize(
    ("tags", "family"),
    [(False, family) for family in TEXT]
    + [(True, family) for family in ("bert", "roberta", "distilbert", "gpt2", "llama")],
)
def test_a_classifiers_own_rows_begin_the_head_in_the_datas_order(
    tags: bool, family: str, family_folder: Loader, tmp_path: Path
) -> None:
    folder = family_folder(family, num_labels=3, tags=tags)
    backbone = load_family(folder, tags=tags)
    names = ["class 2", "class 0"]
    named, other = (backbone.new_head(2, labels).last for labels in (names, ["class 2", "class 9"]))
    inside = {f"{backbone.prefix}{name}" for name in backbone.model.state_dict()}
    stored = load_file(folder / "model.safetensors").items()
    (own,) = (value for name, value in stored if value.shape == (3, named.in_features) and name not in inside)
    assert torch.equal(named.weight, own[[2, 0]])
    assert not torch.equal(other.weight, own[[2, 0]])
    assert any("(of its class 0, class 1, class 2)" in note for note in look_over(str(folder), tags=tags, labels=names))
    assert any("drawn anew" in note for note in look_over(str(folder), tags=tags, labels=["class 2", "class 9"]))


def test_a_study_begins_with_the_classifiers_own_head_and_says_so(family_folder: Loader, tmp_path: Path) -> None:
    base = changed(
        family_folder("bert"), tmp_path / "base", dict, id2label={0: "pos", 1: "neg"}, label2id={"pos": 0, "neg": 1}
    )
    data = tmp_path / "data.csv"
    data.write_text("text,label\n" + "the cat sat,pos\na bad film,neg\n" * 20)
    study = afina.Study(tmp_path / "out", model=str(base), dataset=str(data), methods=["lora"], seeds=1, epochs=1)
    prepared = prepare(study.config, study.config.dataset[0], str(base), tmp_path / "out")
    assert prepared.assumed == (
        "the model is a classifier of these labels: its head begins with its own rows for them, by their names "
        "(of its pos, neg)",
    )
    assert prepared.assumed[0] in prepared.notes
    base = changed(base, tmp_path / "several", dict, problem_type="multi_label_classification")
    prepared = prepare(study.config, study.config.dataset[0], str(base), tmp_path / "out")
    assert "answers each label with yes or no, and here every text has one" in prepared.assumed[0]


def test_an_adapter_beside_a_model_or_in_its_place_is_refused(family_folder: Loader, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(family_folder("bert"), base)
    backbone = load_backbone(str(base))
    adapter = saved(trained(backbone, make_method("lora", {"rank": 2}), "bert"), backbone, tmp_path / "adapter", base)
    for what in (look_over, load_backbone):
        with pytest.raises(
            UsageError, match=r"adapter is an adapter of the model .*base, no model; give model: .*base"
        ):
            what(str(adapter))
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(adapter / name, base / name)
    for what in (look_over, load_backbone):
        with pytest.raises(UsageError, match=r"holds a model and, beside it, an adapter \(adapter_config\.json\)"):
            what(str(base))


def test_an_adapter_of_peft_on_a_base_of_several_labels_tells_each_by_itself(
    family_folder: Loader, tmp_path: Path
) -> None:
    base = changed(family_folder("bert"), tmp_path / "base", dict, problem_type="multi_label_classification")
    backbone = load_backbone(str(base))
    folder = saved(trained(backbone, make_method("lora", {"rank": 2}), "bert"), backbone, tmp_path / "adapter", base)
    assert afina.load(folder).task.name == "classification"  # ours says itself what it was trained for
    (folder / "afina.json").unlink()
    loaded = afina.load(folder)
    assert (loaded.task.name, loaded.task.outputs) == ("multilabel", 2)
    (found,) = loaded.predict(["so it goes"])
    logits = torch.from_numpy(loaded.logits(["so it goes"]))
    assert list((found.probabilities or {}).values()) == pytest.approx(logits.sigmoid()[0].tolist(), rel=1e-5)


def test_several_numbers_are_no_choice_between_labels(family_folder: Loader, tmp_path: Path) -> None:
    base = changed(
        family_folder("bert"), tmp_path / "base", dict, problem_type="regression", id2label={0: "x", 1: "y"},
        label2id={"x": 0, "y": 1},
    )  # fmt: skip
    backbone = load_backbone(str(base))
    folder = saved(trained(backbone, make_method("lora", {"rank": 2}), "bert"), backbone, tmp_path / "adapter", base)
    (folder / "afina.json").unlink()
    with pytest.raises(UsageError, match=r"gives 2 numbers for a text \(problem_type: regression\)"):
        afina.load(folder)
    (note,) = look_over(str(base), labels=["x", "y"])
    assert note.startswith("the model's own classification head gives several numbers, and here every text has one")


def test_constants_that_older_releases_wrote_are_no_weights(family_folder: Loader, tmp_path: Path) -> None:
    """Many models of GPT-2's kind on the hub hold the value that masked attention once took."""

    def with_constants(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        more = {f"transformer.h.{layer}.attn.masked_bias": torch.tensor(-1e4) for layer in range(2)}
        return weights | more | {"transformer.h.0.attn.bias": torch.ones(1, 1, 64, 64)}

    folder = changed(family_folder("gpt2"), tmp_path / "older", with_constants)
    own, plain = (
        load_backbone(str(folder)).model.state_dict(),
        load_backbone(str(family_folder("gpt2"))).model.state_dict(),
    )
    assert own.keys() == plain.keys() and all(torch.equal(value, plain[name]) for name, value in own.items())
