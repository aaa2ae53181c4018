"""The faults that `tests/mutations.py` plants can be planted: their text stands where they say, their tests are there."""

import runpy
from pathlib import Path

TESTS = Path(__file__).parent
MUTATIONS = runpy.run_path(str(TESTS / "mutations.py"))
FAULTS, place_of = MUTATIONS["FAULTS"], MUTATIONS["place_of"]


def test_every_fault_can_be_planted() -> None:
    """Where a formula was rewritten, its fault in `tests/mutations.py` has to be too."""
    files = {path.stem for path in TESTS.rglob("test_*.py")}
    for fault in FAULTS:
        assert place_of(fault) is not None, f"{fault.name}: {fault.right!r} should stand once in one {fault.file}"
        assert fault.right != fault.wrong, fault.name
        assert fault.tests.split()[0] in files, fault.name


def test_every_method_has_a_fault() -> None:
    from afina.methods.base import registry

    named = {fault.name.partition(":")[0] for fault in FAULTS}
    assert {name for name, cls in registry().items() if not cls.gradient_free} - {"head"} <= named
