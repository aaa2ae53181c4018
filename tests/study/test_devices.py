"""A study is planned for machines that are not here: by names, by what is published of them, in time and in money."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import afina
from afina.backbone.shapes import read_shape
from afina.backbone.storage.base import STORAGES, elsewhere
from afina.config import StudyConfig
from afina.errors import UsageError
from afina.measure.storages import Product, Work
from afina.study.devices import figures
from afina.study.devices.changes import Case, _at_length, changes_for
from afina.study.devices.device import Room, _cards, device_named
from afina.study.devices.elsewhere import cheapest
from afina.study.devices.figures import computed
from afina.study.devices.money import Price, grid_factor, priced
from afina.study.devices.room import fits
from afina.study.devices.speed import Rates
from afina.study.devices.work import added, narrowed
from afina.study.needs import Likely, MemoryNeeds
from afina.study.plan import expand
from afina.study.sizes import sizes_of
from commands import afina as command
from studies import settings

Loader = Callable[..., Path]
GIB = 2**30


@pytest.mark.parametrize(
    ("text", "kind", "gib"),
    [
        ("T4", "cuda", 15), ("nvidia tesla t4", "cuda", 15), ("RTX 3060 12GB", "cuda", 12), ("rtx-3060", "cuda", 12),
        ("A100 80 GB", "cuda", 80), ("H200 141GB", "cuda", 141), ("24GB", "cuda", 24), ("8GB RAM, 4 cores", "cpu", 8),
        ("16 gb ram", "cpu", 16), ("1.5GB", "cuda", 1.5),
    ],
)  # fmt: skip
def test_machines_are_known_by_what_people_call_them(text: str, kind: str, gib: float) -> None:
    device = device_named(text)
    assert (device.kind, device.memory_bytes) == (kind, gib * GIB)
    assert (device.speed is None) == (kind == "cuda" and not device.source)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("A100", "A100 40GB or A100 80GB"), ("RTX 4091", "RTX 4090"), ("Apple M2", "Mac's processor"), ("0GB", "no memory"),
        ("8GB RAM, 0 cores", "between 1 and"), ("toaster", "T4"), ("", "24GB for a card"), ("9" * 5000, "no machine"),
        ("a\0b", "no machine"),
    ],
)  # fmt: skip
def test_what_is_no_machine_is_one_sentence_with_near_names(text: str, told: str) -> None:
    with pytest.raises(UsageError) as error:
        device_named(text)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_every_row_of_the_file_is_whole_and_names_its_source() -> None:
    rows = _cards()
    assert len({row["name"] for row in rows}) == len(rows) >= 20
    for row in rows:
        assert device_named(row["name"]).name == row["name"]
        assert row["source"].startswith("https://")
        assert row["half"] >= row["float32"] > 1
        assert 100 < row["bandwidth"] < 10_000
        assert 50 < row["watts"] <= 1000


def test_arithmetic_elsewhere_is_that_machine_s_and_no_longer_behind() -> None:
    here = {name: kind.here("cuda") for name, kind in STORAGES.items()}
    with elsewhere(True):
        assert all(kind.here("cuda") for kind in STORAGES.values())
    with elsewhere(False):
        assert [kind.dtype for kind in STORAGES.values() if not kind.here("cuda")] == [torch.bfloat16]
    assert here == {name: kind.here("cuda") for name, kind in STORAGES.items()}


def test_work_takes_the_longer_of_arithmetic_and_memory_and_calls_are_hidden_at_best() -> None:
    rates = Rates(float32=1e9, half=4e9, bandwidth=1e9, call_seconds=1.0, overlaps=True)
    large = Work(Counter({Product(1, 1000, 1000, 1000, torch.float32): 2}), calls=2)
    assert rates.seconds(large) == pytest.approx(4.0)  # 4e9 operations, 24 MB
    narrow = Work(Counter({Product(1, 1, 10_000, 10_000, torch.float16): 1}), calls=0)
    assert rates.seconds(narrow) == pytest.approx(0.2, rel=0.01)  # its weight is read: 200 MB
    assert rates.seconds(Work(calls=9)) == 9.0
    assert replace(rates, overlaps=False).seconds(large) == pytest.approx(6.0)
    bfloat = Work(Counter({Product(1, 1000, 1000, 1000, torch.bfloat16): 1}))
    assert replace(rates, imitates=True).seconds(bfloat) == pytest.approx(4 * rates.seconds(bfloat))


def test_shorter_rows_are_less_work_in_proportion_but_in_attention() -> None:
    linear, weights = Product(1, 80, 32, 128, torch.float32), Product(1, 32, 80, 128, torch.float32)
    scores = Product(8, 16, 4, 16, torch.float32)
    half = narrowed(Work(Counter({linear: 3, weights: 1, scores: 1}), moved_bytes=100, calls=5), 0.5)
    assert half.products == Counter(
        {replace(linear, rows=40): 3, replace(weights, inner=40): 1, replace(scores, rows=8, columns=8): 1}
    )
    assert (half.moved_bytes, half.calls) == (50, 5)
    assert added((half, 2.0), (half, -1.0)) == half


@pytest.fixture(scope="module")
def planned(family_folder: Loader, csv_folder: Path) -> Any:
    study = settings(family_folder, csv_folder, methods=["lora", "full"], precision="auto")
    return afina.plan(
        devices=["24GB", "8GB RAM, 4 cores"], prices={"T4": "0.35 EUR/h", "A100 80GB": "0.40 EUR/h"}, grid=0.1, **study
    )


def test_a_plan_says_for_each_machine_what_fits_and_what_it_takes(planned: Any) -> None:
    by_name = {own.device.name: own for own in planned.machines}
    assert list(by_name) == ["24GB", "8GB RAM, 4 cores", "T4", "A100 80GB"]
    assert {own.fits for own in by_name.values()} == {"yes"}
    assert by_name["24GB"].seconds is None
    for name in ("8GB RAM, 4 cores", "T4", "A100 80GB"):
        assert 0 < by_name[name].seconds.low < by_name[name].seconds.value < by_name[name].seconds.high
    precisions = {name: [cell.precision for cell in own.cells] for name, own in by_name.items()}
    assert precisions["T4"] == ["fp32", "fp32"]
    assert precisions["A100 80GB"] == ["bf16", "bf16"]
    assert any("no bfloat16" in sentence for sentence in by_name["T4"].remarks)
    memory = {cell.run.method.name: cell.figures.memory for cell in by_name["T4"].cells}
    assert memory["full"].parts["what is trained"] > memory["lora"].parts["what is trained"]
    assert all(own.train.low < own.train.value < own.train.high for own in memory.values())


def test_a_plan_tells_money_energy_and_co2_as_ranges_and_the_cheapest(planned: Any) -> None:
    told = json.loads(json.dumps(planned.as_dict()))
    t4 = next(own for own in told["machines"] if own["device"] == "T4")
    assert t4["cost"]["high"] == pytest.approx(0.35 * t4["seconds"]["high"] / 3600)
    assert t4["energy_joules"]["high"] == pytest.approx(70 * t4["seconds"]["high"])
    assert t4["co2_kg"]["low"] == pytest.approx(0.1 * t4["energy_joules"]["low"] / 3.6e6)
    assert (t4["currency"], t4["measured"]) == ("EUR", False)
    best = min((own for own in planned.machines if own.cost), key=lambda own: own.cost.value)
    assert told["cheapest"]["device"] == best.device.name
    assert len(planned.to_pandas()) == 8
    assert "T4: 2 of 2 runs fit" in repr(planned)


def test_a_machine_without_room_is_never_the_cheapest(planned: Any) -> None:
    t4, a100 = planned.machines[2], planned.machines[3]
    full = replace(t4, cells=[replace(cell, fits="no") for cell in t4.cells], price=Price(0.001, "EUR"))
    assert full.fits == "no"
    assert cheapest([full, a100]) == (a100, True)
    assert cheapest([full]) is None
    dear = replace(a100, price=Price(1e6, "EUR"))
    assert cheapest([dear, t4]) == (t4, True)


def test_a_run_fits_where_its_range_does() -> None:
    memory = MemoryNeeds(0, Likely(4, 5, 6), Likely(1, 2, 3), "", {})
    assert [fits(memory, Room(least, most)) for least, most in ((6, 6), (5, 7), (3, 3.9), (3, 4))] == [
        "yes", "perhaps", "no", "perhaps",
    ]  # fmt: skip


def test_bfloat16_on_a_card_without_it_is_said_and_slower(family_folder: Loader, csv_folder: Path) -> None:
    plan = afina.plan(devices="T4", **settings(family_folder, csv_folder, precision="bf16"))
    assert "imitates it" in plan.machines[0].remarks[0]


def test_micro_batches_and_checkpointing_change_the_figures_of_a_card(family_folder: Loader, csv_folder: Path) -> None:
    study = settings(family_folder, csv_folder, batch_size=16, evaluation_batch_size=1)
    t4, shape = device_named("T4"), read_shape(study["model"])

    def taken(**changes: Any) -> Any:
        config = StudyConfig.parse(study | changes, "study")
        unread = {"longest_rows": None, "sample": None, "tested": None, "task": None}
        sizes = replace(sizes_of(config, config.dataset[0], study["model"]), **unread, longest=32)
        return computed(expand(config)[0], config, shape, sizes, t4, "fp32")

    whole, micro, again = taken(), taken(micro_batch_size=2), taken(gradient_checkpointing=True)
    assert micro.memory.parts["the pass"] < 0.5 * whole.memory.parts["the pass"]
    assert micro.step.calls > 3 * whole.step.calls
    assert again.step.operations > 1.2 * whole.step.operations


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("T4=0.35/h", ("T4", Price(0.35))), ("T4=$0.35/h", ("T4", Price(0.35, "$"))),
        ("a=b=.5 EUR/hour", ("a=b", Price(0.5, "EUR"))),
    ],
)  # fmt: skip
def test_prices_are_read_with_their_currency(text: str, found: Any) -> None:
    assert priced(text) == found


@pytest.mark.parametrize("text", ["", "T4", "T4=", "=1/h", "T4=1", "T4=-1/h", "T4=nan/h", "T4=$1 EUR/h", "T4=1/day"])
def test_what_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"no price"):
        priced(text)


def test_the_grid_s_factor_has_its_unit() -> None:
    assert grid_factor("0.1 kg/kWh") == grid_factor("100 g/kwh") == 0.1
    for text in ("0.1", "x kg/kWh", "-1 kg/kWh", "1 kg/MWh"):
        with pytest.raises(UsageError, match="factor of a grid"):
            grid_factor(text)


def test_what_cannot_be_compared_is_refused(family_folder: Loader, csv_folder: Path) -> None:
    study = settings(family_folder, csv_folder)
    for wrong, told in (
        ({"prices": ["T4=1 EUR/h", "L4=1 USD/h"]}, "EUR and USD"), ({"prices": ["T4=1/h", "tesla t4=2/h"]}, "two prices"),
        ({"grid": "0.1 kg/kWh"}, "name one with --device"), ({"prices": {"T4": -1}}, "no price"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=told):
            afina.plan(**study, **wrong)


def test_the_command_shows_machines_in_both_languages(family_folder: Loader, csv_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(json.dumps(settings(family_folder, csv_folder)))
    given = ("plan", "s.yaml", "--price", "T4=0.35/h", "--price", "L4=0.8/h", "--grid", "0.1 kg/kWh")
    english, portuguese = command(*given, cwd=tmp_path), command(*given, "--language", "pt", cwd=tmp_path)
    assert (english.returncode, portuguese.returncode) == (0, 0), english.stderr + portuguese.stderr
    assert "T4 (16.1 GB): 1 run fit" in english.stdout
    assert "not measured" in english.stdout
    assert "não medido" in portuguese.stdout
    assert "g de CO2" in portuguese.stdout
    assert max(len(line) for line in english.stdout.splitlines() if line[:1] in "┏│└") <= 80


def test_a_machine_s_name_is_refused_before_torch_is_imported(tmp_path: Path) -> None:
    program = (
        "import sys, afina\n"
        "try:\n    afina.plan(model='minilm', dataset='tickets', methods='lora', devices='T5')\n"
        "except afina.UsageError as error:\n    print(error)\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "near it are T4" in done.stdout


def case_on(gib: float, study: dict[str, Any]) -> Any:
    """Return a study's first run on a card of so much memory, and what there is of it beside the driver's least."""
    config, device = StudyConfig.parse(study, "study"), replace(device_named("24GB"), memory_bytes=gib * GIB)
    shape = read_shape(study["model"])
    sizes = sizes_of(config, config.dataset[0], study["model"])
    return Case(expand(config)[0], config, shape, sizes, device, "fp32"), device.room


def test_what_leaves_the_result_comes_first_and_no_more_of_it_than_fits(
    family_folder: Loader, csv_folder: Path
) -> None:
    study = settings(family_folder, csv_folder, batch_size=40, evaluation_batch_size=4, precision="fp32")
    case, _ = case_on(1, study)
    whole = case.computed.memory
    smallest = case.changed(micro_batch_size=1, gradient_checkpointing=True, evaluation_batch_size=1).computed.memory
    assert smallest.train.high < whole.train.high
    room = Room(whole.train.high - 1, whole.train.high - 1)
    (change,) = changes_for(case, room)
    assert (change.settings, change.same_result, change.fits) == ({"micro_batch_size": 20}, True, "yes")
    assert change.figures.memory.peak.high <= room.least
    assert changes_for(case, Room(whole.train.high, whole.train.high)) == []


def test_where_nothing_that_leaves_the_result_suffices_others_are_told(family_folder: Loader, csv_folder: Path) -> None:
    study = settings(family_folder, csv_folder, methods=["full", "head"], batch_size=4, precision="fp32")
    case, room = case_on(1, study)
    head = replace(case, run=expand(case.config)[1])
    least = case.changed(micro_batch_size=1, gradient_checkpointing=True, evaluation_batch_size=1).computed.memory
    room = Room(least.train.low * 0.999, least.train.low * 0.999)
    first, *others = changes_for(case, room, [head])
    assert (first.fits, first.same_result) == ("no", True)
    assert first.settings == {"evaluation_batch_size": 1, "micro_batch_size": 1, "gradient_checkpointing": True}
    for change in others:
        assert not change.same_result
        assert change.fits != "no"
    assert {"max_length", "precision"} & {key for change in others for key in change.settings} <= {"max_length"}


def test_shorter_texts_say_how_many_rows_they_cut(family_folder: Loader, csv_folder: Path) -> None:
    case, _ = case_on(1, settings(family_folder, csv_folder, precision="fp32", max_length=32))
    shorter, cut = _at_length(replace(case, sizes=replace(case.sizes, lengths=np.array([4, 9, 12]))), 8)
    assert cut == round(2 / 3 * case.sizes.train_rows)
    assert shorter.sizes.longest <= 8 < case.sizes.longest


def test_many_micro_batches_are_counted_by_two(family_folder: Loader, csv_folder: Path) -> None:
    """What is left out is like what is counted: memory the same, and the work in proportion."""
    case, _ = case_on(1, settings(family_folder, csv_folder, batch_size=12, micro_batch_size=2, precision="fp32"))
    by_two = case.computed
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "_two_micro_batches", lambda config: (config, 1.0))
        by_all = case.computed
    assert by_two.memory.train.low == pytest.approx(by_all.memory.train.low, rel=0.01)
    assert by_two.step.operations == pytest.approx(by_all.step.operations, rel=0.2)
    assert by_two.steps == by_all.steps
