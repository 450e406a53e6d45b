"""One owner of a state directory at a time."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sluice.embedded.state_lock import Kind, StateLock
from sluice.errors import EnvironmentFault
from support.pace import within

HOLDER = """
import sys, time
from pathlib import Path
from sluice.embedded.state_lock import StateLock
lock = StateLock(Path(sys.argv[1]))
lock.acquire("session", print)
lock.keep(share=False)
print("locked", flush=True)
time.sleep(300)  # until the test ends it
"""


def silent(_line: str) -> None: ...


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


@pytest.mark.parametrize("second", ["session", "command"])
def test_a_session_s_lock_refuses_all_others_at_once(path: Path, second: Kind) -> None:
    lock = StateLock(path)
    lock.acquire("session", silent)
    lock.keep(share=False)
    with pytest.raises(EnvironmentFault, match=r"is using its servers.*another --state-dir"):
        StateLock(path).acquire(second, silent)
    lock.release()
    lock.acquire(second, silent)
    lock.release()


@pytest.mark.parametrize("kind", ["session", "command"])
def test_a_process_that_comes_while_servers_start_waits(path: Path, kind: Kind) -> None:
    first, second, waiting = StateLock(path), StateLock(path), threading.Event()
    first.acquire(kind, silent)
    thread = threading.Thread(target=second.acquire, args=("command", lambda _line: waiting.set()))
    thread.start()
    assert waiting.wait(within(30))
    first.release()
    thread.join(within(30))
    assert not thread.is_alive()
    second.release()


def test_waiting_for_a_command_has_a_deadline(path: Path) -> None:
    holder = StateLock(path)
    holder.acquire("command", silent)
    with pytest.raises(EnvironmentFault, match="is using its servers"):
        StateLock(path).acquire("command", silent, timeout_s=0.2)
    holder.release()


def test_a_killed_holder_leaves_no_lock(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(EnvironmentFault, match=f"process {holder.pid}"):
            StateLock(path).acquire("session", silent)
        holder.kill()
    lock = StateLock(path)
    lock.acquire("session", silent)
    lock.release()


def test_sessions_share_servers_that_none_of_them_started(path: Path) -> None:
    first, second, command = StateLock(path), StateLock(path), StateLock(path)
    first.acquire("session", silent)
    first.keep(share=True)
    second.acquire("session", silent)
    assert second.is_shared
    with pytest.raises(EnvironmentFault, match="is using its servers"):
        second.refuse_shared()
    first.release()
    with pytest.raises(EnvironmentFault, match="is using its servers"):
        command.acquire("command", silent)
    second.release()
    command.acquire("command", silent)
    command.release()
