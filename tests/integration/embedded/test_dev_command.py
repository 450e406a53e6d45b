"""`sluice dev`: servers that go on after the command, are found again, and end when told to."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from typer.testing import CliRunner, Result

from sluice.cli.main import app
from sluice.embedded import down, processes, status
from sluice.embedded.layout import Layout


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / ".sluice"
    down(tmp_path / ".sluice", lambda _line: None)
    Layout(tmp_path / ".sluice").delete()


def dev(tmp_path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["dev", *arguments, "--pipeline", str(tmp_path / "pipeline.yaml")])


def test_servers_go_on_from_up_to_down_and_reset_empties_all_of_them(tmp_path: Path, state_dir: Path) -> None:
    assert dev(tmp_path, "status").exit_code == 1
    assert dev(tmp_path, "env").exit_code == 3

    up = dev(tmp_path, "up")
    assert up.exit_code == 0, up.output
    told = json.loads(dev(tmp_path, "status", "--json").stdout)["servers"]
    assert {name for name, server in told.items() if server["running"] and server["detached"]} == {
        "kafka",
        "postgres",
        "registry",
    }

    script = f"{dev(tmp_path, 'env').stdout}\necho $SLUICE_REGISTRY__URL"
    url = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    assert httpx.get(f"{url}/subjects").json() == []

    groups = dev(tmp_path, "kafka-consumer-groups", "--group", "nobody", "--reset-offsets", "--all-topics", "--execute")
    assert groups.exit_code == 3, "a reset that says not where to"
    assert dev(tmp_path, "kafka-consumer-groups", "--list").exit_code == 0

    killed = psutil.Process(told["registry"]["pid"])
    processes.end(killed, [9], 5.0)
    assert dev(tmp_path, "status").exit_code == 1
    assert dev(tmp_path, "up").exit_code == 0
    now = {server.name: server.pid for server in status(state_dir)}
    assert (now["kafka"], now["postgres"]) == (told["kafka"]["pid"], told["postgres"]["pid"])
    assert now["registry"] not in (None, killed.pid)

    assert dev(tmp_path, "down").exit_code == 0
    assert [server.pid for server in status(state_dir)] == [None, None, None]
    assert dev(tmp_path, "reset", "--yes").exit_code == 0
    assert [path.name for path in (state_dir / "servers").iterdir()] == ["lock"]
