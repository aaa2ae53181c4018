"""Adapters attached to a backbone: hooks at their sites, and rows of the batch routed to them.

A batch holds the rows of adapter 0, then those of adapter 1, and so on; the backbone runs once for all of them and each
branch sees only its adapter's rows. One adapter alone is a cohort of one. Leaving the `with` block removes every hook. What
belongs to one call of the model is no part of the attachment (`flight.py`).
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from afina.backbone.attachable import Attachable
from afina.backbone.attending import Attending
from afina.backbone.branch import AttentionBranch, Branch, PromptBranch
from afina.backbone.flight import Flight, Pass, Put
from afina.backbone.given import Given, moves_of, read_inputs, read_side
from afina.backbone.head import Hidden
from afina.backbone.inputs import padded_behind, rows_and_tokens
from afina.backbone.lending import Loan, has_own_forward, lent_within
from afina.backbone.lent import lend_attention
from afina.backbone.load import Backbone
from afina.backbone.narrow import narrow_last_layer
from afina.backbone.packing import unpackable
from afina.backbone.places import place_decoder
from afina.backbone.prompts import Prompts
from afina.backbone.route import hook
from afina.backbone.trunk import LowerLayers, Trunk, Trunks
from afina.data.tokens.batching import Batch, collate
from afina.data.tokens.tokens import Tokens
from afina.ops.attention import Scoring
from afina.ops.dropout import DropoutSource, dropout
from afina.ops.kind import kind_of

__all__ = ["Attachment"]


class Attachment:
    """A backbone with adapters on it, for the time of a `with` block; calling it gives each adapter's logits."""

    narrows: ClassVar[bool] = True
    """True if the last layer leaves out the tokens that no head looks at, where it can."""

    def __init__(
        self, backbone: Backbone, adapters: Sequence[Attachable], source: DropoutSource | None = None, *,
        training: bool = False, checkpointing: bool = False, trunks: Trunks | None = None, trunk_layers: int = 0,
        writes: bool = False,
    ) -> None:  # fmt: skip
        """Attach in the `with` block, `training` or not; with `checkpointing` layers are computed again in the backward pass.

        What `writes` stays on for as long as somebody reads, and another thread does not wait for it.
        The lowest `trunk_layers`, where no adapter may have a branch, see a row once: `trunks` keeps what they make of it.
        """
        self.backbone, self.adapters, self.source = backbone, list(adapters), source
        self.checkpointing = checkpointing or backbone.window is not None  # or autograd would hold all layers' weights
        self.training, self.writes = training, writes
        self.flight = Flight()
        self._trunks, self._trunk_layers = trunks, trunk_layers if trunks is not None else 0
        self._lower: LowerLayers | None = None
        self._attention: dict[nn.Module, dict[int, list[AttentionBranch]]] = defaultdict(lambda: defaultdict(list))
        self._attention_behind: dict[nn.Module, dict[int, list[AttentionBranch]]] = defaultdict(
            lambda: defaultdict(list)
        )
        """The same where the keys and values of prefixes are among those that are kept."""
        self._first_token_attention: nn.Module | None = None
        self._prompts: Prompts | None = None
        self.moves: list[int] = []
        """The places by which each adapter's prefix moves its texts' positions on."""
        self._handles: list[Any] = []

    def __enter__(self) -> Self:
        self.backbone.turns.begin(writes=self.writes)
        try:
            self._attach()
        except BaseException:
            self._detach()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._detach()

    def _attach(self) -> None:
        modules, anatomy = dict(self.backbone.model.named_modules()), self.backbone.anatomy
        self._handles += lend_attention(self, modules, anatomy, self._for_each_adapter)
        self._handles += place_decoder(modules, self.flight)
        self._lend_products()
        prompts = self._place_branches(modules)
        for module in self._dropouts():
            module.training = False
            self._handles.append(module.register_forward_hook(self._drop))
        if self._is_narrow():
            self._first_token_attention = modules[anatomy.attention_modules[-1]]
            self._handles += narrow_last_layer(modules, anatomy, self.flight)
        layers = [modules[site.module] for site in anatomy.of_kind("layer")]
        self._handles += lent_within(self.backbone.window, layers)
        for layer in layers[self._trunk_layers :] if self.checkpointing else ():
            self._handles.append(Loan(layer, self._checkpointed(layer.forward)))
        if self._trunk_layers and self._trunks is not None:
            lowest = layers[: self._trunk_layers]
            self._lower = LowerLayers(lowest, self._trunk_of, self._reach, self.flight, self._trunks)
            self._handles += self._lower.loans
        if any(prompt is not None for prompt in prompts):
            self._prompts = Prompts(prompts, every=self.backbone.tags or anatomy.row.causal)
            self._handles += self._prompts.hooks(modules, anatomy, self.flight)
        self.moves = [moves_of([branch for _, branch in adapter.placed()]) for adapter in self.adapters]
        self.train(self.training)

    def _detach(self) -> None:
        while self._handles:  # what was lent last goes back first
            self._handles.pop().remove()
        self._attention.clear()
        self._attention_behind.clear()
        self._first_token_attention = self._prompts = self._lower = None
        self.backbone.model.train(False)
        self.backbone.turns.end()

    def _lend_products(self) -> None:
        """Have its frozen linear layers multiply in the way that is fastest here, where their forward is their class's."""
        for module, product in self.backbone.linears.items():
            if not has_own_forward(module):
                self._handles.append(Loan(module, product))

    def _place_branches(self, modules: Mapping[str, nn.Module]) -> list[PromptBranch | None]:
        """Put every adapter's branches around their modules; return each one's prompt."""
        prompts: list[PromptBranch | None] = [None] * len(self.adapters)
        branches: dict[str, dict[int, list[Put]]] = defaultdict(lambda: defaultdict(list))
        for index, adapter in enumerate(self.adapters):
            for site, branch in adapter.placed():
                if isinstance(branch, AttentionBranch):
                    self._attention[modules[site.module]][index].append(branch)
                    if not branch.prepends:
                        self._attention_behind[modules[site.module]][index].append(branch)
                elif isinstance(branch, Branch):
                    branches[site.module][index].append(Put(index, site, branch))
                elif isinstance(branch, PromptBranch):
                    prompts[index] = branch
        for name, placed in branches.items():
            self._handles += hook(modules[name], placed, self.flight)
        return prompts

    def train(self, mode: bool = True) -> None:
        """Switch dropout on or off, in the backbone and in the adapters.

        What is in that mode already is left alone: members of a cohort take turns at every step.
        """
        self.training = mode
        if self.backbone.model.training != mode:
            self.backbone.model.train(mode)
            for module in self._dropouts():
                module.training = False
        for adapter in self.adapters:
            # A head may have been switched alone, by what holds it without the branches.
            for module in (adapter.head, *(branch for _, branch in adapter.placed())):
                if module.training != mode:
                    module.train(mode)

    def _dropouts(self) -> list[nn.Module]:
        """Drop by a hook on a CPU, instead of by the modules that do, which draw a float per element."""
        model = self.backbone.model
        on_cpu = kind_of(next(model.parameters())) == "cpu"
        return [module for module in model.modules() if on_cpu and isinstance(module, nn.Dropout)]

    def batch(self, pieces: Sequence[tuple[Tokens, np.ndarray]], *, packing: bool = False) -> Batch:
        """Return rows of data sets, one after another, as a batch for this backbone.

        With `packing` several texts share a row of the batch where that is the same to all adapters.
        """
        if self._lower is None:
            return self._collated(pieces, packing=packing and self._packs())
        batch = self._collated(pieces)
        return self._lower.add(batch, pieces, rows_and_tokens(batch.inputs, self.backbone.config)[1])

    def _collated(self, pieces: Sequence[tuple[Tokens, np.ndarray]], *, packing: bool = False) -> Batch:
        backbone = self.backbone
        pad = 0 if backbone.tokenizer is None else backbone.tokenizer.pad_token_id
        return collate(pieces, pad, backbone.device, most=backbone.context, packing=packing)

    def _packs(self) -> bool:
        return not any(
            unpackable(self.backbone.anatomy, adapter.head, (branch for _, branch in adapter.placed()))
            for adapter in self.adapters
        )

    def fill_trunk(self, tokens: Tokens, rows: np.ndarray | None = None) -> None:
        """Compute now what batches of these rows, or of all, will want of the lowest layers."""
        if self._lower is not None:
            self._lower.fill(tokens, np.arange(len(tokens)) if rows is None else rows)

    def _trunk_of(self, tokens: Tokens) -> Trunk:
        assert self._trunks is not None
        # With no layer left above, what the head will not look at need not be kept.
        whole = self._trunk_layers == len(self.backbone.anatomy.of_kind("layer"))
        first_only = whole and all(adapter.head.first_token_only for adapter in self.adapters)
        return self._trunks.of(tokens, self._trunk_layers, first_only=first_only)

    def _reach(self, tokens: Tokens, rows: np.ndarray) -> None:
        """Take rows into the model as an evaluation does, as far as the lowest layers, and leave its mode as it was."""
        training, sequences = self.training, len(rows) * tokens.choices
        parts = [slice(0, sequences), *[slice(sequences, sequences)] * (len(self.adapters) - 1)]
        try:
            self.train(False)
            with torch.no_grad():
                batch = self._collated([(tokens, rows)])
                self._states(batch.inputs, parts, batch.targets, reaching=True)
        finally:
            self.train(training)

    def __call__(
        self, inputs: Mapping[str, Tensor], rows: Sequence[slice] | None = None, *, targets: Tensor | None = None,
        known: Tensor | None = None,
    ) -> list[Tensor]:  # fmt: skip
        """Return each adapter's logits (rows, K) for token inputs (B, T); `rows` cuts B by adapter, in order.

        `targets` (B, T) are what language heads are to say at each token, `known` the states of layers that are passed over.
        """
        hidden = self.hidden(inputs, rows, targets=targets, known=known)
        return [logits for _, logits in self._answered(hidden, self._parts(inputs, rows))]

    def outputs(self, batch: Batch) -> list[Tensor]:
        """Return each adapter's logits for its piece of a batch."""
        return [logits for _, logits in self.seen(batch)]

    def seen(self, batch: Batch, *, whole: bool = False) -> list[tuple[Hidden, Tensor]]:
        """Return what each adapter's head sees of its piece of a batch, with the logits that it makes of it.

        With `whole` it is the states of all tokens also where the head looks at the first alone (`gives_whole`).
        """
        states = self._states(batch.inputs, batch.slices, batch.targets, batch.known, whole=whole)
        return self._answered(states, batch.slices)

    def gives_whole(self, tokens: Tokens) -> bool:
        """Return whether all tokens' states can be had of these rows: where every layer is passed over, few are kept."""
        return self._lower is None or not self._trunk_of(tokens).first_only

    def _answered(self, hidden: Hidden, parts: Sequence[slice]) -> list[tuple[Hidden, Tensor]]:
        each = zip(self.adapters, map(hidden.rows, parts), strict=True)
        return [(own, adapter.head(own, self.source)) for adapter, own in each]

    def hidden(
        self, inputs: Mapping[str, Tensor], rows: Sequence[slice] | None = None, *, targets: Tensor | None = None,
        known: Tensor | None = None,
    ) -> Hidden:  # fmt: skip
        """Return the bare model's output for all rows and their own tokens, adapted."""
        return self._states(inputs, self._parts(inputs, rows), targets, known)

    def _parts(self, inputs: Mapping[str, Tensor], rows: Sequence[slice] | None) -> list[slice]:
        assert rows is not None or len(self.adapters) <= 1, "several adapters need their rows"
        return [slice(0, next(iter(inputs.values())).shape[0])] * len(self.adapters) if rows is None else list(rows)

    def _states(
        self, inputs: Mapping[str, Tensor], rows: Sequence[slice], targets: Tensor | None = None,
        known: Tensor | None = None, *, reaching: bool = False, whole: bool = False,
    ) -> Hidden:  # fmt: skip
        inputs, targets = padded_behind(inputs, targets)
        side = read_side(self.backbone, self._prompts, self.moves, inputs, rows, targets)
        output = self.run(
            Pass(rows, side.first, side.decoder, seen=side.given.seen, known=known, reaching=reaching, whole=whole),
            side.given.inputs, self.backbone.call_settings,
        )  # fmt: skip
        states = output.last_hidden_state
        if self._prompts is not None and states.shape[1] != side.width:
            states = self._prompts.without(states, rows, side.width)
        return Hidden(states, getattr(output, "pooler_output", None), side.mask, side.targets, inputs.get("input_ids"))

    def given(self, inputs: Mapping[str, Tensor], rows: Sequence[slice]) -> Given:
        """Return what the model is called with for token inputs (B, T) of which `rows` are each adapter's."""
        return read_inputs(self.backbone, self._prompts, self.moves, inputs, rows)

    def run(self, one: Pass, given: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
        """Send a pass through the bare model and return its output."""
        autocast, kind = self.backbone.autocast, self.backbone.device.type
        # Not where there is nothing to switch: `torch.export` would put what is under it in a graph of its own.
        switched = autocast is not None or torch.is_autocast_enabled(kind)
        computing = torch.autocast(kind, dtype=autocast, enabled=autocast is not None) if switched else nullcontext()
        with self.flight.of(one), computing:
            return self.backbone.model(**given, **settings)

    def _checkpointed(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """Keep of a layer only what goes in (Chen et al., 2016, arXiv:1604.06174); dropout is the same both times."""

        def checkpointed(*args: Any, **settings: Any) -> Any:
            if not (self.training and torch.is_grad_enabled()):
                return forward(*args, **settings)
            now = self.flight.now

            def again(*args: Any, **settings: Any) -> Any:
                # In the backward pass another pass may have followed, or none may be on its way.
                with self.flight.of(replace(now, left={})):
                    return forward(*args, **settings)

            blocks: dict[str, Any] = {"context_fn": self.source.replayed} if self.source is not None else {}
            return checkpoint(again, *args, use_reentrant=False, **blocks, **settings)

        return checkpointed

    def _for_each_adapter(self, module: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Call a module with what all rows share (1, S, D), once for each adapter, and give each row its adapter's."""
        now = self.flight.now
        if len(now.rows) <= 1:
            return module(x)
        each = [slice(index, index + 1) for index in range(len(now.rows))]
        with self.flight.of(replace(now, rows=each, ways=None)):
            result = module(x.expand(len(each), -1, -1))
        counts = torch.tensor([part.stop - part.start for part in now.rows], device=x.device)
        return result.repeat_interleave(counts, dim=0, output_size=now.rows[-1].stop)

    def _is_narrow(self) -> bool:
        """Return whether heads look at the first token alone, and nothing in the last layer needs the others."""
        return (
            self.narrows
            and bool(self.adapters and self.backbone.anatomy.row.narrow is not None)
            and all(adapter.head.first_token_only for adapter in self.adapters)
            and all(branch.per_token for adapter in self.adapters for _, branch in adapter.placed())
        )

    def _drop(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        assert isinstance(module, nn.Dropout)
        return dropout(output, module.p, self.source) if self.training else output

    def attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scoring: Scoring
    ) -> Tensor:
        """Compute a module's attention (B, H, T, D/H), rows of different adapters apart where a branch acts on it."""
        now = self.flight.now
        mask = now.seen if mask is None else mask
        if len(now.rows) > 1:
            scoring = scoring._replace(rows_at_once=now.rows[0].stop - now.rows[0].start)
        if module is self._first_token_attention and not now.whole:
            mask = mask if mask is None else mask[:, :, :1]
            first = self._attend(module, query[:, :, :1], key, value, mask, scoring._replace(causal=False))
            return first.expand(-1, -1, query.shape[2], -1)
        return self._attend(module, query, key, value, mask, scoring)

    def _attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scoring: Scoring
    ) -> Tensor:
        now = self.flight.now
        branches = (self._attention_behind if now.prefixed else self._attention).get(module)
        attending = Attending(branches, scoring, self.source)
        if now.ways is not None and now.ways.parts:
            return attending.in_blocks(now.ways, now.ways.layers[module.layer_idx].blocks, query, mask)
        tensors = query, key, value, *(() if mask is None else (mask,))
        return attending.of(now.rows, () if now.ways is None else now.ways.spans, tensors)
