"""Find a study's teacher, a model or an adapter, and refuse one that cannot teach these rows before anything trains."""

from afina.backbone.configuration import context_of
from afina.backbone.load import load_tokenizer, read_config
from afina.backbone.rows import row_of
from afina.config import StudyConfig
from afina.distil.signal import Signal, make_signals
from afina.errors import UsageError
from afina.study.answerer import Answerer, answerer_of, check_answers
from afina.study.prepare import reads_apart
from afina.tasks.base import Task

__all__ = ["check_teacher", "teacher_of"]


def teacher_of(config: StudyConfig) -> Answerer | None:
    """Return a study's teacher, None where it has none; raises `UsageError` for one that is not there."""
    return None if config.teacher is None else answerer_of(config.teacher, config, role="teacher")


def check_teacher(config: StudyConfig, teacher: Answerer, task: Task, model: str) -> list[Signal]:
    """Return the signals that it gives for a task to a student on a model.

    Raises `UsageError` for what the task is not taught by, other labels and another vocabulary.
    """
    signals = make_signals(config.distil)
    for signal in signals:
        signal.check(task)
        # A key of another task's that a signal has too: whoever wrote it meant the signal's.
        if stray := next((key for key in task.unread(config) if key in signal.settings()), None):
            raise UsageError(
                f"{stray}: task: {task.name} does not read it; write distil: {{{signal.name}: {{{stray}: ...}}}}."
            )
    if task.speaks:
        check_answers(teacher, task, config)
        if task.writes:
            _check_tokens(config, teacher, model)
        return signals
    if any(own.of == "answers" for own in signals):
        check_answers(teacher, task, config, ", or distil: hidden")
    elif (own_task := teacher.task()) is not None and (own_task.speaks or own_task.tags != task.tags):
        raise teacher.refused(
            f"{teacher.name} was trained for task: {own_task.name}, whose states are of other places of a text than those "
            f"of task: {task.name}; give one of the same task."
        )
    _check_inputs(config, teacher, model)
    return signals


def _check_inputs(config: StudyConfig, teacher: Answerer, model: str) -> None:
    """Refuse a teacher of images for a student of texts, and the other way round."""
    shapes = [read_config(name, trust_remote_code=config.trust_remote_code) for name in (teacher.model, model)]
    rows = [row_of(shape) for shape in shapes]
    theirs, ours = ("text" if row is None else row.inputs for row in rows)
    if theirs != ours:
        raise teacher.refused(f"{teacher.name} reads {theirs}s, and the student {ours}s; give one that reads the same.")


def _check_tokens(config: StudyConfig, teacher: Answerer, model: str) -> None:
    """Refuse a teacher that knows other tokens, or says them at other places."""
    shapes = [read_config(name, trust_remote_code=config.trust_remote_code) for name in (teacher.model, model)]
    if reads_apart(shapes[0]) != reads_apart(shapes[1]):
        raise teacher.refused(
            f"of {teacher.name} and {model} one reads and writes apart and the other does not, so that they say no token at "
            "the same place; give a teacher of the student's kind."
        )
    mine, _ = load_tokenizer(model, trust_remote_code=config.trust_remote_code)
    theirs, context = teacher.tokenizer(config)
    if (ids := theirs.get_vocab()) != (known := mine.get_vocab()):
        raise teacher.refused(
            f"{teacher.name} has another vocabulary ({len(ids):,} tokens) than {model} ({len(known):,}), so that what it "
            "says of a token means another one to the student; give a teacher with the same tokenizer."
        )
    if (longest := min(config.max_length, context_of(shapes[1]))) > context:
        raise teacher.refused(
            f"{teacher.name} reads at most {context} tokens, and texts here may have {longest}; set max_length: {context}."
        )
