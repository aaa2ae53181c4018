"""Write folders that `PeftModel.from_pretrained` loads."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

from afina.adapters.adapter import peft_config, stored_tensors, task_type
from afina.adapters.record import write_record
from afina.backbone.tensor_file import save_tensors
from afina.errors import UsageError
from afina.export.merge import plain_head
from afina.methods.base import registry
from afina.methods.peft_form import PeftFile
from afina.predictor.predictor import Predictor

__all__ = ["refuse_classical", "write_file", "write_peft", "write_tokenizer"]

_ROOT = "base_model.model."


def write_peft(loaded: Predictor, folder: Path) -> None:
    """Write the adapter in PEFT's format; raises `UsageError` where PEFT has no word for it."""
    write_tokenizer(loaded, folder)
    # What PEFT wrote stays as it is, to the byte.
    if files := loaded.format.peft_files(loaded.folder):
        for name in files:
            shutil.copy(loaded.folder / name, folder / name)
        return
    refuse_classical(loaded)
    form = loaded.method.peft
    if form is not None:
        placed = loaded.adapter.placed()
        made = form.converted(loaded.method.name, placed, loaded.backbone, tags=loaded.task.tags)
        if made is not None:
            write_file(folder, made, loaded)
            return
    config = peft_config(loaded.adapter, loaded.backbone, loaded.record)
    if form is None or config["peft_type"] != form.peft_type:
        known = ", ".join(name for name, cls in registry().items() if cls.peft is not None)
        raise UsageError(
            f"PEFT has no {loaded.record.method}{'' if form is None else f' {form.beyond}'} (it has {known}); "
            "--to merged and --to lora are other ways out where the method allows them."
        )
    write_file(folder, PeftFile(form.peft_type, stored_tensors(loaded.adapter, loaded.backbone), config, _ROOT), loaded)

    # PEFT does not mind the file beside its own, and here it keeps label names and limits.
    task = loaded.task.outside().state()  # the head that was written gives numbers in their own unit
    record = replace(loaded.record, task=task, settings=loaded.method.stored().settings())
    write_record(folder, json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")), record)


def write_file(folder: Path, made: PeftFile, loaded: Predictor) -> None:
    """Write PEFT's two files, with the head as it is outside where the form has one."""
    tensors, config = dict(made.tensors), dict(made.config)
    if made.head_root is not None:
        plain = plain_head(loaded)
        # The head as others read it: in the label's own unit.
        tensors |= {f"{made.head_root}{name}": value for name, value in plain.named_parameters()}
        config["modules_to_save"] = plain.saved_modules
    save_tensors(
        {name: value.detach().float().cpu().contiguous() for name, value in tensors.items()},
        folder / "adapter_model.safetensors", metadata={"format": "pt"},
    )  # fmt: skip
    config = {
        "peft_type": made.peft_type, "task_type": task_type(loaded.adapter, loaded.backbone), "inference_mode": True,
        "base_model_name_or_path": loaded.record.model, **config,
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def write_tokenizer(loaded: Predictor, folder: Path) -> None:
    """Write the tokenizer that the adapter brought, if any: its tokens are what it was trained with."""
    # The base's own tokenizer is where the base is.
    if loaded.tokenizer is not loaded.backbone.tokenizer:
        loaded.tokenizer.save_pretrained(folder)


def refuse_classical(loaded: Predictor) -> None:
    """Raise `UsageError` for what is no adapter beside a frozen model."""
    if loaded.method.gradient_free or loaded.method.owns_backbone:
        raise UsageError(f"{loaded.record.method} is no adapter beside a frozen model; export it --to merged.")
