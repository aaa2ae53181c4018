"""Match the rows of a fine-tuned classifier's last layer to a data set's labels: by their names, never by place."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

__all__ = ["answers_each_label", "gives_several_numbers", "head_note", "known_rows"]

_SEVERAL, _NUMBERS = "multi_label_classification", "regression"
"""Problem types in transformers' configurations."""


def answers_each_label(config: Any) -> bool:
    """Return whether a classifier says yes or no to each label by itself, and does not choose one."""
    return getattr(config, "problem_type", None) == _SEVERAL


def gives_several_numbers(config: Any) -> bool:
    """Return whether a head gives a number for each of several quantities, and chooses no label."""
    # A regression of one number has one made-up label.
    return getattr(config, "problem_type", None) == _NUMBERS and len(getattr(config, "id2label", None) or ()) > 1


def known_rows(config: Any, labels: Sequence[str] | None, *, several: bool = False) -> list[int] | None:
    """Return for each label the row of the checkpoint's own last layer that is its, None where one has no namesake.

    Names are equal without regard to case and surrounding spaces. Those that transformers makes up (LABEL_0) name nothing.
    Rows that say yes or no to each label by itself are no choice between them, nor the other way round: `several` says
    whether a text may have several labels.
    """
    names = _names(config)
    if labels is None or names is None or answers_each_label(config) != several or gives_several_numbers(config):
        return None

    # All labels or none: a head that knows some of them and draws others would favour the ones it knows.
    row_by_name, wanted = {_plain(name): row for row, name in enumerate(names)}, [_plain(label) for label in labels]
    if len(row_by_name) < len(names) or len(set(wanted)) < len(wanted) or not set(wanted) <= row_by_name.keys():
        return None
    return [row_by_name[name] for name in wanted]


def head_note(
    config: Any, held: Collection[str], last: Collection[str], labels: Sequence[str] | None, *, several: bool = False
) -> str | None:
    """Return what becomes of the checkpoint's own last layer, if it holds one, for these labels (None: numbers).

    `held` are the names of what it holds of its head, `last` those of the last layer of the task's head.
    """
    if not set(held) & set(last):
        return None
    names = _names(config)
    if (rows := known_rows(config, labels, several=several)) is not None and names is not None:
        moved = "" if rows == list(range(len(names))) else f" (of its {', '.join(names)})"
        return f"the model is a classifier of these labels: its head begins with its own rows for them, by their names{moved}"
    if answers_each_label(config) and not several:
        why = "answers each label with yes or no, and here every text has one"
    elif several and names is not None and not answers_each_label(config) and not gives_several_numbers(config):
        why = "chooses one label of several, and here a text may have more"
    elif gives_several_numbers(config):
        why = "gives several numbers, and here every text has one answer"
    elif labels is None:
        why = "was trained in a unit that is not known"
    elif names is None:
        why = "does not name its labels"
    else:
        shown = ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
        why = f"tells other labels apart ({shown})"
    return f"the model's own classification head {why}: its last layer is drawn anew"


def _names(config: Any) -> list[str] | None:
    """Return the names of a classifier's labels by row; None where it gives none of its own."""
    given = getattr(config, "id2label", None)
    if not isinstance(given, Mapping) or not given:
        return None

    # JSON has keys as texts, transformers as numbers.
    by_row = {int(row): str(name) for row, name in given.items()}
    if sorted(by_row) != list(range(len(by_row))):
        return None
    names = [by_row[row] for row in range(len(by_row))]
    back = getattr(config, "label2id", None)
    rows = {str(name): row for name, row in back.items()} if isinstance(back, Mapping) else {}

    # Two tables that disagree about the labels: neither is believed.
    contradicts = not _made_up(rows) and rows != {name: row for row, name in by_row.items()}
    return None if contradicts or _made_up(names) else names


def _made_up(names: Collection[str]) -> bool:
    """Return whether these are transformers' own names, or none."""
    return all(re.fullmatch(r"LABEL_\d+", name) for name in names)


def _plain(name: str) -> str:
    # Spaces and case as people write them differently.
    return " ".join(str(name).split()).casefold()
