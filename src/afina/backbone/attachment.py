"""Adapters attached to a backbone: hooks at their sites, and rows of the batch routed to them.

A batch holds the rows of adapter 0, then those of adapter 1, and so on; the backbone runs once for all of them and each
branch sees only its adapter's rows. One adapter alone is a cohort of one. Leaving the `with` block removes every hook.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from afina.backbone.anatomy import Site
from afina.backbone.branch import AttentionBranch, Branch, Placed, PromptBranch
from afina.backbone.function import ATTACHED, attention_function
from afina.backbone.heads import Head, Hidden
from afina.backbone.inputs import decoder_inputs, padded_behind, rows_and_tokens
from afina.backbone.language import Answers, answers_apart, question_mask
from afina.backbone.lent import LENT
from afina.backbone.load import Backbone
from afina.backbone.packing import unpackable
from afina.backbone.prompts import Prompts
from afina.backbone.route import cut, hook, join
from afina.backbone.trunk import LowerLayers, Trunk, Trunks
from afina.data.batching import Batch, Tokens, collate
from afina.errors import AfinaError
from afina.ops.attention import attention
from afina.ops.dropout import DropoutSource, dropout

__all__ = ["Attachable", "Attachment"]


class Attachable(Protocol):
    """What an adapter shows to the backbone."""

    head: Head

    def placed(self) -> Sequence[tuple[Site, Placed]]: ...


class Attachment:
    """A backbone with adapters on it, for the time of a `with` block; calling it gives each adapter's logits."""

    def __init__(
        self,
        backbone: Backbone,
        adapters: Sequence[Attachable],
        source: DropoutSource | None = None,
        *,
        training: bool = False,
        checkpointing: bool = False,
        trunks: Trunks | None = None,
        trunk_layers: int = 0,
    ) -> None:
        """Attach in the `with` block, `training` or not; with `checkpointing` layers are computed again in the backward pass.

        The lowest `trunk_layers`, where no adapter may have a branch, see a row once: `trunks` keeps what they make of it.
        """
        self.backbone = backbone
        self.adapters = list(adapters)
        self.source = source
        self.checkpointing = checkpointing
        self._trunks, self._trunk_layers = trunks, trunk_layers if trunks is not None else 0
        self._lower: LowerLayers | None = None
        self.training = training
        self._rows: list[slice] = [slice(None)]
        self._branches: dict[str, dict[int, list[tuple[Site, Branch]]]] = defaultdict(lambda: defaultdict(list))
        self._attention: dict[nn.Module, dict[int, list[AttentionBranch]]] = defaultdict(lambda: defaultdict(list))
        self._handles: list[Any] = []
        self._first_token_attention: nn.Module | None = None
        self._prompts: Prompts | None = None
        self._goes_on = False
        """Whether a pass adds tokens to rows that were read before, behind their prompts."""
        self._seen: Tensor | None = None
        """For images and sound, which know no mask of their own: what may be looked at behind prompts of unlike length."""

    def __enter__(self) -> "Attachment":
        modules = dict(self.backbone.model.named_modules())
        for module, product in self.backbone.linears.items():
            module.forward = product
        prompts: list[PromptBranch | None] = [None] * len(self.adapters)
        for index, adapter in enumerate(self.adapters):
            for site, branch in adapter.placed():
                if isinstance(branch, AttentionBranch):
                    self._attention[modules[site.module]][index].append(branch)
                elif isinstance(branch, Branch):
                    self._branches[site.module][index].append((site, branch))
                elif isinstance(branch, PromptBranch):
                    prompts[index] = branch
        for name, branches in self._branches.items():
            self._handles += hook(modules[name], branches, lambda: self._rows)
        for module in self._dropouts():
            module.training = False
            self._handles.append(module.register_forward_hook(self._drop))
        self._narrow(modules)
        layers = [modules[site.module] for site in self.backbone.anatomy.of_kind("layer")]
        for layer in layers[self._trunk_layers :] if self.checkpointing else ():
            self._checkpoint(layer)
        if self._trunk_layers:
            self._lower = LowerLayers(layers[: self._trunk_layers], self._trunk_of, self._reach)
        if any(prompt is not None for prompt in prompts):
            self._prompts = Prompts(prompts, every=self.backbone.tags or self.backbone.anatomy.row.causal)
            placed = (modules, self.backbone.anatomy, lambda: self._rows, lambda: self._goes_on)
            self._handles += self._prompts.hooks(*placed)
        for name in self.backbone.anatomy.attention_modules:
            assert modules[name] not in ATTACHED, "a backbone carries one attachment at a time"
            ATTACHED[modules[name]] = self
            if (lent := self.backbone.anatomy.row.lent) is not None:
                given = (modules[name], attention_function, self._for_each_adapter)
                modules[name].forward = partial(LENT[lent], *given)
        self.train(self.training)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._branches.clear()
        self._attention.clear()
        self._first_token_attention = self._prompts = self._seen = self._lower = None
        modules = dict(self.backbone.model.named_modules())
        for module in self.backbone.linears:
            module.__dict__.pop("forward", None)
        for name in self.backbone.anatomy.attention_modules:
            ATTACHED.pop(modules[name], None)
            modules[name].__dict__.pop("forward", None)  # where one was lent
        for site in self.backbone.anatomy.of_kind("layer"):
            modules[site.module].__dict__.pop("forward", None)
        self.backbone.model.train(False)

    def train(self, mode: bool = True) -> None:
        """Switch dropout on or off, in the backbone and in the adapters.

        What is in that mode already is not walked through: members of a cohort take turns at every step.
        """
        self.training = mode
        if self.backbone.model.training != mode:
            self.backbone.model.train(mode)
            for module in self._dropouts():
                module.training = False
        for adapter in self.adapters:
            if adapter.head.training != mode:
                adapter.head.train(mode)
                for _, branch in adapter.placed():
                    branch.train(mode)

    def _dropouts(self) -> list[nn.Module]:
        """On a CPU a hook drops instead of the modules that do, which draw a float per element."""
        if self.backbone.device.type != "cpu":
            return []
        return [module for module in self.backbone.model.modules() if isinstance(module, nn.Dropout)]

    def batch(self, pieces: Sequence[tuple[Tokens, np.ndarray]], *, packing: bool = False) -> Batch:
        """Return rows of data sets, one after another, as a batch for this backbone.

        With `packing` several texts share a row of the batch where that is the same to all adapters.
        """
        backbone = self.backbone
        pad = 0 if backbone.tokenizer is None else backbone.tokenizer.pad_token_id
        packing = (
            packing
            and self._lower is None
            and not any(
                unpackable(backbone.anatomy, adapter.head, (branch for _, branch in adapter.placed()))
                for adapter in self.adapters
            )
        )
        batch = collate(pieces, pad, backbone.device, most=backbone.context, packing=packing)
        if self._lower is None:
            return batch
        return self._lower.add(batch, pieces, rows_and_tokens(batch.inputs, backbone.config)[1])

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
        """Take rows through the model as an evaluation does, and leave its mode as it was."""
        training, lower, self._lower = self.training, self._lower, None
        try:
            self.train(False)
            with torch.no_grad():
                inputs = self.batch([(tokens, rows)]).inputs
                self._lower = lower
                sequences = len(rows) * tokens.choices
                self.hidden(inputs, [slice(0, sequences), *[slice(sequences, sequences)] * (len(self.adapters) - 1)])
        finally:
            self._lower = lower
            self.train(training)

    def __call__(self, inputs: Mapping[str, Tensor], rows: Sequence[slice] | None = None) -> list[Tensor]:
        """Return each adapter's logits (rows, K) for token inputs (B, T); `rows` cuts B by adapter, in order."""
        hidden = self.hidden(inputs, rows)
        return [
            adapter.head(hidden.rows(part), self.source)
            for adapter, part in zip(self.adapters, self._rows, strict=True)
        ]

    def hidden(self, inputs: Mapping[str, Tensor], rows: Sequence[slice] | None = None) -> Hidden:
        """Return the bare model's output for all rows and their own tokens, adapted."""
        assert rows is not None or len(self.adapters) <= 1, "several adapters need their rows"
        self._rows = [slice(0, len(next(iter(inputs.values()))))] * len(self.adapters) if rows is None else list(rows)
        inputs = dict(padded_behind(inputs if self._lower is None else self._lower.known(inputs)))
        targets = inputs.pop("targets", None)
        targets = None if self.backbone.tags else targets  # words' tags are not what is to be said
        answers: Answers | None = None
        if targets is not None and self.backbone.anatomy.row.further:
            answers = answers_apart(inputs, targets)
            inputs, targets = answers.inputs, answers.targets
        text_mask, width = inputs.get("attention_mask"), rows_and_tokens(inputs, self.backbone.config)[1]
        given, mask, lengthened = self._given(inputs)
        read, read_by_decoder = mask, text_mask
        if answers is not None:
            given["decoder_input_ids"] = torch.cat([given["decoder_input_ids"][:, :1], answers.ids[:, :-1]], dim=1)
            text_mask, width = answers.mask, answers.ids.shape[1]
            read_by_decoder = torch.zeros_like(answers.mask)
            read_by_decoder[:, 0] = 1
        elif targets is not None:
            question = question_mask(targets, text_mask)
            shape, device = (len(question), question.shape[1]), question.device
            read = question if self._prompts is None else self._prompts.mask(question, self._rows, shape, device)
        self._begin((read, lengthened), (read_by_decoder, width))
        output = self._run(given, self.backbone.call_settings)
        states = output.last_hidden_state
        if self._prompts is not None and states.shape[1] != width:
            states = self._prompts.without(states, self._rows, width)
        return Hidden(states, getattr(output, "pooler_output", None), text_mask, targets)

    def _begin(self, first: tuple[Tensor | None, int], decoder: tuple[Tensor | None, int]) -> None:
        """Tell all branches the mask and the tokens of this pass, and those of an encoder-decoder's decoder."""
        for adapter, part in zip(self.adapters, self._rows, strict=True):
            for site, branch in adapter.placed():
                own, length = decoder if site.decoder else first
                branch.begin(None if own is None else own[part], part.stop - part.start, length)

    def _run(self, given: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
        """Return the bare model's output."""
        autocast = self.backbone.autocast
        with torch.autocast(self.backbone.device.type, dtype=autocast, enabled=autocast is not None):
            return self.backbone.model(**given, **settings)

    def _given(self, inputs: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor | None, int]:
        """Return what the model is called with, the mask and the tokens of what its first layer will see."""
        backbone, (rows, width), mask = (
            self.backbone,
            rows_and_tokens(inputs, self.backbone.config),
            inputs.get("attention_mask"),
        )
        dtype = backbone.dtype
        given = {name: value.to(dtype) if value.is_floating_point() else value for name, value in inputs.items()}
        length = width
        if backbone.anatomy.row.further:
            given["decoder_input_ids"] = decoder_inputs(
                inputs, backbone.config, starts_with_last=backbone.anatomy.row.starts_with_last
            )
        if self._prompts is not None:
            length += self._prompts.room(width, backbone.context)
            pad = getattr(backbone.config, "pad_token_id", None) or 0
            given |= self._prompts.lengthen(inputs, self._rows, pad=pad)
            mask = self._prompts.mask(mask, self._rows, (rows, width), backbone.device)
            if "input_ids" not in inputs:
                self._seen = None if mask is None else mask[:, None, None, :].bool()
            elif mask is not None:
                given["attention_mask"] = mask
        if any(moves := self._moves()):
            if length + max(moves) > backbone.context:
                raise AfinaError(
                    f"A prefix of {max(moves)} moves texts of {length} tokens beyond the model's {backbone.context} "
                    f"positions; set max_length to at most {backbone.context - max(moves)}."
                )
            counts = [part.stop - part.start for part in self._rows]
            moved = torch.tensor(moves).repeat_interleave(torch.tensor(counts))[:, None].to(backbone.device)
            given["position_ids"] = given.get("position_ids", torch.arange(length, device=backbone.device)) + moved
        return given, mask, length

    def _moves(self) -> list[int]:
        """By how much each adapter moves its texts' positions; most do not."""
        return [
            max((branch.moves for _, branch in adapter.placed() if isinstance(branch, AttentionBranch)), default=0)
            for adapter in self.adapters
        ]

    def _checkpoint(self, layer: nn.Module) -> None:
        """Keep of a layer only what goes in (Chen et al., 2016, arXiv:1604.06174); dropout is the same both times."""
        forward = layer.forward

        def checkpointed(*args: Any, **settings: Any) -> Any:
            if not (self.training and torch.is_grad_enabled()):
                return forward(*args, **settings)
            blocks: dict[str, Any] = {"context_fn": self.source.replayed} if self.source is not None else {}
            return checkpoint(forward, *args, use_reentrant=False, **blocks, **settings)

        layer.forward = checkpointed

    def _for_each_adapter(self, module: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Call a module with what all rows share (1, S, D), once for each adapter, and give each row its adapter's."""
        if len(self._rows) <= 1:
            return module(x)
        rows, self._rows = self._rows, [slice(index, index + 1) for index in range(len(self._rows))]
        try:
            result = module(x.expand(len(rows), -1, -1))
        finally:
            self._rows = rows
        counts = torch.tensor([part.stop - part.start for part in rows], device=x.device)
        return result.repeat_interleave(counts, dim=0, output_size=rows[-1].stop)

    def _narrow(self, modules: Mapping[str, nn.Module]) -> None:
        """Leave out of the last layer what no head will look at: every query and what follows but the first token's.

        What the layer shapes by its input's length (query and attention) is spread over it again, as a view.
        """
        row = self.backbone.anatomy.row
        if row.narrow is None or not self.adapters or not all(a.head.first_token_only for a in self.adapters):
            return
        if not all(branch.per_token for adapter in self.adapters for _, branch in adapter.placed()):
            return
        attention_module = self.backbone.anatomy.attention_modules[-1]
        layer, query = attention_module.removesuffix(row.attention), row.roles["query"]
        assert isinstance(query, str), "a row with `narrow` has a query projection of its own"
        length = 0

        def first(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            nonlocal length
            length = args[0].shape[1]
            return tuple(x[:, :1] for x in args)

        def spread(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            return output.expand(-1, length, -1)

        self._first_token_attention = modules[attention_module]
        self._handles += [
            modules[layer + query].register_forward_pre_hook(first),
            modules[layer + query].register_forward_hook(spread),
            modules[layer + row.narrow].register_forward_pre_hook(first),
        ]

    def _drop(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        assert isinstance(module, nn.Dropout)
        return dropout(output, module.p, self.source) if self.training else output

    def attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, settings: Any
    ) -> Tensor:
        """Attention (B, H, T, D/H) of one module, rows of different adapters apart where a branch acts on it."""
        mask = self._seen if mask is None else mask
        if len(self._rows) > 1:
            settings = settings | {"rows_at_once": self._rows[0].stop - self._rows[0].start}
        if module is self._first_token_attention:
            length, query = query.shape[2], query[:, :, :1]
            mask = mask if mask is None else mask[:, :, :1]
            return self._attend(module, query, key, value, mask, settings | {"causal": False}).expand(
                -1, -1, length, -1
            )
        return self._attend(module, query, key, value, mask, settings)

    def _attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, settings: Any
    ) -> Tensor:
        branches = self._attention.get(module)
        if branches is None:
            return attention(query, key, value, mask, source=self.source, **settings)
        given = (query, key, value) if mask is None else (query, key, value, mask)
        pieces = cut(self._rows, branches, *given)
        return join([self._attend_rows(placed[0] if placed else [], settings, *own) for placed, own in pieces])

    def _attend_rows(
        self,
        branches: list[AttentionBranch],
        settings: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None = None,
    ) -> Tensor:
        for branch in branches:
            q, k, v, mask = branch.before(q, k, v, mask)
        output = attention(q, k, v, mask, source=self.source, **settings)
        for branch in reversed(branches):
            output = branch.after(q, output)
        return output
