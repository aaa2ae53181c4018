"""A model that writes: it reads prompts once and goes on token by token, from the keys and values that it keeps.

Prompts are read as texts are in training: padding behind, virtual tokens before, positions from each text's start. Then
what was kept is moved to the end of the batch's width, so that the tokens that follow stand behind each row's own; sliding
windows, which count places, then see what they would see of the row alone. Rows that were read apart join in the same way,
and a long prompt is read in pieces.
"""

import inspect
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from afina.backbone.arranged import Arrangement, Rearrangement, Taken, plan_of, size_of
from afina.backbone.attachment import Attachment
from afina.backbone.before_text import keeps_by_row, places_taken, prefix_of
from afina.backbone.flight import Pass, Read
from afina.backbone.kept import Kept, new_cache
from afina.backbone.language_head import spoken_by
from afina.backbone.ways import Ways
from afina.data.tokens.batching import collate
from afina.data.tokens.tokens import LabelledTokens

__all__ = ["Writing"]


class Writing:
    """Rows that an attached model writes, those of each adapter side by side: what is kept of them between passes."""

    def __init__(
        self, attached: Attachment, prompts: Sequence[Sequence[int]], rows: Sequence[slice], *, most: int | None = None,
        places: Sequence[int] = (),
    ) -> None:  # fmt: skip
        """Read prompts' tokens, whose `rows` belong to the adapters in order; `logits` (B, V) are then of what follows.

        Of one prompt alone at most `most` tokens are read: `read_on` reads the others. `places` are the most that each row
        may come to have.
        """
        self.attached, self._backbone = attached, attached.backbone
        self._of = [number for number, part in enumerate(rows) for _ in range(part.start, part.stop)]
        """Whose each row is: the adapter's number."""
        names = inspect.signature(self._backbone.model.forward).parameters

        # transformers 5.24 gave what is kept another name.
        self._past_name = "cache" if "cache" in names else "past_key_values"
        self._apart = bool(self._backbone.anatomy.row.further)
        self._by_row = keeps_by_row(self._backbone)
        """True if rows of unlike size stand in blocks of their own, and prefixes among the keys that are kept."""
        sizes = [size_of(most) for most in places] if places and self._by_row else [0] * len(prompts)
        count = len(prompts)
        # What is read together is in one block at first.
        self._standing = Arrangement([0] * count, sizes, [0] * count, [list(range(count))])
        self._past = new_cache(apart=self._apart)
        self._mask: Tensor | None = None
        """(B, S) of what is kept, or None if all is seen."""
        self._encoded: Tensor | None = None
        """An encoder's states (B, S, D)."""
        self._seen: Tensor | None = None
        """(B, S) of those, or None if all are seen."""
        self.logits: Tensor
        self._left: list[int] = []
        """Tokens of the prompt that are still to be read."""
        self._ways: Ways | None = None

        # An encoder looks at the whole prompt at once, so that only a decoder's prompt can be read in pieces.
        if most is not None and not self._apart and len(prompts) == 1:
            prompts, self._left = [prompts[0][:most]], list(prompts[0][most:])
        self._read(prompts)

    def __len__(self) -> int:
        return len(self._of)

    @property
    def width(self) -> int:
        """Return the places of the longest row."""
        return max(self._standing.counts, default=0)

    @property
    def is_read(self) -> bool:
        """Return whether the prompts are read to their end."""
        return not self._left

    @property
    def rows(self) -> list[slice]:
        """Return the rows of each adapter."""
        # Counted, as rows of an adapter stand side by side in the adapters' order.
        stops = np.cumsum([0, *np.bincount(self._of, minlength=len(self.attached.adapters))]).tolist()
        return [slice(start, stop) for start, stop in itertools.pairwise(stops)]

    def _read(self, prompts: Sequence[Sequence[int]]) -> None:
        attached, rows = self.attached, self.rows
        given = attached.given(self._inputs(prompts), rows)
        if self._apart:
            # The prompt is the encoder's; the decoder begins with its start token alone.
            given.inputs["decoder_input_ids"] = given.inputs["decoder_input_ids"][:, :1]
        read, length = given.read, given.read.length

        # The mask is that of the whole prompt from the first piece on: a sliding window's shape must not change between
        # pieces.
        if self._left:
            more = len(self._left)
            whole = None if read.mask is None else torch.nn.functional.pad(read.mask, (0, more), value=1)
            read = Read(whole, length + more, (0, length))
        ways = Ways(rows, reads=True)
        output = attached.run(Pass(rows, read, Read(None, 1), ways=ways), given.inputs, self._kept())

        # Prefixes that count as PEFT's do move the positions of their own rows on, and of no others.
        moved = torch.tensor(attached.moves)[self._of]
        if self._apart:
            self._encoded, self._seen = output.encoder_last_hidden_state, given.read.mask
            self._standing.counts = [1] * len(prompts)

            # Position 0 was the start token's.
            self._positions = torch.ones(len(prompts), dtype=torch.long, device=self._backbone.device)
            self.logits = self._say(output.last_hidden_state[:, 0])
            return
        mask = given.read.mask
        counts = torch.full((len(prompts),), length) if mask is None else mask.sum(dim=1).cpu()
        self._standing.counts = counts.tolist()
        self._positions = (counts + moved).to(self._backbone.device)
        """(B,) of the next tokens."""

        self._move_behind(counts.to(self._backbone.device), self.width)
        self._prepend_prefixes()
        if len(set(self._standing.sizes)) > 1:
            self.keep(range(len(self)))
        if not self._left:
            last = (counts - 1).to(self._backbone.device)
            # The last token's state says what follows; padding behind it says nothing.
            self.logits = self._say(output.last_hidden_state[torch.arange(len(last)), last])

    def read_on(self, most: int) -> None:
        """Read at most as many more tokens of a prompt that is read in pieces."""
        tokens, self._left = self._left[:most], self._left[most:]
        begin = self._standing.counts[0] - self._standing.prefixes[0]
        end = begin + len(tokens)
        ids = torch.tensor([tokens], device=self._backbone.device)
        positions = self._positions + torch.arange(len(tokens), device=self._backbone.device)
        read = Read(None, end + len(self._left), (begin, end))
        output = self.attached.run(
            Pass(self.rows, read, Read(None, 1), goes_on=True, prefixed=self._by_row),
            {"input_ids": ids, "position_ids": positions[None], "attention_mask": None}, self._kept(),
        )  # fmt: skip
        # One row, as only a prompt that is alone is read in pieces.
        self._standing.counts = [end + self._standing.prefixes[0]]
        self._positions = self._positions + len(tokens)
        if not self._left:
            self.logits = self._say(output.last_hidden_state[:, -1])

    def go_on(self, tokens: Tensor) -> Tensor:
        """Add a token (B,) to each row; return logits (B, V) of the next."""
        nothing = Read(torch.zeros(len(tokens), 1, dtype=torch.long, device=tokens.device), 1)
        places = self._positions[:, None]

        # The new token is seen by all that follow, in every row.
        if self._mask is not None:
            self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], dim=1)
        if self._encoded is not None:
            given: dict[str, Any] = {
                "decoder_input_ids": tokens[:, None], "encoder_outputs": (self._encoded,),
                "attention_mask": self._seen, "decoder_attention_mask": self._mask,
            }  # fmt: skip
        else:
            given = {"input_ids": tokens[:, None], "position_ids": places, "attention_mask": self._mask}
        self._positions = self._positions + 1
        self._standing.counts = [count + 1 for count in self._standing.counts]

        # The same rows go through the same branches at every step, so their ways are worked out once until a row joins
        # or leaves.
        if self._ways is None:
            # An encoder's states are attended to by the same calls, and begin at one place.
            unseen = () if self._apart else [self.width - count for count in self._standing.counts]
            self._ways = Ways(self.rows, unseen=unseen, groups=self._standing.groups, layers=self.layers)
        now = Pass(
            self._ways.rows, nothing, nothing, goes_on=True, ways=self._ways, places=places if self._apart else None,
            prefixed=self._by_row,
        )  # fmt: skip
        output = self.attached.run(now, given, self._kept())
        self.logits = self._say(output.last_hidden_state[:, -1])
        return self.logits

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone, in their order."""
        chosen = torch.tensor(rows, dtype=torch.long, device=self._backbone.device)
        self._arrange([(0, row) for row in rows])
        self._of, self._ways = [self._of[row] for row in rows], None
        self._positions = self._positions[chosen]
        # Made again and not cut: rows that went may have been the longest, or the only ones of another length.
        self._mask = self._mask_now()
        if self._encoded is not None:
            self._encoded = self._encoded[chosen]
            self._seen = None if self._seen is None else self._seen[chosen]
            width = self._past.cross_attention_cache.get_seq_length()
            plan = Rearrangement(
                [[Taken(0, 0, chosen, torch.arange(len(rows), device=chosen.device))]], [width], [False], ()
            )
            for layer in self._past.cross_attention_cache.layers:
                layer.arrange(plan, behind=True)

    def join(self, other: "Writing") -> list[int]:
        """Go on with another's rows too; return which of both, this one's first, stands at each place now."""
        assert other.attached is self.attached
        owners = self._of + other._of

        # A stable sort by adapter: rows of one adapter stand side by side, those that were there before the new ones.
        order = sorted(range(len(owners)), key=owners.__getitem__)
        place = torch.tensor(order, device=self._backbone.device).argsort()
        each = [place[: len(self)], place[len(self) :]]
        self._arrange([(0, row) if row < len(self) else (1, row - len(self)) for row in order], other)
        self._positions = torch.cat([self._positions, other._positions])[order]
        if self._encoded is not None and other._encoded is not None:
            self._join_encoded(other, each)
        self._of, self._ways = [owners[row] for row in order], None
        self._mask = self._mask_now()
        return order

    def _arrange(self, rows: Sequence[tuple[int, int]], other: "Writing | None" = None) -> None:
        """Keep keys and values of these rows, each a row of this one (0) or of the other (1)."""
        before = [self._standing] if other is None else [self._standing, other._standing]
        self._standing, plan = plan_of(rows, before, self._backbone.device)
        for number, layer in enumerate(self.layers):
            layer.arrange(plan, None if other is None else other.layers[number])

    def _join_encoded(self, other: "Writing", each: Sequence[Tensor]) -> None:
        assert self._encoded is not None
        assert other._encoded is not None
        pairs = zip(self._past.cross_attention_cache.layers, other._past.cross_attention_cache.layers, strict=True)
        both = self._encoded, other._encoded
        width = max(own.shape[1] for own in both)
        rows = [torch.arange(len(places), device=places.device) for places in each]
        plan = Rearrangement(
            [[Taken(source, 0, rows[source], each[source]) for source in (0, 1)]], [width], [False], ()
        )
        for layer, more in pairs:
            # An encoder's states begin together (their padding is behind), where a decoder's rows end together.
            layer.arrange(plan, more, behind=True)
        states = both[0].new_zeros(len(self) + len(other), width, both[0].shape[2])
        seen = torch.zeros(states.shape[:2], dtype=torch.long, device=states.device)
        for encoded, mask, places in zip(both, (self._seen, other._seen), each, strict=True):
            states[places, : encoded.shape[1]] = encoded
            # All of a side's own width is seen where it had no mask.
            seen[places, : encoded.shape[1]] = 1 if mask is None else mask
        self._encoded, self._seen = states, seen

    def renumber(self, attached: Attachment, numbers: Sequence[int]) -> list[int]:
        """Go on under another attachment of the same model, in which the adapters have these numbers.

        Return which row stands at each place now.
        """
        self.attached, self._of, self._ways = attached, [numbers[number] for number in self._of], None
        # Rows of one adapter have to stand side by side, also under other numbers.
        order = sorted(range(len(self)), key=self._of.__getitem__)
        if order != list(range(len(self))):
            self.keep(order)
        return order

    @property
    def layers(self) -> list[Kept]:
        """Return what the layers keep of the rows' own tokens."""
        return (self._past.self_attention_cache if self._apart else self._past).layers  # type: ignore[no-any-return]

    @property
    def all_layers(self) -> list[Kept]:
        """Return the same, and what a decoder keeps of the encoder's states."""
        return self.layers + (self._past.cross_attention_cache.layers if self._apart else [])

    def _kept(self) -> dict[str, Any]:
        """Return what the model is called with to go on from its cached keys and values."""
        # Said at each pass: some configurations switch caching off.
        return {self._past_name: self._past, "use_cache": True}

    def _inputs(self, prompts: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        backbone = self._backbone
        ids = np.concatenate([np.array(prompt, dtype=np.int32) for prompt in prompts])
        offsets = np.cumsum([0, *map(len, prompts)])
        tokens = LabelledTokens(ids, offsets, np.zeros(len(prompts), dtype=np.int64))
        # Nothing is cut here: what is too long was refused before, by what its own adapter leaves of the context.
        most = max(max(map(len, prompts)), backbone.context - max(map(places_taken, self.attached.adapters)))
        rows = np.arange(len(prompts))
        return dict(collate([(tokens, rows)], backbone.tokenizer.pad_token_id, backbone.device, most=most).inputs)

    def _say(self, states: Tensor) -> Tensor:
        """Return logits (B, V) of states (B, D), each row's by its adapter's language head; of words it has not, none."""
        assert self._backbone.language is not None, "the model was not loaded to speak"
        heads = [spoken_by(adapter.head, self._backbone.language) for adapter in self.attached.adapters]
        if all(head is self._backbone.language for head in heads):
            # The usual case: one head for all rows, in one product.
            return self._backbone.language(states)
        # Adapters may have added words of their own, so heads differ in width: a word that a head lacks gets no
        # probability.
        parts = [head(states[own]) for head, own in zip(heads, self.rows, strict=True) if own.stop > own.start]
        words = max(part.shape[1] for part in parts)
        return torch.cat([torch.nn.functional.pad(own, (0, words - own.shape[1]), value=-torch.inf) for own in parts])

    def _move_behind(self, counts: Tensor, width: int) -> None:
        """Move each row's first `counts` (B,) kept places to the end of `width` places; what is before them is not seen."""
        places = torch.arange(width, device=counts.device)
        # Row i's token t moves to width - counts[i] + t; places before that copy token 0, and the mask hides them.
        source = (places - (width - counts)[:, None]).clamp(min=0)  # (B, width)
        # Rows of one length already stand at the end: then nothing is copied.
        if min(self._standing.counts) < width or width < self.layers[0].get_seq_length():
            for layer in self.layers:
                layer.gather(source)
        self._mask = self._mask_now()

    def _prepend_prefixes(self) -> None:
        """Put the keys and values of the rows' prefixes among those that are kept, where no later token copies them."""
        here = set(self._of) if self._by_row else set()
        prefixes = [prefix_of(one) if number in here else {} for number, one in enumerate(self.attached.adapters)]
        lengths = [max((key.shape[1] for key, _ in own.values()), default=0) for own in prefixes]
        standing = self._standing
        standing.prefixes = [lengths[number] for number in self._of]
        if not any(standing.prefixes):
            return
        texts = standing.counts
        standing.counts = [sum(pair) for pair in zip(texts, standing.prefixes, strict=True)]
        for number, layer in enumerate(self.layers):
            layer.prepend([prefixes[owner].get(number) for owner in self._of], texts, self.width)
        self._mask = self._mask_now()

    def _mask_now(self) -> Tensor | None:
        # None lets attention take its fast path for causal rows without padding.
        if min(self._standing.counts, default=0) == self.width:
            return None
        counts = torch.tensor(self._standing.counts, device=self._backbone.device)
        return (torch.arange(self.width, device=counts.device) >= (self.width - counts)[:, None]).long()
