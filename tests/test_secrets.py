"""Keys and passwords: no sentence holds one, whoever says it again and however it is written there."""

import base64
import json
import pickle
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

import pytest

from afina.corpus.writers import Endpoint
from afina.errors import AfinaError, Unexpected, UsageError, redacted
from afina.export.push import _sentences
from afina.serve.http.keys import read_keys
from commands import afina, refused

KEY = 'sk-kettle"\\and/lid+9'
PASSWORD = "p%40ss:word!7"


@pytest.fixture
def echo() -> Iterator[Callable[[int], str]]:
    """Serve an address that answers with a status and all that it was sent."""
    servers = []

    def start(status: int) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                sent = self.headers["Authorization"] or ""
                plain = sent.removeprefix("Bearer ")
                ways = [
                    self.path,
                    sent,
                    json.dumps(plain),
                    quote(plain, safe=""),
                    base64.b64encode(plain.encode()).decode(),
                ]
                data = "\n".join(["x" * 60 + plain, *ways]).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None: ...

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        Thread(target=server.serve_forever, daemon=True).start()
        return f"127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def ask(url: str, key: str | None = None, **how: Any) -> str:
    with pytest.raises(AfinaError) as caught:
        Endpoint(url=url, name="m", key=key, tries=1, sleep=lambda _: None, **how).write("hi", 0)
    return str(caught.value)


def leaks(text: str, *secrets: str) -> list[str]:
    forms = [
        f
        for s in secrets
        for f in (s, json.dumps(s)[1:-1], repr(s)[1:-1], quote(s, safe=""), base64.b64encode(s.encode()).decode())
    ]
    return [form for form in forms if form in text]


@pytest.mark.parametrize("status", [200, 302, 400, 401, 429, 500])
def test_an_answer_that_says_the_key_again_is_not_printed(status: int, echo: Callable[[int], str]) -> None:
    """Nor a piece of it where the sentence ends, nor the login of an address and what is asked in it."""
    place = echo(status)
    text = ask(f"http://{place}/v1", KEY)
    assert not leaks(text, KEY)
    assert KEY[:8] not in text
    text = ask(f"http://ana:{PASSWORD}@{place}/v1", None)
    assert not leaks(text, PASSWORD, "p@ss:word!7")
    text = ask(f"http://{place}/v1?api-key={quote(KEY)}", None)
    assert not leaks(text, KEY)


def test_a_server_that_is_not_there_keeps_the_password(echo: Callable[[int], str]) -> None:
    for url in (f"http://ana:{PASSWORD}@127.0.0.1:9/v1", f"http://ana:{PASSWORD}@nowhere.invalid/v1"):
        assert not leaks(ask(url, KEY), PASSWORD, KEY)
    made = Endpoint(url=f"http://ana:{PASSWORD}@127.0.0.1:9/v1", name="m", key=KEY)
    assert not leaks(repr(made), PASSWORD, KEY)
    with pytest.raises(UsageError) as caught:
        Endpoint(url=f"htp://ana:{PASSWORD}@127.0.0.1/v1", name="m")
    assert not leaks(str(caught.value), PASSWORD)


@pytest.mark.parametrize("mark", ["\n", "\r", "\x00", "\x01", "\t", "\x7f", "\u2028", "é", "\ud800"])
def test_a_key_that_no_header_can_hold_is_refused_unseen(
    mark: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="letters that no key has") as caught:
        Endpoint(url="http://127.0.0.1:9/v1", name="m", key=f"sk-first{mark}second")
    assert not leaks(str(caught.value), "sk-first", "second")
    if mark not in "\x00\ud800":  # which no environment can hold
        monkeypatch.setenv("MY_KEY", f"sk-first{mark}second")
        (tmp_path / "prompt.txt").write_text("Write.")
        result = afina(
            "data", "generate", tmp_path / "prompt.txt", "--out", tmp_path / "a.jsonl", "--model", "m",
            "--endpoint", "http://127.0.0.1:9/v1", "--key-variable", "MY_KEY",
        )  # fmt: skip
        refused(result, "letters that no key has")
        assert not leaks(result.stdout + result.stderr, "sk-first", "second")


def test_no_sentence_of_ours_holds_what_the_environment_keeps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Such as the hub's client, which writes down the header that it cannot send, or the address that it asked."""
    monkeypatch.setenv("HF_TOKEN", "hf_abc\x01defghij")
    monkeypatch.setenv("SOME_API_KEY", KEY)
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    (tmp_path / "token").write_text("hf_storedtoken\n")
    header = b"Bearer hf_abc\x01defghij"
    with pytest.raises(AfinaError) as caught, _sentences("ana/x"):
        raise RuntimeError(f"Illegal header value {header!r} at https://ana:{PASSWORD}@hub.invalid/a")
    assert not leaks(str(caught.value), "defghij", PASSWORD)
    for sentence in (f"it said {KEY!r}", f"it said {json.dumps(KEY)}", "it said hf_storedtoken"):
        for error in (UsageError(sentence), Unexpected(sentence, f"Traceback: {sentence}")):
            again = pickle.loads(pickle.dumps(error))
            assert not leaks(f"{error} {again} {error.args}", KEY, "hf_storedtoken")
    assert redacted("the token of https://hub.invalid/a:b@c") == "the token of https://hub.invalid/a:b@c"
    assert redacted("a key", ["key"]) == "a key"  # too short to be one


def test_a_file_of_keys_is_refused_without_its_keys(tmp_path: Path) -> None:
    for text in (
        "- {name: a, key: hunter2}", "- {name: a, key: [hunter-two-three]}", "- {name: a, key: hunter-two-three, rat: 1}",
        "- {name: a, sha256: hunter-two-three}", "- hunter-two-three", "hunter-two-three",
        "- {name: a, key: 'hunter-two-three",
        "- {name: a, key: hunter-two-three, rate: x}\n- {name: a, key: hunter-two-three}",
        "- {name: a, key: hunter-two-three, key: hunter-two-three}",
        "- name: a\n  key: hunter-two-three\n  - x", "- {name: a, key: hunter-two-three}\n- {name: b, key: hunter-two-three}",
    ):  # fmt: skip
        (tmp_path / "keys.yaml").write_text(text)
        with pytest.raises(UsageError) as caught:
            read_keys(tmp_path / "keys.yaml", None, None)
        assert "hunter" not in str(caught.value)
