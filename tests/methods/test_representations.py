"""`features` on words: vectors are a library's, adapters answer as their run did, and dictionaries are read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import afina
from afina.data.lexicons import Lexicon, read_lexicon
from afina.data.plain_words import plain_words
from afina.errors import UsageError
from afina.methods.learners.base import LEARNERS
from afina.methods.representations.base import REPRESENTATIONS, OfTexts
from afina.methods.representations.words import induced
from afina.results.predictions import read_predictions
from afina.study.study import Study
from families import TEXT
from studies import settings, write_csv

Loader = Callable[..., Path]
ON_WORDS = [name for name, kind in REPRESENTATIONS.items() if issubclass(kind, OfTexts)]
FORMS = {
    "own.dic": "%\n1 joy\n2 work\n%\nhapp*\t1\ngood job 1 2\ndesk 2\n",
    "own.yaml": "joy: ['happ*', good job]\nwork: [good job, desk]\n",
    "own.json": '{"joy": ["happ*", "good job"], "work": ["good job", "desk"]}',
    "own.csv": "word,category\nhapp*,joy\ngood job,joy\ngood job,work\ndesk,work\n",
    "own.tsv": "happ*\tjoy\ngood job\tjoy\ngood job\twork\ndesk\twork\n",
}


def test_every_representation_with_every_learner(family_folder: Loader, csv_folder: Path, tmp_path: Path) -> None:
    methods = [
        {"features": {"representation": name, "model": learner, "trees": 20}}
        for name in ON_WORDS
        for learner in LEARNERS
    ]
    study = Study(tmp_path / "out", **settings(family_folder, csv_folder, methods=methods))
    for result in study.run():
        assert result["status"] == "ok", result["error"]
        # Vectors of words need more text than sixty rows have to tell much; half would be chance.
        assert result["test_metric"] >= (0.6 if "word2vec" in result["method_label"] else 0.7), result["method_label"]
        assert result["total_parameters"] == result["trainable_parameters"]  # no model was loaded
        # What was saved answers as the run did, beside its base too.
        kept = read_predictions(study.directory, result)
        loaded = afina.load(study.directory / result["adapter"])
        lines = (csv_folder / "test.csv").read_text().splitlines()[1:]
        texts = [line.rsplit(",", 1)[0] for line in lines]
        again = loaded.predict(texts)
        assert np.allclose(
            [max((each.probabilities or {}).values()) for each in again], kept.scores.max(axis=1), atol=1e-4
        )


def test_numbers_and_pairs(family_folder: Loader, tmp_path: Path) -> None:
    """A number that is a matter of how far two texts agree: a dictionary of both texts' words can learn it."""
    write_csv(tmp_path / "plain.csv", 500, 0, number=True)
    lines = (tmp_path / "plain.csv").read_text().splitlines()[1:]
    rows = [
        f"{a.rsplit(',', 1)[0]},{b.rsplit(',', 1)[0]},{a.rsplit(',', 1)[1]}"
        for a, b in zip(lines, lines[::-1], strict=True)
    ]
    (tmp_path / "pairs.csv").write_text("\n".join(["sentence1,sentence2,score", *rows]) + "\n")
    methods = [{"features": {"representation": name, "model": "forest", "trees": 50}} for name in ("tfidf", "words")]
    study = settings(family_folder, tmp_path, methods=methods) | {"dataset": str(tmp_path / "pairs.csv")}
    for result in Study(tmp_path / "out", **study).run():
        assert result["status"] == "ok", result["error"]
        assert result["task"] == "regression"
        assert result["test_metrics"]["r2"] > 0.2, result["method_label"]


def test_tfidf_is_that_of_scikit_learn() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = ["The lamp is late", "the LAMP works, the lamp", "órder órder late"]
    own = REPRESENTATIONS["tfidf"]({"terms": 100})
    vectors = own.fitted([(text,) for text in texts], np.zeros(3), 2, 0).vectors([(text,) for text in texts])
    plain = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, strip_accents="unicode", token_pattern=r"\w+")
    assert np.allclose(np.sort(vectors.toarray()), np.sort(plain.fit_transform(texts).toarray()), atol=1e-6)


@pytest.mark.parametrize("family", ["bert", "roberta", "t5", "gpt2"])
def test_texts_are_read_back_from_tokens(family: str) -> None:
    """Where a tokenizer divides a pair by marks both texts come back; where it does not, they are one."""
    from afina.data.rows import Rows
    from afina.data.tokens.as_text import texts_of_ids
    from afina.data.tokens.tokenize import tokenize
    from families import tokenizer

    assert family in TEXT
    own = tokenizer(family)
    own.pad_token = own.pad_token or own.eos_token
    rows = Rows(["good lamp", "late"], ["order broken", "the cat sat"], np.zeros(2))
    tokens = tokenize(own, rows, 32)
    ids = [tokens.ids[a:b] for a, b in zip(tokens.offsets, tokens.offsets[1:], strict=False)]
    texts = texts_of_ids(own, ids)
    whole = [" ".join(row).split() for row in texts]
    assert whole == [["good", "lamp", "order", "broken"], ["late", "the", "cat", "sat"]]
    assert {len(row) for row in texts} == ({1} if family == "gpt2" else {2})


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_text_goes_on_behind_a_word_that_is_taken_away(family: str) -> None:
    """A mask in a word's place ended the text: what was explained by occlusion was that word and all behind it."""
    from afina.data.tokens.as_text import text_ids, texts_of_ids
    from families import tokenizer

    own = tokenizer(family)
    own.add_special_tokens({"mask_token": "<gone>"})
    ids = np.array(text_ids(own, "good lamp order broken late"))
    words = texts_of_ids(own, [ids])[0][0].split()
    assert len(words) == 5
    ids[2] = ids[4] = own.mask_token_id
    assert [" ".join(row).split() for row in texts_of_ids(own, [ids])] == [[words[0], words[2], words[4]]]
    ids[1:-1] = own.mask_token_id
    assert texts_of_ids(own, [ids]) == [("",)]


@pytest.mark.parametrize("name", FORMS)
def test_dictionaries_of_every_form(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(FORMS[name])
    lexicon = read_lexicon(tmp_path / name)
    assert lexicon.categories == ["joy", "work"]
    assert lexicon.counts(plain_words("Happily, a Good job at his DESK; happiness")) == [3, 2]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.dic", "happy 1\n", "between two lines of %"),
        ("a.dic", "%\n1 joy\n%\nhappy 2\n", "not 2"),
        ("a.dic", "%\n1 joy\n%\nhappy\n", "not none"),
        ("a.dic", "%\n1 joy\n1 work\n%\n", "a new number"),
        ("a.yaml", "joy: [yes]\n", "quotation marks"),
        ("a.yaml", "- happy\n", "mapping of categories"),
        ("a.json", "{", "is no JSON"),
        ("a.csv", "happy,joy,3\n", "has 3 columns"),
        ("a.csv", "", "no word in any category"),
        ("a.csv", "word,category\n*,joy\n", "a star elsewhere"),
        ("a.csv", "word,category\nhap*py,joy\n", "a star elsewhere"),
        ("a.yaml", "joy: []\nwork: [desk]\n", "'joy' has no word"),
        ("a.dic", "%\n1 joy\n2 work\n%\ndesk 2\n", "'joy' has no word"),
        ("a.doc", "happy", "a dictionary is"),
    ],
)
def test_what_is_no_dictionary_is_one_sentence(name: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=said):
        read_lexicon(tmp_path / name)


def test_a_dictionary_as_a_spreadsheet_with_decimal_commas_saves_it(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "\ufeffpalavra;categoria\nfeliz;alegria\nfeliz;alegria\nbom dia*;alegria\n", "utf-8"
    )
    lexicon = read_lexicon(tmp_path / "a.csv")
    assert lexicon.categories == ["alegria"]
    # A star behind several words stands for more letters of the last.
    assert lexicon.counts(plain_words("Feliz; bons dias, bom diazinho, bom")) == [2]


def test_a_dictionary_of_ones_own_in_a_study(family_folder: Loader, csv_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("nice: [good, great]\nugly: [bad, late]\nfar: [zanzibar]\n")
    chosen: dict[str, Any] = {"features": {"representation": "words", "lexicon": str(tmp_path / "own.yaml")}}
    seen: list[Any] = []
    study = Study(tmp_path / "out", **settings(family_folder, csv_folder, methods=[chosen]))
    (result,) = study.run(lambda event: seen.extend(event["remarks"]) if event["kind"] == "remarks" else None)
    assert result["test_metric"] > 0.8
    assert result["trainable_parameters"] == 2 * 4 + 2  # two classes; three categories and the length
    assert any("5 entries in 3 categories" in remark for remark in seen)
    assert any("no word of 1 of its 3 categories stands in the train texts: far" in remark for remark in seen)
    # Words alone have no base to be recognised by.
    assert afina.load(study.directory / str(result["adapter"])).notes == ()
    gone = {"features": {"representation": "words", "lexicon": str(tmp_path / "gone.yaml")}}
    with pytest.raises(UsageError, match="cannot be read"):
        Study(tmp_path / "other", **settings(family_folder, csv_folder, methods=[gone])).run()


def test_a_dictionary_of_which_no_word_stands_in_the_texts_is_refused(tmp_path: Path) -> None:
    """It was fitted all the same, to how long texts are; a category without words beside others may stay."""
    (tmp_path / "own.yaml").write_text("bom: [bom, ótimo]\nruim: [mau]\n")
    texts, labels = ["a good lamp", "a bad lamp"] * 4, np.array([1, 0] * 4)
    words = REPRESENTATIONS["words"]
    assert issubclass(words, OfTexts)
    with pytest.raises(UsageError, match=r"none of its words stands in the 8 train texts.*language\?"):
        words({"lexicon": str(tmp_path / "own.yaml")}).fitted([(text,) for text in texts], labels, 2, 0)
    rows = [(text,) for text in ["um bom dia", *texts]]
    made = words({"lexicon": str(tmp_path / "own.yaml")}).fitted(rows, np.append(1, labels), 2, 0)
    assert made.vectors(rows)[:2, :2].tolist() == [[pytest.approx(1 / 3), 0], [0, 0]]


def test_induced_categories_hold_the_words_that_tell() -> None:
    rng = np.random.default_rng(0)
    filler = ["the", "a", "lamp", "order", "is"]
    texts = [" ".join([*rng.choice(filler, 6), "good" if row % 2 else "bad"]) for row in range(80)]
    labels = np.arange(80) % 2
    assert induced(texts, labels, 2) == {"class 0": ["bad"], "class 1": ["good"]}
    numbers = induced(texts, labels - 0.5, 1)
    assert (numbers["high"][0], numbers["low"][0]) == ("good", "bad")


def test_a_star_matches_beginnings_alone() -> None:
    lexicon = Lexicon({"one": ["happ*"], "two": ["cat"]})
    assert lexicon.counts(["unhappy", "happen", "cats", "cat"]) == [1, 1]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"representation": "tfdif"}, "tfidf"),
        ({"model": "florest"}, "forest"),
        ({"lexicon": "a.yaml"}, "a lexicon is for representation: words"),
        ({"representation": "tfidf", "terms": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_is_refused(entry: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        afina.Features(**entry)
