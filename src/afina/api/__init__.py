"""All that a person can ask for, one call a command: `afina plan` is `api.plan`, `afina data clean` is `api.data.clean`.

Calls take plain values, or the settings classes that `afina` offers, and return what was found; they print nothing and end
nothing, raise `AfinaError` (`UsageError`: something has to be asked for otherwise) in one sentence, and tell what they are at
to a function, where one is given. The terminal, a notebook and a page are three faces of these same calls.
"""

from afina.api import audit, data, rag
from afina.api.adapters import card, check_export, evaluate, export, generate, push
from afina.api.comparing import compare
from afina.api.compression import compress
from afina.api.conversations import chat
from afina.api.demonstrations import demo, demo_chat
from afina.api.explain import explain, explain_study
from afina.api.prediction import predict
from afina.api.quantisation import quantise
from afina.api.serving import serve
from afina.api.studies import inspect, methods, mistakes, plan, recommend, report, study, train
from afina.api.watching import watch, watch_reference

__all__ = [
    "audit", "card", "chat", "check_export", "compare", "compress", "data", "demo", "demo_chat", "evaluate", "explain",
    "explain_study", "export", "generate", "inspect", "methods", "mistakes", "plan", "predict", "push", "quantise", "rag",
    "recommend", "report", "serve", "study", "train", "watch", "watch_reference",
]  # fmt: skip
