"""Each part of the Tryton cache is complete or missing: its environment, its template, its restored database."""

import importlib
from pathlib import Path
from typing import Any

import pytest

from sluice.embedded import Servers
from sluice.pipeline.authored import package_of
from support.tryton import EXAMPLE


def module(name: str) -> Any:
    """A module of the example, found as its driver finds it."""
    return importlib.import_module(f"{package_of(EXAMPLE)}.erp.{name}")


def test_an_environment_whose_installation_failed_is_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = module("environment")
    impossible = tmp_path / "requirements.txt"
    impossible.write_text(f"--no-index\nnothing-of-that-name==1 --hash=sha256:{'0' * 64}\n")
    monkeypatch.setattr(environment, "REQUIREMENTS", impossible)
    lines: list[str] = []
    for _ in range(2):
        with pytest.raises(RuntimeError, match="pip could not install"):
            environment.ensure_environment(tmp_path / "cache", lines.append)
    assert len(lines) == 2


def test_other_requirements_are_another_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = module("environment")
    before = environment.environment_key()
    other = tmp_path / "requirements.txt"
    other.write_bytes(environment.REQUIREMENTS.read_bytes() + b"\n")
    monkeypatch.setattr(environment, "REQUIREMENTS", other)
    assert environment.environment_key() != before


def test_a_database_that_could_not_be_restored_is_not_there(servers: Servers, tmp_path: Path) -> None:
    database = module("database")
    cut = tmp_path / "cut.dump"
    cut.write_bytes(b"PGDMP\x01\x10\x00")
    with pytest.raises(RuntimeError, match="pg_restore failed"):
        database.restore(servers.postgres.dsn(), "tryton_cut", cut)
    assert not database.exists(servers.postgres.dsn(), "tryton_cut")
    database.drop(servers.postgres.dsn(), "tryton_cut_restoring")


def test_an_error_of_a_tool_does_not_show_the_password(servers: Servers, tmp_path: Path) -> None:
    database = module("database")
    missing = tmp_path / "missing.dump"
    with pytest.raises(RuntimeError) as caught:
        database.restore(servers.postgres.dsn(), "tryton_none", missing)
    assert servers.postgres.dsn().split(":")[2].split("@")[0] not in str(caught.value)
    database.drop(servers.postgres.dsn(), "tryton_none_restoring")
