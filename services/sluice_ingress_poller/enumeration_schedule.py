"""When a stream is enumerated next, and what the next enumeration has to confirm."""

from __future__ import annotations

from dataclasses import dataclass, field

from sluice.ingress.deletes import Acceptance
from sluice_ingress_poller.enumeration import AcceptedLoss, DeleteDecision
from sluice_ingress_poller.listing import Decision

RELIST_AFTER_S = 15.0
RELIST_AFTER_S_MAX = 3_600.0


@dataclass(slots=True)
class EnumerationSchedule:
    """Of one stream, under one lease; times in seconds of a monotonic clock.

    `due_s`: when the next enumeration is due. `not_before_s`: until then changes are polled, even if one is due.
    `confirming`: the next enumeration has to confirm what the last one found, and is due at once.
    `agreeing`: how many enumerations in a row would sweep a raw topic that was reset.
    `last`: the decision of the last complete enumeration. `acceptance`: an operator's request that is not used yet.
    """

    due_s: float
    not_before_s: float
    confirming: bool = False
    agreeing: int = 0
    last: DeleteDecision = field(default_factory=DeleteDecision)
    acceptance: Acceptance | None = None
    faulty_in_a_row: int = 0

    def is_due(self, now_s: float) -> bool:
        return self.confirming or now_s >= self.due_s

    @property
    def accepted(self) -> AcceptedLoss:
        """The loss that the next enumeration may delete."""
        if self.acceptance is None:
            return AcceptedLoss()
        same = self.last.loss is not None and self.last.loss.digest == self.acceptance.digest
        return AcceptedLoss(self.acceptance.digest, self.last.lost if same else frozenset())

    def enumerated(self, decision: Decision, now_s: float, interval_s: float, released: bool) -> None:
        """An enumeration ended with `decision`; plan the next one. `released`: it released keys that were withheld.

        Keys that became suspects, and a sweep, are confirmed by the next enumeration, at once. Keys that become
        suspects in a confirming enumeration wait for the next regular one, so that steady deletes do not turn every
        listing into an enumeration. While the stream has a fault, enumerations come soon, and then at growing
        intervals.
        """
        verdict = decision.verdict
        if verdict is not None:
            self.last, self.acceptance = verdict, None
        suspected = bool(verdict and verdict.suspects) and not self.confirming
        to_sweep = decision.watermark.raw_reset is not None and verdict is not None and not verdict.fault
        self.agreeing = self.agreeing + 1 if to_sweep else 0
        self.confirming = released or suspected or to_sweep
        if decision.watermark.faults:
            interval_s = min(interval_s, RELIST_AFTER_S * 2.0 ** min(self.faulty_in_a_row, 16), RELIST_AFTER_S_MAX)
            self.faulty_in_a_row += 1
        else:
            self.faulty_in_a_row = 0
        self.due_s = now_s + interval_s
