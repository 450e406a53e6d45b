"""A Tryton server process: configuration, start on a free loopback port, readiness, end."""

import http.client
import secrets
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from sluice.embedded import processes

from .environment import script_of

START_TIMEOUT_S = 600.0  # of a process that lives; a busy machine may need minutes
STOP_TIMEOUT_S = 10.0
END_SIGNALS = (signal.SIGTERM, signal.SIGKILL)
PORTS = range(20000, 29000)  # outside the ephemeral range: no client's port can be in the way later

CONFIG = """\
[database]
uri = {uri}
path = {files}

[web]
listen = 127.0.0.1:{port}

[session]
authentications = password
timeout = 86400
"""

LOGGING = """\
[formatters]
keys = line
[handlers]
keys = stderr
[loggers]
keys = root
[formatter_line]
format = %(asctime)s %(levelname)s %(name)s %(message)s
[handler_stderr]
class = StreamHandler
args = (sys.stderr,)
formatter = line
[logger_root]
level = WARNING
handlers = stderr
"""


@dataclass(frozen=True)
class ErpServer:
    """A running server: `url` ends in the database's name, as the API wants it."""

    process: psutil.Process
    url: str

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    def stop(self) -> None:
        """End it, with SIGKILL after a deadline. Idempotent."""
        processes.end(self.process, END_SIGNALS, STOP_TIMEOUT_S)
        processes.reap()


def write_config(directory: Path, database_uri: str, port: int) -> Path:
    """Write Tryton's configuration, readable by its owner alone (the URI may contain a password)."""
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "trytond.conf"
    config.touch(mode=0o600)
    config.chmod(0o600)
    config.write_text(CONFIG.format(uri=database_uri.replace("%", "%%"), files=directory / "files", port=port))
    (directory / "logging.conf").write_text(LOGGING)
    return config


def start_server(environment: Path, directory: Path, server_uri: str, database: str) -> ErpServer:
    """Start `trytond` on `database` and wait until it answers. It dies with us, even when we are killed.

    One that outlived an earlier run is ended first; it is known by its configuration file. Raises RuntimeError with the
    end of its log.
    """
    marker = str(directory.resolve() / "trytond.conf")
    if survivor := processes.find(marker):
        processes.end(survivor, END_SIGNALS, STOP_TIMEOUT_S)
    port = free_port()
    config = write_config(directory.resolve(), server_uri, port)
    log = directory / "trytond.log"
    log.unlink(missing_ok=True)
    argv = [
        *script_of(environment, "trytond"),
        "--logconf",
        str(directory / "logging.conf"),
        "-d",
        database,
        "-c",
        marker,
    ]
    command = processes.Command("tryton", argv, cwd=config.parent, log=log.resolve())
    server = ErpServer(processes.spawn(command, detach=False), f"http://127.0.0.1:{port}/{database}")
    try:
        _wait_until_it_answers(server.process, port)
    except (RuntimeError, TimeoutError) as error:
        server.stop()
        raise RuntimeError(f"trytond, {database}: {error}; its log ends:\n{processes.last_lines(log)}") from None
    return server


def free_port() -> int:
    """A loopback port on which no process listens, outside the ephemeral range."""
    start = secrets.randbelow(len(PORTS))
    for step in range(len(PORTS)):
        port = PORTS[(start + step) % len(PORTS)]
        with socket.socket() as candidate:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise RuntimeError(f"no free port between {PORTS.start} and {PORTS.stop} on 127.0.0.1")


def _wait_until_it_answers(process: psutil.Process, port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if not processes.is_alive(process):
            raise RuntimeError("it ended while it started")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/")
            connection.getresponse().read()
        except OSError:
            time.sleep(0.05)
        else:
            return
        finally:
            connection.close()
    raise TimeoutError(f"no answer after {START_TIMEOUT_S:.0f} s")
