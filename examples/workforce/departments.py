"""The example's processes, started and ended: the HR server and the live edits."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

START_TIMEOUT_S = 600.0  # of a process that lives; a busy machine may need minutes
STOP_TIMEOUT_S = 10.0
_HERE = Path(__file__).resolve().parent


def start_hr(directory: Path, client_secret: str, arguments: Sequence[str] = ()) -> tuple[subprocess.Popen[bytes], str]:
    """Starts the HR server with its store in `directory`; the process and its URL, once it answers.

    Raises RuntimeError with the end of its log.
    """
    directory = directory.resolve()
    port_file, log = directory / "hr.port", directory / "hr.log"
    port_file.unlink(missing_ok=True)
    own = ["--port-file", str(port_file), "--database", str(directory / "hr.sqlite")]
    process = _python("hr.server", [*own, *arguments], {"HR_CLIENT_SECRET": client_secret}, log)
    deadline = time.monotonic() + START_TIMEOUT_S
    while not port_file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            end(process)
            raise RuntimeError(f"the HR server did not start; {log} ends:\n{log.read_text()[-2000:]}")
        time.sleep(0.02)
    return process, f"http://127.0.0.1:{port_file.read_text().strip()}"


class LiveEdits:
    """Edits under way in a process of their own (`sluice.testing.example.Live`)."""

    def __init__(self, variables: Mapping[str, str], log: Path, arguments: Sequence[str]) -> None:
        log = log.resolve()
        log.unlink(missing_ok=True)
        log.touch()
        self.log = log
        self._output = log.with_suffix(".output")
        self._process = _python("live", ["--log", str(log), *arguments], variables, self._output)
        self.pid: int | None = self._process.pid

    def done(self) -> bool:
        return self._process.poll() is not None

    def wait(self, timeout_s: float) -> int:
        """The number of edits, once all are made. Raises RuntimeError or TimeoutError."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"the live edits did not end within {timeout_s:.0f} s") from None
        said = self._output.read_text()
        if code:
            raise RuntimeError(f"the live edits ended with code {code}:\n{said[-2000:]}")
        return int(said.split()[-1])

    def stop(self) -> None:
        """Asks it to end after the edit in hand; kills it if it does not."""
        end(self._process)


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL after a deadline. Idempotent."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_TIMEOUT_S)


def stop_with_parent(parent: int | None, stop: Callable[[], None]) -> None:
    """Calls `stop` soon after `parent` has died: a killed demo must not leave its sources running."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        stop()

    if parent is not None:
        threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def _python(module: str, arguments: Sequence[str], variables: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Starts a module of this folder as a process, from the folder above, so that its relative imports work."""
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", f"{_HERE.name}.{module}", *arguments, "--parent", str(os.getpid())],
            cwd=_HERE.parent,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C goes to the parent, which then ends this
        )
