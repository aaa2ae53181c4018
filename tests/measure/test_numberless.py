"""A tensor without numbers is to every operation what a real one is, but for its numbers."""

import pytest
import torch

from afina.measure.numberless import Extent, Numberless
from afina.measure.storages import Storages


def like(value: torch.Tensor) -> Numberless:
    block = Extent(value.untyped_storage().nbytes())
    return Numberless(value.shape, value.stride(), value.storage_offset(), value.dtype, block)


OPERATIONS = {
    "sum": lambda x: x + x[:1],
    "transposed": lambda x: x.t()[1:],
    "product": lambda x: x.t() @ x,
    "narrow": lambda x: x.bfloat16(),
    "several": lambda x: x.split(2)[1],
    "in place": lambda x: x.mul_(2),
    "norm": lambda x: torch.nn.functional.layer_norm(x, (3,)),
    "picked": lambda x: x[torch.tensor([True, False, True, True])],
    "joined": lambda x: torch.cat([x, x], 1),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_gives_the_shape_the_place_and_the_type_that_it_gives_of_numbers(name: str) -> None:
    real = torch.ones(4, 3)
    for _ in range(2):  # asked, and then known
        with Storages() as storages:
            given = like(real)
            storages.hold(given)
            held = storages.bytes
            made = OPERATIONS[name](given)
            grown = storages.bytes - held
            wanted = OPERATIONS[name](real.clone())
        assert (made.shape, made.stride(), made.storage_offset(), made.dtype) == (
            wanted.shape, wanted.stride(), wanted.storage_offset(), wanted.dtype,
        )  # fmt: skip
        assert grown == (0 if name in ("transposed", "several", "in place") else wanted.untyped_storage().nbytes())


def test_a_storage_goes_with_the_last_tensor_in_it() -> None:
    with Storages() as storages:
        view = torch.empty(8, 8)[2:]
        assert storages.bytes == 256
        del view
        assert storages.bytes == 0


def test_numbers_that_are_not_there_are_not_asked_for() -> None:
    with Storages(), pytest.raises(RuntimeError):
        bool(torch.empty(1) > 0)
