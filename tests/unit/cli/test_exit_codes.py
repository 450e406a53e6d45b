"""A command ends with a code that shows a program what to do next: 2 settings, 3 environment, 70 a bug of Sluice."""

from __future__ import annotations

import errno
from importlib.metadata import version
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from sluice.cli.main import LazyGroup
from sluice.cli.main import app as sluice
from sluice.errors import Bug, EnvironmentFault, Outdated, SettingsError, Transient


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("pipeline.yaml:3: no such source"), 2),
        (EnvironmentFault("topic raw.hr.workers", "does not exist", "run `sluice topics apply`"), 3),
        (Transient("no broker answers"), 3),
        (Outdated("version 4 is in force"), 3),
        (OSError(errno.ENOSPC, "No space left on device"), 3),
        (OSError(errno.EBADF, "Bad file descriptor"), 70),
        (Bug("a promise is broken"), 70),
        (KeyError("name"), 70),
    ],
    ids=lambda given: type(given).__name__ if isinstance(given, Exception) else str(given),
)
def test_an_error_ends_a_command_with_the_code_of_its_policy(error: Exception, code: int) -> None:
    app = typer.Typer(cls=LazyGroup)

    @app.command()
    def fail() -> None:
        raise error

    @app.callback()
    def root() -> None:
        """Makes a group of one command."""

    result = CliRunner().invoke(app, ["fail"])
    assert result.exit_code == code
    if code == 70:
        assert "in fail" in result.stderr
        assert (str(error) in result.stderr) == isinstance(error, Bug)
    lines = result.stderr.splitlines()
    if isinstance(error, OSError):
        assert ("No space left on device" in lines[0]) == (code == 3)
    else:
        assert (lines[0] == f"sluice: {error}" and len(lines) == 1) == (code != 70), lines


def test_an_argument_that_is_no_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["sluice", "explain", "item", "\udcff"])
    result = CliRunner().invoke(sluice, ["explain", "item", "\udcff"])
    assert result.exit_code == 2
    assert result.stderr == "sluice: argument 3 is not UTF-8: '\\udcff'\n"


def test_a_bug_of_a_stage_is_reported_without_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def main() -> int:
        raise ValueError("invalid literal: 'Lovelace'")

    found = [SimpleNamespace(load=lambda: main)]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: found)
    result = CliRunner().invoke(sluice, ["run", "mapper"])
    assert result.exit_code == 70
    assert "ValueError" in result.output
    assert "Lovelace" not in result.output


def test_the_version_is_printed() -> None:
    done = CliRunner().invoke(sluice, ["--version"])
    assert (done.exit_code, done.stdout) == (0, f"sluice {version('sluice')}\n")
