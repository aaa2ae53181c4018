"""Tell which task a person means whose rows have no texts with a label: what they hold instead says it."""

from collections import Counter

import pyarrow as arrow

from afina.data.columns import find_columns
from afina.data.question_forms import unfolded
from afina.data.written import dialogue_forms
from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError

__all__ = ["task_meant"]

_LOOKED_AT = 50


def task_meant(table: arrow.Table, spec: DatasetSpec, where: str) -> str:
    """Return in a sentence what rows hold that are no texts with a label, and which task to write; "" if nothing is plain."""
    try:
        find_columns({"train": table}, spec, where)
    except UsageError:
        pass
    else:  # what is wrong is wrong with another split
        return ""
    rows, notes = table.slice(0, _LOOKED_AT), list[str]()
    try:
        unfolded({"train": rows}, spec, lambda split: where, notes)
        forms = dialogue_forms(rows, spec, where)
    except UsageError:
        # What can be read in no form is nothing that could be recommended.
        notes, forms = [], Counter()
    if notes:
        return (
            f"{where} holds texts to read and to write, not texts with a label; write task: seq2seq (for a decoder, task: "
            "chat)."
        )
    form = max(forms, key=lambda name: forms[name], default="")
    if not form:
        return ""
    return f"{where} holds conversations ({form}), not texts with a label; to learn the answers, write task: chat."
