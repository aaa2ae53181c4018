"""Keep what a plan has looked at of a study: shapes of models, sizes of data sets, and what was rehearsed of its runs."""

from collections.abc import Callable
from typing import Any

from afina.backbone.shapes import read_shape
from afina.backbone.storage.base import imitated
from afina.config import StudyConfig
from afina.errors import AfinaError
from afina.study.devices.changes import Case
from afina.study.devices.device import Device
from afina.study.devices.figures import Computed, computed
from afina.study.fit import kind_of_run
from afina.study.needs import Always
from afina.study.plan import Run
from afina.study.rehearsal import Rehearsed
from afina.study.sizes import Sizes, sizes_of
from afina.study.staging import rehearsed_run

__all__ = ["Cells"]


class Cells:
    """Looks once at each model and data set of a study, and rehearses once what its runs share that cost alike.

    What a change of the study makes of a run is rehearsed anew, and not kept.
    """

    def __init__(self, config: StudyConfig) -> None:
        self.config = config
        self._shapes: dict[str, Any] = {}
        self._sizes: dict[tuple[str, int], Sizes] = {}
        self._rehearsed: dict[tuple[str, ...], tuple[Rehearsed, Always]] = {}
        self._computed: dict[tuple[str, ...], Computed | AfinaError] = {}

    def look_at_all(self) -> None:
        """Look at every model and data set; raises `UsageError` for one that is nowhere."""
        for model in self.config.model:
            self.shape(model)
        for model in self.config.model:
            for dataset in range(len(self.config.dataset)):
                self.sizes(model, dataset)

    def shape(self, model: str) -> Any:
        """Return a model's configuration; raises `UsageError` for one that is nowhere."""
        if model not in self._shapes:
            self._shapes[model] = read_shape(model, trust_remote_code=self.config.trust_remote_code)
        return self._shapes[model]

    def sizes(self, model: str, dataset: int) -> Sizes:
        """Return how large a data set is to a model; raises `UsageError` for what cannot be read."""
        if (model, dataset) not in self._sizes:
            self._sizes[model, dataset] = sizes_of(self.config, self.config.dataset[dataset], model)
        return self._sizes[model, dataset]

    def rehearsed(
        self, run: Run, config: StudyConfig, shape: Any, sizes: Sizes, *, device: str, precision: str,
        observer: Callable[[int, int], None] = lambda name, size: None,
    ) -> tuple[Rehearsed, Always]:  # fmt: skip
        """Call `rehearsed_run`, once for what is the study as it is, on this kind of processor."""
        # On a card the observer has to hear every storage.
        if device != "cpu" or not self._is_as_it_is(run, config, sizes):
            return rehearsed_run(run, config, shape, sizes, device=device, precision=precision, observer=observer)
        # A machine that is planned for may imitate what this one computes in.
        key = (kind_of_run(run), precision, *imitated(device))
        if key not in self._rehearsed:
            self._rehearsed[key] = rehearsed_run(run, config, shape, sizes, device=device, precision=precision)
        return self._rehearsed[key]

    def computed(
        self, run: Run, config: StudyConfig, shape: Any, sizes: Sizes, device: Device, precision: str
    ) -> Computed:
        """Call `figures.computed`, once for what is the study as it is; raises the same `AfinaError` again."""
        if not self._is_as_it_is(run, config, sizes):
            return computed(run, config, shape, sizes, device, precision, rehearse=self.rehearsed)
        # Machines of one kind that compute in the same are alike.
        key = (kind_of_run(run), device.kind, str(device.bfloat16), precision)
        if key not in self._computed:
            try:
                self._computed[key] = computed(run, config, shape, sizes, device, precision, rehearse=self.rehearsed)
            except AfinaError as error:
                self._computed[key] = error
        if isinstance(known := self._computed[key], AfinaError):
            raise known
        return known

    def case(self, run: Run, device: Device, precision: str) -> Case:
        """Return a run on a machine as it may be changed; raises `AfinaError` for a model or data set that is nowhere."""
        shape, sizes = self.shape(run.model), self.sizes(run.model, run.dataset)
        return Case(run, self.config, shape, sizes, device, precision, compute=self.computed)

    def _is_as_it_is(self, run: Run, config: StudyConfig, sizes: Sizes) -> bool:
        return config is self.config and sizes is self._sizes.get((run.model, run.dataset))
