"""A stream under the present lease of its shard: its state machine, its lane, and what is told of it."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

import structlog

from sluice.errors import EnvironmentFault, SluiceError, Transient
from sluice.ingress.backpressure import Flow
from sluice.ingress.producer import IngressProducer
from sluice.times import now_us
from sluice_ingress_poller.acceptance import Acceptances
from sluice_ingress_poller.faults import TOLD_FROM_ATTEMPT, StreamFaults
from sluice_ingress_poller.lane import Lane
from sluice_ingress_poller.outcomes import count_page, count_parked
from sluice_ingress_poller.passes import Decision
from sluice_ingress_poller.polled import PolledStream
from sluice_ingress_poller.records import RecordMaker
from sluice_ingress_poller.schedule import waits_too_long
from sluice_ingress_poller.stream_poll import StreamPoll

# A request that fails only after so long is told at once: three of them would take minutes.
SLOW_S = 15.0
log = structlog.get_logger()


@dataclass
class Polling:
    polled: PolledStream
    poll: StreamPoll
    maker: RecordMaker
    lane: Lane
    faults: StreamFaults
    acceptances: Acceptances
    wanted_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.wanted_s = self.poll.due_s

    @property
    def due_s(self) -> float:
        """When its next request may go: the stream's own time, and not while the source asks for patience."""
        return max(self.poll.due_s, self.polled.patience.until_s)

    def tell_wait(self, now_s: float) -> None:
        """Tell, as soon as it is known, that the source keeps this stream waiting for too long."""
        if (hanging := self.lane.hanging(now_s)) is not None:
            self.faults.hangs(*hanging)
        if waits_too_long(self.wanted_s, self.polled.patience.until_s, self.polled.plan.freshness_s):
            self.faults.waits(self.polled.patience.why)

    def look_for_requests(self, producer: IngressProducer, now_s: float) -> None:
        """Take over what an operator accepted."""
        accepted = self.acceptances.look(producer, self.poll.watermark, now_s)
        if accepted is not None:
            self.poll.accept(accepted, now_s)

    def committed(self, decision: Decision, flow: Flow) -> None:
        """`decision` is published."""
        doing, page = self.poll.doing, self.poll.page
        self.poll.committed(decision, time.monotonic(), flow)
        self.wanted_s = self.poll.due_s
        count_page(self.polled.names, decision)
        count_parked(decision)
        self.faults.answered(doing, page, decision.next is None)
        if decision.next is None:
            self.faults.alarms(decision.watermark)

    def failed(self, error: Exception, response_id: str = "") -> None:
        """A request, its page or the making of either failed. A bug comes through.

        `response_id`: the id of the stored response, where there was one.
        """
        if not isinstance(error, SluiceError):
            raise error
        doing, page = self.poll.doing, self.poll.page
        self.poll.failed(error, time.monotonic(), random.random())  # noqa: S311 - spread, not secrecy
        attempts = self.poll.attempts if self.lane.waited_s(time.monotonic()) < SLOW_S else TOLD_FROM_ATTEMPT
        self.faults.failed(doing, page, error, attempts, response_id)
        if isinstance(error, Transient) and error.retry_after_s is not None:
            self.polled.patience.asked_for(error.retry_after_s, str(error), time.monotonic(), now_us())
        if not isinstance(error, EnvironmentFault):  # which is a fault at once
            retry_in_s = round(self.due_s - time.monotonic(), 1)
            log.warning(
                "not now",
                stream=self.polled.key,
                why=str(error),
                retry_in_s=retry_in_s,
                **({"response": response_id} if response_id else {}),
            )
