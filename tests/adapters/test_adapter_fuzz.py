"""Whatever an adapter's JSON files hold, loading it is one sentence or an adapter that answers with numbers."""

import copy
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import afina
from afina.adapters.adapter import build_adapter as build
from afina.adapters.adapter import save_adapter
from afina.adapters.record import AdapterRecord, read_record
from afina.data.templates.named import make_template
from afina.errors import AfinaError, UsageError
from afina.methods.base import make_method
from afina.tasks.base import TASKS, Task, restore
from families import load_family
from peft_adapters import lora, trained

Loader = Callable[[str], Path]

NUMBERS = st.one_of(
    st.integers(-5, 5),
    st.just(-(10**400)),
    st.just(2**63),
    st.floats(allow_nan=True),
    st.just(1e308),
)
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        NUMBERS,
        st.text(max_size=6),
        st.sampled_from(["", "@digits", "\0", "x" * 5_000, "(", "(.*)*"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["a", "name", "q", "((.|.)*)*m", ""]), inner, max_size=3),
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def both(
    family_folder: Loader, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, str, dict[str, Any]]]:
    """An adapter of PEFT's and one of ours: folder, the file that says what they are, and what it says."""
    folder = tmp_path_factory.mktemp("adapters")
    _, theirs = trained("bert", lora("bert"), family_folder, folder / "theirs")
    backbone = load_family(family_folder("bert"))
    adapter = build(make_method("lora", {"rank": 2}), backbone, 2, seed=0)
    record = AdapterRecord(
        model=str(family_folder("bert")), method="lora", settings={}, max_length=16, precision="fp32", seed=0,
        task={"name": "classification", "label_names": ["no", "yes"], "smoothing": 0.1, "weights": [1.0, 2.0]},
    )  # fmt: skip
    save_adapter(folder / "ours", adapter, backbone, record)
    files = {"theirs": (theirs, "adapter_config.json"), "ours": (folder / "ours", "afina.json")}
    return {name: (own, file, json.loads((own / file).read_text())) for name, (own, file) in files.items()}


def write(path: Path, values: Any) -> None:
    path.write_text(json.dumps(values).replace('"@digits"', "1" + "0" * 5_000))


@pytest.mark.parametrize("name", ["theirs", "ours"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_is_a_sentence_or_an_adapter(
    name: str, data: st.DataObject, both: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import afina.methods.lora_peft as modules

    monkeypatch.setattr(modules, "_SECONDS", 0.05)
    folder, file, plain = both[name]
    values = copy.deepcopy(plain)
    places = [values, *(own for own in values.values() if isinstance(own, dict))]
    for _ in range(data.draw(st.integers(1, 3))):
        where = data.draw(st.sampled_from([place for place in places if place] or [values]))
        key = data.draw(st.sampled_from([*where, "another"]))
        if data.draw(st.integers(0, 3)) == 0:
            where.pop(key, None)
        else:
            where[key] = data.draw(VALUES)
    write(folder / file, values)
    try:
        loaded = afina.load(folder, model=plain.get("model") or plain["base_model_name_or_path"])
        (found,) = loaded.predict(["my parcel"])
        assert found.probabilities is None or all(map(math.isfinite, found.probabilities.values()))
    except AfinaError as error:
        said = str(error)
        assert "\n" not in said.strip() and len(said) < 1_500
    finally:
        write(folder / file, plain)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"max_length": "5"}, "'max_length' should be a valid integer, but got '5'"),
        ({"max_length": 0}, "'max_length' should be at least 1"),
        ({"model": 3}, "'model' should be a valid string"),
        ({"model": "a\0b"}, "base model's name is 'a"),
        ({"model": "x" * 3_000}, "base model's name is 'xxx"),
        ({"colour": 1}, "has the key 'colour', which is not known"),
        ({"method": "lorra"}, "afina.json: Unknown method 'lorra'; did you mean 'lora'"),
        ({"settings": {"rank": "two"}}, "afina.json: lora: 'rank' should be"),
        ({"task": {}}, "'task' has the name None"),
        ({"task": {"name": "clasification"}}, "did you mean 'classification'"),
        ({"task": {"name": "classification"}}, "'task.label_names' is missing"),
        ({"task": {"name": "classification", "label_names": ["a", "a"]}}, "name each label once, not 'a' twice"),
        ({"task": {"name": "classification", "label_names": "ab"}}, "'task.label_names' should be a valid list"),
        ({"task": {"name": "classification", "label_names": ["a", "b"], "weights": [1.0]}}, "weights should be 2"),
        ({"task": {"name": "classification", "label_names": ["a", "b"], "weights": [1, -1]}}, "greater than or equal to 0"),
        ({"task": {"name": "classification", "label_names": ["a", "b", "c"]}}, "is for 2 labels and afina.json names 3"),
        ({"task": {"name": "regression", "mean": 0.0, "deviation": float("nan")}}, "'task.deviation' should be a finite"),
        ({"task": {"name": "chat", "template": {"jinja": 3}}}, "'task.*cannot be made again|'task"),
    ],
)  # fmt: skip
def test_a_record_that_cannot_be_names_file_and_key(
    change: dict[str, Any], sentence: str, both: dict[str, Any]
) -> None:
    folder, file, plain = both["ours"]
    write(folder / file, plain | change)
    try:
        with pytest.raises(AfinaError, match=sentence):
            afina.load(folder)
        for key in plain:
            if key not in ("facts", "total_steps"):
                write(folder / file, {name: value for name, value in plain.items() if name != key})
                with pytest.raises(AfinaError, match=f"lacks '{key}'"):
                    read_record(folder)
    finally:
        write(folder / file, plain)


def test_the_registry_knows_every_task() -> None:
    def kinds(cls: type[Task]) -> set[type[Task]]:
        return {cls}.union(*map(kinds, cls.__subclasses__()))

    every = dict(TASKS)  # imports them all
    own = {cls for cls in kinds(Task) if cls.__module__.startswith("afina.")}
    assert {cls for cls in own if hasattr(cls, "name")} == set(every.values())
    assert {cls.__name__ for cls in own if not hasattr(cls, "name")} == {"Task", "SpeakingTask", "WritingTask"}


STATES: dict[str, dict[str, Any]] = {
    "chat": {"template": make_template({"user": "Q: {content}\n", "assistant": "A: {content}<end>\n"}, None).state()},
    "choices": {"answers": 3, "label_names": None, "prompt": "{text}?"},
    "classification": {"label_names": ["a", "b"], "smoothing": 0.1, "weights": [1.0, 2.0]},
    "embedding": {},
    "language": {},
    "multilabel": {"label_names": ["a", "b"], "weights": [1.0, 2.0], "thresholds": [0.25, 0.5]},
    "regression": {"mean": 0.5, "deviation": 2.0},
    "retrieval": {"temperature": 0.125, "learned": True, "hard_negatives": 3, "negative_share": 0.75},
    "seq2seq": {"prompt": "read {text}"},
    "tagging": {"label_names": ["O", "B-x"]},
}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_made_again_from_its_state(name: str) -> None:
    state = {"name": name, **STATES[name]}
    TASKS[name].State.model_validate(state)
    assert restore(state | {"a key of tomorrow's": 1}).state() == state


def test_what_is_no_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere does not exist; give the folder of an adapter"):
        afina.load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("{}")
    with pytest.raises(AfinaError, match=r"file does not exist|no adapter"):
        afina.load(tmp_path / "file")
    shutil.rmtree(tmp_path)
