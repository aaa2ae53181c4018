"""Write an adapter's merged model as a GGUF file with all that a program needs to speak with it."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afina.backbone.load import model_class
from afina.export.chat import chat_template_of, with_template
from afina.export.gguf.file import own_shapes, write_file
from afina.export.gguf.judge import Spoken, judge_model
from afina.export.gguf.later import asked_again, keep_answers, told_later
from afina.export.gguf.llama_cpp import LlamaCpp
from afina.export.gguf.modelfile import NO_TEMPLATE, modelfile
from afina.export.gguf.settings import GgufForm, form_of, model_header
from afina.export.gguf.vocabulary import vocabulary
from afina.export.merge import merged_model
from afina.export.parity import Parity, check_parity
from afina.generation.template import template_of
from afina.predictor.predictor import Predictor

__all__ = [
    "MODEL",
    "Facts",
    "check_model",
    "compare_model",
    "facts_for_later",
    "facts_of",
    "settings_of",
    "write_model",
    "write_modelfile",
]

MODEL = "model.gguf"


@dataclass(frozen=True)
class Facts:
    """Holds what is said of a model besides its weights."""

    form: GgufForm
    template: str | None
    ends: tuple[int, ...]
    stops: tuple[str, ...]


def check_model(tested: Predictor) -> None:
    """Raise `UsageError` for an adapter that cannot become a GGUF model, before anything is written."""
    import torch

    form = form_of(tested.backbone.config)
    config = tested.backbone.config
    with torch.device("meta"):
        # On the meta device: shapes are enough to say what llama.cpp has no place for, before any weight is merged.
        model = model_class(config, speaks=True).from_config(config)
    model_header(form, config, own_shapes(model))
    facts = facts_of(tested, form)
    rows = max(config.vocab_size, tested.adapter.words)
    vocabulary(tested.tokenizer, rows, facts.ends, form.architecture)


def facts_of(loaded: Predictor, form: GgufForm) -> Facts:
    """Return template, end tokens and stop texts of what an adapter writes."""
    tokenizer = loaded.tokenizer
    model_ends = getattr(loaded.backbone.generation, "eos_token_id", None)
    template = chat_template_of(loaded.task, tokenizer)
    texts = template_of(loaded.task, tokenizer).stop if template is not None else ()
    special = {
        **dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True)),
        **tokenizer.get_added_vocab(),
    }

    # A model may end at several tokens: the tokenizer's own, the template's end of a turn, and those of its generation
    # settings.
    candidates = [
        tokenizer.eos_token_id,
        *(special.get(text) for text in texts),
        *(model_ends if isinstance(model_ends, list | tuple) else [model_ends]),
    ]
    # Each once, in the order in which a reader asks for them: the first is what the file calls its end.
    ends = tuple(dict.fromkeys(place for place in candidates if place is not None))
    stops = dict.fromkeys([*(tokenizer.convert_ids_to_tokens(place) for place in ends), *texts])
    return Facts(form, template, ends, tuple(stops))


def settings_of(tokenizer: Any, facts: Facts, rows: int, name: str) -> dict[str, Any]:
    """Return all that a file says of a model's tokenizer and of how to speak with it."""
    settings = dict(vocabulary(tokenizer, rows, facts.ends, facts.form.architecture, name).settings)
    if facts.template is not None:
        settings["tokenizer.chat_template"] = facts.template
    return settings


def write_model(loaded: Predictor, folder: Path, kind: str) -> None:
    """Write `model.gguf` and a Modelfile."""
    form, model = form_of(loaded.backbone.config), merged_model(loaded)
    facts = facts_of(loaded, form)
    header, tensors = model_header(form, model.config, own_shapes(model))
    name = f"{Path(loaded.record.model).name} with {loaded.folder.resolve().name}"
    settings = header | settings_of(loaded.tokenizer, facts, model.config.vocab_size, name)
    write_file(folder / MODEL, form, model, kind, settings, tensors)
    write_modelfile(loaded, folder, facts, base=MODEL, adapter=None)


def write_modelfile(loaded: Predictor, folder: Path, facts: Facts, *, base: str, adapter: str | None) -> None:
    """Write what Ollama makes a model by."""
    tokenizer = loaded.tokenizer
    specials = {key: str(value) for key, value in tokenizer.special_tokens_map.items() if value}
    # Whether a text begins with a mark, seen by a text.
    plain, marked = (tokenizer("a", add_special_tokens=own)["input_ids"] for own in (False, True))
    text = modelfile(
        base, adapter=adapter, source=facts.template, specials=specials, begins=plain != marked, stops=facts.stops,
        context=loaded.backbone.context,
    )  # fmt: skip
    (folder / "Modelfile").write_text(text, encoding="utf-8")


def facts_for_later(exact: Predictor, folder: Path, kind: str, parity: Parity) -> dict[str, Any]:
    """Ask llama.cpp what it is asked again at any later time; return what the folder's manifest says of it."""
    from afina.export.gguf.compare import logits, reread

    prompts, context = asked_again(exact), exact.backbone.context
    # One thread, and exact attention: what is asked again later has to give the same numbers.
    with LlamaCpp(folder / MODEL, context=min(context, 1024), threads=1, exact=True) as cpp:
        keep_answers(folder, prompts, logits(reread(folder / MODEL), prompts), cpp)
    return told_later(parity, kind, context=context, ends=list(facts_of(exact, form_of(exact.backbone.config)).ends))


def compare_model(
    tested: Predictor, exact: Predictor, folder: Path, rows: Any, kind: str
) -> tuple[Parity, float | None]:
    """Return how near the file is to the adapter, and how much that changes its base.

    Raises `AfinaError` where it is not what was tested.
    """
    from afina.export.gguf.compare import reread

    form = form_of(exact.backbone.config)
    facts, merged = facts_of(exact, form), merged_model(exact).eval()
    tokenizer = with_template(exact.tokenizer, exact.task)
    spoken = Spoken(form, kind, tokenizer, facts.template, facts.ends)
    read = reread(folder / MODEL)
    judged = judge_model(folder / MODEL, spoken, merged, read, exact, rows)
    parity = check_parity(tested, exact, read, tested.tokenizer, rows)
    size = (folder / MODEL).stat().st_size
    notes = judged.notes + (NO_TEMPLATE,) * (NO_TEMPLATE in (folder / "Modelfile").read_text("utf-8"))
    # Some architectures look at a window in some layers; those that llama.cpp reads whole are known by the row.
    window = getattr(exact.backbone.config, "sliding_window", None)
    if form.row.whole and window and window < exact.backbone.context:
        notes += (f"llama.cpp reads all of a text, and the model a window of {window:,} tokens: longer texts differ.",)
    table = (*judged.rows, (f"size of {MODEL}", f"{size / 1e6:,.1f} MB"))
    return dataclasses.replace(parity, told=table, notes=notes), judged.effect
