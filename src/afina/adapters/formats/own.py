"""Read Afina's own folders: afina.json beside the two files that PEFT knows."""

from pathlib import Path

from afina.adapters.adapter import Adapter, load_adapter, read_tensors
from afina.adapters.format import AdapterFormat, Base, FolderContents, adapter_format
from afina.adapters.record import AdapterRecord, read_record
from afina.backbone.load import Backbone
from afina.methods.base import Method
from afina.methods.classical import FittedMethod
from afina.tasks.base import restore

__all__ = ["Own"]


@adapter_format("afina")
class Own(AdapterFormat):
    """Reads folders whose record says all: method, settings, task, base and its precision."""

    file = "afina.json"
    precedence = 2

    @classmethod
    def record(cls, folder: Path) -> AdapterRecord:
        return read_record(folder)

    @classmethod
    def method(cls, record: AdapterRecord) -> Method:
        return record.make_method()

    @classmethod
    def base(cls, record: AdapterRecord) -> Base:
        task = restore(record.task)
        return Base(speaks=task.speaks, tags=task.tags)

    @classmethod
    def read(cls, folder: Path, backbone: Backbone, record: AdapterRecord) -> FolderContents:
        task, method = restore(record.task), record.make_method()
        # A fitted model has no branches: all of it is its head.
        if isinstance(method, FittedMethod):
            tensors = read_tensors(folder / "adapter_model.safetensors", integers=True)
            return FolderContents(Adapter(method, [], method.head(tensors, backbone, task.outputs)), record.task)
        return FolderContents(load_adapter(folder, backbone, record, task.outputs), record.task)
