"""Run the field's benchmarks: EleutherAI's lm-evaluation-harness asks, and a model of Afina's answers."""

import contextlib
import functools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from afina.data.templates.controls import apart, controls_of
from afina.data.templates.foreign import render_template
from afina.errors import UsageError, nearest
from afina.evaluation.speaker import windows
from afina.evaluation.task_code import without_functions, without_python
from afina.generation.asked import AskedModel, Pair
from afina.measure.bootstrap import Measure, mean_of

__all__ = ["as_harness_model", "load_tasks", "run_tasks"]

_FEWSHOT_SEED = 1234
"""The harness's default."""
_MOST_NEW_TOKENS = 256
"""The harness's default for tasks that set no limit."""


def as_harness_model(speaker: AskedModel) -> Any:
    """Return an `lm_eval.api.model.LM` that answers through a speaker; raises `UsageError` without the harness."""
    _need_harness()
    from lm_eval.api.model import TemplateLM

    class HarnessModel(TemplateLM):  # type: ignore[misc]
        """Turns requests into tokens as the harness's own Hugging Face model does, and lets the speaker answer."""

        backend = "seq2seq" if speaker.reads_apart else "causal"
        tokenizer = speaker.tokenizer
        eot_token_id = speaker.tokenizer.eos_token_id
        prefix_token_id = speaker.prefix
        max_length = speaker.context
        tokenizer_name = speaker.name.replace("/", "__")

        def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
            return speaker.encode(string, marks=add_special_tokens)

        def loglikelihood(self, requests: list[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
            # The harness's own way of cutting question and answer; only what is asked for tokens is ours.
            likelihoods: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=disable_tqdm)
            return likelihoods

        def _loglikelihood_tokens(
            self, requests: list[tuple[Any, list[int], list[int]]], **_: Any
        ) -> list[tuple[float, bool]]:
            total, greedy = speaker.likelihoods([(read, said) for _, read, said in requests])
            return list(zip(total.tolist(), greedy.tolist(), strict=True))

        def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = True) -> list[float]:
            pairs: list[Pair] = []
            owners: list[int] = []
            # A long text is read in windows, whose likelihoods are added up by text.
            for index, request in enumerate(requests):
                pieces = list(windows(self.tok_encode(request.args[0]), speaker.prefix, speaker.context))
                pairs += pieces
                owners += [index] * len(pieces)
            # A text's windows may be many, and each adds to its own.
            total = np.zeros(len(requests))
            np.add.at(total, owners, speaker.likelihoods(pairs)[0])
            return [float(value) for value in total]

        def generate_until(self, requests: list[Any], disable_tqdm: bool = True) -> list[str]:
            written = [""] * len(requests)
            for (stop, most), rows in _by_settings(requests).items():
                prompts = [requests[row].args[0] for row in rows]
                # Prompts of like settings are written at one time.
                for row, text in zip(rows, speaker.write(prompts, stop=stop, most=most), strict=True):
                    written[row] = text
            return written

        def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
            text: str = self.tokenizer.apply_chat_template(
                _as_said(self.tokenizer, chat_history), tokenize=False, add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )  # fmt: skip
            return text

    return HarnessModel()


def _as_said(tokenizer: Any, turns: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Return a conversation in which nothing that a task says is a control token."""
    controls = controls_of(tokenizer)
    if controls is None:
        return list(turns)
    return [{**turn, "content": apart(turn["content"], controls)} for turn in turns]


def _by_settings(requests: Sequence[Any]) -> dict[tuple[tuple[str, ...], int], list[int]]:
    """Group writing requests by their stop texts and limit; raises `UsageError` for sampling and beam search."""
    rows: dict[tuple[tuple[str, ...], int], list[int]] = {}
    for row, request in enumerate(requests):
        settings = request.args[1]

        # Greedy writing alone gives the same text, and so the same score, every time.
        if settings.get("do_sample") or settings.get("num_beams", 1) != 1:
            raise UsageError(
                f"The task {request.task_name} samples or searches by beams; here texts are written greedily."
            )
        until = settings.get("until") or []
        most = next(
            (settings[key] for key in ("max_gen_toks", "max_new_tokens", "max_tokens") if key in settings), None
        )
        stop = (until,) if isinstance(until, str) else tuple(until)
        rows.setdefault((stop, most or _MOST_NEW_TOKENS), []).append(row)
    return rows


def load_tasks(tasks: Sequence[str | Path], *, trusted: bool = False) -> dict[str, Any]:
    """Load the harness's tasks: its own by name, a YAML file, or a folder of such files.

    Paths in a task file are read from its folder. Raises `UsageError` for an unknown name, a file that is no task, data that
    cannot be loaded, and, unless files are `trusted`, for one that would run code.
    """
    _need_harness()
    from lm_eval.tasks import TaskManager

    # A path wins over a name: what lies here is what a person can see.
    named = [str(task) for task in tasks if not Path(task).exists()]
    loaded: dict[str, Any] = {"tasks": {}, "groups": {}, "group_map": {}}
    places = [Path(task) for task in tasks if Path(task).exists()]
    with _quiet():
        if named:
            manager = _own_tasks()
            for name in named:
                if name not in manager.all_tasks:
                    close = nearest(name, manager.all_tasks)
                    # A sentence that ends in a suggestion has said enough.
                    more = close if "mean" in close else "; `lm-eval ls tasks` lists the harness's own"
                    raise UsageError(f"'{name}' is neither a task file nor a task of lm-evaluation-harness{more}")
            _take(loaded, _loaded(manager, named, Path(), ", ".join(named)))
        for place in places:
            folder = place if place.is_dir() else place.parent
            manager = TaskManager(include_path=str(folder.resolve()), include_defaults=False)
            names = _outermost(manager) if place.is_dir() else [str(place.resolve())]
            if not names:
                raise UsageError(f"{place} holds no task of lm-evaluation-harness (.yaml).")

            # A task file may name Python functions, which are code of whoever wrote it.
            with contextlib.nullcontext() if trusted else without_functions():
                _take(loaded, _loaded(manager, names, folder, str(place), trusted=trusted))
    return loaded


@functools.cache
def _own_tasks() -> Any:
    """Return the harness's own tasks; it reads fourteen thousand files for them, so they are kept."""
    from lm_eval.tasks import TaskManager

    return TaskManager()


def _outermost(manager: Any) -> list[str]:
    """Return the names of groups and tasks that no group contains."""
    listed = [child for group in manager.all_groups for child in manager.task_index[group].cfg["task"]]
    inside = {child if isinstance(child, str) else child.get("task", child.get("group")) for child in listed}
    return [name for name in [*manager.all_groups, *manager.all_subtasks] if name not in inside]


def _loaded(manager: Any, names: list[str], folder: Path, where: str, *, trusted: bool = False) -> Any:
    """Load tasks, with paths of data read from the task's folder, or else from the present one."""
    problem: Exception | None = None
    # A task's paths are meant from its file; some are from where the harness is run.
    for seen_from in dict.fromkeys((folder.resolve(), Path.cwd())):
        try:
            with contextlib.chdir(seen_from), without_python(trusted=trusted):
                return manager.load(names)
        except Exception as error:  # a task file may name anything, and datasets raises a dozen kinds
            problem = problem or error
    assert problem is not None
    first = (str(problem).strip().splitlines() or [type(problem).__name__])[0][:200]
    offline = isinstance(problem, ConnectionError)
    why = "its data are not on this machine, and the hub cannot be reached from here (offline)" if offline else first
    raise UsageError(f"The task {where} cannot be loaded: {why}") from None


def _take(loaded: dict[str, Any], more: Any) -> None:
    if twice := sorted(set(loaded["tasks"]) & set(more["tasks"])):
        raise UsageError(f"The task '{twice[0]}' is asked for twice.")
    for key, part in loaded.items():
        part.update(more.get(key) or {})


def run_tasks(
    speaker: AskedModel,
    loaded: dict[str, Any],
    *,
    fewshot: int | None = None,
    limit: int | None = None,
    chat: bool = False,
    trusted: bool = False,
) -> dict[str, list[Measure]]:
    """Return the measures of each task and group, with the harness's own values.

    `fewshot` sets the number of examples for tasks that allow any; every call draws the same examples. `chat` puts prompts
    into the tokenizer's chat template. Raises `UsageError` where the tokenizer has none, and for templates of tasks that are
    not `trusted` and would run code.
    """
    from lm_eval.evaluator import evaluate

    if chat and speaker.tokenizer.chat_template is None:
        raise UsageError(f"The tokenizer of {speaker.name} has no chat template.")
    if chat:
        _try_template(speaker.tokenizer)
    for task in loaded["tasks"].values():
        examples = task.get_config("num_fewshot")
        # Tasks that were made for no examples stay so, as theirs are in the question already.
        task.set_config(key="num_fewshot", value=examples or 0 if fewshot is None or examples == 0 else fewshot)
        task.set_fewshot_seed(seed=_FEWSHOT_SEED)
    with _quiet(), without_python(trusted=trusted):
        results = evaluate(
            # No bootstrap of the harness's own: the intervals here are drawn over items, in pairs with the base.
            as_harness_model(speaker), loaded, limit=limit, bootstrap_iters=0, apply_chat_template=chat,
            fewshot_as_multiturn=chat,
        )  # fmt: skip
    return {name: list(_measures(name, results)) for name in [*results.get("groups", {}), *loaded["tasks"]]}


def _try_template(tokenizer: Any) -> None:
    """Render one question in the chat template, within limits, so that a template that fails or never ends is refused."""
    values = {"messages": [{"role": "user", "content": "?"}], "add_generation_prompt": True}
    render_template(
        tokenizer.get_chat_template(), {**tokenizer.special_tokens_map, **values}, what="The tokenizer's chat template"
    )


def _measures(name: str, results: Any) -> Iterator[Measure]:
    """Yield a task's or a group's measures; one that is not a mean over items has its value alone, without an interval."""
    members = _members(name, results["group_subtasks"]) if name in results["group_subtasks"] else [name]
    for key, value in results["results"][name].items():
        metric, _, filtered = key.partition(",")
        if not filtered or metric.endswith("_stderr") or not isinstance(value, int | float):
            continue
        higher = bool((results["higher_is_better"].get(name) or {}).get(metric, True))
        title = metric if filtered == "none" else f"{metric} ({filtered})"
        # The items of a group are those of its members, down to the last.
        samples = [
            sample[metric] for member in members for sample in results["samples"].get(member, ())
            if sample["filter"] == filtered and metric in sample
        ]  # fmt: skip
        numbers = np.array(samples, dtype=np.float64) if all(np.isscalar(one) for one in samples) else np.zeros(0)
        # The mean of the items only if it is the harness's figure: some metrics are no means.
        if len(numbers) and np.isclose(numbers.mean(), value, rtol=1e-9, atol=1e-12):
            yield mean_of(title, numbers, higher_is_better=higher)
        else:
            yield Measure(title, np.zeros((0, 1)), lambda _, value=value: float(value), higher)  # type: ignore[misc]


def _members(group: str, children: Any) -> list[str]:
    """Return the tasks of a group, and of the groups in it."""
    members = [_members(child, children) if child in children else [child] for child in children[group]]
    return [name for own in members for name in own]


def _need_harness() -> None:
    try:
        import lm_eval  # noqa: F401
    except ImportError:
        raise UsageError("Benchmarks need lm-evaluation-harness: pip install 'afina[evaluate]'.") from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the log lines of the harness, and of the libraries from which it loads data."""
    import datasets

    loggers = [logging.getLogger(name) for name in ("lm_eval", "datasets", "huggingface_hub", "evaluate")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    bars = datasets.utils.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
        if bars:
            datasets.enable_progress_bars()
