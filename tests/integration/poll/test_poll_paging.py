"""A listing that ends too early is a fault and deletes nothing, whatever the cause; a complete one is no fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sluice.connector import Connector, Cursor, NextLink, Offset
from support.listings import Link, People, after_listings, connector, listed, reported
from support.polling import OpenPolled, Polled
from support.scripted_source import Answer, Asked, Raw, ScriptedSource
from support.waiting import eventually

pytestmark = pytest.mark.parametrize("people", [55], indirect=True)


def filled(polled: Polled, people: People, state: Path) -> None:
    """Publish all `people`, with a connector that declares the link correctly."""
    original, people.link = people.link, lambda address: {"next": address}
    with polled.poller(state, connector(NextLink("next"))):
        eventually(lambda: polled.newest() == people.as_published(), "all are published")
    people.link = original


@pytest.mark.parametrize("count", [230, 55])
def test_a_link_whose_name_has_a_dot_is_followed(polled: Polled, people: People, tmp_path: Path, count: int) -> None:
    people.rows = People(count).rows
    people.link = lambda address: {"@odata.nextLink": address}
    people.more = {"@odata.context": "$metadata#people"}
    with polled.poller(tmp_path, connector(NextLink("@odata.nextLink"))) as health:
        eventually(lambda: polled.newest() == people.as_published(), "all are published")
        eventually(lambda: not health.faults)


MISREAD: list[tuple[str, Link, Any, str]] = [
    ("a dotted name misspelt", lambda a: {"@odata.nextLink": a}, NextLink("@odata.nextlink"), "@odata.nextLink"),
    ("another member", lambda a: {"links": {"next": a}}, NextLink("next"), "links.next"),
    ("a token", lambda a: {"next_page_token": "t"}, NextLink("nextLink"), "next_page_token"),
    (
        "a cursor",
        lambda a: {"response_metadata": {"next_cursor": "t"}},
        NextLink("next"),
        "response_metadata.next_cursor",
    ),
    ("no paging declared", lambda a: {"nextPage": a}, None, "nextPage"),
    ("a flag", lambda a: {"has_more": True}, None, "has_more"),
    ("a list of links", lambda a: {"links": [{"rel": "next", "href": a}]}, None, "links"),
    ("hypertext", lambda a: {"_links": {"next": {"href": a}}}, NextLink("links.next"), "_links.next"),
    ("a wrong page size", lambda a: {"paging": {"next": a}}, NextLink("pages.next"), "paging.next"),
    ("OData 2", lambda a: {"d": {"__next": a}}, NextLink("d.next"), "d.__next"),
]


@pytest.mark.parametrize(("link", "paging", "found"), [row[1:] for row in MISREAD], ids=[row[0] for row in MISREAD])
def test_a_link_that_is_not_read_is_a_fault_that_names_it_and_nothing_is_deleted(
    polled: Polled, people: People, source: ScriptedSource, tmp_path: Path, link: Link, paging: Any, found: str
) -> None:
    filled(polled, people, tmp_path)
    people.link = link
    with polled.poller(tmp_path, connector(paging)) as health:
        why = reported(health)
        after_listings(source, 3)
        assert reported(health) == why
    assert found in why
    assert "paging" in why
    assert "/people?offset" not in why
    assert polled.newest() == people.as_published()


def test_a_link_header_that_is_not_read_is_a_fault(
    polled: Polled, people: People, source: ScriptedSource, tmp_path: Path
) -> None:
    filled(polled, people, tmp_path)
    rows = [row for _, row in sorted(people.rows.items())]
    people.spoil = lambda asked: listed({"value": rows[:50]}, Link='</people?offset=50>; rel="next"')
    with polled.poller(tmp_path, connector()) as health:
        assert "Link" in reported(health)
        after_listings(source, 3)
    assert polled.newest() == people.as_published()


@pytest.mark.parametrize("page_size", [None, 50, 100])
@pytest.mark.parametrize("member", ["next", "never"])
def test_a_declared_link_that_no_page_has_or_no_page_has_any_more_is_a_fault(
    polled: Polled, people: People, source: ScriptedSource, tmp_path: Path, page_size: int | None, member: str
) -> None:
    filled(polled, people, tmp_path)
    people.link = lambda address: {"weiter": address}  # an unknown name
    with polled.poller(tmp_path, connector(NextLink(member), page_size)) as health:
        why = reported(health)
        after_listings(source, 3)
    assert member in why
    assert polled.newest() == people.as_published()


def test_a_last_page_as_full_as_the_first_without_a_link_is_a_fault(
    polled: Polled, people: People, source: ScriptedSource, tmp_path: Path
) -> None:
    people.cap = 25
    filled(polled, people, tmp_path)
    people.spoil = lambda asked: (
        listed({"value": [row for _, row in sorted(people.rows.items())][25:50]}) if "offset" in asked.query else None
    )
    with polled.poller(tmp_path, connector(NextLink("next"))) as health:
        assert "full" in reported(health)
        after_listings(source, 3)
    assert polled.newest() == people.as_published()


@pytest.mark.parametrize(
    ("count", "paging", "page_size"),
    [
        (8, NextLink("next"), 200),
        (1, NextLink("next"), None),
        (50, NextLink("next"), 50),
        (2, NextLink("next"), 50),
        (100, NextLink("next"), 50),
        (55, NextLink("next"), None),
        (100, Offset(), 50),
        (8, Offset(), 200),
        (55, Offset(), 20),
        (55, Offset(), 200),
        (8, None, None),
    ],
)
def test_a_complete_listing_is_no_fault_and_finds_deletes(
    polled: Polled,
    people: People,
    source: ScriptedSource,
    tmp_path: Path,
    count: int,
    paging: Any,
    page_size: int | None,
) -> None:
    people.rows = People(count).rows
    found: list[str] = []
    with polled.poller(tmp_path, connector(paging, page_size)) as health:
        eventually(lambda: polled.newest() == people.as_published(), "all are published")
        after_listings(source, 2)
        found += health.faults
        if count > 1:
            del people.rows[0]
            eventually(lambda: polled.newest() == people.as_published(), "the delete is found")
        after_listings(source, 2)
        assert {*found, *health.faults} == set()


def test_an_offset_that_the_source_ignores_is_a_fault(polled: Polled, people: People, tmp_path: Path) -> None:
    people.rows = People(5).rows
    with polled.poller(tmp_path, connector(Offset("start"), 10)) as health:
        why = eventually(lambda: next((w for w in health.faults.values() if "same records" in w), ""), "reported")
    assert "paging" in why


def test_a_page_number_declared_as_offset_is_a_fault(
    polled: Polled, people: People, source: ScriptedSource, tmp_path: Path
) -> None:
    filled(polled, people, tmp_path)

    def numbered(asked: Asked) -> Answer | Raw | None:
        limit, page = int(asked.query["limit"]), int(asked.query.get("page", 0))
        rows = [row for _, row in sorted(people.rows.items())]
        return listed({"value": rows[page * limit :][:limit]})

    people.spoil = numbered
    with polled.poller(tmp_path, connector(Offset("page"), 50)) as health:
        reported(health)
        after_listings(source, 3)
    assert polled.newest() == people.as_published()


@pytest.mark.parametrize("members", [{"@odata.count": 55}, {"total": 55}, {"meta": {"totalCount": 55}}])
def test_a_total_above_what_arrived_is_a_fault(
    polled: Polled, people: People, source: ScriptedSource, tmp_path: Path, members: dict[str, Any]
) -> None:
    filled(polled, people, tmp_path)
    people.link, people.more = (lambda address: {}), members
    with polled.poller(tmp_path, connector()) as health:
        why = reported(health)
        after_listings(source, 3)
    assert "55" in why
    assert "50" in why
    assert polled.newest() == people.as_published()


def test_a_total_that_equals_what_arrived_proves_a_listing_complete(
    polled: Polled, people: People, source: ScriptedSource, tmp_path: Path
) -> None:
    people.rows = People(50).rows
    people.more = {"@odata.count": 50}
    with polled.poller(tmp_path, connector(NextLink("@odata.nextLink"))) as health:
        eventually(lambda: polled.newest() == people.as_published())
        after_listings(source, 3)
        assert not health.faults


def test_members_that_an_author_excludes_say_nothing_of_paging(
    polled: Polled, people: People, source: ScriptedSource, tmp_path: Path
) -> None:
    people.rows = People(8).rows
    people.more = {"total": 900, "links": {"next": "the next release"}}
    with polled.poller(tmp_path, connector(not_paging=("total", "links.next"))) as health:
        eventually(lambda: polled.newest() == people.as_published())
        after_listings(source, 3)
        assert not health.faults


SPOILED: list[tuple[str, Callable[[], Answer], str]] = [
    ("an error with status 200", lambda: listed({"error": {"code": 7, "message": "Ann Smith"}}), "error"),
    ("records that are an object", lambda: listed({"value": {"0": {"id": 0}}}), "not an array"),
    ("no records", lambda: listed({"items": []}), "value"),
    ("a page of HTML", lambda: Answer(b"<html>sign in</html>", headers={"Content-Type": "text/html"}), "text/html"),
    ("status 500 for ever", lambda: Answer(b"Ann Smith", status=500), "500"),
]


@pytest.mark.parametrize(("spoiled", "words"), [row[1:] for row in SPOILED], ids=[row[0] for row in SPOILED])
def test_pages_that_are_refused_again_and_again_are_a_fault_until_a_page_is_read(
    polled: Polled, people: People, tmp_path: Path, spoiled: Callable[[], Answer], words: str
) -> None:
    filled(polled, people, tmp_path)
    with polled.poller(tmp_path, connector(NextLink("next"))) as health:
        people.spoil = lambda asked: spoiled()
        why = reported(health, about="shop/things enumeration request")
        people.spoil = lambda asked: None
        eventually(lambda: not health.faults, "the fault ends", state=lambda: str(health.faults))
    assert words in why
    assert "Ann Smith" not in why
    assert polled.newest() == people.as_published()


def test_errors_next_to_records_are_a_fault_and_the_records_arrive(
    polled: Polled, people: People, source: ScriptedSource, tmp_path: Path
) -> None:
    filled(polled, people, tmp_path)
    rows = [{**row, "name": "new"} for _, row in sorted(people.rows.items())][:50]
    people.spoil = lambda asked: listed({"value": rows, "errors": [{"message": "Ann Smith"}]})
    with polled.poller(tmp_path, connector()) as health:
        why = reported(health)
        eventually(lambda: json.loads(polled.newest()[b'{"id":1}'])["name"] == "new", "records arrive")
        after_listings(source, 3)
    assert "errors" in why
    assert "Ann Smith" not in why
    assert len(polled.newest()) == 55


def test_a_corrected_connector_resolves_the_fault_and_completes_the_table(
    polled: Polled, people: People, source: ScriptedSource, tmp_path: Path
) -> None:
    people.link = lambda address: {"links": {"next": address}}
    wrong: type[Connector[Any]] = connector(NextLink("next"))
    with polled.poller(tmp_path, wrong) as health:
        reported(health)
        eventually(lambda: len(polled.newest()) == 50, "what is listed arrives")
    with polled.poller(tmp_path, connector(NextLink("links.next"))) as health:
        eventually(lambda: polled.newest() == people.as_published(), "all are published")
        eventually(lambda: not health.faults)


def test_changes_that_page_wrongly_are_a_fault_and_move_no_cursor(
    open_polled: OpenPolled, people: People, source: ScriptedSource, tmp_path: Path
) -> None:
    polled = open_polled(enumerate_every="1h")
    first = "2024-01-01T00:00:00Z"
    rows = {n: {"id": n, "at": first} for n in range(10)}

    def changed(asked: Asked) -> Answer | Raw | None:
        found = [row for _, row in sorted(rows.items()) if str(row["at"]) >= asked.query.get("since", "")]
        return listed({"value": found[:20], **({"hasMore": True} if len(found) > 20 else {})})

    people.spoil = changed
    cursor = Cursor("at", param="since", lookback=timedelta(0))
    with polled.poller(tmp_path, connector(cursor=cursor)) as health:
        eventually(lambda: len(polled.newest()) == 10)
        rows.update({n: {"id": n, "at": f"2024-02-01T00:00:{n:02}Z"} for n in range(10, 40)})
        assert "hasMore" in reported(health, about="shop/things changes")
        asked = len(source.asked)
        eventually(lambda: len(source.asked) > asked + 2)
        assert {a.query.get("since", first) for a in source.asked} == {first}
        for number in range(10, 31):
            del rows[number]
        eventually(lambda: "shop/things changes" not in health.faults, "a finished listing resolves it")
        eventually(lambda: b'{"id":39}' in polled.newest())
