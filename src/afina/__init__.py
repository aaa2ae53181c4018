"""Afina: adapt a language model with the fine-tuning method that is worth it, and prove it.

`Study` compares methods, `load` puts an adapter to work, `evaluate` measures one, the method classes (`LoRA`, `DoRA`,
`Prefix`: one for each method) say how to adapt; `api` has a call for each command. All are loaded when used.
"""

import importlib
import sys
from typing import Any

__version__ = "0.1.0"

# Where each name is but the methods'; `module:name` where it is called otherwise there, as a word alone would be a room's.
_PLACES = {
    "AfinaError": "afina.errors",
    "Answering": "afina.evaluation.answers",
    "BiasSettings": "afina.audit.bias.questions",
    "Chat": "afina.serve.session",
    "CleanSettings": "afina.corpus.rules",
    "Columns": "afina.data.dialogues.conversations",
    "DatasetSpec": "afina.dataset_spec",
    "Endpoint": "afina.corpus.writers",
    "GenerationSettings": "afina.generation.settings",
    "Index": "afina.retrieval.index",
    "IndexSettings": "afina.retrieval.settings",
    "JudgedQuestion": "afina.retrieval.judged",
    "LeakSettings": "afina.audit.leak",
    "LocalModel": "afina.generation.writer",
    "Progress": "afina.cli.progress",
    "Speakers": "afina.data.dialogues.speakers",
    "ServeLimits": "afina.serve.http.house",
    "Study": "afina.study.study",
    "UsageError": "afina.errors",
    "WatchSettings": "afina.audit.watch.settings",
    "api": "afina.api",
    "audit_bias": "afina.api.audit:bias",
    "audit_leak": "afina.audit.run",
    "catalogue": "afina.study.catalogue",
    "clean_data": "afina.api.data:clean",
    "compare_models": "afina.api.comparing:compare",
    "compare_ways": "afina.api.rag:compare",
    "compress_model": "afina.api.compression:compress",
    "convert_data": "afina.api.data:convert",
    "demo_study": "afina.api.demonstrations",
    "evaluate": "afina.api.adapters",
    "explain": "afina.api.explain:explain",
    "explain_study": "afina.api.explain",
    "export_adapter": "afina.export.export",
    "generate_data": "afina.api.data",
    "index_documents": "afina.api.rag:index",
    "inspect_data": "afina.api.data:inspect",
    "inspect_run": "afina.api.studies:inspect",
    "load": "afina.predictor.load",
    "mistakes": "afina.results.mistakes:read_mistakes",
    "plan": "afina.study.planned",
    "plant_canaries": "afina.api.audit:canaries",
    "predict_file": "afina.api.prediction",
    "preview": "afina.study.preview",
    "recommend": "afina.api.studies",
    "serve_adapters": "afina.api.serving:serve",
    "watch_adapter": "afina.api.watching:watch",
    "write_report": "afina.report.write",
}


def _methods() -> dict[str, str]:
    """Return the module of each method's class, as the registry finds them: none is imported for it."""
    from afina.registry import listing

    return {entry.attribute: entry.module for entry in listing("afina.methods", "method").values()}


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return sorted([*_PLACES, *_methods(), "__version__"])
    where = _PLACES.get(name) or ("" if name.startswith("_") else _methods().get(name))
    if not where:
        raise AttributeError(f"module 'afina' has no attribute '{name}'", name=name, obj=sys.modules[__name__])
    module, _, attribute = where.partition(":")
    if module == f"afina.{name}":  # a room whose name is free of any other meaning
        return importlib.import_module(module)
    return getattr(importlib.import_module(module), attribute or name)


def __dir__() -> list[str]:
    names: list[str] = __getattr__("__all__")
    return names
