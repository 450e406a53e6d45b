"""The page and the command line explain every exit code in the same words."""

from __future__ import annotations

from typer.testing import CliRunner

from sluice.cli.main import app
from sluice.errors import ExitCode
from support.repository import ROOT


def test_every_exit_code_is_text_in_the_page_and_by_help() -> None:
    page = (ROOT / "docs" / "reference" / "exit-codes.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ") and line[2].isdigit()]
    assert rows == [f"| {int(code)} | {code.meaning} |" for code in ExitCode]
    text = " ".join(CliRunner().invoke(app, ["--help"]).stdout.split()).replace("│", "")
    assert [code.name for code in ExitCode if code.meaning not in text] == []
