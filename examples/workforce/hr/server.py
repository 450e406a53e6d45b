"""The HR system of the workforce example as a process: `python -m examples.workforce.hr.server --port 8700`.

The client secret comes from HR_CLIENT_SECRET, the client id from HR_CLIENT_ID. `--help` lists the rest.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from threading import Thread

from ..departments import stop_with_parent
from .api import Api, Request
from .directory import Directory
from .editor import Editor
from .gate import RateLimit, Tokens

BODY_BYTES_MAX = 1 << 20


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with keep-alive around `Api.answer`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    api: Api

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > BODY_BYTES_MAX:
            self.close_connection = True
            self.send_error(413)
            return
        loopback = ipaddress.ip_address(self.client_address[0]).is_loopback
        request = Request(self.command, self.path, dict(self.headers.items()), self.rfile.read(length), loopback)
        response = self.api.answer(request)
        self.send_response(response.status)
        for name, value in response.headers:
            self.send_header(name, value)
        declared = response.declared_length
        self.send_header("Content-Length", str(len(response.body) if declared is None else declared))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)
        if declared is not None:
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def log_message(self, format: str, *args: object) -> None:
        """Silent: request lines contain cursors and times, and no one reads them."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The HR API of the workforce example.")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--base-url", help="what links begin with, where others reach it by another name")
    parser.add_argument("--port-file", type=Path, help="the port is written here once the server listens")
    parser.add_argument("--database", default=":memory:", help="a SQLite file, so that edits survive a restart")
    parser.add_argument("--workers", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--edits-per-second", type=float, default=5.0, help="0: nothing changes by itself")
    parser.add_argument("--requests-per-second", type=float, default=40.0, help="rate limit of /workers; 0: none")
    parser.add_argument("--burst", type=int, default=40, help="requests that may come at once")
    parser.add_argument("--error-rate", type=float, default=0.002, help="share of /workers answers that are a 500")
    parser.add_argument("--token-lifetime-s", type=float, default=120.0)
    parser.add_argument("--parent", type=int, help="end when this process, which started us, is gone")
    return parser.parse_args()


def main() -> int:
    """Serves until SIGTERM or SIGINT."""
    args = arguments()
    directory = Directory(args.database)
    directory.fill(args.workers, args.seed)
    editor = Editor(directory, args.seed, args.edits_per_second)
    client = os.environ.get("HR_CLIENT_ID", "sluice"), os.environ.get("HR_CLIENT_SECRET", "workforce")
    tokens = Tokens(*client, args.token_lifetime_s)
    limit = RateLimit(args.requests_per_second, args.burst)
    Handler.api = Api(directory, editor, tokens, limit, Random(f"{args.seed}/chaos"))
    Handler.api.error_rate = args.error_rate
    with Server((args.host, args.port), Handler) as server:
        Handler.api.base_url = args.base_url or f"http://{args.host}:{server.server_port}"
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: Thread(target=server.shutdown).start())
        stop_with_parent(args.parent, server.shutdown)
        editor.start()
        _announce(args.port_file, server.server_port)
        server.serve_forever(poll_interval=0.2)
    editor.close()
    directory.close()
    return 0


def _announce(port_file: Path | None, port: int) -> None:
    if port_file is None:
        sys.stderr.write(f"HR API on http://127.0.0.1:{port}\n")
        return
    unfinished = port_file.with_suffix(".new")
    unfinished.write_text(f"{port}\n", "utf-8")
    unfinished.replace(port_file)


if __name__ == "__main__":
    sys.exit(main())
