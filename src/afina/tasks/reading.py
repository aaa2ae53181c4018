"""A data set's rows, read for the task that is asked for, or for the one that the rows show."""

from dataclasses import replace

from afina.data.columns import numbered
from afina.data.images import is_images, load_images
from afina.data.labelled import read_labelled
from afina.data.rows import TextDataset
from afina.data.sources.finding import find
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError
from afina.tasks.base import TASKS, in_turn, the
from afina.tasks.source import Source

__all__ = ["load_text_dataset"]


def load_text_dataset(
    spec: DatasetSpec,
    *,
    task: str = "auto",
    train_limit: int | None = None,
    test_limit: int | None = None,
    trust_remote_code: bool = False,
) -> TextDataset:
    """Read, check and limit a data set.

    Limits are stratified by label and the same for every run. Raises `UsageError` in one sentence for what is wrong.
    """
    if is_images(spec):
        return load_images(spec, the(images=True).name, train_limit=train_limit, test_limit=test_limit)
    parts = find(spec, trust_remote_code)
    # Numbered before any row is left out, so that errors and mistakes name the row of the file.
    parts = replace(parts, tables={name: numbered(table) for name, table in parts.tables.items()})
    # What stands nearer to the data counts first: the data set's own key, the study's, what a preset is known to be.
    asked = next((one for one in (spec.task, task, parts.spec.task) if one != "auto"), "auto")
    source = Source(spec, parts, train_limit, test_limit)
    if parts.spec.flags and asked != "auto" and not TASKS.named(asked).several:
        raise UsageError(
            f"label: {', '.join(parts.spec.flags)} are several columns, and task: {asked} learns one label a row; name one, "
            f"or set task: {the(several=True).name}."
        )
    data = _found(source) if asked == "auto" else TASKS.named(asked).read(source)
    return replace(data, metric=parts.spec.metric)


def _found(source: Source) -> TextDataset:
    """Read rows for the task that they show: by their columns, else by their labels."""
    meant = next((cls for cls in in_turn() if cls.is_meant(source.parts)), None)
    if meant is not None:
        return meant.read(source)
    # What one label a row is, is read once: each task in turn looks at the same labels.
    labelled = read_labelled(source.parts, advise=True)
    return next(cls for cls in in_turn() if cls.claims(labelled)).of_labelled(source, labelled)
