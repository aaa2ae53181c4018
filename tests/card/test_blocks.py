"""What a person wrote into a card stays whatever Afina has to say next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afina.card.blocks import CardContent, merge, parse
from afina.errors import UsageError

FIRST = CardContent(
    {"tags": ["afina"], "metrics": ["accuracy"]}, {"title": "# One", "data": "## Data\n\nten rows", "end": "## End"}
)
SECOND = CardContent({"tags": ["afina", "lora"]}, {"title": "# Two", "data": "## Data\n\ntwelve rows", "end": "## End"})
CARD = merge(None, FIRST).text


def test_a_card_says_again_what_it_said_byte_by_byte() -> None:
    assert merge(CARD, FIRST).text == CARD
    assert merge(merge(CARD, SECOND).text, SECOND).text == merge(None, SECOND).text


def test_what_afina_wrote_is_written_anew() -> None:
    made = merge(CARD, SECOND)
    assert "twelve rows" in made.text and "ten rows" not in made.text and "# One" not in made.text
    assert parse(made.text).metadata == {"tags": ["afina", "lora"]}  # the metric is said no more
    assert not made.kept and not made.left_out


@pytest.mark.parametrize("before", ["<!-- afina: title -->", "<!-- afina: data -->", "<!-- afina: record"])
def test_text_outside_of_the_parts_stays_where_it_is(before: str) -> None:
    mine = "## My own words\n\nAsk *Ana* before you use it. <!-- afina: no mark -->"
    made = merge(CARD.replace(before, f"{mine}\n\n{before}"), SECOND).text
    assert mine in made and merge(made, SECOND).text == made
    assert made.index(mine) < made.index(before)
    assert made.count("<!-- afina: data -->") == 1 and "twelve rows" in made


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\ufeff"), max_size=60),
    st.sampled_from(["<!-- afina: title -->", "<!-- afina: data -->", "<!-- afina: record"]),
)
def test_any_text_survives_any_number_of_times(mine: str, before: str) -> None:
    mine = f"a{mine}z"
    card = CARD.replace(before, f"{mine}\n\n{before}", 1)
    for said in (SECOND, FIRST, SECOND):
        card = merge(card, said).text
        assert mine in card
    assert "twelve rows" in card


def test_a_part_that_a_person_changed_is_kept_and_said() -> None:
    made = merge(CARD.replace("ten rows", "ten rows, two of them doubtful"), SECOND)
    assert "ten rows, two of them doubtful" in made.text and "twelve rows" not in made.text and made.kept == ("data",)
    assert merge(made.text, FIRST).kept == ("data",)  # and ever after
    emptied = made.text.replace("## Data\n\nten rows, two of them doubtful\n", "")
    assert "twelve rows" in merge(emptied, SECOND).text


def test_spaces_at_the_ends_of_lines_are_no_change() -> None:
    assert not merge(CARD.replace("ten rows", "ten rows  ").replace("\n", "\r\n"), SECOND).kept


def test_a_part_that_a_person_took_out_stays_out() -> None:
    before, _, rest = CARD.partition("<!-- afina: data -->")
    made = merge(before + rest.partition("<!-- afina: end -->\n")[2], SECOND)
    assert "rows" not in made.text.partition("<!-- afina: record")[0] and made.left_out == ("data",)
    assert merge(made.text, SECOND).text == made.text


def test_metadata_that_a_person_set_changed_or_took_out_are_theirs() -> None:
    mine = CARD.replace("tags:\n- afina\n", "tags:\n- afina\n- mail\nlicense: mit\n").replace(
        "metrics:\n- accuracy\n", ""
    )
    made = merge(
        mine, CardContent({"tags": ["afina", "lora"], "metrics": ["accuracy"], "library_name": "peft"}, SECOND.blocks)
    )
    assert parse(made.text).metadata == {"tags": ["afina", "mail"], "license": "mit", "library_name": "peft"}
    assert made.kept == ("tags",) and made.left_out == ("metrics",)


def test_a_card_of_anothers_is_kept_whole_with_the_parts_behind_it() -> None:
    made = merge("---\nlicense: mit\n---\n# Mine\n\nAll by hand.\n", FIRST).text
    assert made.index("All by hand.") < made.index("# One") and parse(made).metadata["license"] == "mit"
    assert parse(made).own_text() == "# Mine\n\nAll by hand."


def test_a_part_that_stands_there_twice_is_one_and_a_copy() -> None:
    part = CARD[CARD.index("<!-- afina: data -->") : CARD.index("## End")]
    made = merge(
        CARD.replace(
            "<!-- afina: record",
            f"{part.rpartition('<!-- afina: end -->')[0]}<!-- afina: end -->\n\n<!-- afina: record",
        ),
        SECOND,
    )
    assert "twelve rows" in made.text and "ten rows" in made.text


@pytest.mark.parametrize(("metadata", "why"), [("a: [1", "no YAML"), ("- a\n- b", "no mapping")])
def test_metadata_that_cannot_be_read_are_refused(metadata: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        merge(f"---\n{metadata}\n---\ntext\n", FIRST)


@pytest.mark.parametrize("record", ["{}", "{broken}", '{"blocks": [], "metadata": {}}'])
def test_a_damaged_record_loses_no_text(record: str) -> None:
    """Without digests nobody knows who wrote a part: all of them are taken for a person's."""
    head = CARD.partition("<!-- afina: record")[0]
    made = merge(f"{head}<!-- afina: record {record} -->\n", SECOND)
    assert "ten rows" in made.text and set(made.kept) >= {"title", "data"}
