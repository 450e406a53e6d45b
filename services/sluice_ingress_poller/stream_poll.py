"""One polled stream as a state machine without I/O: which request is next, when it is due, what its answer changes.

The owner of the stream sends the requests, publishes the decisions and reports back: `request` → (fetch) → `decide`
→ (publish) → `committed`; and `failed` after every failure. A decision takes effect only when it is committed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from sluice.connector import Request, Response, Stream
from sluice.connector.messages import without_query
from sluice.connector.paging import ImplicitEnd
from sluice.errors import Bug, EnvironmentFault, SluiceError, Transient
from sluice.ingress.backpressure import Flow
from sluice.ingress.deletes import Acceptance
from sluice.position import Position
from sluice_ingress_poller.completeness import IncompleteListing, PagesRead, why_incomplete
from sluice_ingress_poller.duplicate_keys import DuplicateKeys, EarlierDuplicates
from sluice_ingress_poller.enumeration import DeleteVerdict, Enumeration, ShrinkGuard, decide_deletes
from sluice_ingress_poller.enumeration_schedule import RELIST_AFTER_S, EnumerationSchedule
from sluice_ingress_poller.known_keys import KnownKeys
from sluice_ingress_poller.listing import Decision, Listing, fingerprint
from sluice_ingress_poller.page import PageChanges, author_fault, content_hash, page_changes, read_page
from sluice_ingress_poller.raw_topic_reset import RawTopicReset, why_not_swept
from sluice_ingress_poller.schedule import poll_interval_s, retry_delay_s
from sluice_ingress_poller.watermark import CHANGES, ENUMERATION, LISTED_TWICE, Watermark, newer

PARKED_REMEMBERED_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings of a polled stream. `name`: `source/stream`. `attempts_max`: of one page, before a listing stops."""

    freshness_s: float
    enumerate_every_s: float
    name: str
    guard: ShrinkGuard = field(default_factory=ShrinkGuard)
    attempts_max: int = 8


class StreamPoll:
    """State of one stream under one lease. Times are seconds of a monotonic clock; `now_us` is the wall clock.

    `due_s`: when the next request is due. `kind`: the kind of the current or last listing, ENUMERATION or CHANGES.
    `attempts`: how often in a row the current request failed.
    """

    def __init__(
        self, stream: Stream[Any], plan: Plan, watermark: Watermark, known: KnownKeys, now_s: float, now_us: int
    ) -> None:
        self.due_s = now_s
        self.kind = ENUMERATION
        self.attempts = 0
        self.watermark = watermark
        self._stream = stream
        self._plan = plan
        self._known = known
        self._listing: Listing | None = None
        self._to_repeat: dict[str, IncompleteListing] = {}
        self._page_sizes: dict[str, int] = {}
        self._duplicates = EarlierDuplicates(unsure=LISTED_TWICE in watermark.faults)
        self._parked: dict[bytes, None] = {}
        at_us = watermark.enumerated_at_us
        age_s = plan.enumerate_every_s if at_us is None else max(0.0, (now_us - at_us) / 1e6)
        # An enumeration is due at once if a fault is active, which may be fixed now, or if the raw topic has no record.
        at_once = watermark.faults or watermark.raw_reset or next(iter(known.keys()), None) is None
        due_s = now_s if at_once else now_s + plan.enumerate_every_s - age_s
        self._schedule = EnumerationSchedule(due_s, not_before_s=now_s)

    def request(self, now_s: float) -> Request:
        """The request to send now; may start a listing. Raises EnvironmentFault if the connector's own code fails."""
        if self._listing is None:
            self._listing = self._start(now_s)
        return self._listing.request

    @property
    def fingerprint(self) -> bytes:
        """A hash that identifies the current request; empty if no listing is running."""
        return fingerprint(self._listing.request) if self._listing else b""

    def accept(self, acceptance: Acceptance, now_s: float) -> None:
        """Apply an operator's request to accept a loss of keys, if it was not applied before.

        The next enumeration is due at `now_s`, and may publish the deletes of the keys in this loss.
        """
        if acceptance.request == self.watermark.accepted or acceptance == self._schedule.acceptance:
            return
        self._schedule.acceptance = acceptance
        self._schedule.due_s = now_s
        if self._listing is None:
            self.due_s = now_s

    def decide(self, response: Response, now_us: int) -> Decision:
        """What to publish for the page in `response`. Raises Transient or EnvironmentFault if the page is refused."""
        listing = self._current()
        page = read_page(self._stream, response)
        where = without_query(response.request.url)
        listing.refuse_repetition(page, where)
        items, withheld, replaced = listing.duplicate_keys.filtered(page.items, self._known.get, where)
        listing.pages_read.add(len(page.items), page.hints)
        for item in page.items:
            listing.newest = newer(listing.newest, item.cursor, page.server_time)
            if listing.enumeration is not None:
                listing.enumeration.list(item.key)
        changes = page_changes(items, self._known.get, self._parked)
        changes.unchanged += replaced
        changes.conflicting = withheld
        if page.next is not None:
            return Decision(changes, self.watermark, page.next)
        listing.pages_read.implicit_end = page.implicit_end
        return self._end(listing, changes, now_us)

    def committed(self, decision: Decision, now_s: float, flow: Flow = Flow.FLOWING) -> None:
        """Apply `decision` after its transaction is committed, and plan the next request."""
        listing = self._current()
        hashes: dict[bytes, bytes | None] = {i.key: content_hash(i.raw) for i in decision.changes.upserts if i.key}
        self._known.learn(hashes | dict.fromkeys(decision.deletes))
        self._remember_parked(decision)
        self.watermark = decision.watermark
        self.attempts = 0
        if decision.next is not None:
            listing.requested.add(fingerprint(listing.request))
            listing.request = decision.next
            self.due_s = now_s
            return
        self._listing = None
        self.due_s = max(now_s, listing.started_s + poll_interval_s(self._plan.freshness_s, flow))
        incomplete = decision.incomplete
        released = incomplete is None and self._releases_keys(listing)
        self._duplicates = listing.duplicate_keys.after(incomplete is None)
        self._to_repeat.pop(listing.kind, None)
        if incomplete is not None and incomplete.retry and not listing.repeated:
            self._repeat(listing.kind, incomplete)
            self.due_s = now_s
        elif listing.enumeration is not None:
            self._schedule.enumerated(decision, now_s, self._plan.enumerate_every_s, released)
        elif listing.duplicate_keys.duplicates:
            self._schedule.due_s = min(self._schedule.due_s, now_s + RELIST_AFTER_S)

    def failed(self, error: SluiceError, now_s: float, spread: float) -> None:
        """Plan the retry after a request failed or its page was refused. `spread`: a random number in [0, 1).

        The same page is requested again. The listing is abandoned after `attempts_max` failures, or if only a person
        can fix the cause; then the next listing starts from its first page. After an abandoned enumeration, changes are
        polled before the next enumeration.
        """
        self.attempts += 1
        requested_s = error.retry_after_s if isinstance(error, Transient) else None
        given_up = self.attempts % self._plan.attempts_max == 0 and requested_s is None
        self.due_s = now_s + retry_delay_s(self.attempts, requested_s, spread)
        if isinstance(error, EnvironmentFault) or given_up:
            self._listing = None
            if self.kind == ENUMERATION:
                self._schedule.not_before_s = self.due_s + min(self._plan.enumerate_every_s, RELIST_AFTER_S)

    def _start(self, now_s: float) -> Listing:
        due = ENUMERATION in self._to_repeat or self._schedule.is_due(now_s)
        everything = due and now_s >= self._schedule.not_before_s
        try:
            since = None if everything else self._stream.since(self.watermark.cursor)
            self.kind = ENUMERATION if since is None else CHANGES
            first = self._stream.first_request(since)
        except SluiceError:
            raise
        except (Exception, SystemExit) as error:
            raise author_fault(error, type(self._stream).__qualname__) from error
        to_repeat = self._to_repeat.get(self.kind)
        size = (to_repeat.page_size if to_repeat else None) or self._page_sizes.get(self.kind)
        if self._stream.implicit_end is not None and size is not None:
            first = self._stream.implicit_end.resized(first, size)
        return Listing(
            started_s=now_s,
            request=first,
            enumeration=Enumeration() if since is None else None,
            newest=self.watermark.cursor,
            duplicate_keys=DuplicateKeys(self._duplicates, since is None),
            pages_read=PagesRead(size or self._stream.page_size),
            repeated=to_repeat is not None,
        )

    def _repeat(self, kind: str, incomplete: IncompleteListing) -> None:
        self._to_repeat[kind] = incomplete
        usual, size = self._stream.page_size, incomplete.page_size
        if usual is not None and size is not None and size * 2 >= usual:
            self._page_sizes[kind] = size  # later listings, too: with the usual size, the last page would be full again

    def _end(self, listing: Listing, changes: PageChanges, now_us: int) -> Decision:
        """The decision after the last page of `listing`. `changes`: what to do with the records of this page."""
        read, paging, everything = listing.pages_read, self._stream.implicit_end, listing.enumeration is not None
        paged_by = _paged_by(paging)
        before = self.watermark.page_records if paged_by and paged_by == self.watermark.paged else None
        incomplete = why_incomplete(read, paging, everything=everything, page_before=before)
        watermark = self._with_duplicates(listing, incomplete is None, now_us)
        if read.paged and paged_by:
            usual = read.size == self._stream.page_size
            watermark = replace(watermark, paged=paged_by, page_records=read.first if usual else before or 0)
        if incomplete is not None:
            if not incomplete.retry or listing.repeated:
                withheld = "no deletes, and the cursor stays" if everything else "the cursor stays"
                watermark = watermark.with_fault(listing.kind, f"{withheld}: {incomplete.why}", now_us)
            return Decision(changes, watermark, incomplete=incomplete)
        watermark = replace(watermark, cursor=listing.newest)
        if listing.enumeration is None:
            return Decision(changes, watermark.with_fault(CHANGES, "", now_us))
        return self._enumerated(listing, listing.enumeration, Decision(changes, watermark), now_us)

    def _enumerated(self, listing: Listing, enumeration: Enumeration, decision: Decision, now_us: int) -> Decision:
        """`decision` with the result of a complete enumeration: its deletes, its sweep and its fault, if any."""
        schedule, watermark = self._schedule, decision.watermark
        suspects = schedule.last.suspects if self._stream.listings_before_delete > 1 else None
        known, guard, name = self._known.keys(), self._plan.guard, self._plan.name
        verdict = decide_deletes(enumeration, known, guard, suspects, schedule.accepted, name)
        verdict, sweep = self._swept(verdict, enumeration, decision.changes)
        if not verdict.fault and (sweep or not watermark.raw_reset):
            watermark = replace(watermark, raw_reset=None, listed=len(enumeration.keys))
        if schedule.acceptance is not None:
            watermark = replace(watermark, accepted=schedule.acceptance.request)
        confirmed = (not verdict.suspects or schedule.confirming) and watermark.raw_reset is None
        if not verdict.fault and confirmed and not self._releases_keys(listing):
            watermark = replace(watermark, enumerated_at_us=now_us)
        watermark = watermark.with_fault(ENUMERATION, verdict.fault, now_us, verdict.loss)
        return replace(decision, watermark=watermark, verdict=verdict, sweep=sweep)

    def _swept(
        self, verdict: DeleteVerdict, enumeration: Enumeration, changes: PageChanges
    ) -> tuple[DeleteVerdict, Position | None]:
        """The verdict, and the position below which the raw topic is swept (None: it is not swept).

        If the topic was reset and may not be swept, the verdict contains a fault. A sweep needs
        `listings_before_delete` enumerations in a row that may sweep, or an operator's acceptance.
        """
        since, plan = self.watermark.raw_reset, self._plan
        if since is None or verdict.fault:
            return verdict, None
        published = {item.key for item in changes.upserts}
        absent = sum(key not in published and self._known.get(key) is None for key in enumeration.keys)
        # 0 keys were listed before the reset if there was no enumeration. None: an old release stored no count.
        never = self.watermark.enumerated_at_us is None
        reset = RawTopicReset(since, 0 if never and self.watermark.listed is None else self.watermark.listed)
        accepted = self._schedule.accepted.digest
        fault, loss = why_not_swept(reset, len(enumeration.keys), absent, plan.guard, accepted, plan.name)
        if fault:
            return replace(verdict, fault=fault, loss=loss), None
        agreed = loss is not None or self._schedule.agreeing + 1 >= self._stream.listings_before_delete
        return verdict, since if agreed else None

    def _releases_keys(self, listing: Listing) -> bool:
        """Whether `listing` is an enumeration that lists a withheld key with one record only. Then the key is released:
        the next enumeration publishes its record."""
        if listing.enumeration is None:
            return False
        return self._duplicates.unsure or bool(self._duplicates.withheld - listing.duplicate_keys.duplicates)

    def _with_duplicates(self, listing: Listing, complete: bool, now_us: int) -> Watermark:
        """The watermark, with a fault if keys are listed twice. Only a complete enumeration resolves this fault."""
        count = len(listing.duplicate_keys.after(complete).withheld)
        if not (listing.enumeration is not None and complete) and not listing.duplicate_keys.duplicates:
            return self.watermark
        keys = "1 key is" if count == 1 else f"{count} keys are"
        why = f"{keys} listed twice with different contents: neither is published, and the record published before "
        why += f"stays. Next: declare a key that is unique in the source, not {', '.join(self._stream.key_fields)}"
        return self.watermark.with_fault(LISTED_TWICE, why if count else "", now_us)

    def _remember_parked(self, decision: Decision) -> None:
        # The hashes of parked records are only in memory, up to a limit. A record whose hash is lost is parked again.
        for parked in decision.changes.parked:
            self._parked[content_hash(parked.raw)] = None
        while len(self._parked) > PARKED_REMEMBERED_MAX:
            del self._parked[next(iter(self._parked))]

    def _current(self) -> Listing:
        if self._listing is None:
            raise Bug("no listing is running")
        return self._listing


def _paged_by(paging: ImplicitEnd | None) -> str:
    """The text by which a watermark names a declared `paging` that has led to a second page; empty for None."""
    return f"{type(paging).__name__} {paging.declared}" if paging is not None else ""
