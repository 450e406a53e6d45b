"""The reference of variables says what the settings classes do, and nothing else."""

from __future__ import annotations

import orjson
from typer.testing import CliRunner

from sluice.cli.main import app
from sluice.cli.settings import settings_by_stage
from support.variables_page import PAGE, page


def test_the_page_is_written_from_the_code() -> None:
    assert PAGE.read_text() == page(), "write it again: PYTHONPATH=tests python -m support.variables_page"


def test_every_variable_says_what_it_does() -> None:
    found = [one for of in settings_by_stage().values() for one in of]
    assert [one.name for one in found if not one.what.endswith(".") and not one.what.endswith("`.")] == []
    for of in settings_by_stage().values():  # a stage may have another default than all stages
        assert len({one.name for one in of}) == len(of)


def test_the_command_lists_a_stage_s_own_variables_behind_those_of_every_stage() -> None:
    done = CliRunner().invoke(app, ["settings", "ingress-poller", "--json"])
    printed = orjson.loads(done.stdout)
    assert list(printed) == ["every stage", "ingress-poller"]
    assert "SLUICE_POLLER__PAGES_MAX" in [one["name"] for one in printed["ingress-poller"]]
    text = CliRunner().invoke(app, ["settings", "ingress-poller"]).stdout
    assert "  SLUICE_TELEMETRY__PORT  default 0; allowed: ≥ 0, ≤ 65,535\n      The port at which `/healthz`" in text
    refused = CliRunner().invoke(app, ["settings", "poller"])
    assert refused.exit_code == 2


def test_help_of_a_stage_lists_the_same() -> None:
    own, shared = settings_by_stage()["ingress-poller"], settings_by_stage()["every stage"]
    of_stage = CliRunner().invoke(app, ["run", "ingress-poller", "--help"]).stdout
    of_none = CliRunner().invoke(app, ["run", "--help"]).stdout
    assert all(f"  {one.name}  " in of_stage for one in (*own, *shared))
    assert all(f"  {one.name}  " in of_none for one in shared)
    assert "SLUICE_POLLER__PAGES_MAX" not in of_none
