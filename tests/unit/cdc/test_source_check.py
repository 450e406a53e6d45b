"""What `sluice cdc check` says of settings that only a restart of the server, or another server, can change."""

from __future__ import annotations

import pytest

from sluice.cdc.server_facts import ServerFacts, TableRights
from sluice.cdc.source_check import CheckedSource, findings, risks
from support.table_facts import FACTS, PUBLICATION, V18

SERVER = ServerFacts(
    role="reader",
    database="shop",
    server_version=V18,
    encoding="UTF8",
    standby=False,
    wal_level="logical",
    slots_max=10,
    slots_used=0,
    senders_max=10,
    senders_used=0,
    slot_wal_keep_size="-1",
    idle_slot_timeout="0",
    may_replicate=True,
    may_create_publication=False,
    may_emit=True,
    owns_publication=False,
    slot_plugin=None,
    slot_database=None,
    slot_active=False,
    slot_wal_status=None,
    slot_synced=False,
    slot_invalidation=None,
)
SLOT = {"slot_plugin": "pgoutput", "slot_database": "shop", "slot_wal_status": "reserved"}
RIGHTS = TableRights(owned=False, schema_usable=True, unreadable=(), rows_hidden=False)
CHECKED = CheckedSource("erp", "s", "p", ["public.t"], SERVER, PUBLICATION, {FACTS.name: FACTS}, {FACTS.name: RIGHTS})


def checked(**server: object) -> CheckedSource:
    facts = SERVER._replace(**server)  # type: ignore[arg-type]
    return CheckedSource("erp", "s", "p", ["public.t"], facts, PUBLICATION, CHECKED.facts, CHECKED.rights)


def test_a_source_that_can_be_followed_has_no_finding() -> None:
    assert findings(CHECKED) == []


@pytest.mark.parametrize(
    ("server", "says", "sql"),
    [
        ({"server_version": 140_010}, "PostgreSQL 14 is too old", ""),
        ({"encoding": "SQL_ASCII"}, "SQL_ASCII", ""),
        ({"standby": True, "server_version": 150_010}, "standby", ""),
        ({"wal_level": "replica"}, "it is replica", "ALTER SYSTEM SET wal_level = logical"),
        ({"slots_used": 9}, "it is 10, and 9 are used", "ALTER SYSTEM SET max_replication_slots = 14"),
        ({"slots_used": 10, **SLOT}, "it is 10, and 10 are used", "ALTER SYSTEM SET max_replication_slots = 13"),
        ({"senders_used": 10}, "this source needs 1 more", "ALTER SYSTEM SET max_wal_senders = 13"),
        ({**SLOT, "slot_plugin": "wal2json"}, "plugin wal2json", ""),
        ({**SLOT, "slot_database": "other"}, "database other", ""),
        ({**SLOT, "slot_wal_status": "lost", "slot_invalidation": "idle_timeout"}, "invalidated it (idle_timeout)", ""),
    ],
)
def test_an_unfit_server_or_slot_is_named(server: dict[str, object], says: str, sql: str) -> None:
    (finding,) = findings(checked(**server))
    assert says in finding.why
    assert finding.sql == sql
    assert finding.next_step


@pytest.mark.parametrize(
    "server",
    [
        {"slots_used": 8},
        {"standby": True},
        {"slots_used": 9, **SLOT},
        {"senders_used": 10, **SLOT, "slot_active": True},
        {"server_version": 150_000, "idle_slot_timeout": None},
    ],
)
def test_a_server_with_just_enough_has_no_finding(server: dict[str, object]) -> None:
    assert findings(checked(**server)) == []


def test_a_slot_that_waits_for_the_promotion_of_its_standby_is_named() -> None:
    found = findings(checked(**SLOT, slot_synced=True, standby=True))
    assert [f.next_step for f in found] == ["promote this standby"]


def test_a_setting_that_may_end_the_slot_later_is_a_risk_and_no_finding() -> None:
    limited = checked(slot_wal_keep_size="10GB", idle_slot_timeout="1d")
    assert findings(limited) == []
    assert ["10GB" in risks(limited)[0].why, "1d" in risks(limited)[1].why] == [True, True]
    assert "without a limit" in risks(CHECKED)[0].why
