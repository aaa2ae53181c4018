"""Say what a folder is that gets a card: an adapter as it was saved, or what an export made of one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from string import Template

from afina.card.known import Known

__all__ = ["AFINA_WAY", "PEFT_WAY", "Form", "lines", "own_form"]

AFINA_WAY = """import afina
adapter = afina.load($local)
print(adapter.$example)"""
PEFT_WAY = """from peft import PeftModel
from transformers import $auto
model = PeftModel.from_pretrained($auto.from_pretrained($base$labels), $at)"""


@dataclass(frozen=True)
class Form:
    """Says what stands in a folder and how it is loaded."""

    target: str | None = None
    """What it was exported to; None for an adapter as it was saved."""
    library: str | None = None
    """The library that the hub loads it by."""
    ways: Mapping[str, str] = field(default_factory=dict)
    """By runtime the lines that load it, with $places (`lines`)."""
    has_base: bool = False
    """Whether the base model's weights are in it."""
    facts: Sequence[str] = ()
    """What is to be said of it beside what holds for the adapter, in sentences."""
    hub: str | None = None
    """Its name on the hub, where it is to go there."""

    def on_hub(self, name: str) -> "Form":
        """Return it as the hub has it under a name."""
        return replace(self, hub=name)


def own_form(known: Known) -> Form:
    """Return the form of an adapter as it was saved: PEFT loads its files too where they are PEFT's, head and all."""
    ways = {"Afina": AFINA_WAY}
    if known.record.facts.get("peft") is True and known.task.unit == (0.0, 1.0):  # else its head gives deviations
        ways["PEFT"] = PEFT_WAY
    return Form(library="peft" if "PEFT" in ways else None, ways=ways)


def lines(way: str, known: Known, form: Form) -> str:
    """Return the lines of a way to load, its places filled in.

    These are $at (the folder, or its name on the hub), $local (the folder, fetched from the hub where it is there), $base
    (the base model), $auto (its class in transformers), $labels, $example (what an adapter is asked), $reader and $reading
    (what turns a text into numbers), and $run (what the model is asked).
    """
    base = known.base
    at = repr(form.hub or ".").replace("'", '"')
    of_base = base.hub if base.hub is not None and base.same_weights else f"path/to/{base.name}"
    if base.inputs == "text":
        reader, reading = "AutoTokenizer", f"tokenizer = AutoTokenizer.from_pretrained({at})"
        tokens = 'tokenizer("A text.", return_tensors="pt")'
        run = f"model(**{tokens})" if not known.task.speaks else f"tokenizer.decode(model.generate(**{tokens})[0])"
    else:
        reader, reading = "AutoImageProcessor", f'processor = AutoImageProcessor.from_pretrained("{of_base}")'
        run = "model(**processor(image, return_tensors='pt'))"
    pairs = "text_pair" in (known.record.facts.get("columns") or {})
    example = known.task.example(pairs=pairs) if base.inputs == "text" else "predict(images)"
    own = "" if known.task.speaks or known.task.embeds else f", num_labels={known.task.outputs}"
    places = {
        "at": at, "local": f"snapshot_download({at})" if form.hub else at, "base": f'"{of_base}"', "auto": _auto(known),
        "labels": own, "example": example, "reader": reader, "reading": reading, "run": run,
    }  # fmt: skip
    text = Template(way).safe_substitute(places)
    fetched = "from huggingface_hub import snapshot_download\n"
    return fetched + text if "snapshot_download(" in text and fetched not in text else text


def _auto(known: Known) -> str:
    """Return the class of transformers that loads a model for the task."""
    task = known.task
    if task.embeds:
        return "AutoModel"
    if task.speaks:
        return "AutoModelForSeq2SeqLM" if known.base.reads_apart else "AutoModelForCausalLM"
    if task.tags:
        return "AutoModelForTokenClassification"
    return "AutoModelForImageClassification" if known.base.inputs == "image" else "AutoModelForSequenceClassification"
