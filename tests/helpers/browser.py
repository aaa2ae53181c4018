"""A real Chromium without a window, told what to do over a pipe by the protocol that its developer tools speak."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Browser", "browsing", "chromium"]

OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run",
    "--disable-component-update", "--disable-extensions", "--disable-dev-shm-usage", "--remote-debugging-pipe",
)  # fmt: skip


def chromium() -> str | None:
    """Return the browser of this machine, None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def browsing(folder: Path) -> Iterator["Browser"]:
    """Give a browser with an empty profile in a folder, for the time of a block."""
    commands, answers = os.pipe(), os.pipe()
    program = [chromium(), *OPTIONS, f"--user-data-dir={folder}"]
    # It reads commands from descriptor 3 and answers on 4, whatever their numbers are here.
    line = f'exec "$@" 3<&{commands[0]} 4>&{answers[1]}'
    process = subprocess.Popen(
        ["bash", "-c", line, "bash", *map(str, program)], pass_fds=(commands[0], answers[1]),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(commands[0])
    os.close(answers[1])
    with os.fdopen(commands[1], "wb", buffering=0) as asking, os.fdopen(answers[0], "rb") as hearing:
        browser = Browser(asking, hearing)
        try:
            browser.open()
            yield browser
            browser("Browser.close", session=False)
            process.wait(20)
        finally:
            process.kill()
            process.wait()


class Browser:
    """One page: calls are the protocol's methods; what it asked for and complained of is written down."""

    def __init__(self, asking: Any, hearing: Any) -> None:
        self._asking, self._hearing, self._rest, self._number, self._session = asking, hearing, b"", 0, ""
        self.complaints: list[str] = []
        self.asked: list[str] = []

    def open(self) -> None:
        target = self("Target.createTarget", session=False, url="about:blank")["targetId"]
        self._session = self("Target.attachToTarget", session=False, targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    def __call__(self, method: str, *, session: bool = True, **settings: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": settings}
        self._asking.write(json.dumps(message | ({"sessionId": self._session} if session else {})).encode() + b"\0")
        while (heard := self._hear()).get("id") != self._number:
            pass
        assert "error" not in heard, heard
        return heard["result"]

    def _hear(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = self._hearing.read1(1 << 16)
            assert more, "the browser is gone"
            self._rest += more
        raw, _, self._rest = self._rest.partition(b"\0")
        heard = json.loads(raw)
        if heard.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
            self.complaints.append(json.dumps(heard["params"]))
        if heard.get("method") == "Network.requestWillBeSent":
            self.asked.append(heard["params"]["request"]["url"])
        return heard

    def run(self, script: str) -> Any:
        """Return what a script in the page gives."""
        found = self("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, script: str, seconds: float = 30) -> Any:
        """Wait until a script gives something true, and return it."""
        ends = time.monotonic() + seconds
        while not (found := self.run(script)):
            assert time.monotonic() < ends, f"{script} does not come true; the page says: {self.text('body')}"
            time.sleep(0.03)
        return found

    def text(self, selector: str) -> str:
        """Return what a person reads there."""
        return self.run(f"document.querySelector({json.dumps(selector)}).innerText")

    def type(self, selector: str, text: str) -> None:
        """Put the cursor somewhere and type."""
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """Press a key where the cursor is."""
        code = {"Enter": 13, "Escape": 27}[key]
        more = {"text": "\r"} if key == "Enter" else {}
        self("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **more)
        self("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)
