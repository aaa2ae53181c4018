"""Clients that read or send slowly hold up nobody and are let go of, and a proxy in front of the server changes nothing."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from afina.serve.http.house import ServeLimits
from served import save, served, until

CHOICES = {"name": "choices", "answers": 2, "label_names": None, "prompt": None}
PATIENCE = 0.8


@pytest.fixture(scope="module")
def running(
    speaker: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Any, httpx2.Client]]:
    folder = tmp_path_factory.mktemp("slow")
    save(speaker("llama"), folder / "anna", "lora", CHOICES)
    limits = ServeLimits(patience=PATIENCE)
    with served(speaker("llama"), adapters=folder, preload=True, limits=limits) as (server, client):
        # As little as the system allows, so that what nobody reads stands in the server's memory and not in the system's.
        server._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        # Every answer is as long as it may be.
        backbone = server.house.engine().backbone
        backbone.generation, backbone.tokenizer.eos_token = type(backbone.generation)(eos_token_id=None), None
        yield server, client


def asked(path: str, body: Any) -> bytes:
    raw = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(raw)}\r\n\r\n"
    return head.encode() + raw


@contextmanager
def connected(server: Any) -> Iterator[socket.socket]:
    """Give a connection that takes as little at a time as the system allows."""
    with socket.socket() as own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        own.settimeout(20)
        own.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
        yield own


def is_over(own: socket.socket) -> bool:
    """Return whether the other side has broken a connection off."""
    try:
        return own.recv(1) == b""
    except ConnectionError:
        return True


def waiting_bytes(server: Any, client: socket.socket) -> int | None:
    """Return what the server has in its memory for a client to read; None where it has let go of it."""
    for own in [*server._server.server_state.connections]:
        if own.client == client.getsockname():
            return int(own.transport.get_write_buffer_size())
    return None


def test_who_reads_a_byte_at_a_time_holds_up_nobody_and_is_let_go_of(running: tuple[Any, httpx2.Client]) -> None:
    server, client = running
    short = {"model": "anna", "prompt": "a cat", "max_tokens": 3}
    # Sixteen answers with twenty likely tokens for each place: over a megabyte.
    long = short | {"max_tokens": 50, "n": 16, "stream": True, "logprobs": 20, "temperature": 1}
    most = []
    with connected(server) as slow:
        slow.sendall(asked("/v1/completions", long))
        assert slow.recv(1) == b"H"
        began = time.monotonic()
        while (waiting := waiting_bytes(server, slow)) is not None:
            most.append(waiting)
            assert client.post("/v1/completions", json=short).status_code == 200
            assert slow.recv(1)
            time.sleep(0.05)
            assert time.monotonic() - began < 20, f"it is never let go of: {most[-5:]}"
        assert time.monotonic() - began > PATIENCE / 2
    # uvicorn's mark, beyond which nothing more is written, and the event that went beyond it.
    assert 0 < max(most) < 2 * 65536
    assert until(lambda: not server.house.engine().running)
    assert until(lambda: not any(version.users for version in server.house.shelf.there()))


def test_who_begins_a_request_and_does_not_end_it_is_let_go_of(running: tuple[Any, httpx2.Client]) -> None:
    server, client = running
    whole = asked("/v1/completions", {"model": "anna", "prompt": "a cat", "max_tokens": 2})
    for sent in (b"", whole[:20]):
        with connected(server) as slow:
            slow.sendall(sent)
            began = time.monotonic()
            assert is_over(slow)
            assert time.monotonic() - began > PATIENCE / 2
    # A client that is slow and goes on is answered, and may ask again later than that.
    with connected(server) as slow:
        for number in range(2):
            for place in range(0, len(whole), 40):
                slow.sendall(whole[place : place + 40])
                time.sleep(0.01)
            answer = b""
            while b'"total_tokens"' not in answer:
                answer += slow.recv(4096)
            assert answer.startswith(b"HTTP/1.1 200")
            time.sleep(0 if number else 1.5 * PATIENCE)
    assert client.get("/health").status_code == 200


class Proxy:
    """Passes bytes on both ways as they come, as nginx does with `proxy_buffering off`."""

    def __init__(self, port: int) -> None:
        self._to, self.port = port, 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "Proxy":
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop)
        self.port = self._server.result(5).sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        async def end() -> None:
            self._server.result().close()
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = await asyncio.open_connection("127.0.0.1", self._to)

        async def passed(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                to.write(data)
                await to.drain()

        ways = [asyncio.ensure_future(passed(reader, behind[1])), asyncio.ensure_future(passed(behind[0], writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for own in ways:
                own.cancel()
            for end in (writer, behind[1]):
                end.close()


def test_behind_a_proxy_pieces_come_as_they_are_written_and_who_leaves_is_noticed(
    running: tuple[Any, httpx2.Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, _ = running
    engine = server.house.engine()
    turn = engine._batch.turn

    def slowly() -> Any:
        time.sleep(0.02)  # fifty tokens take a second
        return turn()

    monkeypatch.setattr(engine._batch, "turn", slowly)
    body = {"model": "anna", "prompt": "a cat", "max_tokens": 40, "temperature": 0, "stream": True}
    port = int(server.url.rpartition(":")[2])
    with Proxy(port) as proxy, httpx2.Client(base_url=f"http://127.0.0.1:{proxy.port}", timeout=20) as client:
        with client.stream("POST", "/v1/completions", json=body, headers={"x-request-id": "r-1"}) as response:
            assert response.headers["x-request-id"] == "r-1" and response.headers["x-accel-buffering"] == "no"
            came = [time.monotonic() for line in response.iter_lines() if line.startswith("data: ")]
        assert came[-1] - came[0] > 0.3, "pieces were kept back until all of them were there"
        with client.stream("POST", "/v1/completions", json=body) as response:
            assert next(response.iter_lines()).startswith("data: ")
        assert until(lambda: not engine.running)
        with engine.counters.steady() as counts:
            assert counts.ended["anna", "cancelled"] >= 1
