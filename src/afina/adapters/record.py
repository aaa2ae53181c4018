"""Read and write afina.json, which an adapter's folder has beside its weights, without torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afina.adapters.record_file import read_record_file
from afina.errors import AfinaError, UsageError

if TYPE_CHECKING:
    from afina.methods.base import Method

__all__ = ["AdapterRecord", "read_record", "write_record"]


@dataclass(frozen=True)
class AdapterRecord:
    """Holds what an adapter's folder says beside its weights."""

    model: str
    method: str
    settings: Mapping[str, Any]
    task: Mapping[str, Any]
    max_length: int
    precision: str
    seed: int
    total_steps: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Origin of the adapter: data set, metrics, versions."""

    @property
    def learned_pairs(self) -> bool | None:
        """Tell whether each train row was a pair of texts; None where that is not known, as of adapters from elsewhere."""
        columns = self.facts.get("columns")
        return "text_pair" in columns if isinstance(columns, Mapping) and "text" in columns else None

    def make_method(self) -> "Method":
        """Return the method that was trained."""
        from afina.methods.base import make_method

        return make_method(self.method, self.settings)


def write_record(folder: Path, config: Mapping[str, Any], record: AdapterRecord) -> None:
    """Write the two JSON files of an adapter's folder."""
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / "afina.json").write_text(json.dumps(vars(record), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_record(folder: Path, *, check_method: bool = True) -> AdapterRecord:
    """Read an adapter's description; raises `UsageError` when the folder is none.

    To see that there is such a method with such settings imports torch, and is not done without `check_method`.
    """
    path = folder / "afina.json"
    try:
        record = AdapterRecord(**read_record_file(path, AdapterRecord))
    except FileNotFoundError:
        if not folder.is_dir():
            raise UsageError(f"{folder} does not exist; give the folder of an adapter.") from None
        raise UsageError(f"{folder} is no adapter of Afina: it has no afina.json.") from None
    try:
        if check_method:
            record.make_method()
    except UsageError as error:
        raise AfinaError(f"{path}: {error}") from None
    return record
