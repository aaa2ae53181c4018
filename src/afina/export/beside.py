"""Write what stands beside an exported graph: tokenizer, configuration with the labels, a script that predicts, a card."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from afina.backbone.files import model_path
from afina.data.images import preprocessing_of
from afina.data.tokens.words import words_with_space
from afina.errors import UsageError
from afina.predictor.predictor import Predictor
from afina.tasks.base import Task

__all__ = ["write_beside"]


def write_beside(loaded: Predictor, folder: Path, *, runtime: str, merged: bool) -> Mapping[str, Any]:
    """Write all but the graph and the manifest; return what of reading inputs a program without Afina has to know.

    The script is that of the `runtime` in `scripts/`. Raises `UsageError` for a tokenizer that is no tokenizer.json.
    """
    config = loaded.backbone.config
    names = list(loaded.task.label_names or ()) or ["number"]
    config = type(config).from_dict(config.to_dict())
    config.id2label, config.label2id = dict(enumerate(names)), {name: index for index, name in enumerate(names)}
    config.save_pretrained(folder)
    reading: dict[str, Any]
    if loaded.backbone.anatomy.row.inputs == "image":
        reading = {"image": preprocessing_of(config, model_path(loaded.record.model))}
    else:
        tokenizer = loaded.tokenizer
        if not getattr(tokenizer, "is_fast", False):
            raise UsageError(
                f"The tokenizer {type(tokenizer).__name__} of {loaded.record.model} cannot be written as a tokenizer.json, "
                "which programs without Afina read."
            )
        tokenizer.save_pretrained(folder)
        reading = {"pad_token_id": int(tokenizer.pad_token_id), "truncation_side": tokenizer.truncation_side}
        if loaded.task.tags:
            reading["words_with_space"] = words_with_space(tokenizer)
        reading["answers"] = _answers(loaded.task)
    kind = "images" if "image" in reading else "words" if loaded.task.tags else "texts"
    text = resources.files("afina.export").joinpath("scripts", f"{runtime}_{kind}.txt").read_text(encoding="utf-8")
    (folder / "predict.py").write_text(text, encoding="utf-8")
    (folder / "README.md").write_text(_card(loaded, merged=merged), encoding="utf-8")
    return reading


def _answers(task: Task) -> str:
    """Return what a script makes of outputs: one label, any of several labels, a number or a vector."""
    if task.embeds:
        return "vector"
    return "labels" if task.several else "number" if task.judged == "number" else "label"


def _card(loaded: Predictor, *, merged: bool) -> str:
    record = loaded.record
    names = loaded.task.label_names
    where = "merged into the weights" if merged else "as branches in the graph"
    return "\n".join([
        f"# {record.method} on {Path(record.model).name}: {loaded.task.name}",
        "",
        f"An adapter ({record.method}, {where}) of `{record.model}`, exported by Afina.",
        *([f"Labels: {', '.join(names)}."] if names else []),
        f"Texts are read up to {record.max_length} tokens.",
        "",
        "    pip install onnxruntime tokenizers numpy",
        "    python predict.py \"a text\" \"another\"",
        "",
        "`afina_export.json` says what it is and how near it was to the adapter; `afina export --check` looks again.",
        "",
    ])  # fmt: skip
