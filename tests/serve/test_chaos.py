"""Many clients at one time, with reloads, cancellations and bad requests between: nobody gets another adapter's answer.

`pytest tests/serve/test_chaos.py --chaos 10000` is the long run.
"""

import asyncio
import json
import os
import random
import re
import shutil
import signal
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

import afina
from afina.adapters.adapter import partial_folder
from afina.serve.http.house import ServeLimits
from readied import AFINA, starting
from served import save, served, until

CHOICES = {"name": "choices", "answers": 2, "label_names": None, "prompt": None}
WRITERS = {"anna": "lora", "bert": "prefix", "carl": "ia3", "dora": "prompt", "emil": "loreft"}
LABELLERS = {"fina": "lora", "gabi": "bitfit", "hugo": "parallel"}
PROMPT, TOKENS, CLIENTS = "where is my parcel", 6, 16
BAD: list[Any] = [
    b"{", b"[]", {"model": 3}, {"model": "anna"}, {"model": "anna", "prompt": []}, {"model": "nobody", "prompt": "x"},
    {"model": "anna", "prompt": "x", "temperature": "hot"}, {"model": "anna", "prompt": "parcel " * 200},
    {"model": "fina", "prompt": "x"}, {"model": "anna", "prompt": "x", "n": 10**30}, {"model": "anna", "prompt": [1 << 40]},
]  # fmt: skip


@dataclass
class Names:
    """What each adapter says, which no other says: its name. One has two, of before and after a reload."""

    said: dict[str, list[Any]]
    sent: Counter[str] = field(default_factory=Counter)
    """Requests that reached an adapter, by its name."""
    tokens: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    bad: int = 0

    def heard(self, name: str, answer: Any) -> None:
        """Note an answer that is none of the adapter's."""
        if not any(_same(answer, own) for own in self.said[name]):
            self.wrong.append(f"{name} said {answer}, not {self.said[name]}")


def _same(one: Any, other: Any) -> bool:
    return (
        one == other if isinstance(one, str) else one.keys() == other.keys() and one == pytest.approx(other, abs=2e-3)
    )


@pytest.fixture(scope="module")
def shelf(speaker: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Names]:
    base, folder = speaker("llama"), tmp_path_factory.mktemp("chaos")
    said: dict[str, list[Any]] = {}
    loaded: Any = None
    for seed, (name, method) in enumerate(WRITERS.items()):
        loaded = afina.load(save(base, folder / name, method, CHOICES, seed), beside=loaded)
        said[name] = [loaded.generate([PROMPT], max_new_tokens=TOKENS)[0].text]
    second = afina.load(save(base, folder.parent / "second", "lora", CHOICES, 77), beside=loaded)
    said["anna"].append(second.generate([PROMPT], max_new_tokens=TOKENS)[0].text)
    shutil.copytree(folder / "anna", folder.parent / "first", dirs_exist_ok=True)
    said["llama"] = [loaded.generate([PROMPT], adapters=[None], max_new_tokens=TOKENS)[0].text]
    for seed, (name, method) in enumerate(LABELLERS.items()):
        state = {"name": "classification", "label_names": [f"{name}-{place}" for place in range(2 + seed)]}
        own = afina.load(save(base, folder / name, method, state, seed))
        said[name] = [own.predict([PROMPT])[0].probabilities]
    texts = [each for name in (*WRITERS, "llama") for each in said[name]]
    assert len(set(texts)) == len(texts)
    return folder, Names(said)


async def client(number: int, url: str, names: Names, requests: int) -> None:
    """Ask at random."""
    draw = random.Random(number)
    async with httpx2.AsyncClient(base_url=url, timeout=120) as own:
        for _ in range(requests):
            name = draw.choice([*names.said])
            if draw.random() < 0.1:
                await ask_wrongly(own, draw, names)
            elif name in LABELLERS:
                found = await own.post("/v1/classify", json={"model": name, "input": PROMPT})
                assert found.status_code == 200, found.text
                names.sent[name] += 1
                names.heard(name, found.json()["data"][0]["probabilities"])
            else:
                await write(own, draw, name, names)


async def ask_wrongly(own: httpx2.AsyncClient, draw: random.Random, names: Names) -> None:
    body = draw.choice(BAD)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = await own.post("/v1/completions", content=raw, headers={"content-type": "application/json"})
    names.bad += 1
    if found.status_code not in (400, 404) or set(found.json()) != {"error"}:
        names.wrong.append(f"{body!r} got {found.status_code}: {found.text[:200]}")


async def write(own: httpx2.AsyncClient, draw: random.Random, name: str, names: Names) -> None:
    """Have an answer written, streamed or whole; some go away when it has begun."""
    body = {"model": name, "prompt": PROMPT, "max_tokens": TOKENS, "temperature": 0}
    how = draw.random()
    names.sent[name] += 1
    if how < 0.4:
        response = await own.post("/v1/completions", json=body)
        assert response.status_code == 200, response.text
        found = response.json()
        names.tokens[name] += found["usage"]["completion_tokens"]
        names.heard(name, found["choices"][0]["text"])
        return
    async with own.stream("POST", "/v1/completions", json=body | {"stream": True}) as response:
        text = ""
        assert response.status_code == 200, await response.aread()
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                text += json.loads(line[6:])["choices"][0]["text"]
                if how < 0.6:
                    return  # and what was said by then is the beginning of its own
        names.heard(name, text)


async def reload(folder: Path, ends: asyncio.Event) -> None:
    """Put one adapter in the place of another of the same name, again and again."""
    turn = 0
    while not ends.is_set():
        turn += 1
        with partial_folder(folder / "anna") as partial:
            shutil.copytree(folder.parent / ("second" if turn % 2 else "first"), partial, dirs_exist_ok=True)
        await asyncio.sleep(0.3)


@pytest.mark.always
def test_sixteen_clients_get_their_own_adapters_answers(
    speaker: Callable[[str], Path], shelf: tuple[Path, Names], request: pytest.FixtureRequest
) -> None:
    folder, names = shelf
    each = max(1, request.config.getoption("--chaos") // CLIENTS)

    async def all_clients(url: str) -> None:
        ends = asyncio.Event()
        reloading = asyncio.create_task(reload(folder, ends))
        await asyncio.gather(*(client(number, url, names, each) for number in range(CLIENTS)))
        ends.set()
        await reloading

    with served(speaker("llama"), adapters=folder, limits=ServeLimits(watch=0.05), tell=print) as (server, plain):
        asyncio.run(all_clients(server.url))
        assert not names.wrong, names.wrong[:5]
        assert until(lambda: not server.house.engine().running and not server.house.engine().waiting)
        assert until(lambda: counted(plain, "afina_requests_total") == +names.sent)
        refused = re.findall(r"afina_rejections_total\{code=\"(\w+)\"\} (\S+)", plain.get("/metrics").text)
        assert sum(float(value) for code, value in refused if code != "client_gone") == names.bad
        assert all(out >= names.tokens[name] for name, out in counted(plain, "afina_tokens_out_total").items())
        assert until(lambda: not any(version.users for version in server.house.shelf.there()))
        assert plain.get("/health").status_code == 200


def counted(plain: httpx2.Client, name: str) -> Counter[str]:
    """Return a counter by adapter, whatever its other labels."""
    found: Counter[str] = Counter()
    for labels, value in re.findall(rf"^{name}\{{(.*)\}} (\S+)$", plain.get("/metrics").text, re.MULTILINE):
        adapter, status = re.search(r'adapter="([^"]*)"', labels), re.search(r'status="(\d+)"', labels)
        # What was refused is counted too, under the adapter that it was asked of; 499 is who went away.
        if adapter and adapter[1] and (status is None or status[1] in ("200", "499")):
            found[adapter[1]] += int(float(value))
    return +found


def test_a_killed_server_harms_no_file_and_one_told_to_stop_ends_well(
    speaker: Callable[[str], Path], shelf: tuple[Path, Names], tmp_path: Path
) -> None:
    folder, names = shelf
    log = tmp_path / "log.jsonl"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["serve", speaker("llama"), "--adapters", folder, "--port", port, "--log", log]
    body = {"model": "carl", "prompt": PROMPT, "max_tokens": TOKENS, "temperature": 0}
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for asked, (end, code) in enumerate(((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0)), start=1):
        with (
            starting(AFINA, tmp_path, *command) as process,
            httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as plain,
        ):
            assert until(lambda plain=plain: answers(plain), 90)
            assert plain.post("/v1/completions", json=body).json()["choices"][0]["text"] == names.said["carl"][0]
            # A request is written down once its answer has been sent: a kill between the two would take its line away.
            assert until(lambda asked=asked: len(log.read_text().splitlines()) == asked, 60)
            os.kill(process.pid, end)
            process.join(60)
            assert process.exitcode == code
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert [json.loads(line)["adapter"] for line in log.read_text().splitlines()] == ["carl", "carl"]


def answers(plain: httpx2.Client) -> bool:
    try:
        return plain.get("/ready").status_code == 200
    except httpx2.TransportError:
        return False
