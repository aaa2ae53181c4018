"""Data sets known by name: where they are, which columns mean what, their task and metric, and how large they are.

A row a set. A column may be one of the set's, a place inside one (`answers.text.0`), or words with columns in braces
(`{passage}`); these are composed when the set is read (preset_columns.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["PACKAGED", "PARQUET", "PRESETS", "Preset"]

PACKAGED = ("everyday", "roaster", "tickets")
"""Data sets that come with Afina."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A hub data set; what is not known of it is None.

    Rows, and mean and most tokens a text (by BERT's tokenizer; of the first 20,000), let a study be planned without
    network.
    """

    hub: str
    text: str | None = None
    text_pair: str | None = None
    label: str = "label"
    label_names: tuple[str, ...] = ()
    """Names of the labels in their order; empty where labels are names or numbers. Names on the hub take precedence."""
    choices: str | tuple[str, ...] | None = None
    """The column of each row's answers, or the columns of one answer each."""
    keys: str | None = None
    """The column of the answers' letters or numbers, where they have some; the label is then one of them."""
    first: int = 0
    """The number of the first answer, where the label is a number."""
    answers: int = 0
    """Most answers that a row has."""
    target: str | None = None
    task: str = "classification"
    metric: str | None = None
    """The metric that a table shows first; None for the task's own."""
    config: str | None = None
    revision: str | None = None
    train_split: str = "train"
    test_split: str = "test"
    """The split that is tested on: the validation split where the test split's labels are not public."""
    rows: Mapping[str, int] = field(default_factory=dict)
    tokens: int | None = None
    longest: int | None = None

    @property
    def classes(self) -> int:
        return len(self.label_names)


def _rows(train: int, test: int) -> dict[str, int]:
    return {"train": train, "test": test}


_GLUE, _SUPER = "nyu-mll/glue", "aps/super_glue"
PARQUET = "refs/convert/parquet"
"""Branch with the hub's conversions of sets that are scripts, which `datasets` no longer runs: a folder for each config."""
_ENTAILS = ("entailment", "neutral", "contradiction")
_CONLL = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
_SQUAD = "question: {question} context: {context}"

PRESETS: dict[str, Preset] = {
    # -- topics and sentiment
    "imdb": Preset(
        hub="stanfordnlp/imdb", text="text", label_names=("neg", "pos"), rows=_rows(25_000, 25_000), tokens=299,
        longest=2_291,
    ),
    "ag_news": Preset(
        hub="fancyzhx/ag_news", text="text", label_names=("World", "Sports", "Business", "Sci/Tech"),
        rows=_rows(120_000, 7_600), tokens=50, longest=341,
    ),
    "snli": Preset(
        hub="stanfordnlp/snli", text="premise", text_pair="hypothesis", label_names=_ENTAILS, rows=_rows(549_367,
        9_824),
        tokens=26, longest=95,
    ),
    # -- GLUE (Wang et al., 2019), tested on the validation split
    "cola": Preset(
        hub=_GLUE, config="cola", text="sentence", label_names=("unacceptable", "acceptable"), metric="mcc",
        test_split="validation", rows=_rows(8_551, 1_043),
    ),
    "sst2": Preset(
        hub=_GLUE, config="sst2", text="sentence", label_names=("negative", "positive"), rows=_rows(67_349, 872),
        tokens=14, longest=66, test_split="validation",
    ),
    "mrpc": Preset(
        hub=_GLUE, config="mrpc", text="sentence1", text_pair="sentence2", label_names=("not_equivalent", "equivalent"),
        metric="binary_f1", test_split="validation", rows=_rows(3_668, 408),
    ),
    "qqp": Preset(
        hub=_GLUE, config="qqp", text="question1", text_pair="question2", label_names=("not_duplicate", "duplicate"),
        metric="binary_f1", test_split="validation", rows=_rows(363_846, 40_430),
    ),
    "stsb": Preset(
        hub=_GLUE, config="stsb", text="sentence1", text_pair="sentence2", task="regression", metric="pearson",
        test_split="validation", rows=_rows(5_749, 1_500),
    ),
    "mnli": Preset(
        hub=_GLUE, config="mnli", text="premise", text_pair="hypothesis", label_names=_ENTAILS,
        test_split="validation_matched", rows=_rows(392_702, 9_815),
    ),
    "qnli": Preset(
        hub=_GLUE, config="qnli", text="question", text_pair="sentence", label_names=("entailment", "not_entailment"),
        test_split="validation", rows=_rows(104_743, 5_463),
    ),
    "rte": Preset(
        hub=_GLUE, config="rte", text="sentence1", text_pair="sentence2", label_names=("entailment", "not_entailment"),
        test_split="validation", rows=_rows(2_490, 277),
    ),
    "wnli": Preset(
        hub=_GLUE, config="wnli", text="sentence1", text_pair="sentence2", label_names=("not_entailment", "entailment"),
        test_split="validation", rows=_rows(635, 71),
    ),
    # -- SuperGLUE (Wang et al., 2019), likewise; its RTE is GLUE's, its ReCoRD among the texts to write.
    "boolq": Preset(
        hub=_SUPER, config="boolq", text="question", text_pair="passage", label_names=("False", "True"),
        test_split="validation", rows=_rows(9_427, 3_270),
    ),
    "cb": Preset(
        hub=_SUPER, config="cb", text="premise", text_pair="hypothesis", metric="macro_f1",
        label_names=("entailment", "contradiction", "neutral"), test_split="validation", rows=_rows(250, 56),
    ),
    "copa": Preset(
        hub=_SUPER, config="copa", task="choices", answers=2, text="{premise} What is the {question}?",
        choices=("choice1", "choice2"),
        test_split="validation", rows=_rows(400, 100),
    ),
    "multirc": Preset(
        hub=_SUPER, config="multirc", text="paragraph", text_pair="{question} {answer}", label_names=("False", "True"),
        metric="binary_f1", test_split="validation", rows=_rows(27_243, 4_848),
    ),
    "wic": Preset(
        hub=_SUPER, config="wic", text="{word}: {sentence1}", text_pair="sentence2", label_names=("False", "True"),
        test_split="validation", rows=_rows(5_428, 638),
    ),
    "wsc": Preset(
        hub=_SUPER, config="wsc.fixed", text="text", text_pair="{span2_text} is {span1_text}", label_names=("False",
        "True"),
        test_split="validation", rows=_rows(554, 104),
    ),
    # -- questions with answers to choose from
    "hellaswag": Preset(
        hub="Rowan/hellaswag", task="choices", answers=4, text="ctx", choices="endings", test_split="validation",
        rows=_rows(39_905, 10_042),
    ),
    "piqa": Preset(
        hub="ybisk/piqa", revision=PARQUET, task="choices", answers=2, text="goal", choices=("sol1", "sol2"),
        test_split="validation",
        rows=_rows(16_113, 1_838),
    ),
    "arc_challenge": Preset(
        hub="allenai/ai2_arc", config="ARC-Challenge", task="choices", answers=5, text="question",
        choices="choices.text",
        keys="choices.label", label="answerKey", rows=_rows(1_119, 1_172),
    ),
    "arc_easy": Preset(
        hub="allenai/ai2_arc", config="ARC-Easy", task="choices", answers=5, text="question", choices="choices.text",
        keys="choices.label", label="answerKey", rows=_rows(2_251, 2_376),
    ),
    "openbookqa": Preset(
        hub="allenai/openbookqa", config="main", task="choices", answers=4, text="question_stem",
        choices="choices.text",
        keys="choices.label", label="answerKey", rows=_rows(4_957, 500),
    ),
    "winogrande": Preset(
        hub="allenai/winogrande", config="winogrande_xl", task="choices", answers=2, text="sentence",
        choices=("option1", "option2"),
        label="answer", first=1, test_split="validation", rows=_rows(40_398, 1_267),
    ),
    "mmlu": Preset(
        hub="cais/mmlu", config="all", task="choices", answers=4, text="question", choices="choices", label="answer",
        train_split="auxiliary_train", rows=_rows(99_842, 14_042),
    ),
    # -- words with a tag each
    "conll2003": Preset(
        hub="tomaarsen/conll2003", task="tagging", text="tokens", label="ner_tags",
        label_names=(*_CONLL, "B-MISC", "I-MISC"), rows=_rows(14_041, 3_453),
    ),
    "wikiann": Preset(
        hub="unimelb-nlp/wikiann", config="en", task="tagging", text="tokens", label="ner_tags", label_names=_CONLL,
        rows=_rows(20_000, 10_000),
    ),
    # -- texts to write
    "squad": Preset(
        hub="rajpurkar/squad", task="seq2seq", text=_SQUAD, target="answers.text.0", test_split="validation",
        rows=_rows(87_599, 10_570),
    ),
    "drop": Preset(
        hub="ucinlp/drop", task="seq2seq", text="question: {question} context: {passage}",
        target="answers_spans.spans.0",
        test_split="validation", rows=_rows(77_400, 9_535),
    ),
    # Several answers of a row are right: all name one entity. The first is written, as with SQuAD.
    "record": Preset(
        hub=_SUPER, config="record", task="seq2seq", text="query: {query} passage: {passage}", target="answers.0",
        test_split="validation", rows=_rows(100_730, 10_000),
    ),
    "xsum": Preset(
        hub="EdinburghNLP/xsum", revision=PARQUET, task="seq2seq", text="document", target="summary",
        rows=_rows(204_045, 11_334),
    ),
    "cnn_dailymail": Preset(
        hub="abisee/cnn_dailymail", config="3.0.0", task="seq2seq", text="article", target="highlights",
        rows=_rows(287_113, 11_490),
    ),
    "gsm8k": Preset(
        hub="openai/gsm8k", config="main", task="chat", text="question", target="answer", rows=_rows(7_473, 1_319),
    ),
    "svamp": Preset(
        hub="ChilleD/SVAMP", task="chat", text="{Body} {Question}", target="Answer", rows=_rows(700, 300),
    ),
    # -- Portuguese
    "assin2": Preset(
        hub="nilc-nlp/assin2", text="premise", text_pair="hypothesis", label="entailment_judgment",
        label_names=("NONE", "ENTAILMENT"), metric="macro_f1", rows=_rows(6_500, 2_448),
    ),
    "assin2_similarity": Preset(
        hub="nilc-nlp/assin2", text="premise", text_pair="hypothesis", label="relatedness_score", task="regression",
        rows=_rows(6_500, 2_448),
    ),
    "faquad": Preset(
        hub="eraldoluis/faquad", revision=PARQUET, task="seq2seq", text=_SQUAD, target="answers.text.0",
        test_split="validation", rows=_rows(837, 63),
    ),
    "lener_br": Preset(
        hub="peluz/lener_br", revision=PARQUET, task="tagging", text="tokens", label="ner_tags",
        label_names=("O", "B-ORGANIZACAO", "I-ORGANIZACAO", "B-PESSOA", "I-PESSOA", "B-TEMPO", "I-TEMPO", "B-LOCAL",
                     "I-LOCAL", "B-LEGISLACAO", "I-LEGISLACAO", "B-JURISPRUDENCIA", "I-JURISPRUDENCIA"),
        rows=_rows(7_828, 1_390),
    ),
    "told_br": Preset(
        hub="JAugusto97/told-br", config="binary", revision=PARQUET, text="text", label_names=("not-toxic", "toxic"),
        metric="macro_f1", rows=_rows(16_800, 2_100),
    ),
    "hatebr": Preset(
        hub="ruanchaves/hatebr", revision=PARQUET, text="instagram_comments", label="offensive_language",
        label_names=("False", "True"), metric="macro_f1", rows=_rows(4_480, 1_400),
    ),
    # The whole set is not public; this is the open leaderboard's part of it, with few rows to train on.
    "tweetsentbr": Preset(
        hub="eduagarcia/tweetsentbr_fewshot", text="sentence", label_names=("Negative", "Neutral", "Positive"),
        metric="macro_f1", rows=_rows(75, 2_010),
    ),
}  # fmt: skip
