"""The command line as a person uses it: exit codes, one clear sentence for bad input, predictions as JSON lines."""

import importlib.metadata
import io
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from afina.api.demonstrations import demo_study
from afina.cli.pace import Pace
from afina.cli.progress import Progress
from afina.config import StudyConfig
from afina.methods.base import method_names, registry
from afina.results.result import Epoch
from afina.study import events
from afina.study.data import read_ahead, read_data
from afina.study.estimate import estimate_study
from afina.study.plan import expand
from commands import afina, refused
from studies import settings, write_csv

Loader = Callable[[str], Path]


@pytest.fixture(scope="session")
def study_folder(family_folder: Loader, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study carried out by the command, on a single CSV file."""
    folder = tmp_path_factory.mktemp("cli")
    write_csv(folder / "mail.csv", 100, 0)
    study = settings(family_folder, folder, methods=["lora", "features"]) | {"dataset": "mail.csv"}
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    result = afina("study", "study.yaml", "--out", "out", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "lora" in result.stdout
    assert "report.html" in result.stdout
    return folder


def test_the_live_table_has_each_members_loss_metric_and_place() -> None:
    runs = expand(StudyConfig.parse({"model": "minilm", "dataset": "tickets", "methods": ["lora", "ia3"]}, "test"))
    progress = Progress(len(runs))
    progress.console = Console(width=120, file=io.StringIO())

    def shown() -> list[list[str]]:
        with progress.console.capture() as captured:
            progress.console.print(progress.live.get_renderable())
        lines = [line.split() for line in captured.get().splitlines()]
        return [line for line in lines if line and line[0] in ("member", "lora", "ia3")]

    progress.observe(events.Unit(runs=runs, done=0))
    progress.observe(events.Cohort(members=2, together=2))
    lora, ia3 = (run.id for run in runs)
    progress.observe(events.Step(step=5, steps=9, training=2, seconds=1.0, losses={lora: 1.25, ia3: 1.5}))
    assert [line[-1] for line in shown()] == ["test", "1.2500", "1.5000"]
    told = Epoch.made(epoch=1, train_loss=1.0, test_mcc=0.1, test_accuracy=0.5)
    progress.observe(events.Epoch(run=lora, metric="accuracy", entry=told))
    progress.observe(events.Judged(run=lora, metric="accuracy", value=0.5, place=1, of=2))
    progress.observe(events.Judged(run=ia3, metric="accuracy", value=0.25, place=2, of=2))
    progress.observe(events.Left(run=ia3, why="left the race", error="left the race after 5 of 9 steps"))
    header, first, second = shown()
    assert header == ["member", "seed", "epoch", "loss", "accuracy", "place"]
    assert first == ["lora", "0", "1", "1.0000", "0.5000", "1/2"]
    assert second == ["ia3", "0", "left", "2/2"]
    # The epoch's evaluation may come after, and says no more of its loss.
    progress.observe(events.Epoch(run=ia3, metric="accuracy", entry=told))
    assert shown()[2] == ["ia3", "0", "left", "0.5000", "2/2"]
    progress.observe(events.Epoch(run=ia3, metric="pearson", entry=Epoch.made(told, test_pearson=0.25)))
    assert shown()[0][-2:] == ["test", "place"]
    assert shown()[1][-3:] == ["accuracy", "0.5000", "1/2"]
    assert shown()[2][-3:] == ["pearson", "0.2500", "2/2"]


def test_a_log_gets_a_line_as_a_run_begins_and_seldom_after() -> None:
    """At each tenth of its steps, five seconds apart at the least, and after half a minute in which nothing else was said."""
    (run,) = expand(StudyConfig.parse({"model": "minilm", "dataset": "tickets", "methods": ["lora"]}, "test"))
    now = 0.0
    progress = Progress(1, pace=Pace(lambda: now))
    progress.console = Console(width=200, file=io.StringIO())
    progress.observe(events.Unit(runs=[run], done=0))
    for step in range(1, 1_001):  # 200 seconds, and the loss is known
        now += 0.2
        progress.observe(
            events.Step(step=step, steps=1_000, training=1, seconds=now, losses={run.id: 2.0 - step / 1_000})
        )
    entry = Epoch.made(epoch=1, train_loss=1.0, test_accuracy=0.75)
    progress.observe(events.Epoch(run=run.id, metric="accuracy", entry=entry))
    for done in range(1, 601):
        now += 0.1
        progress.observe(events.Evaluate(split="test", done=done, rows=600))
    lines = progress.console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[0] == "lora on tickets, minilm, seed 0: begins"
    assert lines[1] == "  step 100 of 1,000 (10%), loss 1.9000, 3:00 left"
    assert len([line for line in lines if line.startswith("  step ")]) == 10
    evaluating = [line for line in lines if line.startswith("  evaluating on test, ")]
    assert len(evaluating) == 1  # in a minute, of which the silence before was none
    assert lines[-1] == evaluating[0]


def test_a_slow_log_is_not_silent_for_long_and_a_long_one_not_flooded() -> None:
    """The silence that is allowed grows to a tenth of the time the work has taken."""
    now = 0.0
    pace = Pace(lambda: now)
    due = []
    for step in range(36_000):  # ten hours, of which the first tenth is an hour
        now += 1.0
        if pace.is_due(step, 36_000):
            due.append(now)
    gaps = [after - before for before, after in pairwise([0.0, *due])]
    assert all(gap <= max(30.0, at / 10) + 1 for gap, at in zip(gaps, due, strict=True))
    assert 40 < len(due) < 80
    assert min(gaps) >= 5


def test_a_log_says_what_a_cohort_has_reached_in_the_language_that_is_asked_for() -> None:
    study = {"model": "minilm", "dataset": "tickets", "methods": ["lora", "ia3"]}
    runs = expand(StudyConfig.parse(study, "test"))
    now = 0.0
    progress = Progress(len(runs), language="pt", pace=Pace(lambda: now))
    progress.console = Console(width=200, file=io.StringIO())
    progress.observe(events.Unit(runs=runs, done=0))
    progress.observe(events.Cohort(members=2, together=2))
    lora, ia3 = (run.id for run in runs)
    progress.observe(events.Step(step=1, steps=4_000, training=2, seconds=1.0, losses={}))
    for run, value in ((lora, 0.5), (ia3, 0.25)):
        entry = Epoch.made(epoch=1, train_loss=1.0, test_accuracy=value)
        progress.observe(events.Epoch(run=run, metric="accuracy", entry=entry))
    now = 60.0
    progress.observe(events.Step(step=1_001, steps=4_000, training=2, seconds=60.0, losses={lora: 1.25, ia3: 1.5}))
    assert progress.console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "2 execuções em tickets, minilm, juntas",
        "  passo 1.001 de 4.000 (25%); 2 em treino; perda de 1,2500 a 1,5000; acurácia de 0,2500 a 0,5000; faltam 3:00",
    ]


@pytest.mark.parametrize("width", [60, 80, 110])
def test_the_live_table_and_its_bars_keep_to_the_window(width: int) -> None:
    methods = [{"lora": {"learning_rate": 1e25, "targets": ["query", "value"]}}, "ia3", "bitfit"]
    study = {"model": "minilm", "dataset": ["tickets", "/a/long/way/to/other"], "methods": methods, "seeds": 5}
    runs = expand(StudyConfig.parse(study, "test"))
    progress = Progress(len(runs))
    progress.console = progress.bars.live.console = Console(width=width, height=24, file=io.StringIO())
    progress.observe(events.Unit(runs=runs, done=0))
    progress.observe(events.Cohort(members=len(runs), together=8))
    told = Epoch.made(epoch=10, train_loss=1.0, test_word_accuracy=0.5)
    for run in runs:
        progress.observe(events.Epoch(run=run.id, metric="word_accuracy", entry=told))
    progress.observe(events.Left(run=runs[0].id, why="diverged", error="The loss became nan. " * 9))
    progress.observe(events.Step(step=512, steps=4_000, training=29, seconds=1.0, losses={runs[1].id: 0.1}))
    with progress.console.capture() as captured:
        progress.console.print(progress.live.get_renderable())
    lines = captured.get().splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= width
    assert lines[0].split() == ["member", "seed", "epoch", "loss", "word_accuracy"]
    assert lines[1].startswith("lora(learni")
    assert lines[1].split()[-3:] == ["0", "diverged", "0.5000"]
    assert lines[2].split()[-4:] == ["0", "10", "0.1000", "0.5000"]
    assert lines[-3] == "and 14 more"
    assert "0/30" in lines[-2]
    assert "512/4000" in lines[-1]


def test_notes_are_broken_between_words_at_a_terminal_and_whole_on_a_pipe() -> None:
    note = "  mails.csv: read as Windows-1252, since it is not UTF-8 (line 2: 'Dúvida')"
    for terminal in (True, False):
        progress = Progress(1)
        progress.console = Console(width=40, file=io.StringIO(), force_terminal=terminal, color_system=None)
        progress.observe(events.Prepared(notes=[note.strip()], learned=None, cut={}))
        lines = progress.console.file.getvalue().splitlines()  # type: ignore[attr-defined]
        assert " ".join(line.strip() for line in lines) == note.strip()
        assert all(line.startswith("  ") for line in lines)
        assert len(lines) == (2 if terminal else 1)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['afina', '--help']\n"
        "from afina.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'datasets', 'sklearn', 'scipy', 'pandas', 'numpy', 'pyarrow'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_what_is_wrong_with_the_data_is_said_before_torch_is_there(tmp_path: Path) -> None:
    """It takes seconds to import, on a busy machine most of a minute; no command imports it for the next."""
    (tmp_path / "mail.csv").write_text('text,label\n"never closed,a\n')
    (tmp_path / "study.yaml").write_text("{model: minilm, dataset: mail.csv, methods: [lora]}")
    code = (
        "import sys\n"
        "from afina.cli.main import main\n"
        "for command in ('study', 'plan', 'train'):\n"
        "    sys.argv = ['afina', command, 'study.yaml']\n"
        "    try: main()\n"
        "    except SystemExit as stop: assert stop.code == 2, stop.code\n"
        "    assert not {'torch', 'transformers'} & set(sys.modules), command\n"
        "sys.exit(2)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    said = result.stderr.splitlines()
    assert len(said) == 3, result.stderr
    for line in said:
        refused(subprocess.CompletedProcess(result.args, result.returncode, "", f"{line}\n"), "mail.csv")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["mail.csv", "study.yaml"]


def test_what_is_read_ahead_is_given_once(tmp_path: Path) -> None:
    """Whoever asks a second time gets what the file holds by then."""
    write_csv(tmp_path / "mail.csv", 40, 0)
    config = StudyConfig.parse({"model": "m", "dataset": str(tmp_path / "mail.csv"), "methods": ["lora"]}, "study")
    read_ahead(config)
    first = read_data(config, config.dataset[0])
    write_csv(tmp_path / "mail.csv", 60, 0)
    assert len(first.train) == 32
    assert len(read_data(config, config.dataset[0]).train) == 48
    assert read_data(config, config.dataset[0]) is not first


def test_what_was_read_ahead_is_not_given_when_the_file_has_changed(tmp_path: Path) -> None:
    write_csv(tmp_path / "mail.csv", 40, 0)
    config = StudyConfig.parse({"model": "m", "dataset": str(tmp_path / "mail.csv"), "methods": ["lora"]}, "study")
    read_ahead(config)
    write_csv(tmp_path / "mail.csv", 60, 0)
    assert len(read_data(config, config.dataset[0]).train) == 48


def test_the_version_is_the_packages() -> None:
    assert afina("--version").stdout == f"afina {importlib.metadata.version('afina')}\n"


def test_the_whole_demo_has_every_method_and_five_seeds() -> None:
    runs = expand(StudyConfig.parse(demo_study(everything=True), "demo"))
    assert {run.method.name for run in runs} == set(method_names())
    assert {run.seed for run in runs} == set(range(5))
    # Nobody else can trust `auto` if the demo does not.
    assert {run.rate for run in runs} == {"default"}


@pytest.mark.parametrize("command", ["demo", "study", "train", "plan", "methods", "report", "recommend", "predict"])
def test_every_command_shows_an_example(command: str) -> None:
    result = afina(command, "--help")
    assert result.returncode == 0
    assert "Example" in result.stdout


def test_predict_prints_one_object_a_text_in_label_order(study_folder: Path) -> None:
    adapters = sorted((study_folder / "out" / "runs").glob("*/adapter"))
    assert len(adapters) == 2
    for adapter in adapters:
        result = afina("predict", adapter, "great parcel", "bad late kettle", "--format", "jsonl", cwd=study_folder)
        assert result.returncode == 0, result.stderr
        first, second = (json.loads(line) for line in result.stdout.splitlines())
        assert list(first["probabilities"]) == ["complaint", "praise"]
        assert first["label"] == max(first["probabilities"], key=first["probabilities"].get)
        assert first["probabilities"] != second["probabilities"]
        assert sum(first["probabilities"].values()) == pytest.approx(1, abs=1e-4)


def test_predict_reads_files_and_standard_input(study_folder: Path) -> None:
    adapter = next((study_folder / "out" / "runs").glob("*lora*/adapter"))
    piped = afina("predict", adapter, "-", cwd=study_folder, text="great app\n\nbad app\n")
    (study_folder / "new.txt").write_text("great app\n\nbad app\n")
    (study_folder / "new.csv").write_text("id,text\n1,great app\n2,\n3,bad app\n")
    for name in ("new.txt", "new.csv"):
        assert afina("predict", adapter, "--file", name, cwd=study_folder).stdout == piped.stdout
    # A blank line is a row too: answers stay beside the rows that they belong to.
    answers = [json.loads(line)["label"] for line in piped.stdout.splitlines()]
    assert len(answers) == 3
    assert answers[1] is None
    assert None not in (answers[0], answers[2])
    # What the study read is what a file is asked for without a word.
    assert json.loads((adapter / "afina.json").read_text())["facts"]["columns"] == {"text": "text", "label": "label"}


def test_python_gives_the_same_predictions(study_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import afina as package

    monkeypatch.chdir(study_folder)
    adapter = next((study_folder / "out" / "runs").glob("*lora*/adapter"))
    printed = json.loads(afina("predict", adapter, "great app", "--format", "jsonl", cwd=study_folder).stdout)
    (prediction,) = package.load(adapter).predict(["great app"])
    assert prediction.label == printed["label"]
    # Four digits are written: more are the arithmetic's.
    assert {name: round(p, 4) for name, p in (prediction.probabilities or {}).items()} == printed["probabilities"]


def test_report_and_recommend(study_folder: Path) -> None:
    portuguese = afina("report", "out", "--language", "pt", cwd=study_folder)
    assert portuguese.returncode == 0
    assert "método" in portuguese.stdout
    assert "A resposta" in (study_folder / "out" / "report.html").read_text()
    answer = afina("recommend", "out", "--memory", "4GB", "--metric", "macro_f1", cwd=study_folder)
    assert answer.returncode == 0
    assert "macro_f1" in answer.stdout
    wrong = afina("report", "out", "--errors", "best", cwd=study_folder)
    assert wrong.returncode == 0, wrong.stderr
    assert all(name in wrong.stdout for name in ("complaint", "praise"))
    assert "not in the study's folder" not in wrong.stdout  # the texts are
    # In this process a run may find the memory that it wants already there, and measure none: the time bounds it as well.
    nothing = afina("recommend", "out", "--memory", "1MB", "--minutes", "0.00001", cwd=study_folder)
    assert nothing.returncode == 1
    assert "Nothing fits" in nothing.stdout


def test_a_failed_run_shows_in_the_exit_code(study_folder: Path, family_folder: Loader) -> None:
    study = settings(family_folder, study_folder, methods=["head", {"lora": {"targets": ["ffn_gate"]}}])
    (study_folder / "bad.yaml").write_text(yaml.safe_dump(study | {"dataset": "mail.csv"}))
    result = afina("study", "bad.yaml", "--out", "bad", cwd=study_folder)
    assert result.returncode == 1
    assert "bert has no 'ffn_gate' for 'lora' to adapt" in result.stdout


def test_plan_needs_no_network() -> None:
    published = Path(__file__).parents[2] / "studies" / "published.yaml"
    from afina.adapters.adapter import build_adapter
    from afina.backbone.shapes import read_shape, shape_backbone

    config = StudyConfig.read(published)
    runs = expand(config)
    assert len(runs) == 36
    counts = {}
    for model in config.model:
        backbone = shape_backbone(read_shape(model))
        for run in runs:
            if run.model == model and run.dataset_name == "imdb" and run.method.name != "full":
                adapter = build_adapter(run.method, backbone, 2, 0)
                counts[model.rpartition("/")[2][:9], run.method.name] = sum(p.numel() for p in adapter.parameters())
    # The published table 4.7.
    assert counts["distilber", "lora"] == 665_858
    assert counts["roberta-b", "lora"] == 739_586
    assert counts["distilber", "ia3"] == 601_346
    assert counts["roberta-b", "ia3"] == 610_562
    assert counts["distilber", "adalora"] == 665_906
    assert counts["roberta-b", "adalora"] == 739_682


def test_methods_counts_what_each_trains_without_weights_or_network() -> None:
    result = afina("methods", "--model", "distilbert-base-uncased", "--rank", "4", "--format", "jsonl")
    assert result.returncode == 0, result.stderr
    entries = {entry["name"]: entry for entry in map(json.loads, result.stdout.splitlines())}
    assert set(entries) == set(registry())
    assert entries["lora"]["trainable_parameters"] == 665_858  # the published table 4.7
    assert entries["full"]["trainable_percent"] == 100
    assert entries["features"]["trainable_parameters"] is None
    table = afina("methods")
    assert table.returncode == 0
    assert "loreft" in table.stdout


def test_train_makes_one_adapter_and_says_where(study_folder: Path, tmp_path: Path) -> None:
    run = yaml.safe_load((study_folder / "study.yaml").read_text())
    run |= {"method": {"dora": {"rank": 2}}, "seed": 3, "epochs": 1}
    for key in ("methods", "seeds"):
        run.pop(key, None)
    (study_folder / "run.yaml").write_text(yaml.safe_dump(run))
    result = afina("train", "run.yaml", "--out", str(tmp_path / "one"), cwd=study_folder)
    assert result.returncode == 0, result.stderr
    adapter = Path(result.stdout.strip().splitlines()[-1])
    assert (adapter / "adapter_model.safetensors").exists()
    assert afina("predict", str(adapter), "hello", cwd=study_folder).returncode == 0
    (study_folder / "run.yaml").write_text(yaml.safe_dump(run | {"method": ["lora", "ia3"]}))
    refused(afina("train", "run.yaml", cwd=study_folder), "each method should be a name")
    (study_folder / "run.yaml").write_text(yaml.safe_dump(run | {"seeds": 2}))
    refused(afina("train", "run.yaml", cwd=study_folder), "'seed' and 'seeds' say the same")
    several = {key: value for key, value in run.items() if key != "seed"} | {"seeds": 2}
    (study_folder / "run.yaml").write_text(yaml.safe_dump(several))
    refused(afina("train", "run.yaml", cwd=study_folder), "'seeds' should name one")


def test_plan_of_a_small_study(study_folder: Path) -> None:
    result = afina("plan", "study.yaml", cwd=study_folder)
    assert result.returncode == 0, result.stderr
    assert "2 runs (1 seed each)" in result.stdout
    assert "has no test part: " in result.stdout


def test_plan_counts_the_trials_of_a_search_and_what_a_race_leaves_out(tmp_path: Path, family_folder: Loader) -> None:
    model = str(family_folder("bert"))
    study_of(tmp_path, model=model, methods=["lora"], learning_rate="search")
    result = afina("plan", "study.yaml", cwd=tmp_path)
    assert "search tries 4 rates a method first" in result.stdout, result.stderr
    study_of(tmp_path, model=model, methods=["lora"], race={"ranks": [2, 4, 8]})
    result = afina("plan", "study.yaml", cwd=tmp_path)
    assert "race: of 3 candidates the worse leave early, which leaves 47% of the steps" in result.stdout, result.stderr


def test_methods_of_some_layers_are_planned_as_such(tmp_path: Path) -> None:
    """Only layers with branches keep what a gradient needs."""
    study_of(
        tmp_path,
        dataset=str(tmp_path / "mail.csv"),
        methods=["head", *({"llama-adapter": {"layers": layers}} for layers in (1, 3, 6))],
        batch_size=64,  # so that no evaluation has more rows than a step
    )
    estimates, failed = estimate_study(StudyConfig.read(tmp_path / "study.yaml"))
    assert not failed
    head, *few = (entry.peak_memory_bytes for entry in estimates)
    assert few == sorted(set(few))
    assert head < few[1]  # what a head takes and one layer with a branch differ by less than the heap's gaps


def test_a_decoders_layers_come_after_its_encoders(tmp_path: Path, family_folder: Loader) -> None:
    """A prompt in the decoder alone still asks for a gradient through layers."""
    methods = ["head", {"llama-adapter": {"layers": 1}}]
    study_of(tmp_path, dataset=str(tmp_path / "mail.csv"), model=str(family_folder("t5")), methods=methods)
    (head, decoder), failed = estimate_study(StudyConfig.read(tmp_path / "study.yaml"))
    assert not failed
    assert decoder.memory.counted["train"] > head.memory.counted["train"]
    # A head's step has no backward pass through any layer.
    assert decoder.time.counted["step"]["calls"] > 1.1 * head.time.counted["step"]["calls"]


def test_a_plain_off_is_not_false(tmp_path: Path) -> None:
    path = study_of(tmp_path)
    for written, wanted in (("off", "off"), ("on", "auto"), ("'off'", "off")):  # as a study's folder keeps it
        path.write_text(
            f"model: minilm\ndataset: d\nmethods: [lora]\ncohort: {written}\npacking: {written}\nrace: off\n"
        )
        config = StudyConfig.read(path)
        assert (config.cohort, config.packing, config.race) == (wanted, wanted, None)


# -- bad input -------------------------------------------------------------------------------------------------------


def study_of(folder: Path, **changes: Any) -> Path:
    write_csv(folder / "mail.csv", 40, 0)
    path = folder / "study.yaml"
    values = {"model": "minilm", "dataset": "mail.csv", "methods": ["head"], "epochs": 1} | changes
    path.write_text(yaml.safe_dump({key: value for key, value in values.items() if value is not None}))
    return path


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"steps": 30}, ["unknown key 'steps'; the steps follow from epochs, batch_size and the number of rows"]),
        ({"lr": 0.1}, ["unknown key 'lr'; write learning_rate"]),
        ({"epoch": 3}, ["unknown key 'epoch'", "did you mean 'epochs'"]),
        (
            {"epoch": 3, "xyz": 1},
            ["unknown key 'epoch'; did you mean 'epochs'?; unknown key 'xyz'; possible: audits"],
        ),
        ({"methods": ["lroa"]}, ["Unknown method 'lroa'", "did you mean 'lora'"]),
        ({"methods": [{"lora": {"rnak": 4}}]}, ["unknown setting 'rnak'", "did you mean 'rank'"]),
        ({"methods": ["lora", "lora"]}, ["'lora' stands twice"]),
        ({"methods": None}, ["'methods' is required"]),
        ({"epochs": "many"}, ["'epochs'", "'many'"]),
        ({"model": "no/such-model"}, ["no/such-model", "neither a folder, nor a built-in name"]),
        ({"model": "minilmm"}, ["did you mean 'minilm'"]),
        ({"dataset": "gone.csv"}, ["gone.csv does not exist"]),
        ({"dataset": {"path": "mail.csv", "text": "txet"}}, ["no column 'txet'", "did you mean 'text'"]),
        ({"dataset": {"path": "mail.csv", "label": "labels"}}, ["no column 'labels'", "did you mean 'label'"]),
        ({"dataset": {"path": "mail.csv", "txet": "text"}}, ["unknown key 'txet' of 'dataset'; did you mean 'text'?"]),
        ({"learning_rate": {"lroa": 1e-3}}, ["unknown method 'lroa'"]),
        (
            {"learning_rate": "serch"},
            ["'learning_rate': should be auto, search, a number, or {method: number}, but got"],
        ),
        ({"learning_rate": {"lora": "search"}}, ["'learning_rate': should be auto, search, a number, or"]),
        ({"cohort": "many"}, ["'cohort': should be auto, off or a number of members, but got 'many'"]),
        ({"cohort": 0}, ["'cohort': a cohort has at least one member, but got 0"]),
        ({"search_factors": [1, 1]}, ["'search_factors': each may stand once, but got [1, 1]"]),
    ],
)
def test_a_wrong_study_file_is_one_sentence(changes: dict[str, Any], parts: list[str], tmp_path: Path) -> None:
    refused(afina("study", study_of(tmp_path, **changes), "--out", tmp_path / "out", cwd=tmp_path), *parts)


def test_other_misuse_is_one_sentence(tmp_path: Path) -> None:
    refused(afina("study", tmp_path / "no.yaml"), "no.yaml does not exist")
    (tmp_path / "broken.yaml").write_text("model: [minilm\n")
    refused(afina("study", tmp_path / "broken.yaml"), "not valid YAML")
    refused(afina("report", tmp_path), "no study's folder")
    refused(afina("report", tmp_path / "gone"), "does not exist")
    refused(afina("predict", tmp_path, "text"), "is no adapter of Afina")
    refused(afina("recommend", tmp_path, "--memory", "much"), "no amount of memory")
    refused(afina("study", study_of(tmp_path), "--language", "de", cwd=tmp_path), "not 'de'")


def test_pickled_weights_are_refused(tmp_path: Path, family_folder: Loader) -> None:
    import shutil

    model = tmp_path / "model"
    shutil.copytree(family_folder("bert"), model)
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    result = afina("study", study_of(tmp_path, model=str(model)), "--out", tmp_path / "out", cwd=tmp_path)
    assert result.returncode in (1, 2)
    assert "pickled weights (pytorch_model.bin), which can run code" in result.stderr + result.stdout


def test_damaged_weights_are_said(tmp_path: Path, family_folder: Loader) -> None:
    import shutil

    model = tmp_path / "model"
    shutil.copytree(family_folder("bert"), model)
    weights = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    study = study_of(tmp_path, model=str(model), precision="fp32")
    result = afina("study", study, "--out", tmp_path / "out", cwd=tmp_path)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr + result.stdout
    assert "damaged" in result.stdout


def test_an_adapter_of_another_base_is_refused(study_folder: Path, tmp_path: Path, family_folder: Loader) -> None:
    import shutil

    adapter = tmp_path / "adapter"
    shutil.copytree(next((study_folder / "out" / "runs").glob("*lora*/adapter")), adapter)
    record = json.loads((adapter / "afina.json").read_text())
    (adapter / "afina.json").write_text(json.dumps(record | {"model": str(family_folder("gpt2"))}))
    refused(afina("predict", adapter, "text"), "not an adapter of", code=1)


def test_a_full_disk_is_one_sentence_and_loses_nothing(study_folder: Path, family_folder: Loader) -> None:
    """A limit on the size of files stands for a disk without room: the tokens of the second study cannot be written."""
    study = settings(family_folder, study_folder, methods=["head"], max_length=16) | {"dataset": "mail.csv"}
    (study_folder / "full.yaml").write_text(yaml.safe_dump(study))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2500, limits[1]))
    try:
        result = afina("study", "full.yaml", "--out", "full", cwd=study_folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    refused(result, "Writing to full failed", "run the same command again", code=1)
    assert afina("study", "full.yaml", "--out", "full", cwd=study_folder).returncode == 0
