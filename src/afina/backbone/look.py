"""A base model looked over before anything trains: whether its files are whole and go together, and what is assumed."""

from collections.abc import Sequence

from afina.backbone.anatomy import read_anatomy
from afina.backbone.configuration import check_memory
from afina.backbone.function import register_attention
from afina.backbone.heads import build_head
from afina.backbone.labels import head_note
from afina.backbone.language_head import language_head_of
from afina.backbone.load import model_class, read_config
from afina.backbone.model_files import BUILT_IN, check_weights, model_path
from afina.backbone.pooling import pooling_note
from afina.backbone.quantise import stored_precision
from afina.backbone.row import ArchitectureRow
from afina.backbone.rows import row_of
from afina.backbone.shape_of import check_function, shape_note
from afina.backbone.weights import read_weights

__all__ = ["lacks_note", "look_over"]


def look_over(
    name: str, *, speaks: bool = False, tags: bool = False, labels: Sequence[str] | None = None, scored: bool = True,
    several: bool = False, trust_remote_code: bool = False,
) -> tuple[str, ...]:  # fmt: skip
    """Return what is assumed when a study trains on this model for these labels (None: numbers), of which a text may
    have `several`; `scored`: with a head.

    The weights stay in their file, mapped and not read. Raises `UsageError` for files that are not one whole model's.
    """
    path = model_path(name)
    check_weights(name, path)
    config = read_config(name, trust_remote_code=trust_remote_code)
    check_memory(name, config)
    if stored_precision(config) is not None:
        return ()  # its weights have other names until they are on their device
    register_attention()
    kind = model_class(config, speaks=speaks, tags=tags)
    read = read_weights(
        name, path, kind, {"dtype": "auto", "attn_implementation": "afina"}, trust_remote_code=trust_remote_code,
        speaks=speaks,
    )  # fmt: skip
    anatomy = read_anatomy(read.bare, read.bare.config)
    row, notes = anatomy.row, list(read.notes)
    if row_of(config) is None:
        check_function(
            read.model, read.bare, anatomy.attention_modules, language_head_of(read.model) if speaks else None
        )
        notes.append(shape_note(config))
    if row.lacks:
        notes.append(lacks_note(config.model_type, row))
    if speaks or not scored:
        return tuple(notes)
    if not tags and name not in BUILT_IN and (note := pooling_note(path)) is not None:
        notes.append(note)
    head = build_head(row.tagger if tags else row.head, read.bare.config, 2, pooler="" if tags else read.pooler)
    if read.pooler and not tags and read.pooler in dict(head.named_modules()):
        notes.append(
            "the model's files hold no pooler, which its classifier looks through: one is drawn from each run's seed, "
            "trained with the head and saved with it"
        )
    last = [name for name, module in head.named_modules() if module is head.last]
    last_parameters = {f"{path}.{key}" for path in last for key in ("weight", "bias")}
    if (note := head_note(read.bare.config, read.head, last_parameters, labels, several=several)) is not None:
        notes.append(note)
    return tuple(notes)


def lacks_note(kind: str, row: ArchitectureRow) -> str:
    """Return what to say of an architecture that has no module for some roles."""
    return (
        f"'{kind}' models have no layers of their own for {', '.join(row.lacks)}: no method adapts them, `targets: all` "
        "leaves them out, and a precision that quantises does not reach them"
    )
