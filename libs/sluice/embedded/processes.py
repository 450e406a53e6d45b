"""Server processes: started, recognised, ended.

A server is recognised by a marker among its arguments (its name and the directory of its data), read from the process
table. So there is no pid file that could be stale, and a pid that now belongs to something else is never touched.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from sluice.embedded.patience import STALLED_S, Patience, signs
from sluice.errors import EnvironmentFault

LAUNCHED_WITHIN_S = 300.0  # a small program: only a machine without a processor to spare takes long
KILLED_WITHIN_S = 60.0

# PR_SET_PDEATHSIG fires when the *thread* that forked ends, not the process. So one thread, which lives as long as the
# process, starts every server; the threads that wait for them may come and go.
_starter = ThreadPoolExecutor(1, thread_name_prefix="sluice-server-starter")


@dataclass(frozen=True)
class Owner:
    """The operating system's user that runs a server; None of it set means ourselves."""

    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True)
class Command:
    """How one server is run; `death_signal` is sent when its parent dies."""

    name: str
    argv: Sequence[str]
    cwd: Path
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    owner: Owner = field(default_factory=Owner)
    death_signal: int = signal.SIGKILL
    idle: bool = False
    delay_s: float = 0.0


def find(marker: str) -> psutil.Process | None:
    """The running process that has an argument ending with `marker`, or None."""
    having = (p for p in psutil.process_iter() if any(argument.endswith(marker) for argument in arguments(p)))
    return next((p for p in having if is_alive(p)), None)


def arguments(process: psutil.Process) -> list[str]:
    """Its command line; empty when it is gone or not ours to look at."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def spawn(command: Command, *, detach: bool) -> psutil.Process:
    """Start the server in a session of its own. Detached, it outlives this process; else it dies with it, at once."""
    launched = _launch(command, detach=detach)
    if not detach:
        _children.append(launched)
        return _recognisable(psutil.Process(launched.pid))
    told, _ = launched.communicate(timeout=LAUNCHED_WITHIN_S)
    try:
        return psutil.Process(int(told))
    except (ValueError, psutil.NoSuchProcess):
        raise died(command.name, command.log) from None


def _recognisable(process: psutil.Process) -> psutil.Process:
    """The process once `find` can see it: within exec, for an instant, its command line is empty."""
    give_up = time.monotonic() + LAUNCHED_WITHIN_S
    while not arguments(process) and is_alive(process) and time.monotonic() < give_up:
        time.sleep(0.001)
    return process


def run(command: Command, stalled_s: float = STALLED_S) -> None:
    """Run a program to its end; killed with this process, it does not go on behind the next one's back.

    Raises EnvironmentFault with the end of its log when it fails or stands still.
    """
    launched = _launch(command, detach=False)
    try:
        code = _watched(launched, command.log, stalled_s)
    except BaseException:
        launched.kill()
        launched.wait()
        raise
    if code != 0:
        launched.kill()
        launched.wait()
        raise died(command.name, command.log)


def _watched(launched: subprocess.Popen[bytes], log: Path, stalled_s: float) -> int:
    """Its exit code; that of a killed one when there is nothing more to wait for."""
    patience, process = Patience(time.monotonic(), stalled_s), psutil.Process(launched.pid)
    while True:
        try:
            return launched.wait(min(1.0, stalled_s))
        except subprocess.TimeoutExpired:
            if patience.spent(time.monotonic(), signs(process, log)):
                return -signal.SIGKILL


def _launch(command: Command, *, detach: bool) -> subprocess.Popen[bytes]:
    how = {
        "parent": 0 if detach else os.getpid(),
        "death_signal": int(command.death_signal),
        "uid": command.owner.uid,
        "gid": command.owner.gid,
        "log": str(command.log),
        "idle": command.idle,
        "delay_s": command.delay_s,
    }
    argv = [sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py")), json.dumps(how), *command.argv]
    options = {"stdout": subprocess.PIPE if detach else subprocess.DEVNULL, "cwd": command.cwd, "env": _env(command)}
    return _starter.submit(_popen, argv, options).result(timeout=LAUNCHED_WITHIN_S)


def _popen(argv: Sequence[str], options: dict[str, Any]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, **options
    )


def _env(command: Command) -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8", **command.env}


_children: list[subprocess.Popen[bytes]] = []
_reaping = threading.Lock()


def died(name: str, log: Path) -> EnvironmentFault:
    """The error for a server that ended while it started: the end of its log says why."""
    return EnvironmentFault(
        f"starting {name}",
        f"it ended before it was done; the last lines of {log} are:\n{last_lines(log)}\n",
        "mend what they name; if the data is damaged, `sluice dev reset` deletes it",
    )


def rotate(log: Path, bytes_max: int = 8 * 2**20) -> None:
    """Set a long log aside, keeping one older one."""
    if log.exists() and log.stat().st_size > bytes_max:
        log.replace(log.with_suffix(".log.1"))


def last_lines(log: Path, lines: int = 8, bytes_max: int = 8192) -> str:
    """The end of a log, indented, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - bytes_max))
            text = file.read().decode(errors="replace")
    except OSError:
        return "    (no log)"
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])


def is_alive(process: psutil.Process) -> bool:
    """Running and not a zombie. psutil compares creation times, so a reused pid counts as dead."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def end(process: psutil.Process, signals: Sequence[int], deadline_s: float) -> None:
    """Send the signals one after the other until the process is gone.

    Each but the first and the last gets two seconds, the first what is left of the deadline. After the last there is
    nothing more to do than to wait: a process that the kernel holds, because the disk is busy, goes when that lets go.
    """
    first_s = max(1.0, deadline_s - 2.0 * (len(signals) - 1))
    for index, number in enumerate(signals):
        is_last = index == len(signals) - 1
        patience_s = max(first_s, KILLED_WITHIN_S) if is_last else first_s if index == 0 else 2.0
        try:
            process.send_signal(number)
            _wait(process, patience_s)
        except psutil.NoSuchProcess:
            pass
        if not is_alive(process):
            return
    raise EnvironmentFault(
        f"ending process {process.pid}",
        f"it is still there after {signal.Signals(signals[-1]).name}",
        f"look at it: ps -p {process.pid}",
    )


def _wait(process: psutil.Process, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        reap()
        # A child looks like a zombie as soon as its first thread has ended; it is gone once it could be reaped.
        if not is_alive(process) and all(child.pid != process.pid for child in _children):
            return
        time.sleep(0.02)


def reap() -> None:
    """Take the exit status of our own servers that ended, so that they do not stay as zombies."""
    with _reaping:  # servers are ended side by side, each by a thread that reaps
        for child in list(_children):
            if child.poll() is not None:
                _children.remove(child)
