"""Starts, finds and ends server processes.

A server is found in the process table by an argument that contains its name and its state directory. So there is no pid
file that could be outdated, and no other program that now has the same pid is ended.
"""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from sluice.embedded.stall import STALLED_S, StallDetector, activity_of
from sluice.errors import EnvironmentFault

LAUNCHED_WITHIN_S = 300.0  # the start script is small: it takes long only on an overloaded machine
KILLED_WITHIN_S = 60.0
TAIL_BYTES = 8_192

# The kernel sends the signal of PR_SET_PDEATHSIG when the *thread* that forked ends, not its process. So one thread
# starts every server, and it lives as long as this process. The threads that wait for servers may end.
_starter = ThreadPoolExecutor(1, thread_name_prefix="sluice-server-starter")


@dataclass(frozen=True)
class Command:
    """The command line and environment of a server or program to run.

    `owner`: the user that runs it; None means the current user. `death_signal`: the signal that it gets when the
    process that started it dies. `idle`: run it at the lowest priority. `delay_s`: wait this long before it starts.
    """

    name: str
    argv: Sequence[str]
    cwd: Path
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    owner: pwd.struct_passwd | None = None
    death_signal: int = signal.SIGKILL
    idle: bool = False
    delay_s: float = 0.0


def find(marker: str) -> psutil.Process | None:
    """The running process that has an argument ending with `marker`, or None."""
    found = (p for p in psutil.process_iter() if any(argument.endswith(marker) for argument in arguments(p)))
    return next((p for p in found if is_alive(p)), None)


def arguments(process: psutil.Process) -> list[str]:
    """The command line of a process; empty if the process has ended or belongs to another user."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def spawn(command: Command, *, detach: bool) -> psutil.Process:
    """Start a server in a session of its own. With `detach`, the server outlives this process; else it ends with this
    process."""
    launched = _launch(command, detach=detach)
    if not detach:
        _children.append(launched)
        return _findable(psutil.Process(launched.pid))
    pid, _ = launched.communicate(timeout=LAUNCHED_WITHIN_S)
    try:
        return psutil.Process(int(pid))
    except (ValueError, psutil.NoSuchProcess):
        raise died(command.name, command.log) from None


def _findable(process: psutil.Process) -> psutil.Process:
    """Wait until `find` can find a process that was just started: during exec its command line is empty for an
    instant."""
    give_up = time.monotonic() + LAUNCHED_WITHIN_S
    while not arguments(process) and is_alive(process) and time.monotonic() < give_up:
        time.sleep(0.001)
    return process


def run(command: Command, stalled_s: float = STALLED_S) -> None:
    """Run a program and wait for its end. If this process ends, the program ends, too.

    Raises EnvironmentFault with the last lines of the program's log, if the program fails or makes no progress for
    `stalled_s`.
    """
    launched = _launch(command, detach=False)
    try:
        code = _watched(launched, command.log, stalled_s)
    finally:
        launched.kill()
        launched.wait()
    if code != 0:
        raise died(command.name, command.log)


def _watched(launched: subprocess.Popen[bytes], log: Path, stalled_s: float) -> int:
    """Wait for the exit code of a program. If the program makes no progress, return the code of a killed process."""
    detector, process = StallDetector(time.monotonic(), stalled_s), psutil.Process(launched.pid)
    while True:
        try:
            return launched.wait(min(1.0, stalled_s))
        except subprocess.TimeoutExpired:
            if detector.reason_to_give_up(time.monotonic(), activity_of(process, log)):
                return -signal.SIGKILL


def _launch(command: Command, *, detach: bool) -> subprocess.Popen[bytes]:
    options = {
        "parent": 0 if detach else os.getpid(),
        "death_signal": int(command.death_signal),
        "uid": command.owner and command.owner.pw_uid,
        "gid": command.owner and command.owner.pw_gid,
        "log": str(command.log),
        "idle": command.idle,
        "delay_s": command.delay_s,
    }
    argv = [sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py")), json.dumps(options), *command.argv]
    launched: Future[subprocess.Popen[bytes]] = _starter.submit(
        subprocess.Popen,
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if detach else subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=command.cwd,
        env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8", **command.env},
        start_new_session=True,
    )
    return launched.result(timeout=LAUNCHED_WITHIN_S)


_children: list[subprocess.Popen[bytes]] = []
_reaping = threading.Lock()


def died(name: str, log: Path) -> EnvironmentFault:
    """The error for a server that ended before it was ready. Its text contains the last lines of the server's log."""
    return EnvironmentFault(
        f"starting {name}",
        f"it ended before it was done; the last lines of {log} are:\n{last_lines(log)}\n",
        "fix the cause that they name; if the data is damaged, `sluice dev reset` deletes it",
    )


def rotate(log: Path, bytes_max: int = 8 * 2**20) -> None:
    """If a log file is longer than `bytes_max`, rename it, so that a new one is started. Only one older log file is
    kept."""
    if log.exists() and log.stat().st_size > bytes_max:
        log.replace(log.with_suffix(".log.1"))


def tail(log: Path, start: int = 0) -> list[str]:
    """The lines at the end of a log, none before the byte `start`. After a rotation, the log starts at 0 again."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start if start <= size else 0, size - TAIL_BYTES))
            return file.read().decode(errors="replace").splitlines()
    except OSError:
        return []


def last_lines(log: Path, lines: int = 8) -> str:
    """The end of a log, indented, for an error message."""
    return "\n".join(f"    {line}" for line in tail(log)[-lines:]) or "    (no log)"


def is_alive(process: psutil.Process) -> bool:
    """Whether a process runs and is no zombie. psutil compares creation times, so another process with the same pid
    does not count."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def pss_mib(pid: int, *, alone: bool = False) -> float | None:
    """The memory of a process and its children in MiB, or with `alone` that of the process only. It is the proportional
    set size: a page that several processes share is divided among them.

    None if the process has ended, or if the operating system does not show its memory.
    """
    try:
        process = psutil.Process(pid)
        family = [process] if alone else [process, *process.children(recursive=True)]
        return round(sum(member.memory_full_info().pss for member in family) / 2**20, 1)
    except (psutil.Error, AttributeError):
        return None


def end(process: psutil.Process, signals: Sequence[int], deadline_s: float) -> None:
    """Send `signals` to a process, one after the other, until it has ended. Raises EnvironmentFault if it still runs
    after the last one.

    After the first signal it waits for `deadline_s` minus two seconds for each later signal. After the last signal it
    waits at least `KILLED_WITHIN_S`, because a killed process ends late if the kernel waits for a busy disk.
    """
    later_s = [2.0] * (len(signals) - 1)
    first_s = max(1.0, deadline_s - sum(later_s))
    waits_s = [first_s, *later_s]
    waits_s[-1] = max(first_s, KILLED_WITHIN_S)
    for number, wait_s in zip(signals, waits_s, strict=True):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
            _wait(process, wait_s)
        if not is_alive(process):
            return
    raise EnvironmentFault(
        f"ending process {process.pid}",
        f"it still runs after {signal.Signals(signals[-1]).name}",
        f"see what it does: ps -p {process.pid}",
    )


def _wait(process: psutil.Process, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        reap()
        # A child process looks like a zombie when its first thread has ended. The process itself has ended only when
        # `reap` has collected its exit status.
        if not is_alive(process) and all(child.pid != process.pid for child in list(_children)):
            return
        time.sleep(0.02)


def reap() -> None:
    """Collect the exit status of child processes that have ended, so that none stays a zombie."""
    with _reaping:  # several threads end servers at the same time, and each calls this
        for child in list(_children):
            if child.poll() is not None:
                _children.remove(child)
