"""An architecture without a row, recognised by its shape where that is safe: every layer looked at, then the numbers.

A newcomer is often a known architecture under another name. It is taken for one whose every path each of its layers has,
with nothing left over that learns, and which looks at the same tokens. What names cannot show, an attention with a term
of its own or a language head that scales, is shown by a few tokens: transformers' own attention has to give the same.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from afina.backbone.function import ATTACHED
from afina.backbone.further_shapes import SHAPES
from afina.backbone.row import ArchitectureRow, Part, Stack, head_width, key_heads
from afina.backbone.rows import ROWS
from afina.errors import UsageError
from afina.ops.attention import Scoring, attention
from afina.ops.linear import is_conv1d

__all__ = ["check_function", "recognise", "shape_note"]

_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}
_HALF_TOLERANCE = 5e-2
"""Largest difference, as a share of the largest state, that rounding in half precision makes; a missing term makes more."""
_TOKENS = 9


def recognise(model: nn.Module, config: Any) -> ArchitectureRow:
    """Return the row of the known architecture whose shape a model has; raises `UsageError` where there is none."""
    modules = dict(model.named_modules())
    fitting: list[ArchitectureRow] = []
    why: list[tuple[int, str, str]] = []
    for name, row in {**ROWS, **SHAPES}.items():
        if row.further or row.inputs != "text" or row.lent is not None or row.lacks:
            continue  # of what a row leaves alone there is nothing to compare
        if missing := _differences(row, modules, config):
            why.append((len(missing), name, missing[0]))
        else:
            fitting.append(row)
    if fitting:
        # Of several that fit the one that says most of the layers.
        row = max(fitting, key=lambda candidate: len(candidate.norms))
        return replace(row, norms=(*row.norms, *_further_norms(row, modules)))
    _, nearest, difference = min(why, key=lambda entry: entry[0])
    raise UsageError(
        f"The architecture '{config.model_type}' is not known (known are {', '.join(sorted(ROWS))}); the nearest by its "
        f"shape is '{nearest}', but {difference}. To teach it, add a row to afina/backbone/rows.py that says where its "
        "query, key, value and so on are."
    )


def _further_norms(row: ArchitectureRow, modules: dict[str, nn.Module]) -> list[str]:
    """Return the paths of norms that every layer has beside the row's."""
    common: set[str] | None = None
    for layer in row.layers_in(modules):
        inside = {
            name.removeprefix(f"{layer}.")
            for name, module in modules.items()
            if name.startswith(f"{layer}.") and [value.ndim for value in module.parameters(recurse=False)][:1] == [1]
        }
        common = inside if common is None else common & inside
    return sorted((common or set()) - set(row.norms))


def _differences(row: ArchitectureRow, modules: dict[str, nn.Module], config: Any) -> list[str]:
    """Return in what a model is not of a row's shape, one sentence each."""
    if not (layers := row.layers_in(modules)):
        # As much as a hundred differences: a model without the row's layers is nearest to none.
        return [f"it has no layers at '{row.layers}'"] * 100
    differences = [
        f"it has no '{path}'" for path in (row.embedding, *row.outer_norms[-1:]) if path and path not in modules
    ]

    # Both ways: a module that the row lacks would compute something that no branch, and no test, knows of.
    paths = set(_paths(row))
    for layer in layers:
        inside = {
            name.removeprefix(f"{layer}."): module for name, module in modules.items() if name.startswith(f"{layer}.")
        }
        differences += [f"{layer} has no {path}" for path in sorted(paths - inside.keys())]
        beside = [path for path, module in inside.items() if path not in paths and _learns(module)]
        differences += [f"{layer} has {path} beside" for path in beside]
        call = inside.get(row.attention)
        # Some attentions learn a bias or a scale of their own, of which no branch would know.
        if call is not None and next(call.parameters(recurse=False), None) is not None:
            differences.append(f"{layer}.{row.attention} has weights of its own")
        # By what the module says of itself: names do not tell an encoder from a decoder.
        if call is not None and getattr(call, "is_causal", None) != row.causal:
            differences.append(f"its tokens look at {'earlier ones only' if not row.causal else 'later ones too'}")
        differences += [f"{layer}: {said}" for said in _widths(row, inside, config)]
    return differences


def _paths(stack: Stack) -> Iterator[str]:
    """Return every path of a layer that has to be there: all that are not one of alternatives."""
    for place in stack.roles.values():
        path = place.path if isinstance(place, Part) else place
        # What may be missing, or is called in several ways, is in no layer of a newcomer for sure.
        if not set("?|") & set(path):
            yield path
    yield from stack.norms
    yield stack.attention


def _learns(module: nn.Module) -> bool:
    """Return whether a module has weights of its own that are more than a norm's."""
    # A norm's weight has one axis; norms beside the row's are found by themselves.
    return any(value.ndim > 1 for value in module.parameters(recurse=False))


def _widths(row: ArchitectureRow, inside: dict[str, nn.Module], config: Any) -> Iterator[str]:
    """Check that queries, keys and values are as wide as their heads, also as parts of one projection."""
    wanted = {"query": config.num_attention_heads, "key": key_heads(config), "value": key_heads(config)}
    for role, heads in wanted.items():
        place = row.roles[role]
        module = inside.get(place.path if isinstance(place, Part) else place)
        weight = getattr(module, "weight", None)
        if module is None or not isinstance(weight, Tensor) or weight.ndim != 2:
            continue
        width = weight.shape[1] if is_conv1d(module) else weight.shape[0]
        start, stop = place.within(width, config) if isinstance(place, Part) else (0, width)
        if stop - start != heads * head_width(config):
            yield f"its {role} is {stop - start} wide and not {heads} heads of {head_width(config)}"


def shape_note(config: Any) -> str:
    """Return what to say of a model that was taken by its shape."""
    return (
        f"'{config.model_type}' has no row in Afina's table: it was recognised by its shape, and its states are checked "
        "against transformers' own attention whenever it is loaded"
    )


def check_function(model: Any, bare: Any, attentions: Sequence[str], language: Any = None) -> None:
    """Raise `UsageError` where a model taken by its shape has other states, or another language head, than transformers.

    `attentions` are the names of its attention modules.
    """
    kind, config = bare.config.model_type, bare.config
    # Drawn by a generator of its own: looking at a model changes no later draw.
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, config.vocab_size, (2, _TOKENS), generator=generator).to(bare.device)
    mask = torch.ones_like(ids)

    # One text with padding: how a model treats it is part of its function.
    mask[1, _TOKENS // 2 :] = 0
    with torch.inference_mode():
        probe = _Probe()
        for name in attentions:
            ATTACHED[bare.get_submodule(name)] = probe
        try:
            ours = bare(input_ids=ids, attention_mask=mask).last_hidden_state
        except (RuntimeError, IndexError, TypeError) as error:
            raise UsageError(f"The '{kind}' model cannot read a text ({str(error).splitlines()[0]}).") from error
        finally:
            for name in attentions:
                ATTACHED.pop(bare.get_submodule(name), None)
        # An attention that never asked has one of its own, whose branches would do nothing.
        if len(probe.seen) < len(attentions):
            raise UsageError(
                f"The attention of '{kind}' models takes no function from outside, as methods that act in it need."
            )
        if probe.heads != {(key_heads(config), head_width(config))}:
            raise UsageError(
                f"The keys of '{kind}' models are not as wide as its config.json says, so no row is taken for it."
            )

        # What the model computes by its own code, of the same weights and inputs, is what has to come out.
        bare.set_attn_implementation("eager")
        try:
            theirs = bare(input_ids=ids, attention_mask=mask).last_hidden_state
            # Without padding, as language models differ in what they say of it.
            scores = model(input_ids=ids[:1]).logits[0] if language is not None else None
        finally:
            bare.set_attn_implementation("afina")
        # Only at real tokens: what stands at padding is nobody's.
        if not _equal(ours[mask.bool()], theirs[mask.bool()]):
            raise UsageError(
                f"The attention of '{kind}' models has something of its own, which is not done here: add a row."
            )
        if scores is not None and not _equal(language(ours[0]), scores):
            raise UsageError(f"The language head of '{kind}' models has something of its own, which is not done here.")


class _Probe:
    """Stands where an attachment would, and sees whose attention is asked for."""

    def __init__(self) -> None:
        self.seen: set[nn.Module] = set()
        self.heads: set[tuple[int, int]] = set()
        """Number of heads and width of a head, of the keys that were attended to."""

    def attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scoring: Scoring
    ) -> Tensor:
        self.seen.add(module)
        self.heads.add((key.shape[1], key.shape[3]))
        return attention(query, key, value, mask, scoring)


def _equal(ours: Tensor, theirs: Tensor) -> bool:
    tolerance = _TOLERANCE.get(ours.dtype, _HALF_TOLERANCE)
    # Of the largest state, as rounding grows with it.
    return bool((ours.float() - theirs.float()).abs().max() <= tolerance * max(1.0, float(theirs.float().abs().max())))
