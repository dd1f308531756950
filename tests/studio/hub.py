"""A hub on this machine that speaks enough for the real client: files of one commit, ranges, redirects, and faults."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = 1_000
"""Bytes from which a file is stored apart, with its SHA-256 in the list."""


@dataclass
class Repository:
    """`files` by name; `commits` by the revisions that name them."""

    files: dict[str, bytes]
    commits: dict[str, str] = field(default_factory=lambda: {"main": COMMIT})
    token: str = ""
    gated: bool = False

    def siblings(self) -> list[dict[str, Any]]:
        return [_sibling(name, data) for name, data in self.files.items()]


@dataclass
class Hub:
    """What the server has, what it was asked, and what goes wrong.

    `cut` sends so many bytes of each answer and hangs up; `spoil` changes a byte of a file; `cdn` redirects to another
    server; `answer` gives every question this status.
    """

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict[str, Repository])
    requests: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list[Any])
    cut: int | None = None
    cuts: int = 0
    spoil: str = ""
    cdn: str = ""
    answer: int | None = None
    ranges: bool = True

    def asked(self, part: str) -> list[Mapping[str, str]]:
        """The headers of the requests whose path holds `part`."""
        return [headers for _, path, headers in self.requests if part in path]


def _sibling(name: str, data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {"rfilename": name, "size": len(data)}
    found["blobId"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    if len(data) >= LARGE:
        found["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return found


@contextmanager
def serving(hub: Hub) -> Generator[Hub]:
    """Serve `hub` on the loopback until the context ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            return

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            hub.requests.append((self.command, path, headers))
            if hub.answer is not None:
                self._send(hub.answer, b"{}", {})
            elif path.startswith("/api/models/"):
                self._list(path.removeprefix("/api/models/"), headers)
            else:
                self._file(path, headers)

        def do_HEAD(self) -> None:
            self.do_GET()

        def _list(self, path: str, headers: Mapping[str, str]) -> None:
            name, _, revision = path.partition("/revision/")
            repository = hub.repositories.get(name)
            if repository is None or (
                repository.token and headers.get("authorization") != f"Bearer {repository.token}"
            ):
                self._send(401, b"{}", {"X-Error-Code": "RepoNotFound"})
                return
            if repository.gated:
                self._send(403, b"{}", {"X-Error-Code": "GatedRepo"})
                return
            known = {**repository.commits, **{commit: commit for commit in repository.commits.values()}}
            commit = known.get(revision or "main")
            if commit is None:
                self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
                return
            document = {"id": name, "modelId": name, "sha": commit, "siblings": repository.siblings()}
            self._send(200, json.dumps(document).encode(), {"Content-Type": "application/json"})

        def _file(self, path: str, headers: Mapping[str, str]) -> None:
            name, _, rest = path.removeprefix("/").partition("/resolve/")
            commit, _, file = rest.partition("/")
            repository = hub.repositories.get(name)
            if repository is None or commit not in repository.commits.values() or file not in repository.files:
                self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
                return
            if hub.cdn:
                self._send(302, b"", {"Location": f"{hub.cdn}{self.path}"})
                return
            data = repository.files[file]
            if hub.spoil == file:
                data = bytes([data[0] ^ 1]) + data[1:]
            start = int(headers["range"].removeprefix("bytes=").split("-")[0]) if "range" in headers else 0
            if start and hub.ranges:
                extra = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
                self._send(206, data[start:], extra)
            else:
                self._send(200, data, {})

        def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            if hub.cut is not None and hub.cuts and len(body) > hub.cut:
                hub.cuts -= 1
                self.wfile.write(body[: hub.cut])
                self.close_connection = True
                return
            self.wfile.write(body)

    return Handler
