"""Data sets known by name: where they are, which columns mean what, and how large they are."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["PACKAGED", "PRESETS", "Preset", "describe_preset"]

PACKAGED = ("everyday", "roaster", "tickets")
"""Data sets that come with Afina."""


@dataclass(frozen=True)
class Preset:
    """A hub data set.

    Rows, and mean and most tokens a text (by BERT's tokenizer; of the first 20,000), let a study be planned without
    network.
    """

    hub: str
    text: str
    label_names: tuple[str, ...]
    rows: Mapping[str, int]
    tokens: int
    longest: int
    text_pair: str | None = None
    config: str | None = None
    test_split: str = "test"
    label: str = "label"
    task: str = "classification"

    @property
    def classes(self) -> int:
        return len(self.label_names)


PRESETS = {
    "imdb": Preset(
        hub="stanfordnlp/imdb", text="text", label_names=("neg", "pos"),
        rows={"train": 25_000, "test": 25_000}, tokens=299, longest=2_291,
    ),
    "ag_news": Preset(
        hub="fancyzhx/ag_news", text="text", label_names=("World", "Sports", "Business", "Sci/Tech"),
        rows={"train": 120_000, "test": 7_600}, tokens=50, longest=341,
    ),
    "snli": Preset(
        hub="stanfordnlp/snli", text="premise", text_pair="hypothesis", tokens=26, longest=95,
        label_names=("entailment", "neutral", "contradiction"), rows={"train": 549_367, "test": 9_824},
    ),
    # The test split's labels are not public: the validation split is what is tested on.
    "sst2": Preset(
        hub="nyu-mll/glue", config="sst2", text="sentence", label_names=("negative", "positive"),
        rows={"train": 67_349, "test": 872}, tokens=14, longest=66, test_split="validation",
    ),
}  # fmt: skip


def describe_preset(name: str) -> Preset | None:
    """Return what is known of a preset without reading it, or None for any other name."""
    return PRESETS.get(name)
