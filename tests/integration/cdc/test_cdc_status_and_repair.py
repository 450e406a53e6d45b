"""`sluice cdc status` and `sluice cdc repair`: what an operator sees of a followed source, and the one repair."""

from __future__ import annotations

import pytest

from sluice.cdc.slots import format_lsn
from sluice.cdc.watermarks import FOLLOWED
from support.cdc import Source
from support.cdc_commands import cdc, cdc_text
from support.waiting import eventually


def followed_once(source: Source) -> None:
    source.sql("INSERT INTO employee SELECT g, 'n', 1 FROM generate_series(1, 10) g")
    with source.followed() as running:
        running.await_streaming()
        source.published_up_to(source.wal_lsn())
    active = "SELECT active FROM pg_replication_slots WHERE slot_name = %s"
    eventually(lambda: not source.sql(active, [source.slot.slot])[0][0], "the slot to be released")


def test_the_status_of_a_followed_source_is_complete(source: Source) -> None:
    source.sql("INSERT INTO employee VALUES (1, 'Ada')")
    with source.followed() as running:
        running.await_streaming()
        source.published_up_to(source.wal_lsn())
        code, facts = cdc(source, "status")
    erp = facts["erp"]
    assert (code, erp["unknown"]) == (0, [])
    assert (erp["slot"], erp["slot_exists"], erp["slot_lost"], erp["epoch"]) == (source.slot.slot, True, False, 1)
    assert erp["read_by"] is not None
    assert erp["tables"] == {"public.employee": {"state": FOLLOWED, "why": "", "next_step": ""}}
    assert all(erp[name] is not None for name in ("published_lsn", "confirmed_lsn", "server_lsn", "retained_bytes"))
    assert erp["behind_bytes"] >= 0
    assert 0 <= erp["behind_seconds"] < 60


def test_a_source_that_nothing_was_read_of_has_a_status(source: Source) -> None:
    code, facts = cdc(source, "status", "erp")
    assert code == 1
    assert (facts["erp"]["slot_exists"], facts["erp"]["epoch"]) == (False, None)
    assert facts["erp"]["tables"]["public.employee"]["state"] == "pending"


def test_a_blocked_table_is_shown_with_its_fault_and_the_next_step(source: Source) -> None:
    followed_once(source)
    source.sql("ALTER TABLE employee RENAME TO staff")
    with source.followed() as running:
        running.await_fault("is called public.staff now")
        eventually(lambda: source.mark("employee").why, "the stored fault")
    code, facts = cdc(source, "status")
    table = facts["erp"]["tables"]["public.employee"]
    assert (code, table["state"]) == (1, "blocked")
    assert "sluice cdc resnapshot erp --table public.employee" in table["next_step"]


def test_without_the_database_the_status_shows_what_is_published(source: Source) -> None:
    followed_once(source)
    before = source.watermark()
    assert before is not None
    code, facts = cdc(source, "status", dsn="postgresql://reader@127.0.0.1:1/none")
    assert (code, facts["erp"]["published_lsn"]) == (1, format_lsn(before.lsn))
    assert facts["erp"]["server_lsn"] is None
    assert "the slot: source erp" in facts["erp"]["unknown"][0]


def test_without_kafka_the_status_shows_the_slot(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    followed_once(source)
    environment = {**source.environment(), "SLUICE_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    monkeypatch.setattr(type(source), "environment", lambda self: environment)
    code, facts = cdc(source, "status")
    assert (code, facts["erp"]["slot_exists"]) == (1, True)
    assert "what is published" in facts["erp"]["unknown"][0]


def test_a_source_without_damage_has_nothing_to_repair(source: Source) -> None:
    followed_once(source)
    done = cdc_text(source, "repair", "erp", "--yes")
    assert (done.returncode, done.stderr.strip()) == (0, "source erp: nothing to repair")


DAMAGE = {
    "a dropped slot": "SELECT pg_drop_replication_slot('{slot}')",
    "a slot that was created again": (
        "SELECT pg_drop_replication_slot('{slot}'); UPDATE employee SET name = 'lost' WHERE id = 4;"
        "SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')"
    ),
    # The tests' server does not flush a commit at once, and a slot moves only within the flushed log.
    "a slot that was moved": (
        "UPDATE employee SET name = 'lost' WHERE id = 4; SELECT pg_logical_emit_message(false, 'test', '', true);"
        "SELECT pg_replication_slot_advance('{slot}', pg_current_wal_lsn())"
    ),
    "a dropped publication": "DROP PUBLICATION {publication}",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_repair_finds_the_damage_and_the_stage_follows_again(source: Source, damage: str) -> None:
    followed_once(source)
    for statement in damage.format(slot=source.slot.slot, publication=source.slot.publication).split(";"):
        source.sql(statement)
    source.sql("DELETE FROM employee WHERE id = 3")
    code, found = cdc(source, "repair", "erp", "--dry-run")
    assert (code, bool(found["why"])) == (1, True)
    before = source.watermark()
    assert before is not None
    assert before.epoch == 1
    code, facts = cdc(source, "repair", "erp", "--yes")
    assert (code, facts["resnapshot_epoch"]) == (0, 2)
    with source.followed() as running:
        running.await_streaming()
        source.published_up_to(source.wal_lsn())
    names = {row["id"]: row["name"] for row in source.rows("employee").values()}
    assert names == dict(source.sql("SELECT id, name FROM employee"))


def test_repair_asks_and_does_nothing_without_an_answer(source: Source) -> None:
    followed_once(source)
    source.sql("SELECT pg_drop_replication_slot(%s)", [source.slot.slot])
    done = cdc_text(source, "repair", "erp")
    assert done.returncode != 0
    assert "does not exist any more" in done.stderr
    assert "requested" not in done.stdout


def test_repair_reads_a_table_with_a_fault_again_and_no_other(tables: Source) -> None:
    with tables.followed() as running:
        running.await_no_fault()
        tables.sql("ALTER TABLE a ADD c int DEFAULT 7")
        running.await_fault("c was added")
        eventually(lambda: tables.mark("a").why, "the stored fault")
        code, facts = cdc(tables, "repair", "erp", "--yes")
        assert (code, facts["requests"]) == (0, {"public.a": 1})
        running.await_no_fault()
