"""What an adapter may be exported to; said before anything heavy is imported."""

from pathlib import Path

from afina.errors import UsageError, nearest

__all__ = ["KINDS", "ONTO", "target_of"]

KINDS = ("peft", "merged", "lora")
ONTO = ("dequantised", "original")
"""Which weights an adapter of a quantised base is merged into."""


def target_of(adapter: Path, to: str, onto: str, out: Path | None) -> Path:
    """Return the folder that an export makes; raises `UsageError` for another kind, and for a folder that is there."""
    if to not in KINDS:
        raise UsageError(f"--to is {', '.join(KINDS)}, not '{to}'{nearest(to, KINDS)}")
    if onto not in ONTO:
        raise UsageError(f"--onto is {' or '.join(ONTO)}, not '{onto}'{nearest(onto, ONTO)}")
    target = out or adapter.with_name(f"{adapter.resolve().name}-{to}")
    if target.exists():
        raise UsageError(f"{target} exists already; choose another --out.")
    return target
