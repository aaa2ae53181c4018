"""Texts a second that `afina serve` labels: one request at a time, and 64 at once over 8 adapters, by one process.

    python benchmarks/serve_classifiers.py --out benchmarks/results/serve_classifiers.json

The server is the command itself, in a process of its own, with all-MiniLM-L6-v2; each request has one text, over a connection
that stays open. Client and server share the machine, so that what each takes of the processor is told: on two cores the
client's work is taken from the server's. Rounds of both take turns; figures are medians of the rounds.
"""

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psutil
import torch

from afina.adapters.adapter import AdapterRecord, build_adapter, save_adapter
from afina.backbone.load import load_backbone
from afina.methods.base import make_method
from afina.tasks.base import the
from record import write_record

TEXTS = [
    "Where is my parcel? It was to come on Monday.", "The lamp that I got is broken, I want my money back.",
    "How do I change the address of an order that is on its way?", "Thank you, the kettle works very well!",
    "I was charged twice for one invoice, and nobody answers the telephone or my letters of the last two weeks.",
    "The app asks for my password each time.", "Please cancel order 4411.", "Do you ship to Portugal, and what is it?",
]  # fmt: skip
METHODS = ["lora", "ia3", "bitfit", "prefix", "pfeiffer"]


def save_shelf(folder: Path, count: int, methods: list[str]) -> list[str]:
    """Save adapters with heads of two to five labels, moved away from where they start."""
    backbone, names = load_backbone("minilm"), []
    for number in range(count):
        task = the(problem_type="single_label_classification").of_labels([f"l{k}" for k in range(2 + number % 4)])
        method = make_method(methods[number % len(methods)], {})
        adapter = build_adapter(method, backbone, task.outputs, seed=number)
        with torch.no_grad():
            for parameter in adapter.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.02)
        record = AdapterRecord("minilm", method.name, method.settings(), task.state(), 128, "fp32", number)
        names.append(f"a{number}-{method.name}")
        save_adapter(folder / names[-1], adapter, backbone, record)
    return names


class Asking:
    """Asks over one connection that stays open."""

    async def open(self, port: int) -> "Asking":
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        return self

    async def ask(self, model: str, text: str) -> float:
        """Return the seconds until the answer is there."""
        body = json.dumps({"model": model, "input": text}).encode()
        start = time.perf_counter()
        self.writer.write(
            b"POST /v1/classify HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n" % len(body) + body
        )
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        )
        await self.reader.readexactly(length)
        return time.perf_counter() - start


async def round_of(port: int, names: list[str], clients: int, requests: int) -> tuple[float, list[float]]:
    """Return the seconds that all requests took together, and each alone."""
    asking = [await Asking().open(port) for _ in range(clients)]
    left = iter(range(requests))
    took: list[float] = []

    async def client(own: Asking) -> None:
        for number in left:
            took.append(await own.ask(names[number % len(names)], TEXTS[(number // len(names)) % len(TEXTS)]))

    start = time.perf_counter()
    await asyncio.gather(*map(client, asking))
    seconds = time.perf_counter() - start
    for own in asking:
        own.writer.close()
    return seconds, took


def start(folder: Path) -> tuple[subprocess.Popen[bytes], int, float]:
    """Start the command; return its process, its port, and the seconds until it had answered a first request."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.perf_counter()
    command = [sys.executable, "-m", "afina", "serve", "minilm", "--adapters", folder, "--port", str(port), "--log"]
    server = subprocess.Popen([*map(str, command), str(folder.parent / "log.jsonl"), "--quiet"])
    name = min(own.name for own in folder.iterdir())
    while True:
        try:
            asyncio.run(first(port, name))
            return server, port, time.perf_counter() - began
        except OSError:
            assert server.poll() is None, "the server ended"
            time.sleep(0.05)


async def first(port: int, name: str) -> None:
    await (await Asking().open(port)).ask(name, TEXTS[0])


def figures(seconds: float, took: list[float]) -> dict[str, float]:
    cuts = quantiles(took, n=100)
    return {"texts_per_second": len(took) / seconds, "p50_seconds": cuts[49], "p99_seconds": cuts[98]}


def measured(server: psutil.Process, port: int, names: list[str], clients: int, requests: int) -> dict[str, float]:
    """Return a round's figures, with the seconds of the processor that server and client took for each request."""

    def busy() -> float:
        times = server.cpu_times()
        return float(times.user + times.system)

    before, own = busy(), time.process_time()
    found = figures(*asyncio.run(round_of(port, names, clients, requests)))
    own = time.process_time() - own
    return found | {
        "server_processor_seconds": (busy() - before) / requests, "client_processor_seconds": own / requests,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adapters", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=512)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found: list[dict[str, Any]] = []
    starts: list[float] = []
    for kind, methods in (("lora", ["lora"]), ("five methods", METHODS)):
        with tempfile.TemporaryDirectory() as folder:
            shelf = Path(folder) / "shelf"
            names = save_shelf(shelf, given.adapters, methods)
            server, port, seconds = start(shelf)
            starts.append(seconds)
            try:
                asyncio.run(round_of(port, names, 16, 64))  # all are loaded
                rounds: dict[int, list[dict[str, float]]] = {1: [], 64: []}
                for _ in range(given.rounds):
                    for clients, own in rounds.items():
                        requests = given.requests if clients > 1 else given.requests // 8
                        own.append(measured(psutil.Process(server.pid), port, names, clients, requests))
            finally:
                server.terminate()
                server.wait()
        for clients, own in rounds.items():
            row = {key: median(one[key] for one in own) for key in own[0]}
            found.append({"methods": kind, "adapters": given.adapters, "clients": clients, **row})
            print(found[-1])
        one, many = found[-2:]
        busy = [each["server_processor_seconds"] + each["client_processor_seconds"] for each in (one, many)]
        print(
            f"{kind}: {many['texts_per_second'] / one['texts_per_second']:.1f} times one at a time; by the processor's time "
            f"{busy[0] / busy[1]:.1f} times, of which the client takes {many['client_processor_seconds'] / busy[1]:.0%}"
        )
    print(f"from the command to the first answer: {median(starts):.1f} s")
    if given.out:
        write_record(given.out, "starlette", "uvicorn", figures=found, start_seconds=median(starts))


if __name__ == "__main__":
    main()
