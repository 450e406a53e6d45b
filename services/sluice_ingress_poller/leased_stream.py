"""A polled stream of a shard that this process owns: its state machine, its requests and its faults."""

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

# A request that fails after more than this time is a fault at its first failure: three such attempts take minutes.
SLOW_S = 15.0
REQUESTS_INTERVAL_S = 3.0
log = structlog.get_logger()


@dataclass
class LeasedStream:
    """A polled stream of a shard that this process owns.

    `wanted_s`: when the stream's next request would be sent if the source had requested no wait (monotonic).
    """

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
        """When the stream's next request may be sent (monotonic): it is due, and a wait of the source has ended."""
        return max(self.poll.due_s, self.polled.backoff.until_s)

    def report_waits(self, now_s: float) -> None:
        """Report a fault if the stream's request hangs, or if the source requested a wait that is too long."""
        if (hanging := self.fetch_thread.hanging(now_s)) is not None:
            self.faults.hangs(*hanging)
        if waits_too_long(self.wanted_s, self.polled.backoff.until_s, self.polled.plan.freshness_s):
            self.faults.waits(self.polled.backoff.why)

    def read_acceptance(self, producer: IngressProducer, now_s: float) -> None:
        """Apply the newest request of `sluice deletes accept` for this stream. Blocks while it reads `sluice.control`.

        It is read every 3 seconds, and only while a fault is active that an acceptance would resolve.
        """
        fault = self.poll.watermark.faults.get(ENUMERATION)
        if fault is None or fault.loss is None:
            self.faults.requests_read()  # no fault waits for a request, so an unreadable topic is no fault
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
        """Apply `decision` after its transaction is committed: state, metrics and faults of the stream."""
        kind, fingerprint = self.poll.kind, self.poll.fingerprint
        self.poll.committed(decision, time.monotonic(), flow)
        self.wanted_s = self.poll.due_s
        count_page(self.polled.names, decision)
        self.faults.answered(kind, fingerprint, decision.next is None)
        if decision.next is None:
            self.faults.report_stored(decision.watermark)

    def failed(self, error: SluiceError, response_id: str = "") -> None:
        """Plan a retry and report the failure: a request failed or could not be built, or its page was refused.

        `response_id`: the id of the stored response; empty if no response arrived.
        """
        now_s, kind, fingerprint = time.monotonic(), self.poll.kind, self.poll.fingerprint
        self.poll.failed(error, now_s, random.random())  # noqa: S311 - spread, not secrecy
        attempts = self.poll.attempts if self.fetch_thread.waited_s(now_s) < SLOW_S else FAULT_FROM_ATTEMPT
        self.faults.failed(kind, fingerprint, error, attempts, response_id)
        why = self.faults.safe(str(error))
        if isinstance(error, Transient) and error.retry_after_s is not None:
            self.polled.backoff.extend(error.retry_after_s, why, now_s, now_us())
        if not isinstance(error, EnvironmentFault):  # an EnvironmentFault is reported as a fault at once
            log.warning(
                "request failed",
                stream=self.polled.key,
                why=why,
                retry_in_s=round(self.due_s - now_s, 1),
                **({"response": response_id} if response_id else {}),
            )
