"""Afina: adapt a language model with the fine-tuning method that is worth it, and prove it.

`Study` compares methods, `load` puts an adapter to work, `evaluate` measures one, the method classes say how to adapt; all
are loaded when used.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

# Where each name is; `module:name` where it is called otherwise there, as a word alone would be a room's.
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
    "Progress": "afina.cli.progress",
    "Study": "afina.study.study",
    "UsageError": "afina.errors",
    "audit_leak": "afina.audit.run",
    "catalogue": "afina.study.catalogue",
    "clean_data": "afina.data.clean:clean",
    "convert_data": "afina.data.convert:convert",
    "demo_study": "afina.cli.demo",
    "evaluate": "afina.evaluation.evaluate",
    "export_adapter": "afina.export.export",
    "generate_data": "afina.data.generate:generate",
    "inspect_data": "afina.data.inspect:inspect_file",
    "load": "afina.train.load",
    "mistakes": "afina.study.mistakes:read_mistakes",
    "plan": "afina.study.planned",
    "plant_canaries": "afina.audit.canaries:plant",
    "predict_file": "afina.serve.predict",
    "preview": "afina.study.preview",
    "recommend": "afina.study.recommend",
    "write_report": "afina.report.write",
}

__all__ = sorted([*_WHERE, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        module, _, own = _WHERE[name].partition(":")
        return getattr(importlib.import_module(module), own or name)
    raise AttributeError(f"module 'afina' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
