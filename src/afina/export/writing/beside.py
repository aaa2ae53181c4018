"""Write what stands beside a graph that writes: tokenizer, chat template, generation settings, a script that chats."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from afina.backbone.before_text import places_taken
from afina.data.tokens.as_text import controls_for
from afina.errors import UsageError
from afina.export.beside import script_of
from afina.export.chat import chat_template_of, with_template
from afina.export.writing.graph import kept_shapes
from afina.generation.template import template_of
from afina.predictor.predictor import Predictor

__all__ = ["SCRIPT", "check_writer", "ends_of", "write_beside_writer"]

SCRIPT = "generate.py"


def check_writer(tested: Predictor, to: str, *, apart: bool) -> None:
    """Raise `UsageError` for an adapter that speaks and yet cannot leave as a graph that writes, or as two (`apart`)."""
    if not tested.task.writes:
        raise UsageError(
            f"--to {to} is for labels, numbers, vectors and writers; {tested.folder} was trained for {tested.task.name}, to "
            "choose by the model's language head: export it --to merged."
        )
    row = tested.backbone.anatomy.row
    if row.further and not apart:
        raise UsageError(
            f"--to {to} has writers that are decoders; {tested.backbone.anatomy.model_type} reads with one half and writes "
            "with another: export it --to onnx or openvino, or --to merged."
        )
    if not getattr(tested.tokenizer, "is_fast", False):
        raise UsageError(
            f"The tokenizer {type(tested.tokenizer).__name__} of {tested.record.model} cannot be written as a "
            "tokenizer.json, which programs without Afina read."
        )


def ends_of(loaded: Predictor) -> tuple[list[int], list[str]]:
    """Return the tokens that end what an adapter writes, the tokenizer's own first, and the texts that do."""
    tokenizer, task = loaded.tokenizer, loaded.task
    stops = template_of(task, tokenizer).stop if chat_template_of(task, tokenizer) is not None else ()
    special = dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
    special |= tokenizer.get_added_vocab()
    model_ends = getattr(loaded.backbone.generation, "eos_token_id", None)
    ends = [
        tokenizer.eos_token_id,
        *(model_ends if isinstance(model_ends, list | tuple) else [model_ends]),
        *map(special.get, stops),
    ]
    texts = [text for text in stops if text not in special]
    return list(dict.fromkeys(int(end) for end in ends if end is not None)), texts


def write_beside_writer(loaded: Predictor, folder: Path, *, runtime: str) -> Mapping[str, Any]:
    """Write all but the graph and the manifest; return what a program without Afina has to know to run the graph."""
    from transformers import GenerationConfig

    backbone, tokenizer = loaded.backbone, with_template(loaded.tokenizer, loaded.task)
    config = copy.deepcopy(backbone.config)
    config.vocab_size = max(config.vocab_size, loaded.adapter.words)
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    ends, stops = ends_of(loaded)
    generation = copy.deepcopy(backbone.generation) if backbone.generation is not None else GenerationConfig()
    generation.eos_token_id, generation.pad_token_id = ends or None, int(tokenizer.pad_token_id)
    generation.save_pretrained(folder)
    reading: dict[str, Any] = {
        "pad_token_id": int(tokenizer.pad_token_id), "truncation_side": tokenizer.truncation_side,
        "context": backbone.context - places_taken(loaded.adapter), "kept": [list(own) for own in kept_shapes(backbone)],
        "ends": ends, "stops": stops, "begin": tokenizer.bos_token or "", **controls_for(tokenizer),
    }  # fmt: skip
    if (source := chat_template_of(loaded.task, loaded.tokenizer)) is not None:
        (folder / "chat_template.jinja").write_text(source, encoding="utf-8")
        specials = {key: str(value) for key, value in tokenizer.special_tokens_map.items() if value}
        reading["chat"] = {"marks": template_of(loaded.task, loaded.tokenizer).marks, "specials": specials}
    kind = "rewrites" if backbone.anatomy.row.further else "writes"
    (folder / SCRIPT).write_text(script_of(runtime, kind), encoding="utf-8")
    return reading
