"""Options that several commands have: each has one name, one meaning and one help text, here."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Adapter", "Answer", "AnySeed", "Assistant", "BaseModel", "BatchSize", "DataFile", "Device", "FailAbove", "Force",
    "Format", "Label", "Language", "Messages", "Offload", "PairColumn", "Plain", "Precision", "Public", "Question", "Quiet",
    "Reference", "Seed", "Separator", "Similarity", "Stop", "StudyFolder", "Target", "Temperature", "Text", "TextColumn",
    "Tokenizer", "TopP", "User",
]  # fmt: skip

# -- what is worked on -------------------------------------------------------------------------------------------------
Adapter = Annotated[Path, typer.Argument(metavar="ADAPTER", help="An adapter's folder, Afina's or PEFT's.")]
DataFile = Annotated[
    Path, typer.Argument(metavar="FILE", help=".txt, .csv, .tsv, .jsonl, .json or .parquet, of any size.")
]
TextColumn = Annotated[
    str | None,
    typer.Option("--text", help="The file's column of texts (several with commas are joined); default: the adapter's."),
]
PairColumn = Annotated[str | None, typer.Option("--text-pair", help="The file's column of second texts.")]
StudyFolder = Annotated[Path, typer.Argument(metavar="DIR", help="A study's folder.")]

# -- how it is computed ------------------------------------------------------------------------------------------------
BaseModel = Annotated[str | None, typer.Option("--model", help="The base model, where it is not where it was.")]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Texts computed at once.")]
Device = Annotated[
    str, typer.Option("--device", help="auto (an NVIDIA GPU where there is one), cpu, cuda or cuda:1 and so on.")
]
Precision = Annotated[
    str | None,
    typer.Option(
        "--precision",
        help="fp32, bf16, fp16, nf4 or int8; default: as trained or stored (index: bf16 where that is fast).",
    ),
]
Offload = Annotated[
    str | None,
    typer.Option(
        "--offload",
        metavar="disk",
        help="Leave the base's layers in its files, read one by one: slow, in little memory.",
    ),
]
_SEED = typer.Option("--seed", min=0, help="What is drawn at random comes out the same with the same seed.")
Seed = Annotated[int, _SEED]
AnySeed = Annotated[int | None, _SEED]
"""A seed for commands that draw another each time unless one is given."""

# -- what is said, and how ---------------------------------------------------------------------------------------------
Format = Annotated[str, typer.Option("--format", help="table, or json for a program to read.")]
Language = Annotated[str, typer.Option("--language", help="en or pt.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the answer alone: no progress, no notes.")]
Reference = Annotated[
    Path | None, typer.Option("--reference", metavar="FILE", help="Published figures to show beside ours.")
]
FailAbove = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-above",
        metavar="[CHECK=]NUMBER",
        help="End with exit code 3 if a finding that chance does not explain is above this; several times.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Write over what is there.")]

# -- what a model writes -----------------------------------------------------------------------------------------------
Public = Annotated[bool, typer.Option("--public", help="Let all see what is uploaded; else its owner alone does.")]
Temperature = Annotated[float, typer.Option("--temperature", help="0 takes the likeliest token each time.")]
TopP = Annotated[float | None, typer.Option("--top-p", help="Draw among the likeliest, up to this share.")]
Stop = Annotated[list[str] | None, typer.Option("--stop", help="A text that ends what is written; several times.")]

# -- where in a file texts and dialogues stand -------------------------------------------------------------------------
Answer = Annotated[str | None, typer.Option("--answer", help="The column of answers.")]
Assistant = Annotated[list[str] | None, typer.Option("--assistant", help="A name of who answers; several times.")]
Label = Annotated[str | None, typer.Option("--label", help="The column of labels.")]
Messages = Annotated[str | None, typer.Option("--messages", help="The column of conversations.")]
Plain = Annotated[
    bool | None,
    typer.Option("--plain/--dialogues", help="Take rows as texts, or as dialogues, whatever they look like."),
]
Question = Annotated[str | None, typer.Option("--question", help="The column of questions (with --answer).")]
Separator = Annotated[
    str | None,
    typer.Option("--separator", metavar="REGEX", help="A line between dialogues; default: blank, ---, Chat 3."),
]
Similarity = Annotated[
    float, typer.Option("--similarity", min=0, max=1, help="From which a near-duplicate goes; 0 keeps all.")
]
Target = Annotated[str | None, typer.Option("--target", help="The column of answers.")]
Text = Annotated[str | None, typer.Option("--text", help="The column of texts.")]
Tokenizer = Annotated[
    str | None, typer.Option("--tokenizer", metavar="MODEL", help="Count tokens as this model does; default: words.")
]
User = Annotated[
    list[str] | None, typer.Option("--user", help="A name of who asks, as it stands before the colon; several times.")
]
