"""The report names what verify could not check, and then its verdict is not `verified`."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from sluice.cdc.connection import connect
from sluice.cdc.slots import drop_slot
from sluice.embedded import Servers
from sluice.kafka.topics import Topic, Topics
from sluice.verify import NotLookedAt, Report
from support.followed_people import FollowedPeople
from support.pace import within
from support.servers import drop_database
from support.waiting import eventually


@pytest.fixture(scope="module")
def made(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FollowedPeople]:
    name = f"unseen_{uuid.uuid4().hex[:10]}"
    servers.postgres.create_database(name)
    folder = Path(tmp_path_factory.mktemp("people"))
    people = FollowedPeople(servers, servers.postgres.dsn(name), f"{name}.", folder, ["thing", "guarded"])
    people.sql("INSERT INTO staff VALUES (1, 'P1'), (2, 'P2')")
    people.sql("INSERT INTO thing SELECT n FROM generate_series(1, 10) AS n")
    people.sql("INSERT INTO guarded SELECT n FROM generate_series(1, 10) AS n")
    with people.stages(), people.followed():
        people.arrived()
        yield people
    with connect(people.source.dsn, "the test's source") as connection:
        drop_slot(connection, people.source.slot.slot, "the test's source")
    drop_database(servers, name)


@pytest.fixture
def reader(made: FollowedPeople) -> Iterator[str]:
    """A role that may follow, and read `staff`."""
    role = f"reader_{uuid.uuid4().hex[:8]}"
    made.sql(f"CREATE ROLE {role} LOGIN REPLICATION PASSWORD 's3cret'")
    made.sql(f"GRANT SELECT ON staff TO {role}")
    yield role
    made.sql(f"DROP OWNED BY {role}")
    made.sql(f"DROP ROLE {role}")


def unable(report: Report, what: str) -> NotLookedAt:
    """The one entry about `what`; there are no findings."""
    assert report.to_json()["findings"] == {}
    assert not report.pending
    assert not report.verified
    assert report.verdict == "nothing wrong in what was checked"
    (found,) = (one for one in report.not_looked_at if one.what == what)
    assert found.kind == "unable"
    assert f"not checked: {found}" in report.lines()
    return found


def command(made: FollowedPeople, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of `sluice verify`."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "SLUICE_PIPELINE": str(made.settings.pipeline),
        "SLUICE_STATE_DIR": str(made.settings.state_dir),
        "SLUICE_KAFKA__BOOTSTRAP_SERVERS": made.kafka.bootstrap_servers,
        "SLUICE_REGISTRY__URL": made.settings.registry.url,
    }
    argv = [sys.executable, "-m", "sluice.cli.main", "verify", "--json", *arguments]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120)
    return done.returncode, orjson.loads(done.stdout.splitlines()[-1])


def test_a_table_whose_rows_a_policy_hides_is_not_compared(made: FollowedPeople, reader: str) -> None:
    made.sql(f"GRANT SELECT ON thing, guarded TO {reader}")
    made.sql("CREATE POLICY few ON guarded USING (id <= 3)")
    made.sql("ALTER TABLE guarded ENABLE ROW LEVEL SECURITY")
    try:
        report = made.verified(pipeline=made.as_user(reader, "s3cret"))
    finally:
        made.sql("ALTER TABLE guarded DISABLE ROW LEVEL SECURITY")
    assert "row-level security" in unable(report, "source erp, table public.guarded").because
    assert report.checked["source tables"] == 2


def test_a_table_that_its_user_may_not_read_is_reported(made: FollowedPeople, reader: str) -> None:
    report = made.verified(pipeline=made.as_user(reader, "s3cret"))
    for table in ("thing", "guarded"):
        assert f"permission denied for table {table}" in unable(report, f"source erp, table public.{table}").because
    assert report.checked["source tables"] == 1


def test_a_source_that_cannot_be_reached_is_reported_without_its_password(made: FollowedPeople) -> None:
    report = made.verified(pipeline=made.with_dsn("postgresql://sluice:s3cret@127.0.0.1:1/nowhere"))
    said = unable(report, "source erp")
    assert "onnection refused" in said.because
    assert "s3cret" not in str(report.lines())


def test_a_table_that_is_not_followed_yet_is_reported(made: FollowedPeople) -> None:
    made.sql("CREATE TABLE IF NOT EXISTS later (id int PRIMARY KEY)")
    source = made.pipeline.cdc_sources()["erp"]
    more = source.model_copy(update={"tables": [*source.tables, "public.later"]})
    pipeline = made.pipeline.model_copy(update={"sources": {"erp": more}})
    Topics(made.admin).apply([Topic(made.names.raw("erp", "public.later"), 2, {})])
    report = made.verified(pipeline=pipeline)
    assert "not followed yet" in unable(report, "source erp, table public.later").because
    assert report.checked["source tables"] == 3


def test_the_exit_code_is_0_if_only_sources_were_left_out_and_the_report_names_them(made: FollowedPeople) -> None:
    code, said = command(made)
    assert (code, said["verified"], said["verdict"], said["not_looked_at"]) == (0, True, "verified", [])
    code, said = command(made, "--no-sources")
    assert (code, said["verified"]) == (0, False)
    assert {one["kind"] for one in said["not_looked_at"]} == {"left out"}
    assert len(said["not_looked_at"]) == 3


def test_an_active_fault_is_reported_until_it_is_resolved(made: FollowedPeople) -> None:
    made.write_fault("ingress-poller/0/hr.workers", "the source lists 261 of 330 known keys")
    report = made.verified(within(3))
    said = unable(report, "fault of ingress-poller/0/hr.workers")
    assert "the source lists 261 of 330 known keys" in said.because
    assert command(made, "--wait", str(within(3)))[0] == 1
    made.write_fault("ingress-poller/0/hr.workers", None)
    assert made.verified().verified


def test_it_is_reported_if_the_active_faults_are_not_known(made: FollowedPeople) -> None:
    for deleted in made.admin.delete_topics([made.names.faults]).values():
        deleted.result(10)
    eventually(lambda: made.names.faults not in made.admin.list_topics(timeout=10).topics, "the topic is deleted")
    said = unable(made.verified(within(3)), "faults that the stages reported")
    assert "does not exist" in said.because
    assert "sluice topics apply" in said.next_step
    Topics(made.admin).apply([Topic(made.names.faults, 1, {"cleanup.policy": "compact"})])
    eventually(lambda: made.verified().verified, "the faults are known again")


def test_a_table_that_left_the_publication_is_reported(made: FollowedPeople) -> None:
    made.sql(f"ALTER PUBLICATION {made.source.slot.publication} DROP TABLE ONLY thing")
    assert "publication" in unable(made.verified(), "source erp, table public.thing").because
