"""The report names what verify could not check, and then its verdict is not `verified`."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from sluice.kafka.topics import Topic, Topics
from sluice.verify import NotChecked, Report
from support.followed_people import FollowedPeople, unable
from support.pace import within
from support.stage_processes import process_environment
from support.waiting import eventually

OTHERS = ("thing", "guarded")


@pytest.fixture(scope="module", autouse=True)
def following(people: FollowedPeople) -> Iterator[None]:
    """All three tables have rows and are followed."""
    people.sql("INSERT INTO staff VALUES (1, 'P1'), (2, 'P2')")
    people.sql("INSERT INTO thing SELECT n FROM generate_series(1, 10) AS n")
    people.sql("INSERT INTO guarded SELECT n FROM generate_series(1, 10) AS n")
    with people.followed():
        people.arrived()
        yield


@pytest.fixture
def reader(people: FollowedPeople) -> Iterator[str]:
    """A role that may follow, and read `staff`."""
    role = f"reader_{uuid.uuid4().hex[:8]}"
    people.sql(f"CREATE ROLE {role} LOGIN REPLICATION PASSWORD 's3cret'")
    people.sql(f"GRANT SELECT ON staff TO {role}")
    yield role
    people.sql(f"DROP OWNED BY {role}")
    people.sql(f"DROP ROLE {role}")


def only_unable(report: Report, what: str) -> NotChecked:
    """The entry about `what`; there are no findings."""
    assert report.to_json()["findings"] == {}
    assert not report.pending
    assert not report.verified
    assert report.verdict == "nothing wrong in what was checked"
    found = unable(report, what)
    assert f"not checked: {found}" in report.lines()
    return found


def command(people: FollowedPeople, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of `sluice verify`."""
    environment = process_environment(people.settings)
    argv = [sys.executable, "-m", "sluice.cli.main", "verify", "--json", *arguments]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120)
    return done.returncode, orjson.loads(done.stdout.splitlines()[-1])


def test_a_table_whose_rows_a_policy_hides_is_not_compared(people: FollowedPeople, reader: str) -> None:
    people.sql(f"GRANT SELECT ON thing, guarded TO {reader}")
    people.sql("CREATE POLICY few ON guarded USING (id <= 3)")
    people.sql("ALTER TABLE guarded ENABLE ROW LEVEL SECURITY")
    try:
        report = people.verified(pipeline=people.as_user(reader, "s3cret"))
    finally:
        people.sql("ALTER TABLE guarded DISABLE ROW LEVEL SECURITY")
    assert "row-level security" in only_unable(report, "source erp, table public.guarded").because
    assert report.checked["source tables"] == 2


def test_a_table_that_its_user_may_not_read_is_reported(people: FollowedPeople, reader: str) -> None:
    report = people.verified(pipeline=people.as_user(reader, "s3cret"))
    for table in ("thing", "guarded"):
        assert (
            f"permission denied for table {table}" in only_unable(report, f"source erp, table public.{table}").because
        )
    assert report.checked["source tables"] == 1


def test_a_source_that_cannot_be_reached_is_reported_without_its_password(people: FollowedPeople) -> None:
    report = people.verified(pipeline=people.with_dsn("postgresql://sluice:s3cret@127.0.0.1:1/nowhere"))
    said = only_unable(report, "source erp")
    assert "onnection refused" in said.because
    assert "s3cret" not in str(report.lines())


def test_a_table_that_is_not_followed_yet_is_reported(people: FollowedPeople) -> None:
    people.sql("CREATE TABLE IF NOT EXISTS later (id int PRIMARY KEY)")
    source = people.pipeline.cdc_sources()["erp"]
    more = source.model_copy(update={"tables": [*source.tables, "public.later"]})
    pipeline = people.pipeline.model_copy(update={"sources": {"erp": more}})
    Topics(people.admin).apply([Topic(people.names.raw("erp", "public.later"), 2, {})])
    report = people.verified(pipeline=pipeline)
    assert "not followed yet" in only_unable(report, "source erp, table public.later").because
    assert report.checked["source tables"] == 3


def test_the_exit_code_is_0_if_only_sources_were_left_out_and_the_report_names_them(people: FollowedPeople) -> None:
    code, said = command(people)
    assert (code, said["verified"], said["verdict"], said["not_checked"]) == (0, True, "verified", [])
    code, said = command(people, "--no-sources")
    assert (code, said["verified"]) == (0, False)
    assert {one["kind"] for one in said["not_checked"]} == {"left out"}
    assert len(said["not_checked"]) == 3


def test_an_active_fault_is_reported_until_it_is_resolved(people: FollowedPeople) -> None:
    people.write_fault("ingress-poller/0/hr.workers", "the source lists 261 of 330 known keys")
    report = people.verified(within(3))
    said = only_unable(report, "fault of ingress-poller/0/hr.workers")
    assert "the source lists 261 of 330 known keys" in said.because
    assert command(people, "--wait", str(within(3)))[0] == 1
    people.write_fault("ingress-poller/0/hr.workers", None)
    assert people.verified().verified


def test_it_is_reported_if_the_active_faults_are_not_known(people: FollowedPeople) -> None:
    for deleted in people.admin.delete_topics([people.names.faults]).values():
        deleted.result(10)
    eventually(lambda: people.names.faults not in people.admin.list_topics(timeout=10).topics, "the topic is deleted")
    said = only_unable(people.verified(within(3)), "faults that the stages reported")
    assert "does not exist" in said.because
    assert "sluice topics apply" in said.next_step
    Topics(people.admin).apply([Topic(people.names.faults, 1, {"cleanup.policy": "compact"})])
    eventually(lambda: people.verified().verified, "the faults are known again")


def test_a_table_that_left_the_publication_is_reported(people: FollowedPeople) -> None:
    people.sql(f"ALTER PUBLICATION {people.source.slot.publication} DROP TABLE ONLY thing")
    assert "publication" in only_unable(people.verified(), "source erp, table public.thing").because
