"""Build, save and load an adapter: all branches of one method on one backbone, and its head.

On disk it is a folder in the Hugging Face PEFT format (adapter_config.json, adapter_model.safetensors) wherever PEFT
knows the method, with afina.json beside it for what PEFT's file has no place for (task, labels, settings).
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from afina.adapters.fused import join, split
from afina.adapters.record import AdapterRecord, write_record
from afina.backbone.anatomy import Site
from afina.backbone.branch import Branch, Frozen, Placed
from afina.backbone.head import Head
from afina.backbone.load import Backbone
from afina.backbone.recognised import weight_print
from afina.backbone.tensor_file import save_tensors
from afina.errors import AfinaError
from afina.methods.base import Method
from afina.methods.peft_form import Kind, by_module
from afina.optimisers.base import OUTSIDE
from afina.whole_file import partial_of

__all__ = [
    "Adapter",
    "build_adapter",
    "load_adapter",
    "peft_config",
    "save_adapter",
    "stored_tensors",
    "task_type",
]

_BACKBONE, _SHARED = "backbone.", "shared."


class Adapter(nn.Module):
    """Holds what one run trains: branches by site, and a head."""

    def __init__(self, method: Method, sites: Sequence[Site], head: Head) -> None:
        super().__init__()
        self.method = method
        self.sites = list(sites)
        # Module names may not hold dots.
        self.branches = nn.ModuleDict({site.name.replace(".", "/"): method.branch(site) for site in sites})
        self.shared = method.shared(self.sites)
        self.head: Head = head

    def placed(self) -> list[tuple[Site, Placed]]:
        """Return each site with the branch at it."""
        return list(zip(self.sites, self.branches.values(), strict=True))  # type: ignore[arg-type]

    def by_site(self) -> dict[str, Placed]:
        """Return the branches by the name of their site."""
        return {site.name: branch for site, branch in self.placed()}

    @property
    def words(self) -> int:
        """Return how many words the adapter has vectors for, where it brought embeddings of its own; else 0."""
        return max((branch.words for _, branch in self.placed() if isinstance(branch, Branch)), default=0)

    def penalty(self) -> Tensor | None:
        """Return the sum of the terms that the method adds to the loss of a step, or None."""
        terms = [term for _, branch in self.placed() if (term := branch.penalty()) is not None]
        # PEFT averages the term over its matrices; so do we, lest it grow with the model's depth.
        return torch.stack(terms).mean() if terms else None

    def trainable(self, backbone: Backbone) -> dict[str, nn.Parameter]:
        """Return what a run of this adapter trains, by name."""
        # The backbone is in nobody's parameters, so that it is trained only where a method says so.
        parameters = dict(self.named_parameters())
        if self.method.owns_backbone:
            parameters |= {_BACKBONE + name: value for name, value in backbone.model.named_parameters()}
        return parameters

    def layers(self, backbone: Backbone) -> dict[str, int]:
        """Return by name the layer of each of these that lies in one, or `OUTSIDE`; a head's are left out."""
        paths = {f"{_BACKBONE}{site.module}.": site.layer for site in backbone.anatomy.of_kind("layer")}
        paths |= {f"branches.{site.name.replace('.', '/')}.": site.layer for site in self.sites}
        layers: dict[str, int] = {}
        for name in self.trainable(backbone):
            layer = next((own for path, own in paths.items() if name.startswith(path)), None)
            if layer is not None:
                layers[name] = layer
            elif name.startswith(_BACKBONE):
                layers[name] = OUTSIDE
        return layers


def build_adapter(
    method: Method, backbone: Backbone, outputs: int, seed: int, labels: Sequence[str] | None = None, *,
    several: bool = False,
) -> Adapter:  # fmt: skip
    """Make a fresh adapter; the same seed gives the same head for every method, and the same branches again.

    Where the base is a classifier of these `labels`, of which a text may have `several`, the head begins with what it
    knows of them.
    """
    # Outside of this block the random state is as if nothing had been drawn, and the head is drawn before any branch:
    # that is why all methods of a seed begin with one head.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = backbone.new_head(outputs, labels, several=several)
        adapter = Adapter(method, method.sites(backbone.anatomy), head).to(backbone.device)
        method.connect(adapter.by_site(), adapter.shared)
        with torch.no_grad():
            for site, branch in adapter.placed():
                branch.start(Frozen(backbone.model, backbone.anatomy, site, backbone.name))
    return adapter


def save_adapter(folder: Path, adapter: Adapter, backbone: Backbone, record: AdapterRecord) -> None:
    """Write the adapter's folder; it is there whole or not at all. Raises `AfinaError` where the disk has no room."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in stored_tensors(adapter, backbone).items()}

    # Settings in the form in which the tensors are read back, which a method may write otherwise than it trains them.
    record = replace(record, settings=adapter.method.stored().settings())
    config = peft_config(adapter, backbone, record)
    form = adapter.method.peft
    is_peft = form is not None and form.direct and config["peft_type"] == form.peft_type
    facts = {**record.facts, "peft": is_peft, "has_base": adapter.method.owns_backbone}
    if not adapter.method.owns_backbone:
        facts["base"] = weight_print(backbone)
    record = replace(record, facts=facts)
    try:
        with partial_folder(folder) as partial:
            save_tensors(tensors, partial / "adapter_model.safetensors", metadata={"format": "pt"})
            write_record(partial, config, record)
    except OSError as error:
        # Only what the disk said: a mistake of ours is not to be called the disk's.
        raise AfinaError(
            f"{folder} cannot be written ({error.strerror or error}); make room and run the same command again."
        ) from error


class partial_folder:
    """Context manager: a folder beside `target` that takes its place when the block ends well, and goes when not.

    Raises `UsageError` where `target` is a link.
    """

    def __init__(self, target: Path) -> None:
        self.target = target

    def __enter__(self) -> Path:
        self.partial = partial_of(self.target)
        self.partial.mkdir(parents=True)
        return self.partial

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            _settle(self.partial)
            # What a person wrote into the card of what stood there stays.
            card = self.target / "README.md"
            if card.is_file() and not card.is_symlink() and not (self.partial / card.name).exists():
                shutil.copy(card, self.partial / card.name)

            # Away first: what is half removed when the process is killed does not stand under its name.
            before = partial_of(self.target.with_name(f"{self.target.name}.before"))
            if self.target.exists():
                self.target.rename(before)
            self.partial.replace(self.target)
            _sync(self.target.parent)
            shutil.rmtree(before, ignore_errors=True)
        else:
            shutil.rmtree(self.partial, ignore_errors=True)


def _settle(folder: Path) -> None:
    """Bring a folder's files to the disk before it has its name, with the mode of any new file here."""
    mode = folder.stat().st_mode & 0o666
    # All of them, as a folder is only as whole as its last file.
    for place, _, files in os.walk(folder):
        for name in files:
            path = Path(place, name)
            path.chmod(path.stat().st_mode | mode)  # libraries make files of weights for their owner alone
            _sync(path)
        # The folder too: without it a file's bytes may be there and its name not.
        _sync(Path(place))


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def load_adapter(folder: Path, backbone: Backbone, record: AdapterRecord, outputs: int) -> Adapter:
    """Load an adapter's weights for a backbone; a method that owns the backbone changes its weights in place.

    Raises `AfinaError` for a damaged file or one of another base model, naming the layer.
    """
    # What is drawn here is overwritten at once; the seed is any.
    adapter = build_adapter(record.make_method(), backbone, outputs, seed=0)
    wanted = _tensors(adapter, backbone)
    heads = {f"base_model.model.{name}" for name, _ in adapter.head.named_parameters()}
    stored = _apart(read_tensors(folder / "adapter_model.safetensors"), adapter, backbone)

    # Names first, shapes then: a tensor of another name says more about what went wrong than a size.
    if missing := sorted(set(wanted) - set(stored)):
        raise AfinaError(f"{folder} lacks '{missing[0]}'; it is not an adapter of {backbone.name}.")
    if extra := sorted(set(stored) - set(wanted)):
        raise AfinaError(f"{folder} holds '{extra[0]}', for which {backbone.name} has no place: it is another model's.")
    with torch.no_grad():
        for name, value in wanted.items():
            # A head of another width is the commonest mistake, and has a sentence of its own.
            if value.shape != stored[name].shape:
                # Of the same width behind the first axis, so that it differs in the labels alone.
                if name in heads and stored[name].shape[1:] == value.shape[1:]:
                    raise AfinaError(
                        f"{folder}: '{name}' is for {len(stored[name])} labels and afina.json names {outputs}; they are of "
                        "two adapters."
                    )
                raise AfinaError(
                    f"{folder}: '{name}' is {tuple(stored[name].shape)} and {backbone.name} needs {tuple(value.shape)}; "
                    "it was trained on another base model."
                )
            value.copy_(stored[name])
    return adapter


def read_tensors(path: Path, *, integers: bool = False) -> dict[str, Tensor]:
    """Read a safetensors file of finite numbers, of which some may be `integers` where told.

    Raises `AfinaError` in one sentence when it is missing or damaged, and for a tensor of other numbers.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        # A pipe is waited for without an end, by a library that lets nothing else go on meanwhile.
        if path.exists() and not path.is_file():
            raise AfinaError(f"{path} is no ordinary file; copy the adapter again.")
        tensors = load_file(path)
    except (FileNotFoundError, NotADirectoryError):
        raise AfinaError(f"{path} does not exist; only safetensors are read.") from None
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise AfinaError(f"{path} is damaged ({error}).") from None
    for name, value in tensors.items():
        if not value.is_floating_point():
            if not integers or value.is_complex():
                kind = str(value.dtype).removeprefix("torch.")
                raise AfinaError(
                    f"{path}: '{name}' holds {kind} where weights are real numbers; save the adapter again."
                )
        # In float32, as some narrow types have no test for infinity.
        elif not torch.isfinite(value.float()).all():
            raise AfinaError(
                f"{path}: '{name}' holds numbers that are not finite (NaN or infinity), with which no answer would be any; "
                "its training diverged, or the file is damaged."
            )
    return tensors


def stored_tensors(adapter: Adapter, backbone: Backbone) -> dict[str, Tensor]:
    """Name every tensor as PEFT does where it knows the method, slices of a fused projection as one adapter of it."""
    tensors = _tensors(adapter, backbone)
    for key, (kind, names, sites) in _fused(adapter, backbone).items():
        values = [tensors.pop(name) for name in names]
        tensors[key] = join(kind, values, sites, backbone.model.get_submodule(sites[0].module))
    return tensors


def _apart(stored: dict[str, Tensor], adapter: Adapter, backbone: Backbone) -> dict[str, Tensor]:
    """Undo what `stored_tensors` joined."""
    tensors = _tensors(adapter, backbone)
    for key, (kind, names, sites) in _fused(adapter, backbone).items():
        # A rank lies along the rows of A and along the columns of B.
        if key in stored:
            ranks = [tensors[name].shape[1 if kind == "block" else 0] for name in names]
            stored |= zip(names, split(kind, stored.pop(key), sites, ranks), strict=True)
    return stored


def _fused(adapter: Adapter, backbone: Backbone) -> dict[str, tuple[Kind, list[str], list[Site]]]:
    """Return by each joined tensor's name in the file how it is joined, from which tensors, and of which sites."""
    names = adapter.method.peft
    if names is None or not adapter.method.joins(adapter.sites):
        return {}
    root = f"base_model.model.{prefix_of(adapter, backbone)}"
    return {
        f"{root}{module}.{names.parameters[key]}": (
            kind, [f"{root}{site.name}.{names.parameters[key]}" for site in sites], sites,
        )
        for module, sites in by_module(adapter.sites).items()
        for key, kind in names.fused.items()
    }  # fmt: skip


def _tensors(adapter: Adapter, backbone: Backbone) -> dict[str, Tensor]:
    """Name every tensor as PEFT does where it knows the method; values are the live parameters."""
    names = adapter.method.peft.parameters if adapter.method.peft else {}
    root = f"base_model.model.{prefix_of(adapter, backbone)}"
    result: dict[str, Tensor] = {}
    for site, branch in adapter.placed():
        for key, value in branch.stored().items():
            # Dots are the site's own again here: only modules of torch may not have them.
            result[f"{root}{site.name}.{names.get(key, key)}"] = value
    if adapter.shared is not None:
        together = adapter.method.peft.together if adapter.method.peft else {}
        result |= {together.get(key, f"{_SHARED}{key}"): value for key, value in adapter.shared.state_dict().items()}
    result |= {f"base_model.model.{key}": value for key, value in adapter.head.named_parameters()}
    if adapter.method.owns_backbone:
        result |= {_BACKBONE + key: value for key, value in backbone.model.named_parameters()}
    return result


def prefix_of(adapter: Adapter, backbone: Backbone) -> str:
    """Return the path of the bare model in what PEFT puts the adapter on: the bare model itself, or one with a head."""
    return "" if adapter.head.bare else backbone.prefix


def task_type(adapter: Adapter, backbone: Backbone) -> str:
    """Return what PEFT calls the kind of model under an adapter."""
    if adapter.head.bare:
        return "FEATURE_EXTRACTION"
    if backbone.language is None:
        return "TOKEN_CLS" if backbone.tags else "SEQ_CLS"
    return "SEQ_2_SEQ_LM" if backbone.anatomy.row.further else "CAUSAL_LM"


def peft_config(adapter: Adapter, backbone: Backbone, record: AdapterRecord) -> dict[str, Any]:
    method = adapter.method.stored()

    # What has no word in PEFT, such as slices that cannot be joined, gets a type of its own.
    known = method.joins(adapter.sites)
    peft_type = method.peft.peft_type if known and method.peft else f"AFINA_{method.name.upper()}"
    config: dict[str, Any] = {
        "peft_type": peft_type,
        "task_type": task_type(adapter, backbone),
        "base_model_name_or_path": record.model,
        "inference_mode": True,
    }
    if known:
        prefix = prefix_of(adapter, backbone)
        config["target_modules"] = sorted({f"{prefix}{site.module}" for site in adapter.sites})
        config["modules_to_save"] = adapter.head.saved_modules or None
        config |= method.peft_config(adapter.sites, record.total_steps, prefix)
    return config
