"""An epoch of members on MiniLM in this process, for benchmarks that compare forms of one thing turn by turn."""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any


class OneEpoch:
    """AG News rows for MiniLM; calling it trains fresh members for an epoch and evaluates them."""

    def __init__(self, data: Path, rows: int, test_rows: int = 0) -> None:
        from transformers import AutoTokenizer

        from afina.backbone.model_files import model_path
        from afina.dataset_spec import DatasetSpec
        from afina.tasks.classification import Classification
        from afina.tasks.reading import load_text_dataset

        tokenizer: Any = AutoTokenizer.from_pretrained(model_path("minilm"))
        found = load_text_dataset(DatasetSpec(path=str(data)), train_limit=rows, test_limit=max(10, test_rows))
        self.task = Classification(tuple(found.label_names))
        self.train = self.task.tokenize(tokenizer, found.train, 256, apart=False)
        self.test = self.task.tokenize(tokenizer, found.test, 256, apart=False) if test_rows else None

    def __call__(self, backbone: Any, methods: Sequence[str]) -> tuple[float, float]:
        """Return the seconds of the steps and of the evaluation, 0 without test rows."""
        import torch

        from afina.adapters.adapter import build_adapter
        from afina.methods.base import make_method
        from afina.ops.dropout import DropoutSource
        from afina.train.evaluate import predict_logits
        from afina.train.loop import Callbacks, Clock, Member, train
        from afina.train.optimiser import Optimiser
        from afina.train.passes import Passes

        steps, members = -(-len(self.train) // 6), []
        for seed, name in enumerate(methods):
            method = make_method(name, {}, {}).with_rate(steps=steps, width=backbone.anatomy.width)
            assert method.learning_rate is not None
            adapter = build_adapter(method, backbone, self.task.outputs, seed=seed)
            optimiser = Optimiser(adapter.trainable(backbone), learning_rate=method.learning_rate, total_steps=steps)
            schedule = method.steps_beside(adapter.by_site(), steps)
            loss_sum = torch.zeros((), dtype=torch.float64)
            members.append(Member(adapter, self.task, self.train, 0, 1, 6, optimiser, schedule, loss_sum))
        clock = Clock()
        with Passes(backbone, DropoutSource(0)) as passes:
            train(passes, members, clock, Callbacks(lambda: None, lambda ended: None), micro_batch_size=None)
            started = perf_counter()
            if self.test is not None:
                predict_logits(
                    passes.attached([own.adapter for own in members], training=False), self.test, batch_size=64
                )
            return clock.seconds, perf_counter() - started
