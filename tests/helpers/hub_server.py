"""A hub on this machine that the hub's own client talks to: repositories, commits, large files by LFS or by Xet."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Hub", "Repository", "hub_server"]

LARGE = (".safetensors", ".onnx", ".npz")


@dataclass
class Repository:
    """What a repository holds: its files, and the bytes of the large ones by their SHA-256 where LFS brought them."""

    private: bool = True
    files: dict[str, bytes] = field(default_factory=dict)
    large: dict[str, str] = field(default_factory=dict)
    """By path, the SHA-256 of a large file."""
    commits: list[str] = field(default_factory=list)


@dataclass
class Hub:
    """What the server keeps, what it was asked, and what it is to answer instead."""

    user: str = "ana"
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    fails: dict[str, tuple[int, str]] = field(default_factory=dict)
    """By a part of `METHOD path`: the status and the words to refuse it with."""
    xet: int = 0
    """Bytes that came by Xet."""
    endpoint: str = ""


@contextmanager
def hub_server() -> Iterator[Hub]:
    """Run a hub in a thread; its token is `right`."""
    hub = Hub()

    class Handler(_Handler):
        state = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *values: Any) -> None:
        """Say nothing."""

    def answer(self, value: Any = None, status: int = 200, **headers: str) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value or {}).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.serve
        raise AttributeError(name)

    def serve(self) -> None:
        hub, path = self.state, urlsplit(self.path).path
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        hub.asked.append(f"{self.command} {path}")
        for part, (status, words) in hub.fails.items():
            if part in hub.asked[-1]:
                return self.answer({"error": words}, status, X_Error_Message=words)
        if path.startswith(("/cas/", "/v1/", "/v2/")):
            return self._cas(path, body)
        if path.startswith("/lfs/"):
            hub.objects[path.removeprefix("/lfs/")] = body
            return self.answer()
        if self.headers.get("Authorization") != "Bearer right":
            return self.answer({"error": "Invalid username or password."}, 401, X_Error_Message="Invalid credentials")
        return self._api(path, body)

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline().strip() or b"0", 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _api(self, path: str, body: bytes) -> None:
        hub = self.state
        if path == "/api/whoami-v2":
            return self.answer({"name": hub.user, "type": "user", "auth": {"accessToken": {"role": "write"}}})
        if path == "/api/validate-yaml":
            return self.answer({"warnings": [], "errors": []})
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or hub.user}/{asked['name']}"
            if name in hub.repositories:
                return self.answer({"error": "You already created this model repo"}, 409)
            hub.repositories[name] = Repository(private=asked.get("visibility") == "private")
            return self.answer({"url": f"{hub.endpoint}/{name}", "name": name})
        if path.startswith("/api/models/"):
            owner, name, *rest = path.removeprefix("/api/models/").split("/")
            return self._repository(f"{owner}/{name}", rest, body)
        if ".git/info/lfs/objects/batch" in path:
            asked = json.loads(body)
            found = [
                {**own, "actions": {"upload": {"href": f"{hub.endpoint}/lfs/{own['oid']}", "header": {}}}}
                for own in asked["objects"]
            ]
            return self.answer({"transfer": "basic", "objects": found})
        if "/resolve/" in path:
            name, _, inside = path.strip("/").partition("/resolve/")
            return self._file(hub.repositories[name], inside.partition("/")[2])
        return self.answer({"error": "no such page"}, 404)

    def _file(self, repository: Repository, inside: str) -> None:
        content = repository.files[inside]
        etag = f'"{hashlib.sha1(content, usedforsecurity=False).hexdigest()}"'
        self.answer(content, ETag=etag, X_Repo_Commit=repository.commits[-1], Accept_Ranges="none")

    def _repository(self, name: str, rest: list[str], body: bytes) -> None:
        hub = self.state
        if name not in hub.repositories:
            return self.answer({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
        repository = hub.repositories[name]
        if not rest or rest[0] == "revision":
            siblings = [
                {"rfilename": path} for path in sorted({*repository.files, *repository.large, ".gitattributes"})
            ]
            sha = repository.commits[-1] if repository.commits else "0" * 40
            return self.answer({"id": name, "private": repository.private, "sha": sha, "siblings": siblings})
        if rest[0] == "preupload":
            found = [
                {
                    "path": own["path"],
                    "uploadMode": "lfs" if own["path"].endswith(LARGE) else "regular",
                    "shouldIgnore": False,
                }
                for own in json.loads(body)["files"]
            ]
            return self.answer({"files": found})
        if rest[0] == "xet-write-token":
            return self.answer(
                {"casUrl": f"{hub.endpoint}/cas", "accessToken": "x", "exp": 4102444800},
                X_Xet_Cas_Url=f"{hub.endpoint}/cas", X_Xet_Access_Token="x", X_Xet_Token_Expiration="4102444800",
            )  # fmt: skip
        assert rest[0] == "commit", rest
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                repository.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            elif entry["key"] == "lfsFile":
                repository.large[entry["value"]["path"]] = entry["value"]["oid"]
        repository.commits.append(hashlib.sha1(body, usedforsecurity=False).hexdigest())
        return self.answer(
            {"commitUrl": f"{hub.endpoint}/{name}/commit/{repository.commits[-1]}", "commitOid": repository.commits[-1]}
        )

    def _cas(self, path: str, body: bytes) -> None:
        """Take whatever Xet's client stores, by the first form of its protocol; what it asks for is not there."""
        if self.command == "GET" or "/v2/" in path:
            return self.answer({"error": "not found"}, 404)
        self.state.xet += len(body)
        return self.answer({"was_inserted": True, "result": 1})
