"""One polled stream as a state machine without I/O: which request is next, what an answer leads to, when to ask again.

The owner of the stream sends the requests, publishes the decisions and reports back: `request` → (fetch) → `decide`
→ (publish) → `committed`; `failed` after whatever went wrong. A decision takes effect here only when it is committed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

from sluice.connector import CursorValue, Request, Response, Stream
from sluice.connector.messages import without_query
from sluice.errors import EnvironmentFault, SluiceError, Transient
from sluice.stage.backpressure import Flow
from sluice_ingress_poller.enumeration import Enumeration, ShrinkGuard, Verdict, judge
from sluice_ingress_poller.known_keys import KnownKeys
from sluice_ingress_poller.page import News, author_fault, content_hash, news, read_page
from sluice_ingress_poller.schedule import poll_interval_s, retry_delay_s
from sluice_ingress_poller.watermark import Watermark, newer

PARKED_REMEMBERED_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What settings say about a stream."""

    freshness_s: float
    enumerate_every_s: float
    guard: ShrinkGuard = field(default_factory=ShrinkGuard)
    attempts_max: int = 8


@dataclass(slots=True)
class Pass:
    """One walk over a stream's pages: of everything (`enumeration` is there), or of what changed."""

    began_s: float
    request: Request
    enumeration: Enumeration | None
    newest: CursorValue | None
    asked: set[bytes] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Decision:
    """What one page leads to; `watermark` is written in the same transaction. `alarm`: why deletes are withheld."""

    news: News
    deletes: tuple[bytes, ...]
    watermark: Watermark
    next: Request | None
    verdict: Verdict | None = None

    @property
    def alarm(self) -> str:
        return self.verdict.alarm if self.verdict else ""


class StreamPoll:
    """State of one stream under one claim; times in seconds of one monotonic clock, `now_us` is the wall clock."""

    def __init__(
        self, stream: Stream[Any], plan: Plan, watermark: Watermark, known: KnownKeys, now_s: float, now_us: int
    ) -> None:
        self.due_s = now_s
        self.watermark = watermark
        self._stream = stream
        self._plan = plan
        self._known = known
        self._pass: Pass | None = None
        self._attempts = 0
        self._suspects: frozenset[bytes] = frozenset()
        self._confirming = False
        self._parked: dict[bytes, None] = {}
        at_us = watermark.enumerated_at_us
        age_s = plan.enumerate_every_s if at_us is None else max(0.0, (now_us - at_us) / 1e6)
        self._enumerate_at_s = now_s + plan.enumerate_every_s - age_s

    def request(self, now_s: float) -> Request:
        """The request to send now; begins a pass where none is under way."""
        if self._pass is None:
            self._pass = self._begin(now_s)
        return self._pass.request

    def decide(self, response: Response, now_us: int) -> Decision:
        """What the page in a successful `response` leads to. Raises Transient or EnvironmentFault: page refused."""
        under_way = self._under_way()
        page = read_page(self._stream, response)
        if page.next is not None and _fingerprint(page.next) in under_way.asked | {_fingerprint(under_way.request)}:
            where = without_query(response.request.url)
            raise Transient(f"{where}: page refused whole: its next page is one that this pass has read already")
        for item in page.items:
            under_way.newest = newer(under_way.newest, item.cursor, page.server_time)
            if under_way.enumeration is not None:
                under_way.enumeration.list(item.key)
        found = news(page.items, self._known.get, self._parked)
        if page.next is not None:
            return Decision(found, (), self.watermark, page.next)
        return self._last_page(under_way, found, now_us)

    def committed(self, decision: Decision, now_s: float, flow: Flow = Flow.FLOWING) -> None:
        """`decision` is published: take it over, and plan what comes next."""
        under_way = self._under_way()
        changes: dict[bytes, bytes | None] = {i.key: content_hash(i.raw) for i in decision.news.upserts if i.key}
        self._known.learn(changes | dict.fromkeys(decision.deletes))
        self._remember_parked(decision)
        self.watermark = decision.watermark
        self._attempts = 0
        if decision.next is not None:
            under_way.asked.add(_fingerprint(under_way.request))
            under_way.request = decision.next
            self.due_s = now_s
            return
        self._pass = None
        self.due_s = max(now_s, under_way.began_s + poll_interval_s(self._plan.freshness_s, flow))
        if decision.verdict is not None:
            self._plan_next_enumeration(decision.verdict, now_s)

    def failed(self, error: SluiceError, now_s: float, spread: float) -> None:
        """The request, its page or its publication failed; `spread` is random in [0, 1).

        The same page is asked for again, so that one failure does not cost a long pass; after `attempts_max`, or
        where only a person can mend it, the pass is given up and the next begins anew.
        """
        self._attempts += 1
        asked_for_s = error.retry_after_s if isinstance(error, Transient) else None
        given_up = self._attempts % self._plan.attempts_max == 0 and asked_for_s is None
        if isinstance(error, EnvironmentFault) or given_up:
            self._pass = None
        self.due_s = now_s + retry_delay_s(self._attempts, asked_for_s, spread)

    def _begin(self, now_s: float) -> Pass:
        everything = bool(self._confirming or now_s >= self._enumerate_at_s)
        try:
            since = None if everything else self._stream.since(self.watermark.cursor)
            first = self._stream.first_request(since)
        except SluiceError:
            raise
        except Exception as error:
            raise author_fault(error, type(self._stream).__qualname__) from error
        return Pass(now_s, first, Enumeration() if since is None else None, self.watermark.cursor)

    def _last_page(self, under_way: Pass, found: News, now_us: int) -> Decision:
        watermark = replace(self.watermark, cursor=under_way.newest)
        if under_way.enumeration is None:
            return Decision(found, (), watermark, None)
        verdict = judge(
            under_way.enumeration,
            self._known.keys(),
            self._suspects,
            self._plan.guard,
            self._stream.looks_before_delete,
        )
        if not verdict.alarm and (not verdict.suspects or self._confirming):
            watermark = replace(watermark, enumerated_at_us=now_us)
        return Decision(found, verdict.deletes, watermark, None, verdict)

    def _plan_next_enumeration(self, verdict: Verdict, now_s: float) -> None:
        # Suspects are looked for once more at the next poll; whoever is suspected then waits for the next regular
        # enumeration, so that steady deletes do not make every pass an enumeration.
        self._suspects = verdict.suspects
        self._confirming = bool(verdict.suspects) and not self._confirming
        self._enumerate_at_s = now_s + self._plan.enumerate_every_s

    def _remember_parked(self, decision: Decision) -> None:
        # Bounded, and lost with the claim: then a bad record that still stands at the source is parked once more.
        for parked in decision.news.parked:
            self._parked[content_hash(parked.raw)] = None
        while len(self._parked) > PARKED_REMEMBERED_MAX:
            del self._parked[next(iter(self._parked))]

    def _under_way(self) -> Pass:
        if self._pass is None:
            raise AssertionError("no pass is under way")
        return self._pass


def _fingerprint(request: Request) -> bytes:
    text = f"{request.method} {request.url}\n".encode() + (request.body or b"")
    return hashlib.blake2b(text, digest_size=8).digest()
