"""What the longest test files take: they are begun first, and `make check` counts how many fit into a minute."""

from pathlib import Path

__all__ = ["seconds_of"]

_SECONDS = {
    "test_tutorials": 55, "test_cohort": 52, "test_study": 50, "test_methods": 22, "test_demo_chat": 17,
    "test_quantised": 30, "test_onnx": 45, "test_graphs": 22, "test_gguf_export": 30, "test_evaluate": 17, "test_export": 17,
    "test_tagging": 17, "test_killed_workers": 35, "test_devices": 15, "test_options": 10, "test_writing": 12,
    "test_rates": 11, "test_cli": 13, "test_clean": 12, "test_generation": 11, "test_peft_files": 10, "test_gguf": 9,
    "test_images": 9, "test_peft": 9, "test_base_weights": 9, "test_docs": 9, "test_damaged": 8, "test_multilabel": 8,
    "test_executors": 7, "test_choices": 7, "test_audit": 7, "test_language": 6, "test_house": 8, "test_wording": 3,
    "test_server": 20, "test_chaos": 20, "test_fuzz": 10, "test_completions": 9,
}  # fmt: skip
"""Of one core, by the files' names. That they have changed since costs waiting, and nothing else."""
_USUAL = 2


def seconds_of(file: Path) -> int:
    """Return about how long a test file takes."""
    return _SECONDS.get(file.stem, _USUAL)
