"""Afina: adapt a language model with the fine-tuning method that is worth it, and prove it.

`Study` compares methods, `load` puts an adapter to work, `evaluate` measures one, the method classes say how to adapt; all
are loaded when used.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "AdaLoRA": "afina.methods.adalora",
    "AfinaError": "afina.errors",
    "Answering": "afina.evaluation.answers",
    "BitFit": "afina.methods.bitfit",
    "Chat": "afina.serve.session",
    "Features": "afina.methods.features",
    "Full": "afina.methods.full",
    "GenerationSettings": "afina.generation.settings",
    "HeadOnly": "afina.methods.head",
    "IA3": "afina.methods.ia3",
    "LoRA": "afina.methods.lora",
    "Study": "afina.study.study",
    "UsageError": "afina.errors",
    "audit_leak": "afina.audit.run",
    "evaluate": "afina.evaluation.evaluate",
    "load": "afina.train.load",
    "predict_file": "afina.serve.predict",
    "preview": "afina.study.preview",
}

__all__ = sorted([*_WHERE, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'afina' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
