"""Hold what an index is made with, which every later run on it keeps to."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from afina.errors import UsageError, nearest, shown
from afina.registry import listing
from afina.retrieval.stores.base import store_for
from afina.retrieval.terms import STEMMERS

__all__ = ["LANGUAGES", "SIMILARITIES", "IndexSettings"]

SIMILARITIES = ("cosine", "dot", "euclidean")
LANGUAGES = ("none", *STEMMERS)
"""Languages whose words are stemmed; `none` takes words as they stand."""
_TRAINED_ON = {"minilm": "en"}
"""The language of built-in encoders: with this one a hybrid finds less in Portuguese than words alone (docs/rag.md)."""


@dataclass(frozen=True, kw_only=True)
class IndexSettings:
    """Says how documents are cut, what chunks are compared by, and where vectors lie; checked when made."""

    representation: str = "auto"
    """Representation that texts are compared by: bm25, tfidf, word2vec, bert, hybrid of several, or auto: a hybrid, and bm25
    for documents in a language that the built-in encoder was not trained on."""
    parts: tuple[str, ...] = ()
    """Representations that a hybrid is of; its own default unless given."""
    model: str = "minilm"
    """The encoder of `bert`, whose tokens chunks are counted in; with an adapter its base."""
    adapter: str | None = None
    """An adapter's folder, Afina's or PEFT's, that is put on the encoder."""
    pooling: str = "mean"
    """Way that tokens' states become a vector: mean, or cls."""
    similarity: str = "cosine"
    """Comparison of vectors: cosine, dot or euclidean."""
    precision: str = "auto"
    """Numbers in which the encoder computes; `auto` is bfloat16 where the hardware has it."""
    tokens: int = 200
    """Most tokens of a chunk."""
    overlap: int = 40
    """Most tokens that a chunk shares with the one before it."""
    columns: tuple[str, ...] | None = None
    """Columns of tables whose values are the text; all of them, with their names, unless given."""
    text_language: str = "auto"
    """Language by which words are stemmed: two letters, none, or auto for that of most of the text."""
    near: float = 0.95
    """Similarity from which a chunk is a near-duplicate of an earlier one, and is kept once; 0 keeps all."""
    store: str = "auto"
    """Place of the vectors: exact, usearch, a postgresql:// address, or auto (exact up to 100,000 chunks)."""
    seed: int = 0
    """Seed of what is drawn at random (Word2Vec), which comes out the same with the same seed."""

    def __post_init__(self) -> None:
        # Read from the folder's listing, which imports no representation.
        names = listing("afina.retrieval.representations", "representation")
        for name in (self.ranked_by, *self.parts):
            _check(name in names, "representation", name, (*names, "auto"))
        store_for(self.store, 0)  # which refuses a password: these settings are written down
        _check(self.similarity in SIMILARITIES, "similarity", self.similarity, SIMILARITIES)
        kinds = ("auto", *listing("afina.backbone.storage", "storage"))
        _check(self.precision in kinds, "precision", self.precision, kinds)
        _check(self.pooling in ("mean", "cls"), "pooling", self.pooling, ("mean", "cls"))
        _check(self.text_language in (*LANGUAGES, "auto"), "text language", self.text_language, (*LANGUAGES, "auto"))
        if not 8 <= self.tokens <= 100_000:
            raise UsageError(f"A chunk has 8 to 100,000 tokens, not {self.tokens}.")
        if not 0 <= self.overlap <= self.tokens // 2:
            raise UsageError(f"The overlap is 0 to half a chunk's {self.tokens} tokens, not {self.overlap}.")
        if not 0 <= self.near <= 1:
            raise UsageError(f"The similarity of near-duplicates is 0 to 1, not {self.near}.")

    @property
    def ranked_by(self) -> str:
        """Return the representation's name; `auto` is a hybrid as long as nothing is known of the documents."""
        return "hybrid" if self.representation == "auto" else self.representation

    def settled(self, language: str) -> tuple["IndexSettings", str | None]:
        """Return these settings without `auto`, for documents of a language (`none`: not known), and a note on it."""
        if self.representation != "auto":
            return self, None
        # An encoder or parts that a person chose are what is wanted in any language.
        chosen = self.model not in _TRAINED_ON or self.adapter is not None or self.parts
        if chosen or language in ("none", _TRAINED_ON[self.model]):
            return self.changed(representation=self.ranked_by), None
        return self.changed(representation="bm25"), (
            f"the built-in encoder {self.model} was trained on {_TRAINED_ON[self.model]}, and these documents are in "
            f"{language}: they are searched by words alone (bm25); --model NAME takes an encoder of their language, "
            "--representation hybrid this one all the same"
        )

    def changed(self, **changes: Any) -> "IndexSettings":
        """Return these settings with some that a person gave (those that are None stay)."""
        # None is what a command has for an option that was not given.
        given = {name: value for name, value in changes.items() if value is not None}
        known = {field.name for field in fields(self)}
        for name in given:
            if name not in known:
                raise UsageError(f"An index has no setting {shown(name)}{nearest(name, known)}")
        return replace(self, **given)

    def as_dict(self) -> dict[str, Any]:
        """Return them as JSON-able values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "IndexSettings":
        """Return what `as_dict` gave."""
        # JSON has lists where the settings have tuples.
        return cls().changed(
            **{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        )


def _check(is_known: bool, what: str, given: str, possible: tuple[str, ...]) -> None:
    if not is_known:
        raise UsageError(f"There is no {what} {shown(given)}{nearest(given, possible)}")
