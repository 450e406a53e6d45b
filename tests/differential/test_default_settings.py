"""Events of a source with `debezium: {}` are compared with those of a Debezium connector with default settings."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from support.debezium_differences import KNOWN, PAGE, page, unexpected, unseen, without_pending
from support.differential import Profile, Published, Workload
from support.differential_types import FAMILIES, type_workload
from support.differential_workloads import INDEX_IDENTITY, WORKLOADS

ALL = {workload.name: workload for workload in [*map(type_workload, FAMILIES), *WORKLOADS]}
Run = Callable[[Profile, list[Workload]], Published]


@pytest.fixture(scope="module")
def events(published: Run) -> Published:
    return published(Profile("default"), list(ALL.values()))


@pytest.mark.parametrize("workload", ALL)
def test_events_differ_only_where_debezium_misstates_the_row(events: Published, workload: str) -> None:
    found = events.differences(ALL[workload].topics, exact=False)
    assert not unexpected(workload, found), "\n".join(map(str, unexpected(workload, found)))
    assert not unseen(workload, found)


@pytest.mark.parametrize("workload", ALL)
def test_exact_events_do_not_differ(events: Published, workload: str) -> None:
    found = without_pending(workload, events.differences(ALL[workload].topics, exact=True))
    assert not found, "\n".join(map(str, found))


def test_no_reader_has_a_topic_of_its_own(events: Published) -> None:
    pending = {"message"}
    assert set(events.debezium) - pending == set(events.sluice) - pending == set(events.exact) - pending


@pytest.mark.parametrize("workload", ALL)
def test_records_have_debeziums_operations(events: Published, workload: str) -> None:
    found = events.differences(ALL[workload].tables, exact=False)
    others = [place for place in found if place.path.startswith(("record", "value.op"))]
    assert not others, "\n".join(map(str, others))


def test_each_known_difference_has_a_test() -> None:
    assert {case.workload for case in KNOWN} <= {*ALL, INDEX_IDENTITY.name}


def test_the_page_of_differences_is_generated_from_the_tests() -> None:
    assert PAGE.read_text() == page()


def test_a_table_whose_identity_lacks_the_key_is_blocked(published: Run) -> None:
    events = published(Profile("index_identity"), [INDEX_IDENTITY])
    assert not unseen(INDEX_IDENTITY.name, events.differences(INDEX_IDENTITY.topics, exact=False))
