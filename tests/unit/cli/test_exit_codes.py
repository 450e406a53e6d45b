"""A command ends with a code that tells a program what to do next: 2 settings, 3 environment, 70 our bug."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from sluice.cli.main import LazyGroup
from sluice.errors import Bug, EnvironmentFault, Outdated, SettingsError, Transient


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("pipeline.yaml:3: no such source"), 2),
        (EnvironmentFault("topic raw.hr.workers", "does not exist", "run `sluice topics apply`"), 3),
        (Transient("no broker answers"), 3),
        (Outdated("version 4 is in force"), 3),
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
    told = result.stderr.splitlines()
    assert (told[0] == f"sluice: {error}" and len(told) == 1) == (code != 70), told
