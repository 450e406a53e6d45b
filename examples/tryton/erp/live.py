"""Live edits as a process: Tryton's own client edits while the pipeline runs, and logs its committed changes."""

import subprocess
from pathlib import Path

from .environment import python_of
from .template import CLIENT

STOP_TIMEOUT_S = 20.0


class LiveEdits:
    """Edits under way (`sluice.testing.example.Live`)."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, errors: Path) -> None:
        self._process = process
        self._errors = errors
        self.pid: int | None = process.pid
        self.log = log

    def done(self) -> bool:
        return self._process.poll() is not None

    def wait(self, timeout_s: float) -> int:
        """The number of committed edits, once all are made. Raises RuntimeError or TimeoutError."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"the live edits did not end within {timeout_s:.0f} s; see {self.log}") from None
        if code:
            raise RuntimeError(f"the live edits ended with code {code}:\n{self._errors.read_text()[-2000:]}")
        return committed_edits(self.log)

    def stop(self) -> None:
        """Ask it to end after the edit in hand; kill it if it does not."""
        if self.done():
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_TIMEOUT_S)


def start_edits(environment: Path, variables: dict[str, str], log: Path, arguments: list[str]) -> LiveEdits:
    """Start `client/edits.py` inside Tryton's environment, with a new log."""
    log.unlink(missing_ok=True)
    log.touch()
    errors = log.with_suffix(".errors")
    command = [str(python_of(environment)), str(CLIENT / "edits.py"), "--log", str(log), *arguments]
    with errors.open("wb") as output:
        process = subprocess.Popen(command, env=variables, stdout=output, stderr=output, start_new_session=True)
    return LiveEdits(process, log, errors)


def committed_edits(log: Path) -> int:
    """Edits in a log: the lines of one request share its `sent_at`, which is the line's last number but one."""
    moments = {line.rpartition('"sent_at": ')[2] for line in log.read_text(encoding="utf-8").splitlines()}
    return len(moments)
