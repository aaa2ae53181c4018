"""Generating interactions: from a real server that stalls, fails and repeats itself, and from a real local model."""

import fcntl
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu

from afina.api.data import generate_data as generate
from afina.corpus.diversity import collapse_warnings, distinct, diversity, embedding_spread, self_bleu
from afina.corpus.inspect import inspect_file
from afina.corpus.writers import Endpoint, GeneratedText
from afina.errors import AfinaError, UsageError
from afina.generation.writer import LocalModel
from commands import afina, refused
from data_commands import rows_of, run

Answer = Callable[[int, dict[str, Any]], tuple[int, Any]]
PROMPT = "Write a talk about {topic}."


class Server:
    """Speaks OpenAI's chat API; `answer` gets the request's number and body and gives status and content."""

    def __init__(self, answer: Answer) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.bodies.append(body)
                server.keys.append(self.headers["Authorization"])
                assert self.path == "/v1/chat/completions"
                status, content = answer(len(server.bodies) - 1, body)
                sent = content
                if isinstance(content, str):
                    sent = {"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}
                data = json.dumps(sent).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                except (BrokenPipeError, ConnectionResetError):
                    pass

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], Server]]:
    servers: list[Server] = []

    def start(answer: Answer) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.http.shutdown()
        server.http.server_close()


def endpoint(server: Server, **settings: Any) -> Endpoint:
    return Endpoint(
        **{"url": server.url, "name": "tiny", "timeout_seconds": 5, "pause_seconds": 0.01, "parallel": 1} | settings
    )


def talk(seed: int) -> str:
    draw = np.random.default_rng(seed)
    words = ["".join(draw.choice(list("abcdefghij"), 6)) for _ in range(24)]
    return f"User: {' '.join(words[:8])}?\nAssistant: {' '.join(words[8:])}."


def test_rows_are_written_marked_and_read_back(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    server = serve(lambda number, body: (200, f"{talk(body['seed'])}\n\n{talk(1_000 + body['seed'])}"))
    report = generate(endpoint(server, key="secret"), PROMPT, tmp_path / "a.jsonl", topics=["tea", "salt"], count=5)
    assert (report.rows, report.requests, server.keys[0]) == (5, 3, "Bearer secret")
    assert [body["messages"][0]["content"] for body in server.bodies[:2]] == [
        "Write a talk about tea.", "Write a talk about salt.",
    ]  # fmt: skip
    rows = rows_of(tmp_path / "a.jsonl")
    assert all(row["generated"] for row in rows)
    assert rows[2]["extra"] == {"request": 1, "topic": "salt"}
    assert report.reasons == {"more rows than were asked for": 1}
    assert inspect_file(tmp_path / "a.jsonl").generated == 5
    assert "secret" not in repr(endpoint(server, key="secret"))
    again = generate(endpoint(server), PROMPT, tmp_path / "a.jsonl", topics=["tea", "salt"], count=5)
    assert (again.rows, len(server.bodies)) == (5, 3)


@pytest.mark.parametrize(
    "content",
    [
        '[{"question": "Do you open today?", "answer": "Yes, until nine."}]',
        'Here it is:\n```json\n{"messages": [{"role": "user", "content": "Do you open today?"}, '
        '{"role": "assistant", "content": "Yes, until nine."}]}\n```',
        "**User:** Do you open today?\n**Assistant:** Yes, until nine.",
        '{"instruction": "Do you open today?", "output": "Yes, until nine."}\n',
    ],
)
def test_answers_of_any_form_are_read(tmp_path: Path, serve: Callable[[Answer], Server], content: str) -> None:
    server = serve(lambda number, body: (200, content))
    generate(endpoint(server), "Write.", tmp_path / "a.jsonl", count=1)
    said = [message["content"] for message in rows_of(tmp_path / "a.jsonl")[0]["messages"]]
    assert said == ["Do you open today?", "Yes, until nine."]


def test_an_endpoint_that_stalls_loses_nothing(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    stalled = threading.Event()
    let_go = threading.Event()

    def answer(number: int, body: dict[str, Any]) -> tuple[int, str]:
        if body["seed"] == 3 and not stalled.is_set():
            let_go.wait(20)
        return 200, talk(body["seed"])

    server = serve(answer)
    writer = endpoint(server, timeout_seconds=0.5, tries=2, parallel=2)
    start = time.monotonic()
    with pytest.raises(
        AfinaError, match=r"no answer in 0.5 s\); 3 of 6 rows are in .*a.jsonl, and the same call goes on"
    ):
        generate(writer, PROMPT, tmp_path / "a.jsonl", topics=["tea"], count=6)
    assert time.monotonic() - start < 15
    let_go.set()
    stalled.set()
    before = rows_of(tmp_path / "a.jsonl")
    report = generate(writer, PROMPT, tmp_path / "a.jsonl", topics=["tea"], count=6)
    rows = rows_of(tmp_path / "a.jsonl")
    assert rows[: len(before)] == before
    assert sorted(row["extra"]["request"] for row in rows) == [0, 1, 2, 3, 4, 5]
    assert report.rows == 6


def test_a_server_that_drips_is_left(serve: Callable[[Answer], Server]) -> None:
    import socket

    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            try:
                for _ in range(200):
                    connection.sendall(b" ")
                    time.sleep(0.05)
            except OSError:
                pass

    threading.Thread(target=drip, daemon=True).start()
    writer = Endpoint(url=f"http://127.0.0.1:{listener.getsockname()[1]}/v1", name="x", timeout_seconds=0.6, tries=1)
    with pytest.raises(AfinaError, match=r"no whole answer in 0\.6 s"):
        writer.write("hello", 0)
    listener.close()


def test_failures_that_pass_are_tried_again_and_others_are_said(serve: Callable[[Answer], Server]) -> None:
    busy = serve(lambda number, body: (503, {}) if number < 2 else (429, {}) if number == 2 else (200, "fine"))
    pauses: list[float] = []
    assert endpoint(busy, pause_seconds=1.0, sleep=pauses.append).write("hello", 0) == GeneratedText("fine")
    assert [int(pause) for pause in pauses] == [1, 2, 4]
    wrong = serve(lambda number, body: (401, {"error": "no such key"}))
    with pytest.raises(UsageError, match=r"status 401.*no such key"):
        endpoint(wrong).write("hello", 0)
    assert len(wrong.bodies) == 1
    odd = serve(lambda number, body: (200, {"text": "not the chat API"}))
    with pytest.raises(AfinaError, match="none of the chat API"):
        endpoint(odd, tries=2).write("hello", 0)
    with pytest.raises(AfinaError, match="did not answer in 2 tries"):
        Endpoint(url="http://127.0.0.1:9/v1", name="x", tries=2, pause_seconds=0).write("hello", 0)
    with pytest.raises(UsageError, match="no endpoint"):
        Endpoint(url="localhost:8000", name="x")


class Scripted:
    """A writer without a server, for what the ledger does."""

    name, parallel = "scripted", 1

    def __init__(self, texts: Callable[[int], str], *, whole: bool = True) -> None:
        self.texts, self.whole = texts, whole

    def write(self, prompt: str, seed: int) -> GeneratedText:
        return GeneratedText(self.texts(seed), self.whole)


def test_a_killed_run_takes_back_what_has_no_request_and_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    generate(Scripted(talk), PROMPT, out, topics=["tea"], count=4)
    whole = out.read_text()
    log = tmp_path / "a.requests.jsonl"
    # As after a kill in the middle of the third request: its rows are there, half of another line too, its request's not.
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:3]))
    out.write_text("".join(whole.splitlines(keepends=True)[:3]) + '{"messages": [{"ro')
    report = generate(Scripted(talk), PROMPT, out, topics=["tea"], count=4)
    assert out.read_text() == whole
    assert report.requests == 4
    for other in ({"topics": ["salt"]}, {"topics": ["tea"], "seed": 5}):
        with pytest.raises(UsageError, match="was begun with another"):
            generate(Scripted(talk), PROMPT, out, count=9, **other)  # type: ignore[arg-type]
    (tmp_path / "other.jsonl").write_text("{}\n")
    with pytest.raises(UsageError, match="not begun by generating"):
        generate(Scripted(talk), "Write.", tmp_path / "other.jsonl")


def test_ctrl_c_keeps_what_is_there(tmp_path: Path) -> None:
    def interrupt(event: Any) -> None:
        if event["rows"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(Scripted(talk), "Write.", tmp_path / "a.jsonl", count=5, observe=interrupt)
    assert len(rows_of(tmp_path / "a.jsonl")) == 2
    assert generate(Scripted(talk), "Write.", tmp_path / "a.jsonl", count=5).rows == 5


def test_repeats_are_rejected_and_a_dry_model_is_left(tmp_path: Path) -> None:
    report = generate(Scripted(lambda seed: talk(seed % 3)), "Write.", tmp_path / "a.jsonl", count=50)
    assert report.rows == 3
    assert report.reasons == {"duplicate of an earlier row": 20}
    assert "ended early" in report.warnings[0]
    cut = generate(Scripted(talk, whole=False), "Write.", tmp_path / "b.jsonl", count=2)
    assert (cut.rows, list(cut.reasons)) == (0, ["cut off at the most tokens that the model may write"])


def test_prompts_and_topics_belong_together(tmp_path: Path) -> None:
    for prompt, topics, said in (("Write.", ["a"], "has no {topic}"), (PROMPT, [], "no topics"), (" ", [], "empty")):
        with pytest.raises(UsageError, match=said):
            generate(Scripted(talk), prompt, tmp_path / "a.jsonl", topics=topics)
    with pytest.raises(UsageError, match=r"\.jsonl"):
        generate(Scripted(talk), "Write.", tmp_path / "a.parquet")


def test_a_local_model_writes_the_same_for_the_same_seed(shared: Path) -> None:
    writer = LocalModel(name=str(shared / "data" / "stories260k"), max_tokens=20)
    first, again, other = (writer.write("Once upon a time", seed) for seed in (1, 1, 2))
    assert first == again
    assert first.text != other.text
    assert not first.whole
    assert len(first.text.split()) > 3
    with pytest.raises(UsageError, match="neither a folder, nor a built-in name"):
        LocalModel(name="./nowhere").write("x", 0)
    with pytest.raises(UsageError, match="room for"):
        writer.write("once " * 2_000, 0)


# -- diversity -------------------------------------------------------------------------------------------------------


def test_self_bleu_is_sacrebleus() -> None:
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(["red", "kettle", "is", "big", "and", "old", "new"], 14)) for _ in range(12)]
    expected = [
        sacrebleu.sentence_bleu(
            text, [*texts[:row], *texts[row + 1 :]], smooth_method="floor", smooth_value=0.5, tokenize="none"
        ).score
        for row, text in enumerate(texts)
    ]
    assert self_bleu(texts) == pytest.approx(np.mean(expected) / 100, abs=1e-6)


def test_figures_at_their_ends() -> None:
    assert distinct(["a", "b", "a", "b"], 1) == 0.5
    assert self_bleu(["the same words each time here"] * 4) == pytest.approx(1)
    assert embedding_spread(np.ones((5, 3))) == pytest.approx(0)
    assert embedding_spread(np.eye(4)) == pytest.approx(1)
    vectors = np.random.default_rng(0).normal(size=(6, 4))
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = [1 - units[i] @ units[j] for i in range(6) for j in range(6) if i != j]
    assert embedding_spread(vectors) == pytest.approx(np.mean(pairs))


def test_a_collapse_is_told_from_real_answers(shared: Path) -> None:
    from pyarrow import parquet

    from afina.train.embed import text_embedder

    answers = parquet.read_table(shared / "data" / "alpaca" / "train.parquet")["output"].to_pylist()[:60]
    embed = text_embedder(max_length=32)
    real = diversity(answers, embed)
    assert collapse_warnings(real) == []
    assert real.spread is not None
    assert real.spread > 0.7
    things = [f"Thank you for your message about the {thing}, we will help you at once." for thing in "abcdefghij"]
    collapsed = diversity(things * 6, embed)
    assert len(collapse_warnings(collapsed)) >= 2
    assert any("it falls" in told for told in collapse_warnings(collapsed, real))


def test_the_command_says_what_it_made(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    server = serve(lambda number, body: (200, talk(body["seed"])))
    (tmp_path / "prompt.txt").write_text("Write about {topic}.")
    (tmp_path / "topics.txt").write_text("tea\n\nsalt\n")
    shown = run(
        "generate", tmp_path / "prompt.txt", "--topics", tmp_path / "topics.txt", "--out", tmp_path / "rows.jsonl",
        "--endpoint", server.url, "--model", "tiny", "--count", 3,
    )  # fmt: skip
    assert "3 rows in 3 requests" in shown
    assert "embedding spread" in shown
    assert "rows.jsonl" in shown


def test_two_that_write_one_file_do_not_write_at_one_time(tmp_path: Path, serve: Callable[[Answer], Server]) -> None:
    server = serve(lambda number, body: (200, talk(body["seed"])))
    (tmp_path / "prompt.txt").write_text(PROMPT)
    (tmp_path / "topics.txt").write_text("tea\n")
    out = tmp_path / "a.jsonl"
    words = ["data", "generate", tmp_path / "prompt.txt", "--topics", tmp_path / "topics.txt", "--out", out, "--count", 2,
             "--endpoint", server.url, "--model", "tiny"]  # fmt: skip
    assert afina(*words).returncode == 0
    with out.with_name("a.requests.jsonl").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        before, asked = {path.name: path.read_bytes() for path in tmp_path.iterdir()}, len(server.bodies)
        refused(afina(*words[:-5], 4, *words[-4:]), "is being written by another afina")
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert len(server.bodies) == asked


def test_an_endless_answer_is_not_waited_for(serve: Callable[[Answer], Server]) -> None:
    server = serve(lambda number, body: (200, "x" * (17 << 20)))
    with pytest.raises(AfinaError, match=r"2 tries \(an answer of more than 16 MB\)"):
        endpoint(server, tries=2).write("hi", 0)
    assert len(server.bodies) == 2
