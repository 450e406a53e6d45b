"""One polled stream as a state machine without I/O: which request is next, what an answer leads to, when to ask again.

The owner of the stream sends the requests, publishes the decisions and reports back: `request` → (fetch) → `decide`
→ (publish) → `committed`; `failed` after whatever went wrong. A decision takes effect here only when it is committed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

from sluice.connector import Request, Response, Stream
from sluice.connector.messages import without_query
from sluice.connector.paging import ImplicitEnd
from sluice.errors import EnvironmentFault, SluiceError, Transient
from sluice.ingress.backpressure import Flow
from sluice.ingress.deletes import Acceptance
from sluice.position import Position
from sluice_ingress_poller.enumeration import Accepted, Enumeration, Grounds, ShrinkGuard, Verdict, judge
from sluice_ingress_poller.known_keys import KnownKeys
from sluice_ingress_poller.page import News, Page, author_fault, content_hash, news, read_page
from sluice_ingress_poller.passes import Decision, Pass
from sluice_ingress_poller.raw_anew import RawAnew, unpublished, why_not_swept
from sluice_ingress_poller.schedule import poll_interval_s, retry_delay_s
from sluice_ingress_poller.sightings import Sightings, Twice
from sluice_ingress_poller.watermark import CHANGES, ENUMERATION, LISTED_TWICE, Watermark, newer
from sluice_ingress_poller.wholeness import NEXT_STEP, Course, Doubt, doubt

PARKED_REMEMBERED_MAX = 10_000
# A page that comes for the third time in one pass: once, an insert may shift the last row onto the next page.
SAME_PAGES_MAX = 3
RELIST_AFTER_S = 15.0
RELIST_AFTER_S_MAX = 3_600.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What settings say about a stream, which is `name` (`source/stream`) for people."""

    freshness_s: float
    enumerate_every_s: float
    guard: ShrinkGuard = field(default_factory=ShrinkGuard)
    attempts_max: int = 8
    name: str = "source/stream"


class StreamPoll:
    """State of one stream under one lease; times in seconds of one monotonic clock, `now_us` is the wall clock."""

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
        self._agreeing = 0
        self._again: dict[str, Doubt] = {}
        self._sizes: dict[str, int] = {}
        self._twice = Twice(unsure=LISTED_TWICE in watermark.alarms)
        self._refused = Verdict()
        self._acceptance: Acceptance | None = None
        self._alarms_in_a_row = 0
        self._no_listing_before_s = now_s
        self.doing = ENUMERATION
        self._parked: dict[bytes, None] = {}
        at_us = watermark.enumerated_at_us
        age_s = plan.enumerate_every_s if at_us is None else max(0.0, (now_us - at_us) / 1e6)
        # Where an alarm stands, a restart may bring what mends it; where no key is known, the raw topic was made anew.
        at_once = watermark.alarms or watermark.raw_anew or next(iter(known.keys()), None) is None
        self._enumerate_at_s = now_s if at_once else now_s + plan.enumerate_every_s - age_s

    def request(self, now_s: float) -> Request:
        """The request to send now; begins a pass where none is under way."""
        if self._pass is None:
            self._pass = self._begin(now_s)
        return self._pass.request

    @property
    def page(self) -> bytes:
        """The request under way, as a fingerprint; empty where there is none."""
        return _fingerprint(self._pass.request) if self._pass else b""

    @property
    def attempts(self) -> int:
        """How often in a row it failed."""
        return self._attempts

    def accept(self, acceptance: Acceptance, now_s: float) -> None:
        """An operator accepts a loss: the next enumeration, which is due now, publishes its deletes. Used once."""
        if acceptance.request == self.watermark.accepted or acceptance == self._acceptance:
            return
        self._acceptance = acceptance
        self._enumerate_at_s = now_s
        if self._pass is None:
            self.due_s = now_s

    def decide(self, response: Response, now_us: int) -> Decision:
        """What the page in a successful `response` leads to. Raises Transient or EnvironmentFault: page refused."""
        under_way = self._under_way()
        page = read_page(self._stream, response)
        where = without_query(response.request.url)
        self._refuse_circles(under_way, page, where)
        sorted_out = under_way.sightings.sort_out(page.items, self._known.get, where)
        under_way.course.page(len(page.items), page.signs)
        for item in page.items:
            under_way.newest = newer(under_way.newest, item.cursor, page.server_time)
            if under_way.enumeration is not None:
                under_way.enumeration.list(item.key)
        found = news(sorted_out.taken, self._known.get, self._parked)
        found.unchanged += sorted_out.older
        found.conflicting = sorted_out.held
        if page.next is not None:
            return Decision(found, (), self.watermark, page.next)
        under_way.course.open = page.open
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
        freed = decision.doubt is None and self._freed(under_way)
        self._twice = under_way.sightings.after(decision.doubt is None)
        self._again.pop(under_way.about, None)
        if decision.doubt is not None and not under_way.again and decision.doubt.again:
            self._look_again(under_way.about, decision.doubt)
            self.due_s = now_s
        elif under_way.enumeration is not None:
            self._plan_next_enumeration(decision, now_s, freed)
        elif under_way.sightings.twice:
            self._enumerate_at_s = min(self._enumerate_at_s, now_s + RELIST_AFTER_S)

    def failed(self, error: SluiceError, now_s: float, spread: float) -> None:
        """The request, its page or its publication failed; `spread` is random in [0, 1).

        The same page is asked for again, so that one failure does not cost a long pass; after `attempts_max`, or
        where only a person can mend it, the pass is given up and the next begins anew. Where it was a listing, changes
        are polled before the next.
        """
        self._attempts += 1
        asked_for_s = error.retry_after_s if isinstance(error, Transient) else None
        given_up = self._attempts % self._plan.attempts_max == 0 and asked_for_s is None
        self.due_s = now_s + retry_delay_s(self._attempts, asked_for_s, spread)
        if isinstance(error, EnvironmentFault) or given_up:
            self._pass = None
            if self.doing == ENUMERATION:
                self._no_listing_before_s = self.due_s + min(self._plan.enumerate_every_s, RELIST_AFTER_S)

    def _begin(self, now_s: float) -> Pass:
        due = bool(self._confirming or ENUMERATION in self._again or now_s >= self._enumerate_at_s)
        everything = due and now_s >= self._no_listing_before_s
        since = None
        try:
            since = None if everything else self._stream.since(self.watermark.cursor)
            self.doing = ENUMERATION if since is None else CHANGES
            first = self._stream.first_request(since)
        except SluiceError:
            raise
        except (Exception, SystemExit) as error:
            raise author_fault(error, type(self._stream).__qualname__) from error
        again = self._again.get(self.doing)
        size = (again.size if again else None) or self._sizes.get(self.doing)
        if self._stream.implicit_end is not None and size is not None:
            first = self._stream.implicit_end.resized(first, size)
        sightings = Sightings(self._twice, since is None)
        listing = Enumeration() if since is None else None
        course = Course(size or self._stream.page_size)
        return Pass(now_s, first, listing, self.watermark.cursor, sightings, course, again is not None)

    def _look_again(self, about: str, doubted: Doubt) -> None:
        self._again[about] = doubted
        usual, size = self._stream.page_size, doubted.size
        if usual is not None and size is not None and size * 2 >= usual:
            self._sizes[about] = size  # and so from now on: with the usual size the last page would be full again

    def _refuse_circles(self, under_way: Pass, page: Page, where: str) -> None:
        if page.next is not None and _fingerprint(page.next) in under_way.asked | {_fingerprint(under_way.request)}:
            raise Transient(f"{where}: page refused whole: its next page is one that this pass has read already")
        if page.items:
            under_way.pages[page.fingerprint] += 1
            if under_way.pages[page.fingerprint] >= SAME_PAGES_MAX:
                why = f"{SAME_PAGES_MAX} pages of one pass hold the same records: the source does not page as declared"
                raise EnvironmentFault(where, why, NEXT_STEP)

    def _last_page(self, under_way: Pass, found: News, now_us: int) -> Decision:
        course, paging, listing = under_way.course, self._stream.implicit_end, under_way.enumeration is not None
        paged = _paged_by(paging)
        before = self.watermark.page_records if paged and paged == self.watermark.paged else None
        doubted = doubt(course, paging, listing=listing, page_before=before)
        watermark = self._with_conflicts(under_way, doubted is None, now_us)
        if course.paged and paged:
            usual = course.size == self._stream.page_size
            watermark = replace(watermark, paged=paged, page_records=course.first if usual else before or 0)
        if doubted is not None:
            if not doubted.again or under_way.again:
                withheld = "no deletes, and the cursor stays" if listing else "the cursor stays"
                watermark = watermark.with_alarm(under_way.about, f"{withheld}: {doubted.why}", now_us)
            return Decision(found, (), watermark, None, doubt=doubted)
        watermark = replace(watermark, cursor=under_way.newest)
        if under_way.enumeration is None:
            return Decision(found, (), watermark.with_alarm(CHANGES, "", now_us), None)
        verdict = judge(under_way.enumeration, self._known.keys(), self._grounds())
        verdict, sweep = self._swept(verdict, under_way.enumeration, found)
        if not verdict.alarm and (sweep or not watermark.raw_anew):
            watermark = replace(watermark, raw_anew=None, listed=len(under_way.enumeration.seen))
        if self._acceptance is not None:
            watermark = replace(watermark, accepted=self._acceptance.request)
        confirmed = (not verdict.suspects or self._confirming) and watermark.raw_anew is None
        if not verdict.alarm and confirmed and not self._freed(under_way):
            watermark = replace(watermark, enumerated_at_us=now_us)
        watermark = watermark.with_alarm(ENUMERATION, verdict.alarm, now_us, verdict.loss)
        return Decision(found, verdict.deletes, watermark, None, verdict, sweep=sweep)

    def _swept(self, verdict: Verdict, listing: Enumeration, found: News) -> tuple[Verdict, Position | None]:
        """The verdict where the raw topic lost what it held, and what the listing sweeps: as many must agree as for a
        delete, or an operator."""
        since, plan = self.watermark.raw_anew, self._plan
        if since is None or verdict.alarm:
            return verdict, None
        absent = unpublished(listing.seen, {item.key for item in found.upserts if item.key}, self._known)
        accepted = self._acceptance.digest if self._acceptance else ""
        never = self.watermark.enumerated_at_us is None  # then nothing of before can be missed
        anew = RawAnew(since, 0 if never and self.watermark.listed is None else self.watermark.listed)
        alarm, loss = why_not_swept(anew, len(listing.seen), absent, plan.guard, accepted, plan.name)
        if alarm:
            return replace(verdict, alarm=alarm, loss=loss), None
        agreed = loss is not None or self._agreeing + 1 >= self._stream.listings_before_delete
        return verdict, since if agreed else None

    def _freed(self, under_way: Pass) -> bool:
        """Whether a listing shows that keys need not be withheld any more: the next one publishes their records."""
        if under_way.enumeration is None:
            return False
        return self._twice.unsure or bool(self._twice.withheld - under_way.sightings.twice)

    def _grounds(self) -> Grounds:
        plan, accepted = self._plan, Accepted()
        if self._acceptance is not None:
            refused = self._refused
            same = refused.loss is not None and refused.loss.digest == self._acceptance.digest
            accepted = Accepted(self._acceptance.digest, refused.lost if same else frozenset())
        return Grounds(plan.name, plan.guard, self._stream.listings_before_delete, self._suspects, accepted)

    def _with_conflicts(self, under_way: Pass, whole: bool, now_us: int) -> Watermark:
        """The watermark with the alarm of keys that are listed twice; only a whole enumeration ends it."""
        count = len(under_way.sightings.after(whole).withheld)
        if not (under_way.enumeration is not None and whole) and not under_way.sightings.twice:
            return self.watermark
        keys = "1 key is" if count == 1 else f"{count} keys are"
        why = f"{keys} listed twice with different contents, and neither is taken: what was published before "
        why += f"stays. Next: declare a key that is unique in the source (it is {', '.join(self._stream.key_fields)})"
        return self.watermark.with_alarm(LISTED_TWICE, why if count else "", now_us)

    def _plan_next_enumeration(self, decision: Decision, now_s: float, freed: bool) -> None:
        """What is suspected, or is to be swept, is looked for once more at the next poll. Whoever is suspected then
        waits for the next regular enumeration, so that steady deletes do not make every pass an enumeration. An alarm
        is looked at again soon, and ever more seldom."""
        every_s, verdict = self._plan.enumerate_every_s, decision.verdict
        if verdict is not None:
            self._suspects, self._refused, self._acceptance = verdict.suspects, verdict, None
        suspected = bool(verdict and verdict.suspects) and not self._confirming
        to_sweep = decision.watermark.raw_anew is not None and verdict is not None and not verdict.alarm
        self._agreeing = self._agreeing + 1 if to_sweep else 0
        self._confirming = freed or suspected or to_sweep
        if decision.watermark.alarms:
            every_s = min(every_s, RELIST_AFTER_S * 2.0 ** min(self._alarms_in_a_row, 16), RELIST_AFTER_S_MAX)
            self._alarms_in_a_row += 1
        else:
            self._alarms_in_a_row = 0
        self._enumerate_at_s = now_s + every_s

    def _remember_parked(self, decision: Decision) -> None:
        # Bounded, and lost with the lease: then a bad record that still stands at the source is parked once more.
        for parked in decision.news.parked:
            self._parked[content_hash(parked.raw)] = None
        while len(self._parked) > PARKED_REMEMBERED_MAX:
            del self._parked[next(iter(self._parked))]

    def _under_way(self) -> Pass:
        if self._pass is None:
            raise AssertionError("no pass is under way")
        return self._pass


def _paged_by(paging: ImplicitEnd | None) -> str:
    """What the watermark remembers of a paging that led on."""
    return f"{type(paging).__name__} {paging.declared}" if paging is not None else ""


def _fingerprint(request: Request) -> bytes:
    text = f"{request.method} {request.url}\n".encode() + (request.body or b"")
    return hashlib.blake2b(text, digest_size=8).digest()
