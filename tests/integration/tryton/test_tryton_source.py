"""The Tryton example's source: a real ERP that starts, is edited through its own client, and is read both ways."""

import json
from collections.abc import Iterator
from typing import Any

import psutil
import psycopg
import pytest
from psycopg import sql

from sluice.connector import EnvironmentFault, Request, SourceRecord
from sluice.connector.fetch import Fetcher
from sluice.pipeline import load_pipeline
from sluice.pipeline.authored import load_mappings
from support.pace import within
from support.tryton import EXAMPLE, Erp, connector, records, settings_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SQL_OF = {
    "party.party": "party_party",
    "company.employee": "company_employee",
    "account.move": "account_move",
    "account.move.line": "account_move_line",
}


def call(erp: Erp, method: str, *parameters: Any) -> Any:
    """One JSON-RPC call as the connector makes it: its login, its headers."""
    fetcher: Fetcher = connector(settings_of(erp.running.env)).fetcher()
    body = {"id": 1, "method": method, "params": [*parameters, {"active_test": False}]}
    answer = fetcher.fetch(Request.post_json("/rpc/", body)).json
    fetcher.close()
    assert "error" not in answer
    return answer["result"]


def claimed(erp: Erp) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Everything that the polled streams say, by entity and id, through connector and mappings."""
    source = connector(settings_of(erp.running.env))
    for mapping in load_mappings(load_pipeline(EXAMPLE / "pipeline.yaml")):
        if mapping.source == "erp_api":
            for raw in records(source, mapping.stream):
                yield from ((c.entity, c.entity_id, c.fields) for c in mapping.apply(json.loads(raw)))


def agree(erp: Erp) -> dict[str, set[str]]:
    """Check every polled claim against the truth; the ids seen, by entity."""
    truth = erp.driver.truth(erp.running)
    seen: dict[str, set[str]] = {}
    for entity, entity_id, fields in claimed(erp):
        seen.setdefault(entity, set()).add(entity_id)
        assert fields == {name: truth[entity][entity_id][name] for name in fields}
    return seen


def newest_cursor(erp: Erp, stream: str) -> str:
    source = connector(settings_of(erp.running.env))
    reader = source.stream(stream)
    return max(str(reader.cursor_of(SourceRecord(raw))) for raw in records(source, stream))


def test_api_and_tables_show_the_same_company(erp: Erp) -> None:
    truth = erp.driver.truth(erp.running)
    seen = agree(erp)
    assert seen["worker"] == truth["worker"].keys()
    assert seen["ledger_entry"] == truth["ledger_entry"].keys()
    assert len(truth["worker"]) >= 140
    assert len(truth["ledger_entry"]) >= 200


def test_edits_through_trytons_client_are_seen_by_sql_and_by_json_rpc(erp: Erp) -> None:
    edits = erp.driver.live(erp.ctx, erp.running, rate_per_s=50, edits=60, seed=11)
    assert edits.wait(within(120)) >= 60
    lines = [json.loads(line) for line in edits.log.read_text().splitlines()]
    assert all(line["sent_at"] < line["at"] for line in lines)
    newest = {(line["model"], line["id"], line["field"]): line["value"] for line in lines}
    gone = {(model, number) for model, number, field in newest if field == "id"}
    with psycopg.connect(erp.running.env["ERP_DSN"]) as connection:
        for (model, number, field), value in newest.items():
            rows = connection.execute(
                sql.SQL("SELECT to_jsonb({}) FROM {} WHERE id = %s").format(
                    sql.Identifier(field), sql.Identifier(SQL_OF[model])
                ),
                (number,),
            ).fetchall()
            if (model, number) in gone:
                assert rows == []
            elif field == "debit":
                assert str(rows[0][0]) == str(json.loads(value))
            else:
                assert rows == [(value,)]
    agree(erp)


def test_a_renamed_party_brings_its_employee_into_the_next_poll(erp: Erp) -> None:
    since = newest_cursor(erp, "employees")
    (employee,) = call(erp, "model.company.employee.search_read", [["id", "=", 3]], 0, 1, None, ["party"])
    call(erp, "model.party.party.write", [employee["party"]], {"name": "Renamed in its party"})
    changed = [json.loads(raw) for raw in records(connector(settings_of(erp.running.env)), "employees", since)]
    assert {e["id"]: e["party."]["name"] for e in changed}[3] == "Renamed in its party"


def test_a_posted_move_brings_its_lines_into_the_next_poll(erp: Erp) -> None:
    since = newest_cursor(erp, "move_lines")
    draft = call(erp, "model.account.move.search", [["state", "=", "draft"]], 0, 1, None)
    call(erp, "model.account.move.post", draft)
    source = connector(settings_of(erp.running.env))
    changed = [json.loads(raw) for raw in records(source, "move_lines", since)]
    assert [e["move."]["state"] for e in changed if e["move."]["id"] == draft[0]] == ["posted", "posted"]


def test_unchanged_records_are_the_same_bytes_again(erp: Erp) -> None:
    source = connector(settings_of(erp.running.env))
    assert list(records(source, "employees")) == list(records(source, "employees"))


def test_a_session_that_the_erp_has_ended_is_renewed(erp: Erp) -> None:
    fetcher = connector(settings_of(erp.running.env)).fetcher()
    request = connector().stream("employees").first_request(None)
    assert fetcher.fetch(request).status == 200
    with psycopg.connect(erp.running.env["ERP_DSN"]) as connection:
        connection.execute("DELETE FROM ir_session")
    assert fetcher.fetch(request).status == 200
    fetcher.close()


def test_a_wrong_password_names_the_setting_and_not_the_password(erp: Erp) -> None:
    settings = settings_of(erp.running.env) | {"password": "wrong-and-never-shown"}
    with pytest.raises(EnvironmentFault) as caught:
        list(records(connector(settings), "employees"))
    assert "sources.erp_api.settings.password" in str(caught.value)
    assert "wrong-and-never-shown" not in str(caught.value)


def test_a_second_start_goes_on_with_the_same_company_and_leaves_nothing_running(erp: Erp) -> None:
    edits = erp.driver.live(erp.ctx, erp.running, rate_per_s=50, edits=5, seed=12)
    edits.wait(within(60))
    before = erp.driver.truth(erp.running)
    erp.running.stop()
    left = [psutil.Process(pid) for pid in erp.running.processes.values() if psutil.pid_exists(pid)]
    assert [(one.pid, one.status(), one.name(), one.ppid()) for one in left] == []
    again = erp.driver.start(erp.ctx)
    try:
        assert again.env["ERP_DSN"] == erp.running.env["ERP_DSN"]
        assert erp.driver.truth(again) == before
        agree(erp._replace(running=again))
    finally:
        again.stop()
