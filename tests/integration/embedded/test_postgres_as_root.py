"""Root cannot run Postgres itself: another user does, who may reach neither root's home nor the wheel in it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from sluice.embedded import Servers, postgres
from sluice.embedded.layout import Layout
from sluice.embedded.running import reset

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another user")


@pytest.fixture
def open_dir() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="sluice-copies-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def test_with_everything_below_a_private_home_postgres_still_runs(
    tmp_path: Path, open_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr(postgres, "COPIES", open_dir / "copies")
    monkeypatch.setattr(postgres, "reachable_by_all", lambda _path: False)  # as if the wheel lay below root's home
    with Servers.start(tmp_path, [postgres.Postgres], durable=False) as servers:
        (process,) = [psutil.Process(pid) for pid in servers.pids.values()]
        assert process.uids().effective != 0
        assert process.exe().startswith(str(open_dir))
        with psycopg.connect(servers.postgres.dsn()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    elsewhere = Layout(tmp_path).home_for_other_user("postgres")
    assert elsewhere.exists()
    assert not elsewhere.is_relative_to(tmp_path)

    shutil.rmtree(tmp_path / "servers")
    with Servers.start(tmp_path, [postgres.Postgres], durable=False) as afresh:
        afresh.postgres.create_database("again")
    reset(tmp_path, lambda _line: None)
    assert not elsewhere.exists()
