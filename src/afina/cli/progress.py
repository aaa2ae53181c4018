"""Show a study at work: bars for the runs and for what is at work, and a table of a cohort's members.

Where nothing can move, in a log or on a pipe, sparse lines take the place of the bars.
"""

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.text import Text

from afina.cli.learned import show_learned
from afina.cli.members import RunAtWork, bars_of, members_table, ranges
from afina.cli.pace import Pace
from afina.cli.terminal import is_quiet
from afina.words.language import Words

if TYPE_CHECKING:
    from afina.study import events
    from afina.study.events import Event
    from afina.study.plan import Run

__all__ = ["UNSHOWN", "Progress", "shown_progress"]

UNSHOWN = ("failed",)
"""Kinds of events that show nothing: how a run failed is said when its result is there."""
SHOWN_BESIDE = ("again", "finished")
"""Kinds that are shown of units that are carried out beside others."""


def shown_progress(language: str = "en") -> "Callable[[Event], None]":
    """Return what shows a study's progress, or nothing where quiet is asked for."""
    return (lambda event: None) if is_quiet() else Progress(language=language)


class Progress:
    """An observer of a study, as in `study.run(afina.Progress())`: bars at a terminal and in a notebook that has ipywidgets.

    On a pipe, and in a notebook without them, it prints plain lines: as a run begins, seldom while it goes on, at its end.
    """

    def __init__(self, runs: int = 0, *, language: str = "en", pace: Pace | None = None) -> None:
        self.console, self.words = Console(), Words(language)
        self.pace = pace or Pace()

        self.bars = bars_of(self.console)
        self.all = self.bars.add_task(self.words("study"), total=runs, note="")
        self.one = self.bars.add_task("", total=None, note="", visible=False)
        self.names: dict[str, str] = {}
        self.what = ""
        """The runs that are at work, in words."""
        self.waiting: dict[str, RunAtWork] = {}
        """The runs that are next, by their ids."""
        self.members: dict[str, RunAtWork] = {}
        """Those of them that train."""
        # rich draws what moves in a notebook by ipywidgets, and warns at every step where they are not there.
        self.moves = self.console.is_terminal or (self.console.is_jupyter and find_spec("ipywidgets") is not None)
        self.live = Live(
            get_renderable=self._shown,
            console=self.console,
            transient=True,
            auto_refresh=self.moves,
            refresh_per_second=4,
        )

    def __enter__(self) -> "Progress":
        self._start()
        return self

    def __call__(self, event: "Event") -> None:
        self.observe(event)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()

    def observe(self, event: "Event") -> None:
        """Show an event by the method of its kind."""
        # Of many units at work at once the bars would show one after another: only what happens to a run is said.
        if event.kind not in UNSHOWN and not (event.beside and event.kind not in SHOWN_BESIDE):
            # A kind without a method is an error here, and is found by a test: no event is shown by chance.
            getattr(self, f"_{event.kind}")(event)

    def _start(self) -> None:
        if self.moves:
            self.live.start()

    def _begin(self, event: "events.Begin") -> None:
        self.bars.update(self.all, total=event.runs)
        self._start()

    def _end(self, event: "events.End") -> None:
        self.live.stop()

    def _shown(self) -> Group:
        # A single run has its figures in the bar.
        if len(self.members) < 2:
            return Group(self.bars)
        # As many lines as leave the bars on the screen.
        table, more = members_table(list(self.members.values()), self.words, max(3, self.console.height - 8))
        return Group(table, *more, self.bars)

    def _remarks(self, event: "events.Remarks") -> None:
        for remark in event.remarks:
            self._say(self.words.note(remark), "yellow")

    def _prepare(self, event: "events.Prepare") -> None:
        self._say(self.words("reading {dataset} for {model}", dataset=event.dataset, model=event.model), "dim")

    def _prepared(self, event: "events.Prepared") -> None:
        for note in event.notes:
            self._say(f"  {self.words.note(note)}", "yellow")
        if event.learned is not None:
            show_learned(self.console, event.learned, self.words("what is learned"), self.words)

    def _unread(self, event: "events.Unread") -> None:
        sentence = self.words(
            "the rows of {dataset} cannot be read any more, so whether they are still those that these results are of is "
            "not known. {why}",
            dataset=event.dataset, why=event.why,
        )  # fmt: skip
        self._say(f"  {sentence}", "yellow")

    def _missing(self, event: "events.Missing") -> None:
        if event.again:
            sentence = self.words("{run} had finished, and its folder is gone: it is trained again", run=event.run)
        else:
            sentence = self.words(
                "{run} had finished, and its adapter ({file}) is gone: to train it again delete runs/{run} and run the "
                "same command",
                run=event.run, file=event.result.adapter,
            )  # fmt: skip
        self._say(f"  {sentence}", "yellow")

    def _remade(self, event: "events.Remade") -> None:
        self._say(f"  {self.words('{file} was damaged and is made again', file=event.path)}", "yellow")

    def _precision(self, event: "events.Precision") -> None:
        self.what = self.words("timing a few steps of {model} to choose the precision", model=event.model)
        self._say(self.what, "dim")
        self._reset("")

    def _unit(self, event: "events.Unit") -> None:
        runs, words = event.runs, self.words
        self.names = {run.id: self._long(run) for run in runs}
        first, several = runs[0], len({run.dataset for run in runs}) > 1
        self.waiting = {run.id: RunAtWork(self._short(run, several), run.seed) for run in runs}
        self.what = self.names[first.id]
        if len(runs) == 1:
            self.members = dict(self.waiting)
            if not self.moves and not event.search:  # of a rate that is tried the end says enough
                self._say(words("{run}: begins", run=self.what), "dim")
        else:
            self.members = {}
            data = first.dataset_name
            if several:
                data = words("{count} data sets", count=len({run.dataset for run in runs}))
            self.what = words("{runs} runs on {dataset}, {model}", runs=len(runs), dataset=data, model=first.model)
            self._say(words("{runs}, together", runs=self.what), "dim")
        if not event.search:
            self.bars.update(self.all, completed=event.done)
        self._reset(words("loading"))

    def _teaching(self, event: "events.Teaching") -> None:
        self.what = self.words("asking {teacher} about {dataset}", teacher=event.teacher, dataset=event.dataset)
        self._say(self.what, "dim")
        self._reset("")

    def _teach(self, event: "events.Teach") -> None:
        self.bars.update(self.one, completed=event.done, total=event.rows)
        self._rows(self.words(event.split), event.done, event.rows)

    def _spread(self, event: "events.Spread") -> None:
        self.names = {run.id: self._long(run) for run in event.runs}
        self.members, self.what = {}, self.words("{units} units at a time where there is room", units=event.units)
        self._say(self.what, "dim")
        if not event.search:
            self.bars.update(self.all, completed=event.done)

    def _search(self, event: "events.Search") -> None:
        sentence = self.words("trying learning rates on the development split: {trials} trials", trials=event.trials)
        self._say(sentence, "dim")

    def _again(self, event: "events.Again") -> None:
        self._say(f"  {self.words('{why} It is started once more.', why=event.why)}", "yellow")

    def _less(self, event: "events.Less") -> None:
        self._say(f"  {self.words('Memory ran out; rows at once from now on: {rows}.', rows=event.rows)}", "yellow")

    def _untried(self, event: "events.Untried") -> None:
        sentence = self.words(
            "{method} on {dataset}, {model}: {rates} of {of} rates could not be tried, so another may be better than the "
            "one that is taken. {why}",
            method=event.label, dataset=event.dataset, model=event.model, rates=event.rates, of=event.of, why=event.why,
        )  # fmt: skip
        self._say(f"  {sentence}", "yellow")

    def _tried(self, event: "events.Tried") -> None:
        sentence = self.words("{run}: all rates have been tried by now, and it is trained again", run=event.run)
        self._say(f"  {sentence}", "yellow")

    def _profiling(self, event: "events.Profiling") -> None:
        self._reset(self.words("what {method} costs alone", method=event.run.label))

    def _profile(self, event: "events.Profile") -> None:
        self.bars.update(self.one, completed=event.done, total=event.steps)
        if not self.moves and self.pace.is_due():
            self._log(self.bars.tasks[self.one].fields["note"] or self.what, self._done(event.done, event.steps))

    def _together(self, event: "events.Together") -> None:
        self._reset(self.words("timing {members} in one pass", members=event.members))

    def _cohort(self, event: "events.Cohort") -> None:
        self.members = {run: replace(member) for run, member in self.waiting.items()}  # anew where it is begun again
        self._reset(self.words("loading"))

    def _epoch(self, event: "events.Epoch") -> None:
        if (member := self.members.get(event.run)) is not None:
            value = event.entry.metric("test", event.metric)
            member.metric, member.test = event.metric, member.test if value is None else value
            # What has left keeps saying so: its last epoch may be told after it left.
            if not member.left:
                member.epoch, member.loss = str(event.entry.epoch), event.entry.train_loss

    def _judged(self, event: "events.Judged") -> None:
        if event.run in self.members:
            self.members[event.run].place = f"{event.place}/{event.of}"

    def _left(self, event: "events.Left") -> None:
        if (member := self.members.get(event.run)) is not None:
            # Why is told in a line of its own when the cohort is done: here it would be longer than its column.
            short = {"left the race": "left", "stopped early": "stopped"}.get(event.why, event.why)
            member.left, member.epoch, member.loss = True, self.words(short), None

    def _step(self, event: "events.Step") -> None:
        for run, loss in event.losses.items():
            if (member := self.members.get(run)) is not None and not member.left:
                member.loss = loss
        training = self.words("{count} training", count=event.training) if len(self.names) > 1 else ""
        note = ", ".join(part for part in (self.words("steps"), training) if part)
        self.bars.update(self.one, completed=event.step, total=event.steps, note=note)
        if not self.moves and self.pace.is_due(event.step, event.steps):
            step, steps = event.step, event.steps
            reached = ranges(self.members, self.words)
            self._log(self._done(step, steps), training, *reached, self._time_left(step, steps))

    def _resumed(self, event: "events.Resumed") -> None:
        step, steps = self.words.number(event.step), self.words.number(event.steps)
        sentence = self.words("{run}: goes on from step {step} of {steps}", run=self.what, step=step, steps=steps)
        self._say(f"  {sentence}", "yellow")

    def _evaluate(self, event: "events.Evaluate") -> None:
        self._rows(self.words("evaluating on {split}", split=self.words(event.split)), event.done, event.rows)

    def _embed(self, event: "events.Embed") -> None:
        self.bars.update(self.one, completed=event.done, total=event.rows)
        self._rows(self.words("embedding {split}", split=self.words(event.split)), event.done, event.rows)

    def _finished(self, event: "events.Finished") -> None:
        result, words, self.members = event.result, self.words, {}
        name = self.names[result.run]
        if result.status == "failed":
            self._say(f"  {words('{run}: failed. {error}', run=name, error=result.error)}", "red")
        elif result.status == "skipped":
            self._say(f"  {name}: {words.note(result.error or '')}", "dim")
        else:
            value = f"{words(result.metric or '')} {words.number(result.test_metric, 4)}"
            seconds = words.number(result.train_seconds, 1)
            taken = words("{seconds} s alone", seconds=seconds) if result.measured == "profile" else f"{seconds} s"
            last = result.history[-1].epoch
            stopped = ""
            # Early stopping ends before the epochs that were asked for.
            if result.epochs is not None and last < result.epochs:
                stopped = f", {words('stopped after epoch {epoch}', epoch=last)}"
            where = f", {words('on {machine}', machine=result.node)}" if result.node else ""
            self._say(f"  {name}: {value}, {taken}{stopped}{where}", "dim" if event.search else "green")
        if not event.search:
            self.bars.advance(self.all)
        self.bars.update(self.one, visible=False)

    def _audit(self, event: "events.Audit") -> None:
        if not event.status:
            self.what = self.words("audit {audit}", audit=event.audit)
            self._say(self.words("{what}: looking at what was trained", what=self.what), "dim")
            self._reset("")
            return
        note = self.words.note(event.status)
        self.bars.update(self.one, note=note)
        if not self.moves and self.pace.is_due():
            self._log(note)

    def _unaudited(self, event: "events.Unaudited") -> None:
        sentence = self.words("audit {audit}: could not be made. {why}", audit=event.audit, why=event.why)
        self._say(f"  {sentence}", "red")

    def _long(self, run: "Run") -> str:
        """Return what tells a run from all others of the study."""
        return self.words(
            "{method} on {dataset}, {model}, seed {seed}",
            method=run.label, dataset=run.dataset_name, model=run.model, seed=run.seed,
        )  # fmt: skip

    def _short(self, run: "Run", several: bool) -> str:
        """Return what tells a run from the others of its unit, beside its seed."""
        return self.words("{method} on {dataset}", method=run.label, dataset=run.dataset_name) if several else run.label

    def _reset(self, note: str) -> None:
        """Begin another piece of work: its bar is empty, and a log waits for its first line."""
        self.bars.reset(self.one, description=self.what, total=None, note=note, visible=True)
        # A new piece of work has a speed of its own.
        self.pace.begin()

    def _rows(self, what: str, done: int, rows: int) -> None:
        """Show how many rows are done of what stands between the steps of training."""
        words = self.words
        note = words("{what}, {done} of {rows} rows", what=what, done=words.number(done), rows=words.number(rows))
        self.bars.update(self.one, note=note)
        if not self.moves and self.pace.is_due():
            self._log(note)

    def _log(self, *parts: str) -> None:
        self._say(f"  {self.words.between.join(part for part in parts if part)}", "dim")

    def _done(self, step: int, steps: int) -> str:
        number = self.words.number
        share = number(100 * step / max(steps, 1))
        return self.words("step {step} of {steps} ({share}%)", step=number(step), steps=number(steps), share=share)

    def _time_left(self, step: int, steps: int) -> str:
        seconds = self.pace.seconds_left(step, steps)
        if seconds is None:
            return ""
        minutes, rest = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        time = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
        return self.words("{time} left", time=time)

    def _say(self, line: str, style: str) -> None:
        # On a pipe a line stays one; at a terminal it is broken between words, under its own beginning.
        text, indent = Text(line.strip(), style=style), len(line) - len(line.lstrip())
        if self.console.is_terminal:
            self.console.print(Padding(text, (0, 0, 0, indent), expand=False))
        else:
            self.console.print(Text(" " * indent, style=style) + text, soft_wrap=True)
