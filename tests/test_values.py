"""Values that mean nothing: every key of a study file, and every setting of every method, refuses them in one sentence."""

import dataclasses
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from afina.config import StudyConfig
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.methods.base import make_method, method_names, registry
from afina.study.plan import expand
from afina.study_parts import RaceSpec
from afina.yaml_file import read_yaml
from commands import afina, refused

ABSURD = {
    "nan": math.nan, "inf": math.inf, "-inf": -math.inf, "-1": -1, "0": 0, "huge": 10**31, "-huge": -(10**31), "[]": [],
    "empty": "", "null": None, "{}": {}, "nul": "a\0b", "[null]": [None], "true": True, "deep": [[[[[]]]]],
    "digits": 10**5000, "long": "x" * 200_000,
}  # fmt: skip
CLASSES = {"study": StudyConfig, "dataset": DatasetSpec, "race": RaceSpec}
MEANS = {
    "0": "weight_decay warmup label_smoothing checkpoint_seconds hard_negatives keep_checkpoints",
    "true": "cohort packing race",
    "{}": "race",
    "[]": "joined flags missing",
}
"""Of which keys these are values: none, at every step, and what YAML makes of a plain `on`."""
DOCS = Path(__file__).parents[1] / "docs" / "reference" / "study.md"
BASE: dict[str, Any] = {"model": "minilm", "dataset": {"path": "tickets"}, "methods": ["lora", "ia3"]}


@pytest.mark.parametrize("where", CLASSES)
def test_every_key_stands_in_a_table_of_the_docs(where: str) -> None:
    first = [line.split("|")[1] for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    told = set(re.findall(r"`(\w+)`", " ".join(first)))
    written = CLASSES[where].model_fields.keys() - {"joined", "flags"}  # which are text: and label: of several columns
    assert sorted(written - told) == []


@pytest.mark.parametrize("given", [Path("base"), ["minilm", Path("a", "base")]])
def test_a_path_of_pythons_is_the_text_that_a_file_would_hold(given: Any) -> None:
    places = [str(each) for each in (given if isinstance(given, list) else [given])]
    config = StudyConfig.parse({"model": given, "dataset": given, "methods": "lora"}, "study")
    assert (config.model, [spec.path for spec in config.dataset]) == (places, places)
    keyed = StudyConfig.parse(
        {"model": "minilm", "dataset": {"path": Path("a", "rows.csv")}, "methods": "lora"}, "study"
    )
    assert keyed.dataset[0].path == str(Path("a", "rows.csv"))


def test_a_name_that_no_path_can_be_is_still_a_name() -> None:
    """As one that is longer than file systems take is: only what is on the disk is looked for by its place."""
    name = "x" * 5_000
    assert StudyConfig.parse(BASE | {"model": name}, "study.yaml").model == [name]
    with pytest.raises(UsageError, match="'model': each may stand once, also by another path"):
        StudyConfig.parse(BASE | {"model": [name, str(DOCS.parent), str(DOCS.parent / "." / ".." / "reference")]}, "s")


def study(values: dict[str, Any], where: str) -> dict[str, Any]:
    if where == "study":
        return BASE | values
    return BASE | {where: ({"path": "tickets"} if where == "dataset" else {}) | values}


def keys() -> Iterator[tuple[str, str]]:
    for where, checked in CLASSES.items():
        for key in checked.model_fields:
            yield where, key


def is_optional(where: str, key: str) -> bool:
    field = CLASSES[where].model_fields[key]
    return type(None) in getattr(field.annotation, "__args__", ())


@pytest.mark.parametrize(("where", "key"), list(keys()))
def test_a_key_refuses_what_it_cannot_mean(where: str, key: str) -> None:
    """In one sentence that names it; a key that is new is walked too."""
    taken = set()
    for name, value in ABSURD.items():
        try:
            expand(StudyConfig.parse(study({key: value}, where), "study.yaml"))
        except UsageError as error:
            assert key.rstrip("s") in str(error), (name, str(error))
            assert len(str(error)) < 1500, name
            assert "\n" not in str(error), name
        else:
            taken.add(name)
    allowed = {name for name, which in MEANS.items() if key in which.split()}
    allowed |= {"0", "true"} if CLASSES[where].model_fields[key].annotation is bool else set()
    allowed |= {"null"} if is_optional(where, key) else set()
    assert taken <= allowed, f"{where}.{key} takes {taken - allowed}"


MAY_BE_0 = {
    "weight_decay", "warmup", "length_normalisation", "unlikelihood", "dropout", "warm_up", "final", "orthogonality",
    "first", "last", "beta1", "beta2", "projection_seed",
}  # fmt: skip


@pytest.mark.parametrize("name", method_names())
def test_a_setting_refuses_what_it_cannot_mean(name: str) -> None:
    for entry in dataclasses.fields(registry()[name]):
        zero = entry.name in MAY_BE_0
        signed = entry.name in ("alpha", "scale", "initial")
        for told, value in ABSURD.items():
            fits = (
                (zero and told == "0")
                or (signed and told == "-1")
                or (value is None and entry.default is None)
                or (value is True and isinstance(entry.default, bool))
                or (value is None and entry.name == "gradient_clip")
            )
            try:
                make_method(name, {entry.name: value})
            except UsageError as error:
                assert entry.name in str(error), (told, str(error))
                assert len(str(error)) < 500
            else:
                assert fits, f"{name} takes {entry.name}: {told}"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": ["minilm", "minilm"]}, "'model': each may stand once"),
        ({"targets": []}, "'targets': should not be empty"),
        ({"batch_size": 10**30}, "'batch_size'"),
        ({"class_weights": {"a": -1}}, "'class_weights"),
        ({"class_weights": {"a": 0, "b": 0}}, "for one class at least"),
        ({"max_length": 0}, "'max_length'"),
        ({"seeds": 10**9}, "write [seed]"),
        ({"seeds": [2**64]}, "'seeds'"),
        ({"methods": [{"lora": {"alpha": math.nan}}]}, "alpha"),
        ({"methods": [{"lora": {"targets": ["query", "query"]}}]}, "each role once"),
        ({"methods": [{"prefix": {"length": 100_000}}]}, "from 0 to 65,536"),
        ({"methods": [{"prompt": {"length": 50_000}}]}, "from 1 to 4,096"),
        ({"learning_rate": {"lora": -1e-3}}, "should be above 0"),
        ({"learning_rate": math.nan}, "'learning_rate'"),
        ({"race": {"rate_factors": [1, math.inf]}}, "rate_factors"),
    ],
)
def test_what_was_taken_in_silence(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as refusal:
        expand(StudyConfig.parse(BASE | changes, "study.yaml"))
    assert said in str(refusal.value)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)
FILES = {
    "twice": ("model: a\ndataset: b\nmodel: c\nmethods: [lora]", "line 3: the key 'model' stands there twice"),
    "twice within": ("race: {keep: 0.5, keep: 0.6}", "the key 'keep' stands there twice"),
    "deep": ("model: " + "[" * 5000, "nested too deeply"),
    "deep maps": ("{a: " * 3000, "nested too deeply"),
    "bomb": (BOMB, "aliases"),
    "itself": ("model: &a [*a]", "aliases"),
    "digits": (f"epochs: {'9' * 6000}", "holds a value that cannot be"),
    "no day": ("model: 2020-99-99", "holds a value that cannot be"),
    "code": ("model: !!python/object/apply:os.system [ls]", "not valid YAML at line 1"),
    "cut": ("model: {a: [1, 2", "not valid YAML"),
    "tab": ("model:\n\t- a", "not valid YAML at line 2"),
    "latin": ("model: ação".encode("latin-1"), "not UTF-8 text"),
    "binary": (bytes(range(256)), "not UTF-8 text"),
    "nul": ("model: a\0b", "not valid YAML"),
    "empty": ("", "should be a mapping"),
    "list": ("- model", "should be a mapping"),
    "number keys": ("1: 2", "unknown key '1'"),
    "odd keys": ("? [a, b]\n: 2", "not valid YAML"),
    "dates": (yaml.safe_dump(BASE) + "epochs: 2020-01-01", "'epochs'"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_study_is_refused(name: str, tmp_path: Path) -> None:
    content, said = FILES[name]
    (path := tmp_path / "study.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    for command in (["study", path, "--out", tmp_path / "out"], ["plan", path]):
        refused(afina(*command), said, "study.yaml")
    assert not (tmp_path / "out").exists()


def test_a_file_may_have_anchors_and_merged_keys(tmp_path: Path) -> None:
    """As people write it who have many studies."""
    text = "rates: &low {lora: 1e-3}\nlearning_rate: {<<: *low, ia3: 1e-2}\nmodel: &m minilm\nagain: *m\n"
    (path := tmp_path / "study.yaml").write_text(text)
    assert read_yaml(path)["learning_rate"] == {"lora": "1e-3", "ia3": "1e-2"}


def test_what_was_read_is_the_readers_own(tmp_path: Path) -> None:
    """A file is parsed once; who changes what came of it changes nothing for the next."""
    (path := tmp_path / "study.yaml").write_text("model: [a, b]\n")
    read_yaml(path)["model"].append("c")
    assert read_yaml(path) == {"model": ["a", "b"]}
    path.write_text("model: [d]\n")
    assert read_yaml(path) == {"model": ["d"]}
