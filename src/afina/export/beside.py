"""Write what stands beside an exported graph: tokenizer, configuration with the labels, a script that predicts."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from afina.backbone.model_files import model_path
from afina.data.images import preprocessing_of
from afina.data.tokens.as_text import controls_for
from afina.data.tokens.words import words_with_space
from afina.errors import UsageError
from afina.export.runtime import RUNTIMES
from afina.predictor.predictor import Predictor

__all__ = ["SCRIPT", "script_of", "write_beside"]

SCRIPT = "predict.py"


def write_beside(loaded: Predictor, folder: Path, *, runtime: str, several: bool = False) -> Mapping[str, Any]:
    """Write all but the graph and the manifest; return what of reading inputs a program without Afina has to know.

    Where it is one of `several` adapters in a graph its labels are not the folder's.

    The script is that of what it reads, with the lines of the `runtime`, both in `scripts/`. Raises `UsageError` for a
    tokenizer that is no tokenizer.json.
    """
    config = loaded.backbone.config
    names = ["see afina_export.json"] if several else list(loaded.task.label_names or ()) or ["number"]
    # A copy: the model here keeps the labels that it has.
    config = type(config).from_dict(config.to_dict())
    config.id2label, config.label2id = dict(enumerate(names)), {name: index for index, name in enumerate(names)}
    config.save_pretrained(folder)
    reading: dict[str, Any]
    if loaded.backbone.anatomy.row.inputs == "image":
        reading = {"image": preprocessing_of(config, model_path(loaded.record.model))}
    else:
        tokenizer = loaded.tokenizer
        # A slow tokenizer's rules are Python's own, which no other program has.
        if not getattr(tokenizer, "is_fast", False):
            raise UsageError(
                f"The tokenizer {type(tokenizer).__name__} of {loaded.record.model} cannot be written as a tokenizer.json, "
                "which programs without Afina read."
            )
        tokenizer.save_pretrained(folder)
        reading = {"pad_token_id": int(tokenizer.pad_token_id), "truncation_side": tokenizer.truncation_side}
        reading |= controls_for(tokenizer)
        if loaded.task.tags:
            reading["words_with_space"] = words_with_space(tokenizer)
        reading["answers"] = loaded.task.answer_form
        if loaded.record.learned_pairs is not None and not loaded.task.embeds:
            reading["pairs"] = loaded.record.learned_pairs
    kind = "images" if "image" in reading else "words" if loaded.task.tags else "texts"
    # A script for a kind of input, filled with a runtime's lines: so each is written once.
    (folder / SCRIPT).write_text(script_of(runtime, kind), encoding="utf-8")
    return reading


def script_of(runtime: str, kind: str) -> str:
    """Return a script that predicts by a graph in a runtime: what it imports and how it runs is the runtime's own file."""
    scripts = resources.files("afina.export").joinpath("scripts")
    imported, _, runs = scripts.joinpath(f"{runtime}.txt").read_text(encoding="utf-8").partition("\n\n")
    engine = RUNTIMES[runtime]
    text = scripts.joinpath(f"{kind}.txt").read_text(encoding="utf-8")
    filled = {
        "import": imported, "runtime": runs.rstrip(), "file": engine.file, "package": engine.package,
        "suffix": Path(engine.file).suffix,
    }  # fmt: skip
    for name, value in filled.items():
        text = text.replace("{{" + name + "}}", value)
    return text
