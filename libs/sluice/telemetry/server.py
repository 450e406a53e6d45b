"""The HTTP server of each stage process: `/healthz`, `/readyz` and `/metrics`."""

from __future__ import annotations

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from sluice.errors import SettingsError
from sluice.telemetry.health import Health
from sluice.times import from_us


class TelemetryServer:
    """Serves `/healthz`, `/readyz` and `/metrics` on `host:port` until `close`. If `port` is 0, a free port is chosen.
    `run_file`: the file to which the server writes the pid, host and port."""

    def __init__(self, host: str, port: int, health: Health, run_file: Path) -> None:
        try:
            self._server = ThreadingHTTPServer((host, port), _handler(health))
        except OSError as error:
            why = f"cannot listen on {host}:{port} ({error.strerror})"
            raise SettingsError(f"SLUICE_TELEMETRY__HOST, SLUICE_TELEMETRY__PORT: {why}") from None
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="telemetry", daemon=True)
        self._thread.start()
        self._run_file = run_file
        run_file.parent.mkdir(parents=True, exist_ok=True)
        self._before, self._ours = _read(run_file), json.dumps({"pid": os.getpid(), "host": host, "port": self.port})
        _replace(run_file, self._ours)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        if _read(self._run_file) != self._ours:
            return  # a process that started later has written its address to the file
        if self._before is not None and _is_running(self._before):
            # This process was the second one of its stage and was refused, so restore the address of the first process,
            # which still runs.
            _replace(self._run_file, self._before)
        else:
            self._run_file.unlink(missing_ok=True)


def _read(run_file: Path) -> str | None:
    try:
        return run_file.read_text()
    except OSError:
        return None


def _replace(run_file: Path, text: str) -> None:
    partial = run_file.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(run_file)


def _is_running(content: str) -> bool:
    try:
        pid = int(json.loads(content)["pid"])
        os.kill(pid, 0)
    except (ValueError, KeyError, TypeError, OSError):
        return False
    return pid != os.getpid()  # in a container, an earlier process may have had the pid of this one


def _readiness(health: Health) -> tuple[int, dict[str, Any]]:
    active = health.active
    body = {
        "ready": not active,
        "faults": {about: one.why for about, one in active.items()},
        "since": {about: from_us(one.since_us).isoformat(timespec="seconds") for about, one in active.items()},
    }
    return 503 if active else 200, body


def _handler(health: Health) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            if self.path == "/healthz":
                self._answer(200 if health.alive else 503, {"alive": health.alive, "stalled_s": health.stalled_s})
            elif self.path == "/readyz":
                self._answer(*_readiness(health))
            elif self.path == "/metrics":
                self._send(200, CONTENT_TYPE_LATEST, generate_latest())
            else:
                self._answer(404, {"paths": ["/healthz", "/readyz", "/metrics"]})

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            self._send(status, "application/json", json.dumps(body).encode())

        def _send(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Overridden so that requests are not logged."""

    return Handler
