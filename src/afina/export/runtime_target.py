"""Share what export targets need whose folders a runtime opens: a manifest, and a comparison in that runtime."""

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from afina.errors import UsageError
from afina.export.target import ExportTarget

if TYPE_CHECKING:
    from afina.data.rows import Rows
    from afina.export.manifest import Manifest
    from afina.export.parity import Parity
    from afina.predictor.load import Told
    from afina.predictor.predictor import Predictor

__all__ = ["RuntimeTarget"]


@dataclass(frozen=True, kw_only=True)
class RuntimeTarget(ExportTarget):
    """Writes a folder that a runtime opens; a subclass writes its files and says what they take (`facts`)."""

    runtime: ClassVar[str] = ""
    """The runtime that opens it, one of those in `runtimes/`."""
    made_with: ClassVar[tuple[str, ...]] = ("torch", "transformers")
    """Packages whose versions the manifest keeps."""

    def rounded_to(self, precision: str) -> str | None:
        from afina.backbone.quantise import packed

        return precision if packed(precision) is not None else None

    def files(self, adapter: "Predictor", folder: Path) -> Mapping[str, Any]:
        """Write all files but the manifest into `folder`; return the manifest's `inputs`, `reading` and `precision`."""
        raise NotImplementedError(f"{self.name} writes nothing")

    def write(self, adapter: "Predictor", folder: Path) -> Mapping[str, float] | None:
        from afina.export.manifest import write_manifest

        write_manifest(folder, self.manifest(adapter, self.files(adapter, folder)))
        return None

    def compare(
        self, tested: "Predictor", exact: "Predictor", folder: Path, rows: "Rows | None"
    ) -> "tuple[Parity, float | None]":
        """Open the folder in its runtime, and return how near it is to the adapter, which its manifest then says, too."""
        return self.held(tested, exact, folder, rows)

    def held(
        self, tested: "Predictor", exact: "Predictor", folder: Path, rows: "Rows | None", *, judged: bool = True
    ) -> "tuple[Parity, float | None]":
        """Do what `compare` does; what a graph writes is not `judged` where its weights were rounded."""
        from afina.export.held import hold
        from afina.export.manifest import write_manifest
        from afina.export.opened import open_export
        from afina.export.writing.held import hold_writer

        opened = open_export(folder)
        if tested.task.writes:
            parity, effect = hold_writer(tested, exact, opened, rows, judged=judged)
        else:
            parity, effect = hold(tested, exact, opened, rows)
        manifest = opened.manifest  # `hold` has written what it asked since
        facts = parity.figures | {"agreeing": parity.agreeing}
        source = manifest.source | {"precision": tested.record.precision}
        write_manifest(folder, replace(manifest, parity=facts, source=source))
        return parity, effect

    def manifest(self, adapter: "Predictor", facts: Mapping[str, Any]) -> "Manifest":
        """Return the manifest of what was written of an adapter, but for how near it is."""
        from afina.export.held import longest
        from afina.export.manifest import Manifest, digest_of
        from afina.export.runtime import RUNTIMES

        weights = sorted(path for path in adapter.folder.glob("*") if path.suffix in (".safetensors", ".bin"))
        versions = {name: importlib.metadata.version(name) for name in ("afina", *self.made_with)}
        return Manifest(
            target=self.name, runtime=self.runtime, runtime_version=RUNTIMES[self.runtime].version(),
            source={
                "adapter": adapter.folder.resolve().name, "sha256": digest_of(*weights), "method": adapter.record.method,
                "model": adapter.record.model,
            },
            task=adapter.task.outside().state(), max_length=longest(adapter),
            versions=versions, **facts,
        )  # fmt: skip

    def foresee(self, adapter: "Told") -> None:
        from afina.export.runtime import RUNTIMES

        RUNTIMES[self.runtime].version()
        if adapter.method.gradient_free:
            raise UsageError(
                f"{adapter.record.method} is a classical model on embeddings, which --to {self.name} has no form for; use it "
                "with `afina predict`."
            )
