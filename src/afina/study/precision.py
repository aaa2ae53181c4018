"""Choose what `precision: auto` is: a narrower storage where the device has it and timed steps prove it not slower."""

from collections.abc import Callable, Sequence

import torch

from afina.adapters.adapter import build_adapter
from afina.backbone.attachment import Attachment
from afina.backbone.inputs import random_inputs
from afina.backbone.load import load_backbone, stored_at
from afina.backbone.storage.base import STORAGES, worth_trying
from afina.measure.timing import Stopwatch, lower_quartile
from afina.methods.base import probing_method
from afina.ops.dropout import DropoutSource
from afina.precision import EXACT
from afina.results.study_file import ChosenPrecision

__all__ = ["choose_precision"]

_WARM_UP = 2
_STEPS = _WARM_UP + 5
"""Steps that are taken in each; those at the beginning do not count."""


def choose_precision(
    *, model: str, device: str, batch_size: int, length: int, trust_remote_code: bool = False,
    wanted: Sequence[str] = ("auto",), begin: Callable[[], None] = lambda: None,
    tick: Callable[[int, int], None] = lambda done, steps: None,
) -> ChosenPrecision:  # fmt: skip
    """Return `precision` with the evidence: seconds of a step in each storage at these sizes, the lower quartile of some.

    A checkpoint whose weights are stored in few bits is had in nothing else. What every method wants is taken (`wanted`, with
    "auto" for a method that wants nothing of its own). Otherwise a narrower storage is taken when its step is no slower than
    the exact one's; where the hardware lacks it nothing is timed.
    `begin` is called where steps are timed, before the first, and `tick` is told how many of all are done.
    """
    stored = stored_at(model, trust_remote_code=trust_remote_code)
    if stored is not None:
        reason = f"the model's weights are stored in {stored}"
        return ChosenPrecision.made(precision=stored, reason=reason, step_seconds={})
    if "auto" not in wanted:
        # All want the same: then a narrower one of their own is no choice any more.
        return ChosenPrecision.made(precision=min(wanted), reason="every method of the study wants it")
    tried = [kind.name for kind in worth_trying(device)]
    if not tried:
        lacking = " or ".join(kind.arithmetic for kind in STORAGES.values() if kind.tried)
        return ChosenPrecision.made(precision=EXACT, reason=f"the hardware has no {lacking}", step_seconds={})
    seconds: dict[str, float] = {}
    begin()
    for number, precision in enumerate((EXACT, *tried)):

        def told(done: int, before: int = number * _STEPS) -> None:
            tick(before + done, (1 + len(tried)) * _STEPS)

        seconds[precision] = _step_seconds(model, device, batch_size, length, precision, trust_remote_code, told)
    order = [*tried, EXACT]
    reason = f"a step took {' and '.join(f'{seconds[name]:.4g} s in {name}' for name in order)}"
    fastest = min(order, key=lambda name: seconds[name])  # of equals not the exact one, which stands last
    return ChosenPrecision.made(precision=fastest, reason=reason, step_seconds=seconds)


def _step_seconds(
    model: str, device: str, batch_size: int, length: int, precision: str, trust_remote_code: bool,
    tick: Callable[[int], None],
) -> float:  # fmt: skip
    backbone = load_backbone(model, precision=precision, device=device, trust_remote_code=trust_remote_code)
    # A small rank, as what is timed is the model and not the adapter.
    adapter = build_adapter(probing_method(min(4, backbone.anatomy.width)), backbone, outputs=2, seed=0)
    inputs = random_inputs(backbone.config, batch_size, length, device)
    labels = torch.zeros(batch_size, dtype=torch.long, device=device)
    times = []
    with Attachment(backbone, [adapter], DropoutSource(0)) as attached:
        attached.train(True)
        for done in range(1, _STEPS + 1):
            watch = Stopwatch(device)
            (logits,) = attached(inputs)
            torch.nn.functional.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
            # A GPU answers before it has computed.
            if device == "cuda":
                torch.cuda.synchronize()
            times.append(watch.seconds())
            tick(done)
    # A busy machine makes single steps long.
    return lower_quartile(times[_WARM_UP:])
