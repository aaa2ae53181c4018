"""Run a model over some texts and see what goes into its layers: what decides which of it is of least use."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from afina.dataset_spec import DatasetSpec
from afina.errors import UsageError

__all__ = ["Calibration", "calibration_texts"]

_ROWS_AT_ONCE = 16


@dataclass(frozen=True)
class Calibration:
    """Texts as a model reads them."""

    batches: Sequence[dict[str, Tensor]]
    tokens: int
    """Number of their tokens, without padding."""

    @classmethod
    def of(cls, texts: Sequence[tuple[str, str | None]], tokenizer: Any, longest: int) -> "Calibration":
        """Tokenise texts, those of like length together."""
        batches = []
        ordered = sorted(texts, key=lambda text: len(text[0]) + len(text[1] or ""))
        for start in range(0, len(ordered), _ROWS_AT_ONCE):
            some = ordered[start : start + _ROWS_AT_ONCE]
            second = [pair for _, pair in some]
            pairs = {"text_pair": second} if all(pair is not None for pair in second) else {}
            batches.append(
                dict(
                    tokenizer(
                        [text for text, _ in some], **pairs, truncation=True, max_length=longest, padding=True,
                        return_tensors="pt",
                    )
                )
            )  # fmt: skip
        return cls(batches, sum(int(batch["attention_mask"].sum()) for batch in batches))

    def through(
        self, model: nn.Module, see: dict[nn.Module, Callable[[Tensor, Tensor], None]],
        after: Callable[[Tensor], None] = lambda mask: None,
    ) -> None:  # fmt: skip
        """Run the texts through a model; `see` is given each module's input (N, D) of real tokens, and its output.

        `after` each batch its mask (B, T) is told.
        """
        model.eval()
        mask: list[Tensor] = []
        with _seen(see, mask), torch.inference_mode():
            for batch in self.batches:
                mask[:] = [batch["attention_mask"].bool()]
                model(**batch)
                after(mask[0])

    def squares(self, model: nn.Module, modules: Sequence[nn.Module]) -> list[Tensor]:
        """Return the mean square of each input feature (D,) of these modules."""
        sums: dict[nn.Module, Tensor] = {}

        def seen(module: nn.Module) -> Callable[[Tensor, Tensor], None]:
            def see(inside: Tensor, _: Tensor) -> None:
                sums[module] = sums.get(module, torch.zeros(())) + inside.double().square().sum(dim=0)

            return see

        self.through(model, {module: seen(module) for module in modules})
        return [(sums[module] / self.tokens).float() for module in modules]

    def covariances(self, model: nn.Module, modules: Sequence[nn.Module]) -> list[Tensor]:
        """Return the mean outer product (D, D) of each module's input, float64."""
        sums: dict[nn.Module, Tensor] = {}

        def seen(module: nn.Module) -> Callable[[Tensor, Tensor], None]:
            def see(inside: Tensor, _: Tensor) -> None:
                wide = inside.double()
                sums[module] = sums.get(module, torch.zeros((), dtype=torch.float64)) + wide.T @ wide

            return see

        self.through(model, {module: seen(module) for module in modules})
        return [sums[module] / self.tokens for module in modules]


@contextmanager
def _seen(see: dict[nn.Module, Callable[[Tensor, Tensor], None]], mask: list[Tensor]) -> Iterator[None]:
    """Give what each module reads and says at real tokens, not at padding, to the function that wants to see it."""

    def hook(module: nn.Module, inputs: Any, named: Any, output: Any) -> None:
        inside = inputs[0] if inputs else next(iter(named.values()))
        outside = output[0] if isinstance(output, tuple) else output
        if inside.ndim == 3 and inside.shape[:2] == mask[0].shape:
            see[module](inside[mask[0]], outside[mask[0]])
        else:  # a model that has taken the padding out
            see[module](inside.reshape(-1, inside.shape[-1]), outside.reshape(-1, outside.shape[-1]))

    handles = [module.register_forward_hook(hook, with_kwargs=True) for module in see]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def calibration_texts(data: str | None, rows: int, text: str | None = None) -> list[tuple[str, str | None]]:
    """Return texts of a file, line by line or of a table's column, or of a data set by its name or folder.

    At most `rows`, evenly chosen. Raises `UsageError` where there is none to judge by.
    """
    if data is None:
        raise UsageError("What is of least use shows on texts like yours: give some by --data (a file, or a data set).")
    path = Path(data)
    if path.is_file():
        from afina.data.labelled import read_texts

        texts = read_texts(path, text, None)
    else:
        from afina.tasks.reading import load_text_dataset

        train = load_text_dataset(DatasetSpec(path=data, text=text)).train
        if train.pixels is not None:
            raise UsageError(f"{data} has images, and texts are wanted to judge by.")
        seconds: Sequence[str | None] = train.text_pair or [None] * len(train)
        texts = list(zip(train.text, seconds, strict=True))
    usable = [(first, second) for first, second in texts if first.strip()]
    if not usable:
        raise UsageError(f"{data} has no usable text to judge by.")
    return usable[:: max(1, len(usable) // rows)][:rows]
