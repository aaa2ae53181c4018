"""Windows are judged at a rate of false alarms that holds over many of them, and what has changed is found."""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest

from afina.drift.channel import CHANNELS
from afina.drift.estimate import Estimator
from afina.drift.seen import Seen
from afina.drift.timeline import Judge, Watching, Window
from afina.errors import UsageError
from watched_rows import drawn_rows


def window(seen: Seen, name: str = "new", start: datetime | None = None) -> Window:
    return Window(name, seen, start, len(seen))


@pytest.mark.always
def test_windows_without_drift_raise_no_more_alarms_than_was_set() -> None:
    """Of 25 series of 4 windows, each against one reference, at most so many have any alarm as a rate of 0.2 allows."""
    series = 25
    alarmed = 0
    for number in range(series):
        random = np.random.default_rng(number)
        judge = Judge(drawn_rows(random, 300, 60), Watching(false_alarms=0.2, over=4))
        seen = [drawn_rows(random, int(random.integers(40, 120))) for _ in range(4)]
        alarmed += any(judge.judge(window(own, f"w{place}")).alarms for place, own in enumerate(seen))
    # Three standard deviations above the rate: 0.2 * 25 + 3 * sqrt(0.16 * 25).
    assert alarmed <= 11
    # A rate that nothing ever reaches would be no rate: by chance some alarm is there.
    assert alarmed >= 1


SHIFTS = {
    "vectors": {"vectors": 1.2}, "lengths": {"length": 25}, "words": {"surprise": 1.0}, "new_words": {"unseen": 0.06},
    "confidence": {"confidence": -0.15},
}  # fmt: skip


@pytest.mark.parametrize("channel", SHIFTS)
def test_what_has_shifted_is_found_where_it_has(channel: str) -> None:
    random = np.random.default_rng(5)
    judge = Judge(drawn_rows(random, 600, 100), Watching())
    plain = drawn_rows(random, 200, truth=np.full(200, ""))
    ((name, shift),) = SHIFTS[channel].items()
    moved = replace(plain, **{name: (getattr(plain, name) + shift).astype(getattr(plain, name).dtype)})
    assert not judge.judge(window(plain)).alarms
    judged = judge.judge(window(moved))
    assert [each.channel for each in judged.alarms] == [channel]
    (found,) = judged.alarms
    assert (found.measured.value > found.measured.base) == (shift > 0)
    assert found.measured.low <= found.measured.value <= found.measured.high


def test_labels_languages_and_wrong_answers_are_found_with_what_changed() -> None:
    random = np.random.default_rng(6)
    judge = Judge(drawn_rows(random, 600), Watching())
    plain = drawn_rows(random, 300)
    spoken, label = plain.spoken.copy(), plain.label.copy()  # type: ignore[union-attr]
    spoken[:40], label[:120] = "pt", "c"
    assert [(own.channel, own.measured.about) for own in judge.judge(window(replace(plain, spoken=spoken))).alarms] == [
        ("languages", "pt")
    ]
    alarms = judge.judge(window(replace(plain, label=label))).alarms
    assert ("labels", "c") in [(own.channel, own.measured.about) for own in alarms]
    # With them answers are wrong, and as sure as before.
    assert {"right", "calibration"} <= {own.channel for own in alarms}


def test_only_worse_answers_are_an_alarm_and_unknown_ones_are_not_counted() -> None:
    random = np.random.default_rng(7)
    judge = Judge(drawn_rows(random, 600), Watching())
    plain = drawn_rows(random, 300)
    better = judge.judge(window(replace(plain, truth=plain.label)))
    assert "right" not in {own.channel for own in better.alarms}
    unknown = judge.judge(window(replace(plain, truth=np.full(300, ""))))
    assert unknown.known == 0 and "right" not in {own.channel for own in unknown.checks}
    assert unknown.estimated is not None


def test_a_group_that_is_answered_worse_is_found() -> None:
    random = np.random.default_rng(8)
    judge = Judge(drawn_rows(random, 600), Watching())
    plain = drawn_rows(random, 400)
    group = np.array(["f", "m"])[np.arange(400) % 2]
    assert "groups" not in {own.channel for own in judge.judge(window(replace(plain, group=group))).alarms}
    truth = np.where((group == "f") & (random.random(400) < 0.4), "d", plain.truth)
    (found,) = [
        own for own in judge.judge(window(replace(plain, group=group, truth=truth))).checks if own.channel == "groups"
    ]
    assert found.alarm and found.measured.about == "f / m" and found.measured.value < -0.2


def test_numbers_are_watched_and_how_far_off_they_are() -> None:
    random = np.random.default_rng(9)

    def numbers(rows: int, shift: float = 0.0, off: float = 0.3) -> Seen:
        truth = random.normal(3, 1, rows)
        return drawn_rows(
            random, rows, label=None, confidence=None, value=truth + shift + random.normal(0, off, rows), truth=truth
        )

    judge = Judge(numbers(400), Watching())
    assert not judge.judge(window(numbers(200))).alarms
    assert {own.channel for own in judge.judge(window(numbers(200, shift=0.8))).alarms} == {"numbers", "off"}
    assert [own.channel for own in judge.judge(window(numbers(200, off=0.9))).alarms] == ["off"]


@pytest.mark.always
def test_a_weeks_rhythm_is_no_drift_where_seasons_are_compared() -> None:
    """Mondays are long: without seasons each raises an alarm, with them none but the one that is longer than Mondays are."""
    random = np.random.default_rng(10)
    reference = drawn_rows(random, 400)
    monday = datetime(2026, 1, 5)

    def alarms(season: str | None) -> list[str]:
        random = np.random.default_rng(11)
        judge, found = Judge(reference, Watching(season=season)), []
        for day in range(28):
            time = monday + timedelta(days=day)
            seen = drawn_rows(random, 120, 20)
            longer = 30 * (time.weekday() == 0) + 60 * (day == 21)
            judged = judge.judge(window(replace(seen, length=seen.length + longer), f"{time:%m-%d}", time))
            assert judged.learned == (season is not None and day < 7)
            found += [judged.name] if judged.alarms else []
        return found

    assert alarms(None) == ["01-05", "01-12", "01-19", "01-26"]
    assert alarms("weekday") == ["01-26"]
    with pytest.raises(UsageError, match="has no time"):
        Judge(reference, Watching(season="weekday")).judge(window(drawn_rows(random, 50)))


def test_too_few_rows_are_not_tested_and_what_is_said_of_a_window_stays() -> None:
    random = np.random.default_rng(12)
    judge = Judge(drawn_rows(random, 300), Watching())
    assert judge.judge(window(drawn_rows(random, 19, 10))).few
    seen = drawn_rows(random, 60)
    first = judge.judge(window(seen, "a"))
    judge.judge(window(drawn_rows(random, 60), "b"))
    assert judge.judge(window(seen, "a")) == first


@pytest.mark.parametrize(("settings", "sentence"), [
    ({"false_alarms": 0}, "a probability above 0"), ({"over": 0}, "over one window"),
    ({"season": "weekdays"}, "did you mean 'weekday'"), ({"over": 10**6}, "take a higher rate"),
])  # fmt: skip
def test_a_rate_that_cannot_be_is_refused(settings: dict[str, float], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Watching(**settings)  # type: ignore[arg-type]


def test_the_share_of_right_answers_is_estimated_with_its_error() -> None:
    """Where confidences mean what they meant, as when the rows are harder and known to be, the estimate follows."""
    random = np.random.default_rng(13)
    estimator = Estimator.of(drawn_rows(random, 1500, 200))
    assert estimator is not None and estimator.shifts.samples >= 40
    assert 0 < estimator.shifts.mean_error <= estimator.shifts.largest_usual < 0.1
    harder = drawn_rows(random, 1000)
    confidence = random.beta(3, 2, 1000).astype(np.float32)
    truth = np.where(random.random(1000) < confidence, harder.label, "d")
    harder = replace(harder, confidence=confidence, truth=truth)
    found = estimator.estimate(harder)
    assert found is not None and found.low < harder.right.mean() < found.high
    assert abs(found.value - harder.right.mean()) < abs(estimator.right.mean() - harder.right.mean()) / 3
    assert Estimator.of(drawn_rows(random, 40)) is None


def test_every_channel_names_itself_in_both_languages() -> None:
    assert {own.part for own in CHANNELS.values()} == {"inputs", "answers", "labels"}
    assert all(own.title and own.portuguese for own in CHANNELS.values())
