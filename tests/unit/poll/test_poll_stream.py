"""One stream's state machine against a source in memory, with faults, edits and deletes at any moment."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from sluice.connector import Connector, ConnectorSettings, Cursor, Offset, Request, Response, RestStream
from sluice.errors import EnvironmentFault, SluiceError, Transient, fault_text
from sluice.ingress.deletes import Acceptance
from sluice.position import Position
from sluice_ingress_poller.listing import Decision
from sluice_ingress_poller.page import content_hash
from sluice_ingress_poller.stream_poll import Plan, StreamPoll
from sluice_ingress_poller.watermark import Watermark

EPOCH = datetime(2024, 5, 1, tzinfo=UTC)


class Things(RestStream[dict[str, Any]]):
    path, records, key = "/things", "data", "id"
    cursor = Cursor("at", param="since", lookback=timedelta(seconds=5))
    paging = Offset()
    page_size = 3


class Store(Connector[ConnectorSettings]):
    streams: ClassVar = {"things": Things}


class Memory:
    """Known keys in a dict."""

    def __init__(self) -> None:
        self.hashes: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        return self.hashes.get(key)

    def keys(self) -> Iterator[bytes]:
        return iter(list(self.hashes))

    def learn(self, changes: Mapping[bytes, bytes | None]) -> None:
        for key, fingerprint in changes.items():
            if fingerprint is None:
                self.hashes.pop(key, None)
            else:
                self.hashes[key] = fingerprint


class Source:
    """Things by id; `answer` pages them by offset, so that a delete shifts rows between two pages."""

    def __init__(self) -> None:
        self.clock = 0
        self.things: dict[int, dict[str, Any]] = {}

    def put(self, number: int) -> None:
        self.clock += 1
        at = (EPOCH + timedelta(seconds=self.clock)).isoformat()
        self.things[number] = {"id": number, "at": at, "v": self.clock}

    def answer(self, request: Request) -> Response:
        query = {k: v[-1] for k, v in parse_qs(urlsplit(request.url).query).items()}
        since = query.get("since", "")
        rows = [t for _, t in sorted(self.things.items()) if t["at"] >= since]
        page = rows[int(query["offset"]) :][: int(query["limit"])]
        return Response(request, 200, {}, json.dumps({"data": page}).encode())


class Owner:
    """Runs a StreamPoll as the shard does, and keeps what it published."""

    def __init__(self, source: Source, plan: Plan | None = None, stream: type[Things] = Things) -> None:
        self.source = source
        self.stream = stream
        self.known = Memory()
        self.raw: dict[bytes, bytes] = {}
        self.published = 0
        self.deleted: list[bytes] = []
        self.now_s = 0.0
        self.plan = plan or Plan(freshness_s=2, enumerate_every_s=100, name="source/stream")
        self.watermark = Watermark(None, 1, 1)
        self.restart()

    def restart(self) -> None:
        """A new lease: what is known comes from what was published."""
        self.known.hashes = {key: content_hash(value) for key, value in self.raw.items()}
        stream = self.stream(Store("s", {"base_url": "http://s"}))
        self.poll = StreamPoll(stream, self.plan, self.watermark, self.known, self.now_s, round(self.now_s * 1e6))

    def step(self) -> Decision:
        """One page, published; one that is refused is asked for again."""
        while True:
            self.now_s = max(self.now_s, self.poll.due_s)
            answer = self.source.answer(self.poll.request(self.now_s))
            try:
                decision = self.poll.decide(answer, round(self.now_s * 1e6))
                break
            except SluiceError as error:
                self.poll.failed(error, self.now_s, 0.5)
        self.publish(decision)
        self.poll.committed(decision, self.now_s)
        return decision

    def publish(self, decision: Decision) -> None:
        for item in decision.changes.upserts:
            assert item.key is not None
            self.raw[item.key] = item.raw
            self.published += 1
        for key in decision.deletes:
            del self.raw[key]
            self.deleted.append(key)
        self.watermark = decision.watermark

    def full_listing(self) -> Decision:
        while (decision := self.step()).next is not None:
            pass
        return decision

    def accept_what_is_lost(self) -> None:
        """What an operator does about a fault whose loss is right."""
        fault = self.watermark.faults.get("enumeration")
        if fault is not None and fault.loss is not None:
            self.poll.accept(Acceptance(f"at {self.now_s}", fault.loss.digest), self.now_s)

    def fail(self, error: SluiceError) -> None:
        self.now_s = max(self.now_s, self.poll.due_s)
        self.poll.request(self.now_s)
        self.poll.failed(error, self.now_s, 0.5)


def owner_of(count: int, stream: type[Things] = Things, **plan: Any) -> Owner:
    source = Source()
    for number in range(count):
        source.put(number)
    return Owner(source, Plan(**{"freshness_s": 2, "enumerate_every_s": 100, "name": "source/stream", **plan}), stream)


def test_the_first_listing_is_of_everything_and_the_next_requests_changes() -> None:
    owner = owner_of(7)
    assert "since" not in owner.poll.request(0).url
    owner.full_listing()
    assert (owner.published, owner.watermark.cursor) == (7, owner.source.things[6]["at"])
    owner.source.put(2)
    assert "since=" in owner.poll.request(owner.now_s).url
    owner.full_listing()
    assert owner.published == 8


def test_the_cursor_moves_only_when_the_listing_is_complete() -> None:
    owner = owner_of(7)
    assert owner.step().watermark.cursor is None
    owner.restart()
    owner.full_listing()
    assert owner.watermark.cursor == owner.source.things[6]["at"]


def test_a_quiet_source_does_not_move_the_cursor() -> None:
    owner = owner_of(4)
    owner.full_listing()
    cursor = owner.watermark.cursor
    for _ in range(5):
        owner.full_listing()
    assert owner.watermark.cursor == cursor
    assert owner.published == 4


def test_polls_keep_the_interval_of_the_freshness_wanted() -> None:
    owner = owner_of(1)
    owner.full_listing()
    assert owner.poll.due_s == 1.0


def test_a_restart_in_the_middle_of_a_listing_publishes_nothing_twice() -> None:
    owner = owner_of(8)
    owner.step()
    owner.step()
    assert owner.published == 6
    owner.restart()
    owner.full_listing()
    assert owner.published == 8


def test_a_delete_needs_a_second_complete_listing() -> None:
    owner = owner_of(8)
    owner.full_listing()
    del owner.source.things[3]
    owner.now_s = 200
    assert not owner.full_listing().deletes
    assert owner.watermark.enumerated_at_us == 0
    assert owner.full_listing().deletes == (b'{"id":3}',)
    assert owner.watermark.enumerated_at_us is not None
    assert owner.watermark.enumerated_at_us >= 200_000_000
    assert b"3" not in b"".join(owner.raw)


def test_a_row_that_slips_between_two_pages_is_not_deleted() -> None:
    owner = owner_of(7)
    owner.full_listing()
    owner.now_s = 200
    owner.step()
    del owner.source.things[0]  # row 3 moves from the second page onto the first
    while not (decision := owner.step()).verdict:
        pass
    assert decision.verdict.suspects
    owner.full_listing()
    assert owner.deleted == []
    owner.now_s = 400
    owner.full_listing()
    assert owner.deleted == [b'{"id":0}']
    assert b'{"id":3}' in owner.raw


def test_a_failed_page_is_requested_again_and_an_abandoned_listing_starts_again() -> None:
    owner = owner_of(9, attempts_max=3)
    owner.step()
    second = owner.poll.request(owner.now_s).url
    for _ in range(2):
        owner.fail(Transient("500"))
        assert owner.poll.request(owner.now_s).url == second
    owner.fail(Transient("500"))
    assert "offset=0" in owner.poll.request(owner.now_s).url
    owner.full_listing()
    assert owner.published == 9


def test_a_wait_that_the_source_requests_abandons_no_listing() -> None:
    owner = owner_of(9, attempts_max=3)
    owner.step()
    second = owner.poll.request(owner.now_s).url
    for _ in range(10):
        owner.fail(Transient("429", retry_after_s=30))
        assert owner.poll.due_s == owner.now_s + 30
    assert owner.poll.request(owner.now_s).url == second


def test_a_page_that_leads_back_is_refused() -> None:
    class Circle(Things):
        def next_request(self, response: Response, request: Request) -> Request | None:
            return Request.get("/things", {"offset": 0, "limit": 3})

    owner = owner_of(9, Circle)
    request = owner.poll.request(0)
    with pytest.raises(Transient, match="has read already"):
        owner.poll.decide(owner.source.answer(request), 0)


def test_an_error_in_the_authors_code_stops_the_stream_and_quotes_nothing() -> None:
    class Broken(Things):
        def records_in(self, response: Response) -> list[bytes]:
            raise KeyError("name of a person")

    owner = owner_of(3, Broken)
    with pytest.raises(EnvironmentFault, match=r"raised KeyError at test_poll_stream\.py:\d+") as fault:
        owner.poll.decide(owner.source.answer(owner.poll.request(0)), 0)
    assert "person" not in str(fault.value)


def answer(owner: Owner, body: bytes) -> Decision:
    return owner.poll.decide(Response(owner.poll.request(owner.now_s), 200, {"content-type": "text/html"}, body), 0)


@pytest.mark.parametrize("body", [b"<html>", b'{"data":[{"id":1},', b'{"items":[]}', b'{"data":null}', b""])
def test_a_page_that_is_not_data_is_refused_whole(body: bytes) -> None:
    with pytest.raises(Transient, match=r"page refused whole: .*content-type text/html") as refused:
        answer(owner_of(0), body)
    assert "Next: if it lasts, fix what the source answers" in fault_text(refused.value)


def test_a_record_without_key_is_parked_and_blocks_deletes() -> None:
    owner = owner_of(4)
    owner.full_listing()
    owner.now_s = 200
    rows = [{"id": 0, "at": "x"}, {"name": "no key"}]
    page = answer(owner, json.dumps({"data": rows}).encode())
    owner.publish(page)
    owner.poll.committed(page, owner.now_s)
    last = answer(owner, b'{"data":[]}')
    assert [p.code for p in page.changes.parked] == ["unreadable-key"]
    assert "no readable key" in last.watermark.faults["enumeration"].why
    assert last.deletes == ()
    assert owner.deleted == []


def test_a_page_of_records_without_key_is_a_wrong_declaration() -> None:
    page = json.dumps({"data": [{"ID": n} for n in range(100)]}).encode()
    with pytest.raises(EnvironmentFault, match="compare the stream's key"):
        answer(owner_of(0), page)


@pytest.mark.parametrize("seed", range(60))
def test_whatever_fails_in_between_raw_ends_equal_to_the_source(seed: int) -> None:
    """Edits, deletes, failed requests, lost publications and new owners, at random moments."""
    random = Random(seed)
    owner = owner_of(random.randrange(1, 10), attempts_max=2, enumerate_every_s=5)
    high: dict[bytes, int] = {}
    for _ in range(300):
        match random.randrange(8):
            case 0 | 1:
                owner.source.put(random.randrange(10))
            case 2 if owner.source.things:
                del owner.source.things[random.choice(list(owner.source.things))]
            case 3:
                owner.fail(random.choice([Transient("500"), EnvironmentFault("s", "404", "check")]))
            case 4:
                owner.restart()
            case _:
                owner.step()
        for key, raw in owner.raw.items():
            version = json.loads(raw)["v"]
            assert version >= high.get(key, 0)
            high[key] = version
    for _ in range(12):
        owner.now_s += 10
        owner.full_listing()
        owner.accept_what_is_lost()
    expected = {b'{"id":%d}' % n: json.dumps(t).encode() for n, t in owner.source.things.items()}
    assert owner.raw == expected


SINCE = Position(1, 7, 0)


def complete_listing(owner: Owner) -> Decision:
    """The end of the first complete listing."""
    while (decision := owner.full_listing()).incomplete is not None:
        pass
    return decision


def with_raw_lost(count: int) -> Owner:
    """An owner whose raw topic is empty under a watermark that listed `count` things."""
    owner = owner_of(count)
    owner.full_listing()
    owner.raw.clear()
    owner.watermark = replace(owner.watermark, raw_reset=SINCE)
    owner.restart()
    owner.now_s += 1_000
    return owner


def test_the_sweep_is_published_once_with_the_last_page_of_the_second_listing() -> None:
    """One listing is not enough: a row that shifts between two of its pages is in none of them."""
    owner = with_raw_lost(25)
    del owner.source.things[3]
    first = complete_listing(owner)
    assert (first.sweep, first.watermark.raw_reset) == (None, SINCE)
    started_s = owner.now_s
    assert owner.step().sweep is None, "there are more pages"
    assert complete_listing(owner).sweep == SINCE
    assert owner.now_s - started_s < owner.plan.enumerate_every_s, "it follows at once"
    assert owner.watermark.raw_reset is None
    assert owner.watermark.listed == 24
    owner.now_s += 1_000
    assert owner.full_listing().sweep is None


def test_a_sweep_that_is_due_survives_a_change_of_owner() -> None:
    owner = with_raw_lost(25)
    complete_listing(owner)
    owner.restart()
    swept = [complete_listing(owner).sweep for _ in range(3)]
    assert swept == [None, SINCE, None]


def test_what_a_listing_lacks_is_withheld_until_an_operator_accepts_it() -> None:
    owner = with_raw_lost(25)
    owner.source.things = {n: thing for n, thing in owner.source.things.items() if n < 5}
    assert owner.full_listing().sweep is None
    assert "listed 25 before" in owner.watermark.faults["enumeration"].why
    assert owner.watermark.raw_reset == SINCE
    owner.accept_what_is_lost()
    assert owner.full_listing().sweep == SINCE
    assert not owner.watermark.faults


class Doubled(Source):
    """Thing 8 is listed under the key of thing 7."""

    doubles = True

    def answer(self, request: Request) -> Response:
        response = super().answer(request)
        rows = json.loads(response.body)["data"]
        listed = [{**row, "id": 7} if row["id"] == 8 and self.doubles else row for row in rows]
        return Response(request, 200, {}, json.dumps({"data": listed}).encode())


def test_a_key_that_is_withheld_is_not_swept() -> None:
    """It is listed, and not in the topic: what was published of it before must stay."""
    owner = with_raw_lost(25)
    doubled = Doubled()
    doubled.clock, doubled.things = owner.source.clock, owner.source.things
    owner.source = doubled
    assert {complete_listing(owner).sweep for _ in range(4)} == {None}
    assert "1 of 24 listed keys are not in it" in owner.watermark.faults["enumeration"].why
    doubled.doubles = False
    swept = []
    for _ in range(12):
        owner.now_s += 100
        swept.append(complete_listing(owner).sweep)
    assert [sweep for sweep in swept if sweep] == [SINCE]
    assert len(owner.raw) == 25
