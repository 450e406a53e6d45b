"""`sluice dev`: servers that continue to run after the command, are found again, and end on request."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psutil
import psycopg
import pytest
from typer.testing import CliRunner, Result

from sluice.cli.main import app
from sluice.embedded import processes
from sluice.embedded.running import status
from sluice.embedded.state_lock import stages_locked
from support.one_entity import write_pipeline
from support.pace import within
from support.waiting import eventually


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    """The state directory of servers that may still run after the test. They are ended, whatever ended the test."""
    with clearing(tmp_path / ".sluice") as path:
        yield path


@contextmanager
def clearing(path: Path) -> Iterator[Path]:
    """A second process stops the servers, because detached servers also outlive a test that is killed. The kernel
    closes the input of the second process when the test's process has ended."""
    command = [sys.executable, "-c", CLEARING, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as cleaner:
        yield path
        assert cleaner.stdin is not None
        cleaner.stdin.close()
        assert cleaner.wait(within(120)) == 0


CLEARING = """
import sys
from pathlib import Path
from sluice.embedded.running import down
from sluice.embedded.layout import Layout
sys.stdin.read()
if Path(sys.argv[1]).exists():
    down(Path(sys.argv[1]), print)
    Layout(Path(sys.argv[1])).delete()
"""


def dev(tmp_path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["dev", *arguments, "--pipeline", str(tmp_path / "pipeline.yaml")])


def test_servers_go_on_from_up_to_down_and_reset_empties_all_of_them(tmp_path: Path, state_dir: Path) -> None:
    assert dev(tmp_path, "status").exit_code == 1
    assert dev(tmp_path, "env").exit_code == 3

    up = dev(tmp_path, "up")
    assert up.exit_code == 0, up.output
    running = json.loads(dev(tmp_path, "status", "--json").stdout)["servers"]
    assert {name for name, server in running.items() if server["running"] and server["detached"]} == {
        "kafka",
        "postgres",
        "registry",
    }

    assert f"postgres  127.0.0.1:{running['postgres']['port']}" in up.stdout
    assert "there is no" in dev(tmp_path, "env").stderr
    write_pipeline(tmp_path, "mine", ["person"])
    of_pipeline = dev(tmp_path, "env", "--json")
    variables = json.loads(of_pipeline.stdout)
    assert variables["SLUICE_PIPELINE"] == str(tmp_path / "pipeline.yaml")
    with psycopg.connect(variables["ONE_ENTITY_SINK_DSN"]) as connection:
        assert connection.info.dbname == "mine_warehouse"
    assert "refers to them: ERP_DSN" in of_pipeline.stderr

    script = f"{dev(tmp_path, 'env').stdout}\necho $SLUICE_REGISTRY__URL"
    url = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    assert httpx2.get(f"{url}/subjects").json() == []

    groups = dev(tmp_path, "kafka-consumer-groups", "--group", "unused", "--reset-offsets", "--all-topics", "--execute")
    assert groups.exit_code == 3, "a reset that says not where to"
    assert dev(tmp_path, "kafka-consumer-groups", "--list").exit_code == 0

    killed = psutil.Process(running["registry"]["pid"])
    processes.end(killed, [9], 5.0)
    assert dev(tmp_path, "status").exit_code == 1
    assert dev(tmp_path, "up").exit_code == 0
    now = {server.name: server.pid for server in status(state_dir)}
    assert (now["kafka"], now["postgres"]) == (running["kafka"]["pid"], running["postgres"]["pid"])
    assert now["registry"] not in (None, killed.pid)

    assert "stopped kafka, postgres, registry; the data is kept" in dev(tmp_path, "down").stdout
    assert "no server was running" in dev(tmp_path, "down").stdout
    assert [server.pid for server in status(state_dir)] == [None, None, None]
    with stages_locked(state_dir, ["mapper"]):  # an `up` without servers of its own
        assert dev(tmp_path, "reset", "--yes").exit_code == 3
    reset = dev(tmp_path, "reset", "--yes")
    assert reset.exit_code == 0
    printed_slot = (
        "WHERE slot_name = 'sluice_mine_mine_erp' AND NOT active; DROP PUBLICATION IF EXISTS sluice_mine_mine_erp;"
    )
    assert printed_slot in reset.stdout
    assert [path.name for path in (state_dir / "servers").iterdir()] == ["lock"]


KILLED = """
import os, sys
from pathlib import Path
from sluice.embedded import Servers
from sluice.embedded.postgres import Postgres
sys.path[:0] = sys.argv[2:]
from test_dev_command import clearing
with clearing(Path(sys.argv[1])) as path:
    Servers.start(path, [Postgres], detach=True, durable=False)
    print("up", flush=True)
    os.kill(os.getpid(), 9)
"""


def test_servers_of_a_test_that_is_killed_half_way_do_not_outlive_it(tmp_path: Path) -> None:
    here = [str(Path(__file__).parent), *(part for part in sys.path if part)]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "state"), *here], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("up\n", -signal.SIGKILL), done.stderr
    eventually(lambda: not any(server.pid for server in status(tmp_path / "state")), "the server to be gone")
