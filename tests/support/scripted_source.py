"""A source API for tests: a real HTTP server in a thread, whose answers a test decides one by one.

`Answer` is what usually comes; a function of the raw socket file takes over where the fault lies below HTTP.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Asked:
    """A request as it arrived; header names in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """`length` overrides Content-Length, so that a body can be cut."""

    body: bytes = b"{}"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None


Raw = Callable[[BufferedIOBase], None]
Script = Callable[[Asked], Answer | Raw]


class ScriptedSource:
    """`asked` lists every request so far; `script` may be replaced at any time."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[Asked] = []
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def connections(self) -> int:
        """How many connections it accepted so far."""
        return self._server.connections

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def scripted_source(script: Script) -> Iterator[ScriptedSource]:
    source = ScriptedSource(script)
    try:
        yield source
    finally:
        source.close()


def in_turn(*answers: Answer | Raw) -> Script:
    """Each answer once, the last one for ever."""
    waiting = list(answers)
    lock = threading.Lock()

    def script(_: Asked) -> Answer | Raw:
        with lock:
            return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    return script


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    connections = 0

    def get_request(self) -> Any:
        self.connections += 1
        return super().get_request()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up in the middle of an answer is what some tests are about."""


def _handler(source: ScriptedSource) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            asked = Asked(self.command, parts.path, query, headers, body)
            source.asked.append(asked)
            answer = source.script(asked)
            if not isinstance(answer, Answer):
                self.close_connection = True
                try:
                    answer(self.wfile)
                except OSError:
                    return
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
            self.end_headers()
            self.wfile.write(answer.body)
            if answer.length is not None:
                self.close_connection = True

        do_GET = do_POST = _serve  # noqa: N815 - http.server finds them by these names

        def log_message(self, format: str, *args: Any) -> None:
            """Tests read `asked` instead."""

    return Handler
