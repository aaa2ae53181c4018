"""Read adapters that Hugging Face PEFT trained and saved into branches of Afina's own.

What is where is taken from the tensors' names, not from `target_modules`, which may be a list, a pattern or a word: every
adapted module is named by its tensors. What PEFT's configuration may say beside them is in `peft_keys.py`; what is read of
each type is in the form of its method.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from afina.adapters.adapter import Adapter, read_tensors
from afina.adapters.given_branches import given_adapter
from afina.adapters.peft_branches import OwnTokens
from afina.adapters.peft_heads import language_head, task_head
from afina.adapters.peft_keys import forms_of
from afina.adapters.peft_modules import PeftReading
from afina.adapters.peft_parts import EMBEDS, PeftParts, divide
from afina.adapters.record import AdapterRecord
from afina.backbone.anatomy import Site, module_site
from afina.backbone.branch import Placed
from afina.backbone.head import EmbeddingHead, Head
from afina.backbone.language_head import AnswerHead
from afina.backbone.load import Backbone
from afina.errors import UsageError

__all__ = ["WEIGHTS", "read_peft"]

WEIGHTS = "adapter_model.safetensors"

Names = tuple[str, ...]
Notes = tuple[str, ...]


def read_peft(folder: Path, backbone: Backbone, record: AdapterRecord) -> tuple[Adapter, Names, Notes]:
    """Return the adapter, its label names (none where the model speaks or has no head), and what was assumed.

    Raises `AfinaError` for a file that does not fit the model, and `UsageError` for what is not read.
    """
    # An embedding adapter is of the bare model, whose modules have no prefix in its file.
    tensors = read_tensors(folder / WEIGHTS)
    speaks, embeds = backbone.language is not None, record.settings.get("task_type") == EMBEDS
    root = "" if embeds else backbone.prefix
    reading = PeftReading(folder, backbone, record.settings, forms_of(record.settings["peft_type"]))
    parts = divide(tensors, reading, root)
    made = {**_loose(parts, reading), **_body(parts, reading, root)}
    head: Head = EmbeddingHead(backbone.config)
    names: Names = ()
    if not embeds:
        head, names = (backbone.new_head(1), ()) if speaks else task_head(parts, reading)
    if backbone.language is not None:
        language = language_head(parts, reading, made)
        head = head if language is None else AnswerHead(language, backbone.config, 1)
    return given_adapter(made, head, backbone, reading.shared), names, tuple(reading.notes)


def _loose(parts: PeftParts, reading: PeftReading) -> dict[str, tuple[Site, Placed]]:
    """Return the branches that tensors at no module stand for."""
    made: dict[str, tuple[Site, Placed]] = {}
    for form in reading.forms:
        # All tensors of a form or none: parts of one are another form's, or were refused as strangers.
        if not form.loose or not set(form.loose) <= set(parts.loose):
            continue
        if reading.backbone.language is not None and reading.backbone.anatomy.row.further:
            raise UsageError(
                f"{reading.folder}: PEFT puts its prompt before the decoder's text too, which is not done here."
            )
        made |= {site.name: (site, own) for site, own in form.read_loose(parts.loose, reading.backbone, reading.folder)}
        if (note := form.reading_note(reading.backbone)) is not None:
            reading.notes.append(note)
    return made


def _body(parts: PeftParts, reading: PeftReading, root: str) -> dict[str, tuple[Site, Placed]]:
    """Return the branches at modules of the bare model."""
    backbone, folder = reading.backbone, reading.folder
    there = dict(backbone.model.named_modules())
    for module in parts.body:
        if any(own.ndim > 2 for own in there[module].parameters(recurse=False)):
            raise UsageError(
                f"{folder} changes '{root}{module}', a {type(there[module]).__name__}, of which nothing is read: only "
                "layers, norms and embeddings are; train it without that one (bias: none)."
            )
    places = [reading.place(_site_of(backbone, module), there[module], f"{root}{module}") for module in parts.body]
    for form in reading.forms:
        modules = list(zip(places, parts.body.values(), strict=True))

        # Before any branch is made: what is shared belongs to all of them.
        reading.shared = form.shared(parts.loose, modules) or reading.shared
    made: dict[str, tuple[Site, Placed]] = {}
    for place, values in zip(places, parts.body.values(), strict=True):
        branches = reading.branches(replace(place, shared=reading.shared), values)
        for ours, its in _shared(backbone, place.site, branches, there, folder):
            # A module may have a bias beside its factors: further branches of a site get names of their own.
            for index, branch in enumerate(its):
                key = ours.name if index == 0 else f"{ours.name}:{index}"
                made[key] = (replace(ours, name=key), branch)
    return made


def _shared(
    backbone: Backbone, site: Site, branches: list[Placed], there: Mapping[str, nn.Module], folder: Path
) -> list[tuple[Site, list[Placed]]]:
    """Return branches at their site and, of an embedding whose weight others share, tokens of their own at those too."""
    module: Any = there[site.module]

    # T5 and BART call one embedding by several modules, and only some of these are ever called.
    if not isinstance(module, nn.Embedding):
        return [(site, branches)]
    twins = [
        name for name, own in there.items()
        if own is not module and isinstance(own, nn.Embedding) and own.weight is module.weight
    ]  # fmt: skip
    tokens = [branch for branch in branches if isinstance(branch, OwnTokens)]
    if twins and "." not in site.module and len(tokens) < len(branches):
        raise UsageError(
            f"{folder} adapts '{site.module}', which {backbone.name} never calls ({twins[0]} has its weight), so that "
            "PEFT's adapter there does nothing; adapt that one."
        )
    copies = [[OwnTokens(own.indices, own.vectors.detach().clone()) for own in tokens] for _ in twins]
    others = [(_site_of(backbone, name), list[Placed](own)) for name, own in zip(twins, copies, strict=True) if own]
    return [(site, branches), *others]


def _site_of(backbone: Backbone, module: str) -> Site:
    """Return the attention call where the module is one, else the module as a layer."""
    calls = (site for site in backbone.anatomy.of_kind("attention") if site.module == module)
    return next(calls, None) or module_site(backbone.model, backbone.anatomy, module)
