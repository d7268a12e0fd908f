"""A model hub on the loopback: the routes that a download uses, and its faults."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" * 6 + "c0ff"
LARGE = (".safetensors", ".bin", ".ckpt")


@dataclass
class Hub:
    """One repository and what shall go wrong with it."""

    files: dict[str, bytes]
    repo: str = "someone/model"
    status: int = 200
    ranges: bool = True
    # What is sent instead of the file, and after how many bytes a body is cut, once each.
    instead: dict[str, bytes] = field(default_factory=dict)
    cuts: dict[str, list[int]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)
    endpoint: str = ""

    def description(self) -> dict[str, Any]:
        return {
            "id": self.repo,
            "sha": COMMIT,
            "siblings": [self._sibling(name, data) for name, data in self.files.items()],
        }

    def _sibling(self, name: str, data: bytes) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "rfilename": name,
            "size": self.sizes.get(name, len(data)),
            "blobId": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest(),  # noqa: S324
        }
        if name.endswith(LARGE):
            digest = hashlib.sha256(data).hexdigest()
            entry["lfs"] = {"sha256": digest, "size": len(data), "pointerSize": 134}
        return entry

    def fetched(self, name: str) -> list[str]:
        """The ranges that were asked for, one a request."""
        return [span for _, path, span in self.requests if path.endswith("/" + name)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> Hub:
        return cast("_Server", self.server).hub

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._serve(body=False)

    def do_GET(self) -> None:
        self._serve(body=True)

    def _serve(self, *, body: bool) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        hub.requests.append((self.command, path, self.headers.get("Range", "")))
        hub.agents.add(self.headers.get("User-Agent", ""))
        if hub.status != 200:
            code = {401: "GatedRepo", 404: "RepoNotFound"}.get(hub.status, "")
            return self._answer(hub.status, b"{}", {"X-Error-Code": code}, body=body)
        if path == f"/api/models/{hub.repo}/revision/main":
            return self._answer(200, json.dumps(hub.description()).encode(), {}, body=body)
        if path.startswith(f"/api/models/{hub.repo}/revision/"):
            return self._answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body=body)
        name = path.removeprefix(f"/{hub.repo}/resolve/{COMMIT}/")
        if name not in hub.files:
            return self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body=body)
        return self._file(name, body=body)

    def _file(self, name: str, *, body: bool) -> None:
        hub = self.hub
        data = hub.instead.get(name, hub.files[name])
        digest = hashlib.sha256(hub.files[name]).hexdigest()
        headers = {
            "ETag": f'"{digest}"',
            "X-Linked-Etag": f'"{digest}"',
            "X-Linked-Size": str(len(hub.files[name])),
            "X-Repo-Commit": COMMIT,
        }
        span = self.headers.get("Range")
        start, status = 0, 200
        if span and hub.ranges:
            start, status = int(span.removeprefix("bytes=").removesuffix("-")), 206
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        cut = hub.cuts[name].pop(0) if hub.cuts.get(name) else None
        self._answer(status, data[start:], headers, body=body, cut=cut)

    def _answer(
        self,
        status: int,
        data: bytes,
        headers: dict[str, str],
        *,
        body: bool,
        cut: int | None = None,
    ) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data if cut is None else data[:cut])
        if cut is not None:
            self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: Hub) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve the hub while the block runs; its address is `hub.endpoint`."""
    server = _Server(hub)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
