"""Every command has its Python call, which takes all that the command takes and prints nothing."""

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import afina
from afina import api
from afina.cli.command import COMMANDS
from afina.cli.data import data
from afina.compress.way import WAYS
from afina.errors import UsageError
from afina.export.target import options
from commands import afina as run_afina
from commands import refused
from studies import settings, write_csv, write_splits

Loader = Callable[..., Path]

SHOWS = {
    "fail_above",  # the exit code; `found.above({"": 0.1})` gives the findings
    "quiet", "format", "as_json", "context",  # how an answer is printed; whether a command of the group follows
}  # fmt: skip
CALLED_OTHERWISE: dict[tuple[str, str], str] = {
    ("plan", "device"): "devices",  # beside a study's own keys, of which `device` is one
    ("plan", "price"): "prices",
    ("audit leak", "tokens"): "most",
    ("audit bias", "group"): "columns",
    ("audit bias", "axis"): "groups",
    ("audit bias", "word_file"): "words",
    ("watch", "make_reference"): "rows",  # of api.watch_reference
    ("data inspect", "group"): "groups",
    ("data inspect", "word_file"): "words",
    ("data clean", "similarity"): "near_duplicates",
    ("explain", "target"): "adapters",
    ("explain", "pair"): "text_pairs",
    ("explain", "beside"): "adapters",
    ("data generate", "similarity"): "near_duplicates",
    ("data generate", "endpoint"): "url",
    ("data generate", "model"): "name",
    ("data generate", "key_variable"): "key",
    ("data generate", "timeout"): "timeout_seconds",
    ("rag index", "text"): "columns",
    ("rag search", "questions"): "question",  # one; of several `afina.Index(folder).search_several`
    ("rag pairs", "endpoint"): "url",
    ("rag pairs", "model"): "name",
    ("rag pairs", "key_variable"): "key",
    ("report", "errors"): "run",  # of api.mistakes
    ("export", "check"): "folder",  # of api.check_export
    ("chat", "adapters"): "beside",  # of afina.load
}
"""Options whose Python name is another, as one word there has to say what of."""
BESIDE = {
    "explain": [api.explain_study],
    "report": [api.mistakes], "watch": [api.watch_reference], "export": [api.check_export], "chat": [afina.load],
    "data generate": [afina.Endpoint, afina.LocalModel], "rag pairs": [afina.Endpoint, afina.LocalModel],
}  # fmt: skip
"""What in Python is another call than the command's own."""
TERMINALS_OWN = {
    ("watch", "fail_above"): "what stands above a limit ends the command; `audit.above({'right': 0.1})` gives it",
    ("chat", "language"): "what stands between the answers",
    ("explain", "whole"): "what stands for api.explain_study",
    **{
        (name, "language"): "what stands around the figures"
        for name in (
            "audit canaries",
            "compress",
            "data clean",
            "data convert",
            "data generate",
            "generate",
            "methods",
            "plan",
            "predict",
            "export",
            "push",
            "compare",
            "quantise",
            "evaluate",
            "rag ask",
            "rag index",
            "rag rows",
            "rag pairs",
            "rag search",
            "rag threshold",
            "serve",
        )
    },
    ("rag search", "whole"): "what stands of a passage's words",
    ("chat", "temperature"): "a conversation is livelier than a list of answers",
    ("chat", "top_p"): "likewise",
    ("chat", "max_new_tokens"): "likewise",
    ("serve", "log"): "a server in a terminal shows what it answers",
}
GROUPS = {name for name in COMMANDS if any(other.startswith(f"{name} ") for other in COMMANDS)} - {"demo"}
CALLS = sorted(set(COMMANDS) - GROUPS)


def call_of(name: str) -> Callable[..., Any]:
    """Return `api.data.clean` for `data clean`; where the first word is a call itself, `api.demo_chat` for `demo chat`."""
    place: Any = api
    for word in [name.replace(" ", "_")] if hasattr(api, name.replace(" ", "_")) else name.split():
        place = getattr(place, word)
    assert callable(place)
    return place


def taken(call: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
    """Yield the names of what a call takes with their defaults, those of the settings classes that it takes among them."""
    for name, parameter in inspect.signature(call).parameters.items():
        yield name, parameter.default
        for word in re.findall(r"\w+", str(parameter.annotation)):
            kind = getattr(afina, word) if word in afina.__all__ else None
            if dataclasses.is_dataclass(kind):
                yield from ((field.name, field.default) for field in dataclasses.fields(kind))
            elif hasattr(kind, "model_fields"):
                yield from ((field, info.default) for field, info in kind.model_fields.items())


@pytest.mark.parametrize("name", CALLS)
def test_a_command_takes_nothing_that_its_python_call_does_not(name: str) -> None:
    found: dict[str, Any] = {}
    for call in [*BESIDE.get(name, []), call_of(name)]:
        for own, default in taken(call):
            found.setdefault(own, default)
    found |= {own: each.default for own, each in inspect.signature(call_of(name)).parameters.items()}
    for option, parameter in inspect.signature(COMMANDS[name]).parameters.items():
        if option in SHOWS or TERMINALS_OWN.get((name, option), "").startswith("what stands"):
            continue
        own = CALLED_OTHERWISE.get((name, option), option)
        if name == "export" and option in {each.name for each in options()}:
            continue  # of a target, which both hand on as they are
        if name == "compress" and option in {each.replace("-", "_") for each in WAYS}:
            continue  # one of the ways, likewise
        own = "target" if own == "answer" and own not in found else own  # of a question, and of a text
        assert own in found, f"`afina {name}` takes {option}, and its Python call does not"
        if parameter.default is inspect.Parameter.empty or (name, option) in TERMINALS_OWN or own == "key":
            continue
        given = found[own] if found[own] is not dataclasses.MISSING else None
        assert _plain(given) == _plain(parameter.default), f"{name} {option}"


def _plain(value: Any) -> Any:
    """Return a default without its form: nothing is nothing, and a list at the terminal is commas."""
    if isinstance(value, tuple | list) and value:
        return ",".join(map(str, value))
    if value in (inspect.Parameter.empty, (), None, "", ...) or repr(value) == "PydanticUndefined":
        return None
    return str(value) if isinstance(value, Path) else value


def test_every_call_says_what_it_does_and_is_in_the_docs() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "how_to" / "python.md").read_text(encoding="utf-8")
    for name in CALLS:
        call = call_of(name)
        assert (call.__doc__ or "").strip()
        path = f"api.{name.replace(' ', '_') if call.__name__ == name.replace(' ', '_') else name.replace(' ', '.')}"
        assert f"`{path}" in docs, path


def test_commands_are_found_by_walking_their_folder() -> None:
    assert "data clean" in COMMANDS and "demo chat" in COMMANDS
    assert COMMANDS["data"] is data
    main = (Path(afina.__file__).parent / "cli" / "main.py").read_text(encoding="utf-8")
    assert re.findall(r"from afina\.cli[.\w]* import \w+", main) == ["from afina.cli.command import add_commands"]


def test_a_study_and_one_run_are_calls(
    family_folder: Loader, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_splits(tmp_path, train=20, test=10)
    keys = settings(family_folder, tmp_path, epochs=1)
    del keys["methods"]
    seen: list[str] = []
    done = api.train(out=tmp_path / "one", method="head", observer=lambda event: seen.append(str(event)), **keys)
    assert [path.name for path in done.adapters] == ["adapter"] and not done.failed
    assert done.report.html.is_file() and seen
    assert afina.load(done.adapters[0]).predict(["good mail"])
    again = api.study(out=tmp_path / "one", methods=["head"], seeds=[0], **keys)
    assert [result.started_at for result in again.results] == [result.started_at for result in done.results]
    assert api.recommend(tmp_path / "one").as_dict()["choice"]["method"] == "head"
    assert capsys.readouterr().out == ""
    quiet = run_afina("recommend", tmp_path / "one", "--format", "json", "--quiet")
    assert '"method": "head"' in quiet.stdout
    with pytest.raises(UsageError, match="'method' and 'methods' say the same"):
        api.train(out=tmp_path / "two", method="head", methods=["lora"], **keys)
    with pytest.raises(UsageError, match="Say with out="):
        api.study(methods=["head"], **keys)
    with pytest.raises(UsageError, match="not both"):
        api.study("study.yaml", methods=["head"])


def test_an_adapter_says_by_name_what_it_learned_though_its_folder_is_called_so(
    family_folder: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    keys = {
        "model": str(family_folder("bert")),
        "dataset": "tickets",
        "train_limit": 20,
        "test_limit": 10,
        "max_length": 16,
    }
    done = api.train(out=Path("tickets"), method="head", epochs=1, **keys)
    assert afina.load(done.adapters[0]).record.facts["source"]["path"] == "tickets"


def test_quiet_prints_the_answer_alone(tmp_path: Path) -> None:
    write_csv(tmp_path / "mail.csv", 12, 0)
    shown = run_afina("data", "clean", "mail.csv", "--out", "a.jsonl", "--plain", cwd=tmp_path)
    quiet = run_afina("data", "clean", "mail.csv", "--out", "b.jsonl", "--plain", "-q", cwd=tmp_path)
    assert quiet.returncode == shown.returncode == 0, quiet.stderr
    assert "rows kept" in quiet.stdout
    assert quiet.stderr == ""


def test_options_that_several_commands_have_mean_the_same_everywhere() -> None:
    import typer.main

    from afina.cli.main import app

    said: dict[str, set[str]] = {}
    for name, command in _commands(typer.main.get_command(app)):
        for option in command.params:
            if name == "plan" and option.opts[0] == "--device":
                continue  # a machine that is not here, which nothing is computed on
            if option.opts[0] in ("--device", "--seed", "--batch-size", "--precision", "--quiet", "--force"):
                said.setdefault(option.opts[0], set()).add(f"{option.help}")
        assert any("--quiet" in option.opts for option in command.params), name
    assert len(said) == 6 and all(len(texts) == 1 for texts in said.values()), said
    refused(run_afina("chat", "nowhere", "--device", "tpu"), "nowhere")


def _commands(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for word, command in group.commands.items():
        name = f"{path} {word}".strip()
        if getattr(command, "commands", None):
            yield from _commands(command, name)
        else:
            yield name, command
