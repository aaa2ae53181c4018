"""Say what a folder is that gets a card: an adapter as it was saved, or what an export made of one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from afina.card.known import Known

__all__ = ["AFINA_WAY", "PEFT_WAY", "PEFT_WAYS", "Form", "lines", "on_hub", "own_form"]

_HERE = '"."'
"""The folder itself, as its lines name it."""
_COMMANDS = ("pip ", "python ", "afina ", "ollama ", "llama-cli ")
"""Beginnings of lines that are a shell's, not Python's."""

AFINA_WAY = """import afina
adapter = afina.load($at)
print(adapter.$example)"""
PEFT_WAY = """from peft import PeftModel
from transformers import $auto
model = PeftModel.from_pretrained($auto.from_pretrained($base$labels), $at)"""


PEFT_WAYS = {"PEFT": PEFT_WAY, "Afina": AFINA_WAY}
"""Lines of Python that load a folder of PEFT's, by runtime."""


@dataclass(frozen=True)
class Form:
    """Says what stands in a folder and how it is loaded."""

    target: str | None = None
    """The export target; None for an adapter as it was saved."""
    library: str | None = None
    """The library that the hub loads it by."""
    ways: Mapping[str, str] = field(default_factory=dict)
    """Lines that load it, by runtime, with $places (`lines`)."""
    has_base: bool | None = False
    """True where the base model's weights are in it; None where that is not known."""
    compared: Sequence[tuple[str, str]] = ()
    """Rows of the table that compares an export with its adapter: a figure's name and its value, over `rows` rows."""
    rows: int = 0
    said: Sequence[str] = ()
    """Further sentences about an export."""


def own_form(known: "Known") -> Form:
    """Return the form of an adapter as it was saved: PEFT loads its files too where they are PEFT's, head and all."""
    ways = {"Afina": AFINA_WAY}
    if known.record.facts.get("peft") is True and known.task.unit == (0.0, 1.0):  # else its head gives deviations
        ways["PEFT"] = PEFT_WAY
    return Form(library="peft" if "PEFT" in ways else None, ways=ways, has_base=known.record.facts.get("has_base"))


def lines(way: str, known: "Known") -> tuple[str, str]:
    """Return the language of a way to load, python or sh, and its lines with their places filled in.

    These are $at (the folder), $base (the base model), $auto (its class in transformers), $labels, $example (what an adapter
    is asked), $reader, $reading and $reads (what turns a text into numbers, and from where), $run (what the model is asked)
    and $asked (on a command line). `on_hub` makes them those of a model on the hub.
    """
    base, text = known.base, known.base.inputs == "text"
    # Where the hub's weights are not those that were trained on, the reader has to give a folder of his own.
    of_base = f'"{base.hub if base.hub is not None and base.same_weights else f"path/to/{base.name}"}"'
    pairs = bool(known.record.learned_pairs)
    # A head's width has to be said, as the base's own configuration says another.
    labels = f", num_labels={known.task.outputs}" if known.task.has_head else ""
    asked = ('"A text." --pair "Its second text."' if pairs else '"A text."') if text else "image.png"
    places = {
        "at": _HERE, "base": of_base, "auto": known.task.auto_class(base.inputs, reads_apart=base.reads_apart),
        "labels": labels, "example": known.task.example(pairs=pairs) if text else "predict(images)",
        "reader": "AutoTokenizer" if text else "AutoImageProcessor", "reading": "tokenizer" if text else "processor",
        "reads": _HERE if text else of_base, "run": _run(known), "asked": asked,
    }  # fmt: skip
    return "sh" if way.startswith(_COMMANDS) else "python", Template(way).safe_substitute(places)


def on_hub(lines: str, name: str) -> str:
    """Return the part of a card that says how to load a folder, as it is for one that is on the hub under a name."""
    fetched = "from huggingface_hub import snapshot_download\n"
    lines = lines.replace(f"afina.load({_HERE})", f'afina.load(snapshot_download("{name}"))')
    # The longer form first: what is left of the folder's sign after it stands for the name.
    lines = lines.replace(_HERE, f'"{name}"').replace("```sh\n", f"```sh\nhf download {name} --local-dir .\n")
    # Each block of Python is run by itself, so each of them fetches what it loads.
    blocks = lines.split("```python\n")
    return "```python\n".join(fetched + part if number and "snapshot_download(" in part else part
                              for number, part in enumerate(blocks))  # fmt: skip


def _run(known: "Known") -> str:
    """Return what a model of transformers' is asked, and how its answer is read."""
    if known.base.inputs != "text":
        return 'model(**processor(image, return_tensors="pt")).logits'
    texts = '"A text.", "Its second text."' if known.record.learned_pairs else '"A text."'
    return known.task.asked(f'tokenizer({texts}, return_tensors="pt")')
