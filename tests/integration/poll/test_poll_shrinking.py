"""A source lists far fewer keys than before: which deletes are withheld, how long, and what an operator's request
changes."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from sluice.cli.deletes import app
from sluice.connector import Cursor, NextLink
from sluice.errors import SettingsError
from support.listings import ENUMERATION, People, after_listings, connector, listed, reported
from support.polling import OpenPolled, Polled
from support.scripted_source import Answer, Asked, ScriptedSource
from support.waiting import eventually

RIGHT = connector(NextLink("next"), 50)


@pytest.fixture
def command(polled: Polled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """The command line, with the settings of the polled pipeline."""
    written = tmp_path / "pipeline.yaml"
    written.write_text(yaml.safe_dump(polled.declared, sort_keys=False))
    monkeypatch.setenv("SLUICE_PIPELINE", str(written))
    monkeypatch.setenv("SLUICE_KAFKA__BOOTSTRAP_SERVERS", polled.kafka.bootstrap_servers)
    return CliRunner()


def whole(polled: Polled, people: People) -> bool:
    return polled.newest() == people.as_published()


@pytest.mark.parametrize("count", [1, 2, 10, 40])
def test_an_empty_listing_while_keys_are_known_is_a_fault_and_deletes_nothing(
    polled: Polled, people: People, source: ScriptedSource, tmp_path: Path, count: int
) -> None:
    people.rows = People(count).rows
    with polled.poller(tmp_path, RIGHT) as health:
        eventually(lambda: whole(polled, people))
        people.spoil = lambda asked: listed({"value": []})
        why = reported(health, f"the source lists 0 of {count} known keys")
        after_listings(source, 4)
        assert whole(polled, people)
        people.spoil = lambda asked: None
        eventually(lambda: not health.faults, "a listing of all ends it")
    assert "sluice deletes accept shop things" in why
    assert all(message.value() is not None for message in polled.raw())


def test_a_small_source_that_loses_most_of_its_keys_is_a_fault(
    polled: Polled, people: People, source: ScriptedSource, tmp_path: Path
) -> None:
    with polled.poller(tmp_path, RIGHT) as health:
        eventually(lambda: whole(polled, people))
        before = people.as_published()
        people.rows = {number: row for number, row in people.rows.items() if number < 4}
        reported(health, "the source lists 4 of 10 known keys")
        after_listings(source, 4)
        assert polled.newest() == before


def test_what_an_operator_accepts_is_deleted_once_and_the_table_is_equal(
    polled: Polled, people: People, source: ScriptedSource, command: CliRunner, tmp_path: Path
) -> None:
    with polled.poller(tmp_path, RIGHT) as health:
        eventually(lambda: whole(polled, people))
        rows = dict(people.rows)
        people.rows = {}
        reported(health, "lists 0 of 10")
        answer = command.invoke(app, ["accept", "shop", "things", "--json"], catch_exceptions=False)
        assert json.loads(answer.stdout) == {"source": "shop", "stream": "things", "keys": 10, "known": 10}
        eventually(lambda: polled.newest() == {}, "what was accepted is deleted", 30.0)
        eventually(lambda: not health.faults)
        people.rows = rows
        eventually(lambda: whole(polled, people), "it comes back")
        people.rows = {}
        reported(health, "lists 0 of 10")
        after_listings(source, 6)
        assert len(polled.newest()) == 10, "the same loss once more needs a word of its own"
        refused = command.invoke(app, ["accept", "shop", "people"])
        assert isinstance(refused.exception, SettingsError)


def test_a_loss_accepted_while_no_poller_runs_is_deleted_when_it_starts(
    polled: Polled, people: People, command: CliRunner, tmp_path: Path
) -> None:
    with polled.poller(tmp_path, RIGHT) as health:
        eventually(lambda: whole(polled, people))
        people.rows = {3: people.rows[3]}
        reported(health, "lists 1 of 10")
    answer = command.invoke(app, ["accept", "shop", "things"], catch_exceptions=False)
    assert "9 of 10 keys of shop/things" in answer.stdout
    with polled.poller(tmp_path, RIGHT) as health:
        eventually(lambda: whole(polled, people), "the accepted loss is deleted", 30.0)
        eventually(lambda: not health.faults)


def test_a_larger_loss_than_the_one_accepted_is_a_fault_of_its_own(
    polled: Polled, people: People, source: ScriptedSource, command: CliRunner, tmp_path: Path
) -> None:
    people.rows = People(40).rows
    with polled.poller(tmp_path, RIGHT) as health:
        eventually(lambda: whole(polled, people))
        rows = dict(people.rows)
        people.rows = {number: rows[number] for number in range(20)}
        reported(health, "lists 20 of 40")
        people.spoil = lambda asked: Answer(status=503)
        command.invoke(app, ["accept", "shop", "things"], catch_exceptions=False)
        people.rows = {}
        people.spoil = lambda asked: None
        reported(health, "lists 0 of 40")
        after_listings(source, 4)
        assert len(polled.newest()) == 40


def test_a_fault_that_is_no_loss_cannot_be_accepted(
    polled: Polled, people: People, command: CliRunner, tmp_path: Path
) -> None:
    nothing = command.invoke(app, ["accept", "shop", "things"])
    assert "nothing to accept" in str(nothing.exception)
    people.more = {"next_page_token": "t"}
    with polled.poller(tmp_path, connector()) as health:
        reported(health, "next_page_token")
        answer = command.invoke(app, ["accept", "shop", "things"])
    assert "this loss cannot be accepted" in str(answer.exception)
    assert "next_page_token" in str(answer.exception)


def test_a_fault_is_active_until_a_listing_resolves_it_whatever_succeeds_elsewhere(
    open_polled: OpenPolled, people: People, tmp_path: Path
) -> None:
    """Meanwhile changes are polled and published, the poller is restarted, loses its disk, and moves."""
    polled = open_polled(enumerate_every="4s")
    rows: dict[int, dict[str, Any]] = {n: {"id": n, "at": "2024-01-01T00:00:00Z", "v": 0} for n in range(330)}

    def answer(asked: Asked) -> Answer:
        return listed({"value": [row for row in rows.values() if str(row["at"]) >= asked.query.get("since", "")]})

    people.spoil = answer
    shop = connector(cursor=Cursor("at", param="since", lookback=timedelta(0)))
    found: list[str | None] = []
    with polled.poller(tmp_path / "one", shop, shrink_fraction_max=0.1) as health:
        eventually(lambda: len(polled.newest()) == 330)
        for number in range(69):
            del rows[number]
        why = reported(health, "lists 261 of 330")
        for version in range(1, 6):
            rows[300]["at"], rows[300]["v"] = f"2024-01-02T00:00:0{version}Z", version
            eventually(lambda: json.loads(polled.newest()[b'{"id":300}']) == rows[300], "a change arrives")
            found.append(health.faults.get(ENUMERATION))
    for state in ("one", "two"):
        people.spoil = lambda asked: answer(asked) if "since" in asked.query else Answer(status=503)
        with polled.poller(tmp_path / state, shop, shrink_fraction_max=0.1) as health:
            eventually(lambda: "start" not in health.faults, "it has started")
            eventually(lambda: not any(about.startswith("shard") for about in health.faults), "its shards are taken")
            found.append(health.faults.get(ENUMERATION))
            eventually(lambda: "503" in health.faults.get("shop/things enumeration request", ""))
            found.append(health.faults.get(ENUMERATION))
    assert found == [why] * len(found)
    people.spoil = answer
    rows.update({n: {"id": n, "at": "2024-01-01T00:00:00Z", "v": 0} for n in range(69)})
    with polled.poller(tmp_path / "two", shop, shrink_fraction_max=0.1) as health:
        eventually(lambda: not health.faults, "a listing of all ends it")
