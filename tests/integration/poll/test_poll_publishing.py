"""A poller between a real HTTP server and a real Kafka: what it publishes, and what it withholds."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from confluent_kafka import Message

from sluice.position import Position
from sluice_ingress_poller.page import RECORD_BYTES_MAX
from support.polling import OpenPolled, Polled, Things, as_published, headers_of
from support.scripted_source import Answer, Asked, Raw, ScriptedSource
from support.waiting import eventually


def only(asked: Asked, path: str = "/things", **query: str) -> bool:
    return asked.path == path and all(asked.query.get(k) == v for k, v in query.items())


def test_records_arrive_verbatim_with_headers_and_the_response_they_came_in(
    open_polled: OpenPolled, things: Things, tmp_path: Path
) -> None:
    polled = open_polled(enumerate_every="1h")
    with polled.poller(tmp_path):
        eventually(lambda: polled.newest() == as_published(things))
        edited = things.put(7)
        eventually(lambda: polled.newest().get(b'{"id":7}') == edited)
    raw = polled.raw()
    assert len(raw) == 26
    last = next(m for m in raw if m.value() == edited)
    headers = headers_of(last)
    assert headers["ce_specversion"] == "1.0"
    assert headers["ce_source"] == "/shop/shop"
    assert headers["ce_type"] == "sluice.raw.things"
    assert headers["ce_subject"] == '{"id":7}'
    assert headers["ce_id"].startswith("shop/things/")
    assert headers["ce_time"] == json.loads(edited)["at"]
    assert headers["content-type"] == "application/json"
    assert headers["sluice-op"] == "u"
    assert headers["sluice-origin-ms"].isdigit()
    responses = {(m.key() or b"").decode(): m for m in polled.read(polled.names.responses("shop"))}
    stored = responses[headers["sluice-response"]]
    assert edited in (stored.value() or b"")
    about = headers_of(stored)
    assert (about["http.method"], about["http.status"]) == ("GET", "200")
    assert "since=" in about["http.url"]
    assert "set-cookie" not in json.loads(about["http.headers"])
    everything = b"".join((m.value() or b"") + str(m.headers()).encode() for m in responses.values())
    assert b"session=s1" not in everything
    assert all("api_key=k1" not in headers_of(m)["http.url"] for m in responses.values())
    assert any("api_key=[removed]" in headers_of(m)["http.url"] for m in responses.values())


def test_positions_rise_from_one_under_each_lease(polled: Polled, things: Things, tmp_path: Path) -> None:
    for owner in range(2):
        with polled.poller(tmp_path):
            things.put(3)
            eventually(lambda: polled.newest() == as_published(things))
        assert owner in (0, 1)
    positions = sorted(position_of(m) for m in polled.raw())
    assert len(set(positions)) == len(positions) == 26
    incarnations = sorted({p.major for p in positions})
    assert [p.minor for p in positions] == [*range(1, 26), 1]
    assert len(incarnations) == 2
    leases = [m.offset() for m in polled.read(polled.names.shards)]
    assert set(incarnations) <= set(leases)


def position_of(message: Message) -> Position:
    return Position.parse(headers_of(message)["sluice-position"])


def test_a_delete_is_a_null_with_a_position_after_complete_listings_only(
    polled: Polled, things: Things, tmp_path: Path
) -> None:
    def broken(asked: Asked) -> Answer | Raw | None:
        # Enumerations fail on their second page for good; polls for changes work.
        return Answer(status=404) if asked.query.get("after") == "9" and not asked.query.get("since") else None

    with polled.poller(tmp_path) as health:
        eventually(lambda: polled.newest() == as_published(things))
        things.fault = broken
        things.delete(20)
        edited = things.put(4)
        eventually(lambda: "404" in health.faults.get("shop/things enumeration request", ""))
        eventually(lambda: polled.newest().get(b'{"id":4}') == edited)
        beyond = things.put(24)  # on a page that no listing reaches: polls for changes continue meanwhile
        eventually(lambda: polled.newest().get(b'{"id":24}') == beyond)
        assert "404" in health.faults.get("shop/things enumeration request", ""), "success elsewhere resolves no fault"
        assert b'{"id":20}' in polled.newest()
        things.fault = lambda asked: None
        eventually(lambda: polled.newest() == as_published(things))
    deletes = [m for m in polled.raw() if m.value() is None]
    assert [m.key() for m in deletes] == [b'{"id":20}']
    assert headers_of(deletes[0])["sluice-op"] == "d"
    assert position_of(deletes[0]).minor > 0


def test_a_source_that_is_suddenly_empty_is_a_fault_and_no_mass_delete(
    polled: Polled, things: Things, tmp_path: Path
) -> None:
    with polled.poller(tmp_path) as health:
        eventually(lambda: polled.newest() == as_published(things))
        things.fault = lambda asked: Answer(b'{"data":[],"next":null}')
        eventually(lambda: any("the source lists 0 of 25 known keys" in why for why in health.faults.values()))
        things.fault = lambda asked: None
        eventually(lambda: not health.faults)
    assert all(m.value() is not None for m in polled.raw())


def test_a_page_in_any_trouble_is_refused_whole_and_the_others_arrive(
    polled: Polled, things: Things, source: ScriptedSource, tmp_path: Path
) -> None:
    page = things(Asked("GET", "/things", {"limit": "10"}, {}, b""))
    assert isinstance(page, Answer)
    spoiled = [
        Answer(page.body[:-40]),
        Answer(page.body[:-40], length=len(page.body)),
        Answer(b"<html>please sign in</html>", headers={"Content-Type": "text/html"}),
        Answer(b'{"items":[]}'),
        Answer(b"slow down", status=500),
    ]
    waiting: list[Answer | None] = [answer for each in spoiled for answer in (each, None)]
    things.fault = lambda asked: waiting.pop(0) if waiting else None

    def stored() -> list[str]:
        return [headers_of(m)["http.status"] for m in polled.read(polled.names.responses("shop"))]

    with polled.poller(tmp_path):
        eventually(lambda: "500" in stored() and polled.newest() == as_published(things))
    assert len(polled.raw()) == 25
    assert stored().count("500") == 1


def test_a_refusal_is_a_fault_with_its_query_and_the_id_of_its_stored_answer(
    polled: Polled, things: Things, tmp_path: Path
) -> None:
    things.fault = lambda asked: Answer(b'{"error":"no such column: since"}', 400)
    with polled.poller(tmp_path) as health:
        why = eventually(lambda: health.faults.get("shop/things enumeration request", ""))
        assert f"GET {polled.url}/things?limit=10: status 400" in why
        response_id = why.partition("`sluice responses show ")[2].rstrip("`")
        stored = {(m.key() or b"").decode(): m.value() for m in polled.read(polled.names.responses("shop"))}
        assert stored[response_id] == b'{"error":"no such column: since"}'
        things.fault = lambda asked: None
        eventually(lambda: not health.faults)


def test_retry_after_is_waited_for_and_the_refusal_is_stored(
    polled: Polled, things: Things, source: ScriptedSource, tmp_path: Path
) -> None:
    waiting = [Answer(b'{"error":"slow down"}', 429, {"Retry-After": "2"})]
    things.fault = lambda asked: waiting.pop(0) if waiting else None
    with polled.poller(tmp_path):
        eventually(lambda: polled.newest() == as_published(things))
    stored = sorted(polled.read(polled.names.responses("shop")), key=lambda m: m.timestamp()[1])
    assert headers_of(stored[0])["http.status"] == "429"
    waited_ms = stored[1].timestamp()[1] - stored[0].timestamp()[1]
    assert waited_ms >= 2_000


def test_bad_records_go_to_the_dead_letters_and_block_only_deletes(
    polled: Polled, things: Things, tmp_path: Path
) -> None:
    large = things.put(100, blob="x" * RECORD_BYTES_MAX)
    nameless = b'{"name":"no key"}'

    def spoiled(asked: Asked) -> Answer | Raw | None:
        if asked.query.get("since") or "after" in asked.query:
            return None
        page = things(Asked(asked.method, asked.path, {**asked.query, "after": "-1"}, {}, b""))
        assert isinstance(page, Answer)
        return Answer(page.body.replace(b'{"data":[', b'{"data":[' + nameless + b","))

    things.fault = spoiled
    with polled.poller(tmp_path) as health:
        eventually(lambda: any("no readable key" in why for why in health.faults.values()))
        things.delete(5)
        edited = things.put(6)
        eventually(lambda: polled.newest().get(b'{"id":6}') == edited)
    assert b'{"id":5}' in polled.newest()
    assert b'{"id":100}' not in polled.newest()
    dead = {headers_of(m)["sluice-kind"]: m for m in polled.read(polled.names.dlq("ingress-poller"))}
    assert set(dead) == {"unreadable-key", "too-large"}
    assert dead["unreadable-key"].value() == nameless
    assert dead["too-large"].key() == b'{"id":100}'
    about = headers_of(dead["unreadable-key"])
    assert about["__connect.errors.topic"] == polled.names.raw("shop", "things")
    assert len(about["sluice-cause"]) == 12
    assert "no key" not in about["__connect.errors.exception.message"]
    assert len(dead["too-large"].value() or b"") <= len(large)
    kinds = [headers_of(m)["sluice-kind"] for m in polled.read(polled.names.dlq("ingress-poller"))]
    assert sorted(kinds) == ["too-large", "unreadable-key"]


def test_a_wait_requested_of_one_stream_is_kept_by_all_streams_of_the_source(
    open_polled: OpenPolled, source: ScriptedSource, things: Things, tmp_path: Path
) -> None:
    polled = open_polled(("things", "others"))
    with polled.poller(tmp_path):
        eventually(lambda: polled.newest() == polled.newest("others") == as_published(things))
        refused: list[int] = []

        asked_at: list[float] = []  # of each request from the refusal on, by the source's clock

        def refuse(asked: Asked) -> Answer | Raw | None:
            if refused:
                asked_at.append(time.monotonic())
            if refused or asked.path == "/others":
                return None
            refused.append(len(source.asked))
            asked_at.append(time.monotonic())
            return Answer(status=429, headers={"Retry-After": "3"})

        things.fault = refuse
        eventually(lambda: asked_at and asked_at[-1] - asked_at[0] >= 3.0)
        # The other stream, which polls five times a second, may send pages until the poller has read the refusal.
        early = [at for at in asked_at if at - asked_at[0] < 3.0]
        assert early[-1] - asked_at[0] < 1.0


@pytest.mark.parametrize("status", [429, 503])
def test_a_long_wait_that_a_source_requests_is_a_fault_of_each_stream_until_it_answers(
    open_polled: OpenPolled, source: ScriptedSource, things: Things, tmp_path: Path, status: int
) -> None:
    polled = open_polled(("things", "others"))
    waits = ["shop/others wait", "shop/things wait"]
    with polled.poller(tmp_path) as health:
        eventually(lambda: polled.newest() == polled.newest("others") == as_published(things))
        things.fault = lambda asked: (
            Answer(status=status, headers={"Retry-After": "86400"}) if asked.path == "/others" else None
        )
        eventually(lambda: sorted(about for about in health.faults if about.endswith("wait")) == waits)
        for about in waits:
            assert f"GET {polled.url}/others?limit=10" in health.faults[about]
            assert f": status {status} and Retry-After (86400 s)" in health.faults[about]
            assert "restart ingress-poller" in health.faults[about]
    assert not health.faults
    things.fault = lambda asked: None
    edited = things.put(7)
    with polled.poller(tmp_path) as health:
        eventually(lambda: polled.newest().get(b'{"id":7}') == edited)
        eventually(lambda: not health.faults)


def test_one_streams_trouble_never_delays_another(
    open_polled: OpenPolled, source: ScriptedSource, things: Things, tmp_path: Path
) -> None:
    polled = open_polled(("things", "others"))
    things.fault = lambda asked: Answer(status=403) if asked.path == "/others" else None
    with polled.poller(tmp_path) as health:
        eventually(lambda: polled.newest() == as_published(things))
        eventually(lambda: "status 403" in health.faults.get("shop/others enumeration request", ""))
        things.fault = lambda asked: None
        eventually(lambda: polled.newest("others") == as_published(things))
        eventually(lambda: not health.faults)
