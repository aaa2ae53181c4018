"""Read folders that Hugging Face PEFT wrote: adapter_config.json and adapter_model.safetensors."""

from pathlib import Path

from afina.adapters.format import AdapterFormat, Base, FolderContents, adapter_format
from afina.adapters.given_branches import label_state
from afina.adapters.peft_files import WEIGHTS, read_peft
from afina.adapters.peft_keys import read_peft_config
from afina.adapters.peft_parts import EMBEDS
from afina.adapters.record import AdapterRecord
from afina.adapters.record_file import check_model_name
from afina.backbone.load import Backbone
from afina.errors import UsageError
from afina.precision import EXACT
from afina.tasks.base import the

__all__ = ["Peft"]


@adapter_format("peft")
class Peft(AdapterFormat):
    """Reads folders whose configuration says of the task no more than the kind of model."""

    @classmethod
    def record(cls, folder: Path) -> AdapterRecord:
        try:
            config = read_peft_config(folder)
        except FileNotFoundError:
            raise UsageError(f"{folder} is no adapter: it has neither afina.json nor adapter_config.json.") from None
        # By all endings, as PEFT's older versions and other programs call pickles differently.
        pickled = [file.name for file in folder.glob("adapter_model.*") if file.suffix != ".safetensors"]
        if pickled and not (folder / WEIGHTS).exists():
            raise UsageError(f"{folder} has only pickled weights ({pickled[0]}), which can run code; save safetensors.")
        if name := config.get("base_model_name_or_path"):
            check_model_name(folder / "adapter_config.json", name)
        return AdapterRecord(
            model=config.get("base_model_name_or_path") or "(unnamed)", method=f"peft:{config['peft_type']}", settings=config,
            # Longer than any text: PEFT's file does not say how long its texts were.
            task={}, max_length=1 << 30, precision=EXACT, seed=0,
        )  # fmt: skip

    @classmethod
    def base(cls, record: AdapterRecord) -> Base:
        kind = record.settings.get("task_type")
        return Base(speaks=kind in ("CAUSAL_LM", "SEQ_2_SEQ_LM"), tags=kind == "TOKEN_CLS")

    @classmethod
    def check_base(cls, folder: Path, record: AdapterRecord) -> None:
        # An adapter of a certain revision of a model on the hub, of which the newest would be loaded.
        revision = record.settings.get("revision")
        if revision not in (None, "", "main") and not Path(record.model).exists():
            raise UsageError(
                f"{folder} was trained on revision {revision} of {record.model}, and the newest would be loaded; download "
                "that one and give its folder by --model."
            )

    @classmethod
    def read(cls, folder: Path, backbone: Backbone, record: AdapterRecord) -> FolderContents:
        adapter, names, notes = read_peft(folder, backbone, record)
        if record.settings.get("task_type") == EMBEDS:
            return FolderContents(adapter, the(embeds=True).of_labels(()).state(), notes)
        if names:
            return FolderContents(adapter, label_state(names, backbone), notes)
        # What has no labels was trained to write; it can say too which of several answers is likeliest.
        return FolderContents(adapter, the(speaks=True, writes=False).of_labels(()).state(), notes)

    @classmethod
    def peft_files(cls, folder: Path) -> tuple[str, ...]:
        return ("adapter_config.json", WEIGHTS)
