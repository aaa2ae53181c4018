"""The faults that `tests/mutations.py` plants can be planted: their text stands where they say, their tests are there."""

import runpy
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent
MUTATIONS = runpy.run_path(str(TESTS / "mutations.py"))
FAULTS, place_of = MUTATIONS["FAULTS"], MUTATIONS["place_of"]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_can_be_planted(fault: Any) -> None:
    """Where a formula was rewritten, its fault in `tests/mutations.py` has to be too."""
    assert place_of(fault) is not None, f"{fault.right!r} should stand once in one {fault.file}"
    assert fault.right != fault.wrong
    assert list(TESTS.rglob(f"{fault.tests.split()[0]}.py"))


def test_every_method_has_a_fault() -> None:
    from afina.methods.base import registry

    named = {fault.name.partition(":")[0] for fault in FAULTS}
    assert {name for name, cls in registry().items() if not cls.gradient_free} - {"head"} <= named
