"""A Tryton server process: configuration, start on a free loopback port, readiness, end by pid."""

import http.client
import os
import secrets
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from erp.environment import script_of

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
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

    process: subprocess.Popen[bytes]
    url: str
    pid_file: Path

    def stop(self) -> None:
        """End it, with SIGKILL after a deadline. Idempotent."""
        _end(self.process)
        self.pid_file.unlink(missing_ok=True)


def write_config(directory: Path, database_uri: str, port: int) -> Path:
    """Write Tryton's configuration, readable by its owner alone (the URI may hold a password)."""
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "trytond.conf"
    config.touch(mode=0o600)
    config.chmod(0o600)
    config.write_text(CONFIG.format(uri=database_uri.replace("%", "%%"), files=directory / "files", port=port))
    (directory / "logging.conf").write_text(LOGGING)
    return config


def start_server(environment: Path, directory: Path, server_uri: str, database: str) -> ErpServer:
    """Start `trytond` on `database` and wait until it answers. Raises RuntimeError with the end of its log."""
    pid_file = directory / "trytond.pid"
    end_survivor(pid_file)
    port = free_port()
    config = write_config(directory, server_uri, port)
    command = [*script_of(environment, "trytond"), "-c", str(config), "-d", database]
    log = directory / "trytond.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--logconf", str(directory / "logging.conf")],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for whoever started us, who then calls stop()
        )
    pid_file.write_text(f"{process.pid} {psutil.Process(process.pid).create_time()}")
    server = ErpServer(process, f"http://127.0.0.1:{port}/{database}", pid_file)
    try:
        _wait_until_it_answers(process, port)
    except (RuntimeError, TimeoutError) as error:
        server.stop()
        raise RuntimeError(f"trytond on database {database}: {error}; its log ends:\n{_tail(log)}") from None
    return server


def end_survivor(pid_file: Path) -> None:
    """End a server that outlived a killed run: the same pid *and* the same start time, so never a stranger."""
    try:
        pid, created = pid_file.read_text().split()
        process = psutil.Process(int(pid))
        if process.create_time() != float(created):
            return
        process.terminate()
        process.wait(STOP_TIMEOUT_S)
    except (OSError, ValueError, psutil.NoSuchProcess):
        return
    except psutil.TimeoutExpired:
        process.kill()


def free_port() -> int:
    """A loopback port that nobody listens on, outside the ephemeral range."""
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


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"it ended with code {process.returncode}")
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


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_TIMEOUT_S)


def _tail(log: Path, size: int = 2000) -> str:
    with log.open("rb") as file:
        file.seek(max(0, os.path.getsize(log) - size))
        return file.read().decode(errors="replace")
