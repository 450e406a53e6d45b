"""A stream while this process has the lease of its shard: its state machine, its requests and its faults."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

import structlog

from sluice.errors import EnvironmentFault, SluiceError, Transient
from sluice.ingress.backpressure import Flow
from sluice.ingress.deletes import Acceptance, control_key
from sluice.ingress.producer import IngressProducer
from sluice.times import now_us
from sluice_ingress_poller.faults import FAULT_FROM_ATTEMPT, StreamFaults
from sluice_ingress_poller.fetch_thread import FetchThread
from sluice_ingress_poller.listing import Decision
from sluice_ingress_poller.metrics import count_page
from sluice_ingress_poller.polled_stream import PolledStream
from sluice_ingress_poller.records import RecordBuilder
from sluice_ingress_poller.schedule import waits_too_long
from sluice_ingress_poller.stream_poll import StreamPoll
from sluice_ingress_poller.watermark import ENUMERATION

# A request that fails only after so long is a fault at once, because three such attempts would take minutes.
SLOW_S = 15.0
REQUESTS_INTERVAL_S = 3.0
log = structlog.get_logger()


@dataclass
class LeasedStream:
    """`wanted_s`: when its next request would be sent if the source requested no wait (monotonic)."""

    polled: PolledStream
    poll: StreamPoll
    builder: RecordBuilder
    fetch_thread: FetchThread
    faults: StreamFaults
    wanted_s: float = field(init=False)
    _read_requests_at_s: float = 0.0

    def __post_init__(self) -> None:
        self.wanted_s = self.poll.due_s

    @property
    def due_s(self) -> float:
        """When its next request may be sent: when the stream is due and the source requests no wait (monotonic)."""
        return max(self.poll.due_s, self.polled.backoff.until_s)

    def report_waits(self, now_s: float) -> None:
        """Report a request that hangs, and a wait that the source requested, as soon as it is known to be too long."""
        if (hanging := self.fetch_thread.hanging(now_s)) is not None:
            self.faults.hangs(*hanging)
        if waits_too_long(self.wanted_s, self.polled.backoff.until_s, self.polled.plan.freshness_s):
            self.faults.waits(self.polled.backoff.why)

    def read_acceptance(self, producer: IngressProducer, now_s: float) -> None:
        """Apply the newest request of `sluice deletes accept`. Read only while a fault is active that it could
        resolve."""
        fault = self.poll.watermark.faults.get(ENUMERATION)
        if fault is None or fault.loss is None:
            self.faults.requests_read()  # no request is expected
            return
        if now_s < self._read_requests_at_s:
            return
        self._read_requests_at_s = now_s + REQUESTS_INTERVAL_S
        key = control_key(self.polled.names.source, self.polled.names.stream)
        try:
            request = Acceptance.from_json(producer.read_control([key]).get(key))
        except SluiceError as error:
            self.faults.requests_unread(error)
            return
        self.faults.requests_read()
        if request is not None:
            self.poll.accept(request, now_s)

    def committed(self, decision: Decision, flow: Flow) -> None:
        """`decision` is published."""
        kind, fingerprint = self.poll.kind, self.poll.fingerprint
        self.poll.committed(decision, time.monotonic(), flow)
        self.wanted_s = self.poll.due_s
        count_page(self.polled.names, decision)
        self.faults.answered(kind, fingerprint, decision.next is None)
        if decision.next is None:
            self.faults.report_stored(decision.watermark)

    def failed(self, error: SluiceError, response_id: str = "") -> None:
        """The request failed, or it could not be built, or its page was refused.

        `response_id`: the id of the stored response, if there was one.
        """
        now_s, kind, fingerprint = time.monotonic(), self.poll.kind, self.poll.fingerprint
        self.poll.failed(error, now_s, random.random())  # noqa: S311 - spread, not secrecy
        attempts = self.poll.attempts if self.fetch_thread.waited_s(now_s) < SLOW_S else FAULT_FROM_ATTEMPT
        self.faults.failed(kind, fingerprint, error, attempts, response_id)
        if isinstance(error, Transient) and error.retry_after_s is not None:
            self.polled.backoff.extend(error.retry_after_s, str(error), now_s, now_us())
        if not isinstance(error, EnvironmentFault):  # an EnvironmentFault is a fault at once
            log.warning(
                "not now",
                stream=self.polled.key,
                why=str(error),
                retry_in_s=round(self.due_s - now_s, 1),
                **({"response": response_id} if response_id else {}),
            )
