"""Classification heads in the forms that transformers' models have, so that their checkpoints and PEFT's load here.

A head maps the bare model's output to logits (B, K); one class a form. Parameter names are transformers' own.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from afina.backbone.head import Head, Hidden, last_token, mean_pool
from afina.ops.dropout import DropoutSource, dropout

__all__ = ["HEADS", "build_head"]


class PoolerClassifier(Head):
    """Puts one linear layer on BERT's (frozen) pooler."""

    first_token_only = True

    def __init__(self, config: Any, outputs: int) -> None:
        super().__init__(config, outputs)
        self.dropout = float(getattr(config, "classifier_dropout_prob", None) or self.dropout)  # ALBERT's name
        self.classifier = nn.Linear(config.hidden_size, outputs)

    def pool(self, hidden: Hidden) -> Tensor:
        assert hidden.pooled is not None, "a backbone without its pooler has heads that bring one"
        return hidden.pooled

    def looked_at(self, hidden: Hidden) -> Tensor:
        # Not what the pooler makes of it, which is no state of the model's.
        return hidden.states[:, 0]

    def classify(self, pooled: Tensor, source: DropoutSource | None) -> Tensor:
        logits: Tensor = self.classifier(self.drop(pooled, source))
        return logits


class OwnPoolerClassifier(PoolerClassifier):
    """The same where the backbone's files hold no pooler: one of its own, drawn, trained and saved with the head."""

    def __init__(self, config: Any, outputs: int, pooler: str) -> None:
        """Build the pooler's layer under its path in transformers' classifier, such as `bert.pooler.dense`."""
        super().__init__(config, outputs)
        inside: nn.Module = self
        *parents, leaf = pooler.split(".")
        # Modules for each step of the path, so that its parameters have transformers' names.
        for name in parents:
            inside.add_module(name, nn.Module())
            inside = inside.get_submodule(name)
        inside.add_module(leaf, nn.Linear(config.hidden_size, config.hidden_size))
        self._modules["classifier"] = self._modules.pop("classifier")  # the last layer stands last
        self.pooler_path = pooler

    @property
    def saved_modules(self) -> list[str]:
        return ["classifier", next(part for part in self.pooler_path.split(".") if "pooler" in part)]

    def pool(self, hidden: Hidden) -> Tensor:
        return hidden.states[:, 0]

    def classify(self, pooled: Tensor, source: DropoutSource | None) -> Tensor:
        return super().classify(torch.tanh(self.get_submodule(self.pooler_path)(pooled)), source)


class _DenseOut(nn.Module):
    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, outputs)


class DenseClassifier(Head):
    """Reads the first token as RoBERTa does: dense, tanh, linear."""

    first_token_only = True
    activation: Callable[[Tensor], Tensor] = staticmethod(torch.tanh)

    def __init__(self, config: Any, outputs: int) -> None:
        super().__init__(config, outputs)
        self.classifier = _DenseOut(config.hidden_size, outputs)

    def classify(self, pooled: Tensor, source: DropoutSource | None) -> Tensor:
        inner = self.activation(self.classifier.dense(self.drop(pooled, source)))
        logits: Tensor = self.classifier.out_proj(self.drop(inner, source))
        return logits


class ElectraClassifier(DenseClassifier):
    """Reads the first token as ELECTRA does: dense, GELU, linear."""

    activation = staticmethod(nn.functional.gelu)


class LastTokenClassifier(Head):
    """T5 and BART: the decoder's state at the text's last token (its end mark), dense, tanh, linear."""

    def __init__(self, config: Any, outputs: int) -> None:
        super().__init__(config, outputs)
        self.classification_head = _DenseOut(config.hidden_size, outputs)

    def pool(self, hidden: Hidden) -> Tensor:
        return last_token(hidden)

    def classify(self, pooled: Tensor, source: DropoutSource | None) -> Tensor:
        inner = torch.tanh(self.classification_head.dense(self.drop(pooled, source)))
        logits: Tensor = self.classification_head.out_proj(self.drop(inner, source))
        return logits


class _Pooler(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)


class ContextPoolerClassifier(Head):
    """Reads the first token as DeBERTa does: dense, activation, linear."""

    first_token_only = True

    def __init__(self, config: Any, outputs: int) -> None:
        super().__init__(config, outputs)
        from transformers.activations import ACT2FN

        chosen = getattr(config, "cls_dropout", None)
        self.dropout = float(config.hidden_dropout_prob if chosen is None else chosen)
        self.before = float(config.pooler_dropout)
        self.activation: Callable[[Tensor], Tensor] = ACT2FN[config.pooler_hidden_act]
        self.pooler = _Pooler(config.pooler_hidden_size)
        self.classifier = nn.Linear(config.hidden_size, outputs)

    def classify(self, pooled: Tensor, source: DropoutSource | None) -> Tensor:
        pooled = dropout(pooled, self.before, source) if self.training else pooled
        inner = self.activation(self.pooler.dense(pooled))
        logits: Tensor = self.classifier(self.drop(inner, source))
        return logits


class FirstTokenClassifier(Head):
    """Puts one linear layer on the first token, as ViT does."""

    def __init__(self, config: Any, outputs: int) -> None:
        super().__init__(config, outputs)
        # ViT's classifier has none, whatever its configuration says of other layers.
        self.dropout = 0.0
        self.classifier = nn.Linear(config.hidden_size, outputs)

    def classify(self, pooled: Tensor, source: DropoutSource | None) -> Tensor:
        logits: Tensor = self.classifier(pooled)
        return logits


class ProjectedMeanClassifier(Head):
    """Whisper: dense, mean over all frames, linear."""

    def __init__(self, config: Any, outputs: int) -> None:
        super().__init__(config, outputs)
        self.projector = nn.Linear(config.hidden_size, config.classifier_proj_size)
        self.classifier = nn.Linear(config.classifier_proj_size, outputs)

    def pool(self, hidden: Hidden) -> Tensor:
        return mean_pool(hidden)

    def classify(self, pooled: Tensor, source: DropoutSource | None) -> Tensor:
        logits: Tensor = self.classifier(self.projector(pooled))  # the mean of projections is that of the mean
        return logits


class PreClassifier(Head):
    """Reads the first token as DistilBERT does: dense, ReLU, linear."""

    def __init__(self, config: Any, outputs: int) -> None:
        super().__init__(config, outputs)
        # DistilBERT has a name of its own for it.
        self.dropout = float(config.seq_classif_dropout)
        self.pre_classifier = nn.Linear(config.hidden_size, config.hidden_size)
        self.classifier = nn.Linear(config.hidden_size, outputs)

    def classify(self, pooled: Tensor, source: DropoutSource | None) -> Tensor:
        logits: Tensor = self.classifier(self.drop(torch.relu(self.pre_classifier(pooled)), source))
        return logits


class _Prediction(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size, bias=config.classifier_bias)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps, bias=config.norm_bias)


class PredictionHead(Head):
    """ModernBERT: first token or mean (as its configuration says), dense, activation, norm, linear."""

    def __init__(self, config: Any, outputs: int) -> None:
        super().__init__(config, outputs)
        from transformers.activations import ACT2FN

        self.pooling = config.classifier_pooling
        self.activation: Callable[[Tensor], Tensor] = ACT2FN[config.classifier_activation]
        self.head = _Prediction(config)
        self.classifier = nn.Linear(config.hidden_size, outputs)

    def reset(self, config: Any) -> None:
        # transformers draws this one layer otherwise.
        super().reset(config)
        nn.init.trunc_normal_(self.classifier.weight, std=config.hidden_size**-0.5)

    def pool(self, hidden: Hidden) -> Tensor:
        return mean_pool(hidden) if self.pooling == "mean" else hidden.states[:, 0]

    def classify(self, pooled: Tensor, source: DropoutSource | None) -> Tensor:
        inner = self.head.norm(self.activation(self.head.dense(pooled)))
        logits: Tensor = self.classifier(self.drop(inner, source))
        return logits


class LastTokenScore(Head):
    """Decoders: one linear layer without bias on the last token that is not padding (by the mask, not by its id)."""

    def __init__(self, config: Any, outputs: int) -> None:
        super().__init__(config, outputs)
        self.dropout = 0.0
        # OPT's smaller models project their states to the width of their words.
        width = getattr(config, "word_embed_proj_dim", None) or config.hidden_size
        self.score = nn.Linear(width, outputs, bias=False)

    def pool(self, hidden: Hidden) -> Tensor:
        return last_token(hidden)

    def classify(self, pooled: Tensor, source: DropoutSource | None) -> Tensor:
        logits: Tensor = self.score(pooled)
        return logits


class TokenClassifier(Head):
    """A tag for each token, of encoders and GPT-2: the token's state, linear; logits are (B, T, K)."""

    layer = "classifier"

    def __init__(self, config: Any, outputs: int) -> None:
        super().__init__(config, outputs)
        # As many names as families; decoders without one take a tenth.
        names = ("classifier_dropout", "classifier_dropout_prob", "hidden_dropout", "hidden_dropout_prob", "dropout")
        chosen = (getattr(config, name, None) for name in names)
        self.dropout = float(next((value for value in chosen if value is not None), 0.1))
        width = getattr(config, "word_embed_proj_dim", None) or config.hidden_size
        self.add_module(self.layer, nn.Linear(width, outputs))

    def pool(self, hidden: Hidden) -> Tensor:
        return hidden.states

    def classify(self, pooled: Tensor, source: DropoutSource | None) -> Tensor:
        logits: Tensor = self.get_submodule(self.layer)(self.drop(pooled, source))
        return logits


class TokenScore(TokenClassifier):
    """The same of other decoders, under their name."""

    layer = "score"


class TokenPrediction(PredictionHead):
    """Tags each token as ModernBERT does: dense, activation, norm, linear."""

    def pool(self, hidden: Hidden) -> Tensor:
        return hidden.states


HEADS: dict[str, type[Head]] = {
    "pooler_classifier": PoolerClassifier,
    "dense_classifier": DenseClassifier,
    "electra_classifier": ElectraClassifier,
    "context_pooler_classifier": ContextPoolerClassifier,
    "last_token_classifier": LastTokenClassifier,
    "first_token_classifier": FirstTokenClassifier,
    "projected_mean_classifier": ProjectedMeanClassifier,
    "pre_classifier": PreClassifier,
    "prediction_head": PredictionHead,
    "last_token_score": LastTokenScore,
    "token_classifier": TokenClassifier,
    "token_score": TokenScore,
    "token_prediction": TokenPrediction,
}


def build_head(
    form: str, config: Any, outputs: int, pretrained: Mapping[str, Tensor] | None = None, *, pooler: str = "",
    rows: Sequence[int] | None = None,
) -> Head:  # fmt: skip
    """Make a head with fresh weights from torch's current random state; what the checkpoint holds of it is taken.

    Of its last layer that is those of `rows` that stand for the outputs, none unless given. Where the backbone lacks its
    `pooler`, a form that looks through it has one of its own.
    """
    kind = HEADS[form]
    head = (
        OwnPoolerClassifier(config, outputs, pooler) if pooler and kind is PoolerClassifier else kind(config, outputs)
    )
    # Drawn before anything is taken, so that what the checkpoint has changes no other draw.
    head.reset(config)

    # The last layer depends on the labels: of a checkpoint's only the rows of the same names are taken.
    state, last = head.state_dict(), head.last
    by_output = {
        name for name, value in head.named_parameters() if last is not None and value in set(last.parameters())
    }
    taken = {name: value for name, value in (pretrained or {}).items() if name in state and name not in by_output}
    if rows is not None:
        chosen = torch.tensor(rows)
        taken |= {name: value[chosen] for name, value in (pretrained or {}).items() if name in by_output}
    head.load_state_dict(
        # Of another size: another version of the head, which is then drawn.
        {**state, **{name: value for name, value in taken.items() if value.shape == state[name].shape}}
    )
    return head
