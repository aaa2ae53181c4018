"""Let a method say its form in PEFT's files: its type, the keys of its configuration, its tensors, reading and writing.

A method's file has a subclass of `PeftForm` beside its formulas, and one instance as the method's `peft`; whoever reads or
writes such files asks the forms and knows no method.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import torch
from pydantic import AfterValidator, Strict
from torch import Tensor, nn

from afina.backbone.anatomy import Site
from afina.backbone.branch import Placed
from afina.backbone.load import Backbone
from afina.errors import AfinaError

__all__ = [
    "ENCODER",
    "EVERY",
    "TARGETS",
    "VIRTUAL",
    "Flag",
    "Kind",
    "Number",
    "Numbers",
    "PeftFile",
    "PeftForm",
    "PeftKey",
    "Place",
    "Text",
    "Whole",
    "by_module",
    "filled",
    "short",
    "virtual_config",
]

B = TypeVar("B", bound=Placed)

Kind = Literal["rank", "block", "ones", "lengths"]
"""The place of a slice's parameter in that of the whole projection.

`rank`: (rank, in), the slices' ranks one behind another. `block`: (out, rank), a block at the slice's rows and ranks. `ones`
and `lengths`: (out, ...), the slice's rows; other rows hold one, or the length of the weight's row.
"""


def by_module(sites: Sequence[Site]) -> dict[str, list[Site]]:
    """Return the sites that are slices, by the module that they are slices of."""
    grouped: dict[str, list[Site]] = {}
    for site in sites:
        if site.part is not None:
            grouped.setdefault(site.module, []).append(site)
    return grouped


def _finite(value: float) -> float:
    if not math.isfinite(value) or abs(value) > 1e12:
        raise ValueError("should be a finite number")
    return value


def _few(value: Any) -> Any:
    # A stranger's file: what is longer than PEFT writes is not carried along in sentences.
    if len(str(value)) > 100_000:
        raise ValueError("is longer than any that PEFT writes")
    return value


Flag = Annotated[bool, Strict()] | None
Number = Annotated[float, Strict(), AfterValidator(_finite)]
Whole = Annotated[int, Strict()]
Text = Annotated[str, Strict(), AfterValidator(_few)]
Numbers = Annotated[dict[Text, Number], AfterValidator(_few)] | None
Meaning = Literal["read", "tensors", "nothing", "refused"]


@dataclass(frozen=True)
class PeftKey:
    """Says how one key of adapter_config.json is taken, and why."""

    name: str
    meaning: Meaning
    why: str
    """For `refused`, what an adapter with it is; it ends a sentence."""
    plain: tuple[Any, ...] = (None,)
    """For `refused`, the values that change nothing: PEFT's default first."""
    kind: Any = None
    """For `read`, the type of its values."""
    advice: str = "it is not computed here"
    """For `refused`, what to do or why not."""


EVERY = (
    PeftKey("peft_type", "read", "the kind of adapter"),
    PeftKey("task_type", "read", "whether the model labels texts or words, writes, or has no head", kind=Text | None),
    PeftKey("base_model_name_or_path", "read", "the base model", kind=Text | None),
    PeftKey(
        "revision",
        "read",
        "the base's revision on the hub: `main`, or the base is to be given by `--model`",
        kind=Text | None,
    ),
    PeftKey("auto_mapping", "nothing", "the class of the base model that it was trained with"),
    PeftKey("peft_version", "nothing", "which PEFT wrote it"),
    PeftKey("inference_mode", "nothing", "whether it goes on training"),
)
"""The keys of every type."""

TARGETS = (
    PeftKey("target_modules", "tensors", "which modules are adapted: names, a pattern or a word for all"),
    PeftKey("exclude_modules", "tensors", "which are not"),
    PeftKey(
        "modules_to_save", "tensors", "modules with weights of their own: heads, norms, embeddings, the language head"
    ),
)
"""The keys of types that adapt modules by name."""

VIRTUAL = (
    PeftKey("num_virtual_tokens", "tensors", "how many"),
    PeftKey("token_dim", "tensors", "their width"),
    PeftKey("num_transformer_submodules", "tensors", "before the encoder alone, or the decoder too (refused)"),
    PeftKey("num_attention_heads", "tensors", "how a prefix is cut"),
    PeftKey("num_layers", "tensors", "likewise"),
    PeftKey("modules_to_save", "tensors", "modules with weights of their own"),
)
"""The keys of types that put vectors before the text."""


ENCODER = "of the network that made the vectors, which PEFT saves as vectors"
"""A phrase on keys that are of no use once the adapter is trained."""


@dataclass(frozen=True)
class Place:
    """Holds a module of the base with what PEFT's file says of it."""

    folder: Path
    model: str
    """The base's name."""
    model_type: str
    site: Site
    module: nn.Module
    path: str
    """Name of the module in the whole model, as patterns name it."""
    config: Mapping[str, Any]
    shared: nn.Module | None = None
    """The result of the form's `shared`, which is the same for all modules."""

    def take(self, values: dict[str, Tensor], name: str, shape: tuple[int | None, ...]) -> Tensor:
        """Take a tensor out of `values`; raises `AfinaError` where it is missing or of another shape (None: of any size)."""
        if name not in values:
            raise AfinaError(f"{self.folder} is damaged: '{self.path}' lacks its {name}.")
        value = values.pop(name)

        # The sentence names the size that the base wants, and where any will do the size that the file has.
        if value.ndim != len(shape) or any(
            want not in (None, has) for has, want in zip(value.shape, shape, strict=True)
        ):
            sizes = value.shape if value.ndim == len(shape) else shape
            wanted = tuple(has if want is None else want for has, want in zip(sizes, shape, strict=True))
            raise AfinaError(
                f"{self.folder}: '{self.path}' has {name} of {tuple(value.shape)} and {self.model} needs {wanted}; it was "
                "trained on another base model."
            )
        return value


@dataclass(frozen=True)
class PeftFile:
    """Holds what a folder of PEFT's is to have for an adapter whose own files are in another form."""

    peft_type: str
    tensors: Mapping[str, Tensor]
    """Tensors by their full names."""
    config: Mapping[str, Any]
    """Beyond type, task and base."""
    head_root: str | None = None
    """The beginning of the names of the head's tensors; None where the form has no head."""


@dataclass(frozen=True)
class PeftForm:
    """Says one method in PEFT's files; subclasses give the keys, and how to read and to write what is beyond names."""

    peft_type: str
    """PEFT's word for it."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """PEFT's name of each of a branch's parameters; empty where an adapter's own files are in another form."""
    fused: Mapping[str, Kind] = field(default_factory=dict)
    """The way in which the parameters of slices become a fused projection's (`adapters/fused.py`); empty if they do not."""
    together: Mapping[str, str] = field(default_factory=dict)
    """PEFT's names of the tensors that all branches share (`Method.shared`), which stand at no module."""

    keys: ClassVar[tuple[PeftKey, ...]] = ()
    """Every key that PEFT's configuration of this type has, with the values that are computed here."""
    loose: ClassVar[tuple[str, ...]] = ()
    """Names of tensors that stand at no module, beside those of `together`."""
    endings: ClassVar[tuple[str, ...]] = ()
    """Endings of the names of further tensors at a module, beside those of `parameters`."""
    unread: ClassVar[tuple[str, ...]] = ()
    """Endings of the names of tensors that PEFT keeps for training alone."""
    beyond: ClassVar[str] = "on slices of a fused projection"
    """Where PEFT has no word for the method though it has one for others; it ends "PEFT has no lora"."""

    @property
    def direct(self) -> bool:
        """Return whether an adapter's own files are PEFT's, with nothing to convert."""
        return bool(self.parameters)

    def check(self, path: Path, config: Mapping[str, Any]) -> None:
        """Raise `UsageError` for a configuration, each key of it possible, that is not computed here."""

    def shared(
        self, tensors: Mapping[str, Tensor], modules: Sequence[tuple[Place, Mapping[str, Tensor]]]
    ) -> nn.Module | None:
        """Return what the branches at these modules (each with its tensors) share, from the tensors that stand at none.

        Raises `AfinaError` where they are missing or do not fit.
        """
        return None

    def read(self, place: Place, values: dict[str, Tensor]) -> list[Placed]:
        """Take the tensors of a module that are this form's out of `values`, and return their branches as they act.

        Raises `AfinaError` for tensors that do not fit the module, and `UsageError` for what is not read.
        """
        return []

    def read_loose(self, tensors: Mapping[str, Tensor], backbone: Backbone, folder: Path) -> list[tuple[Site, Placed]]:
        """Return the branches that tensors at no module stand for, and their sites; raises as `read` does."""
        return []

    def reading_note(self, backbone: Backbone) -> str | None:
        """Return where what `read_loose` makes of tensors is another function on this base than in PEFT; None for nowhere."""
        return None

    def converted(
        self, name: str, placed: Sequence[tuple[Site, Placed]], backbone: Backbone, *, tags: bool
    ) -> PeftFile | None:
        """Return what PEFT's folder has to hold where an adapter's own files are in another form, or None where they are not.

        `name` is the method's, `tags` whether the task labels words. Raises `UsageError` for an adapter that would be another
        function there.
        """
        return None


def virtual_config(backbone: Backbone) -> dict[str, Any]:
    """Return what PEFT has to be told of a base before whose text vectors stand."""
    # Every attention has as many heads, so that the first speaks for all.
    attentions = backbone.anatomy.of_kind("attention")
    return {
        "num_transformer_submodules": 1,
        "num_layers": len(attentions),
        "num_attention_heads": attentions[0].heads,
    }


def filled(branch: B, **values: Tensor) -> B:
    """Return a branch with these values for its parameters."""
    with torch.no_grad():
        for name, value in values.items():
            # By name, so that a branch may keep its parameters in submodules.
            branch.get_parameter(name).copy_(value)
    return branch


def short(value: Any) -> str:
    """Return a value of a configuration as it may stand in a sentence, however long it is."""
    try:
        text = str(value)
    except (ValueError, RecursionError):  # numbers of thousands of digits have no text
        text = f"a {type(value).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}..."
