"""Write a plain transformers model with an adapter folded into its weights; nothing of Afina is needed to load it."""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from afina.adapters.adapter import Adapter
from afina.adapters.merged import fold_into
from afina.backbone.branch import Branch
from afina.backbone.head import Head
from afina.backbone.load import has_tagger, model_class, read_config
from afina.backbone.model_files import check_weights, model_path
from afina.backbone.tensor_file import system_errors
from afina.backbone.weights import bare_of, read_weights
from afina.errors import AfinaError, UsageError
from afina.export.chat import with_template
from afina.predictor.predictor import Predictor

__all__ = ["base_classifier", "merge", "merged_model", "plain_head"]


def merge(loaded: Predictor, folder: Path) -> None:
    """Write model, tokenizer and configuration to `folder`; raises `UsageError` for a method that has no merged form."""
    model = merged_model(loaded)
    with system_errors(folder):
        model.save_pretrained(folder)
    if loaded.tokenizer is not None:
        with_template(loaded.tokenizer, loaded.task).save_pretrained(folder)


def merged_model(loaded: Predictor) -> Any:
    """Return transformers' model with the adapter in its weights; raises `UsageError` for a method that has no such form.

    What was loaded with the weights of a quantised form keeps them: they are merged into, in float32.
    """
    # Trees and regressions on vectors are no weights of the model.
    if loaded.method.gradient_free:
        raise UsageError(f"{loaded.record.method} is a classical model on embeddings; it has no merged form.")
    model = base_classifier(loaded)
    bare = model if loaded.task.embeds else bare_of(model)[1]
    if loaded.method.owns_backbone or loaded.backbone.rounding is not None:
        # Weights that the adapter owns, or that stand for quantised ones, and not those of the base's files.
        bare.load_state_dict({**bare.state_dict(), **loaded.backbone.model.state_dict()})
    _untie(loaded, model, bare)
    modules, given = dict(bare.named_modules()), set(dict(model.named_parameters()))
    try:
        for site, branch in loaded.adapter.placed():
            fold_into(modules[site.module], site, branch)
    except (AfinaError, AttributeError):  # no equal layer, or not at a layer with a weight at all
        raise UsageError(
            f"{loaded.record.method} has no merged form: what it adds depends on each input. Export it --to onnx or "
            "openvino, whose graphs hold its branches, --to peft where PEFT knows it, or --to lora where a near one serves."
        ) from None

    # A branch may have given a layer a bias that the architecture has no place for, and no program would load.
    parameters = dict(model.named_parameters())
    if added := sorted(set(parameters) - given):
        raise UsageError(
            f"{loaded.record.method} adds {added[0]}, which {loaded.backbone.anatomy.model_type} has not, to {len(added)} "
            "layers; it can be used here, or exported --to peft where PEFT knows it, but not merged."
        )
    _take_language_head(loaded, model)
    with torch.no_grad():
        for name, value in plain_head(loaded).named_parameters():
            parameters[name].copy_(value)
    return model


def _untie(loaded: Predictor, model: Any, bare: Any) -> None:
    """Part a language head from the embeddings where the adapter changes one and not the other, and make room for words.

    PEFT's merging unties them likewise; here it is said to the model's configuration, or loading would tie them again.
    """
    embedded = [
        (site, branch) for site, branch in loaded.adapter.placed()
        if isinstance(bare.get_submodule(site.module), nn.Embedding) and isinstance(branch, Branch)
    ]  # fmt: skip
    output: Any = model.get_output_embeddings() if loaded.task.speaks else None
    words = max((branch.words for _, branch in embedded), default=0)

    # The head has to stay what it was, where the embeddings that it shares are changed.
    shared = output is not None and output.weight is model.get_input_embeddings().weight
    if shared and (embedded or loaded.own_language is not None):
        output.weight = nn.Parameter(output.weight.detach().clone())
        model.config.tie_word_embeddings = False
    for site, _ in embedded if words else ():
        module = bare.get_submodule(site.module)
        if words > module.num_embeddings:
            # The new rows are zeros here, and become the adapter's own vectors when it is folded in.
            more = module.weight.new_zeros(words - module.num_embeddings, module.embedding_dim)
            module.weight = nn.Parameter(torch.cat([module.weight.detach(), more]))
            module.num_embeddings = words
            model.config.vocab_size = words


def _take_language_head(loaded: Predictor, model: Any) -> None:
    """Put the adapter's own language head, where it brought one, in place of the model's."""
    language: Any = loaded.own_language
    if language is None:
        return
    output = model.get_output_embeddings()
    output.weight = nn.Parameter(language.linear.weight.detach().float().clone())
    output.out_features = len(output.weight)
    if language.linear.bias is not None:
        output.bias = nn.Parameter(language.linear.bias.detach().float().clone())
    if language.bias is not None and len(language.bias) != model.final_logits_bias.shape[-1]:
        model.final_logits_bias = language.bias[None].clone()


def base_classifier(loaded: Predictor) -> Any:
    """Return transformers' classifier on the base model in float32, its head made for this task's labels.

    Where the task has the model speak, its language model. Raises `UsageError` where there is no class for the task.
    """
    record, names, tags = loaded.record, loaded.record.task.get("label_names"), loaded.task.tags
    name, path = record.model, model_path(record.model)
    check_weights(name, path)
    config = read_config(name)
    settings: dict[str, Any] = {"dtype": torch.float32, "config": config}
    if loaded.task.speaks:
        return read_weights(name, path, model_class(loaded.backbone.config, speaks=True), settings, speaks=True).model
    if loaded.task.embeds:
        from transformers import AutoModel

        return read_weights(name, path, AutoModel, settings).model
    names = list(names) if names else ["number"]
    if tags and not has_tagger(config):
        raise UsageError(
            f"transformers has no model that tags tokens with {config.model_type}; this adapter can be used with "
            "`afina predict` only."
        )
    # transformers names what a text is by these two tables.
    config.id2label = dict(enumerate(names))
    config.label2id = {name: index for index, name in enumerate(names)}
    config.problem_type = loaded.task.problem_type
    if getattr(config, "pad_token_id", None) is None and loaded.tokenizer is not None:
        config.pad_token_id = loaded.tokenizer.pad_token_id  # transformers' decoders classify before it
    kind = model_class(config, tags=tags)
    return read_weights(name, path, kind, settings, keep_pooler=True).model  # the adapter's head fills it


def plain_head(loaded: Predictor) -> Head:
    """Return the head as it is outside: a regression's numbers in their own unit, not as deviations from the mean."""
    adapter: Adapter = loaded.adapter
    head = copy.deepcopy(adapter.head)
    # A regression learns deviations from the mean, and gives numbers outside.
    mean, deviation = loaded.task.unit
    if (mean, deviation) == (0, 1):
        return head
    last = [module for module in head.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        # The unit is worked into the last layer, so that no program needs to know of it.
        last.weight.mul_(deviation)
        bias: Tensor | None = last.bias
        if bias is not None:
            bias.mul_(deviation).add_(mean)
        elif mean != 0:
            raise UsageError(
                f"The head of {loaded.backbone.anatomy.model_type} has no bias to hold the labels' mean {mean:g}; "
                "this regression can be used with `afina predict` only."
            )
    return head
