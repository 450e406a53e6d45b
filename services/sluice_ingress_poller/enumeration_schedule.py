"""When the next enumeration of a stream is due, and what it has to confirm."""

from __future__ import annotations

from dataclasses import dataclass, field

from sluice.ingress.deletes import Acceptance
from sluice_ingress_poller.enumeration import AcceptedLoss, DeleteVerdict
from sluice_ingress_poller.listing import Decision

RELIST_AFTER_S = 15.0
RELIST_AFTER_MAX_S = 3_600.0


@dataclass(slots=True)
class EnumerationSchedule:
    """The plan of the enumerations of one stream under one lease. Times are seconds of a monotonic clock.

    `due_s`: when the next enumeration is due. `not_before_s`: no enumeration starts before this time; until then, only
    changes are polled.
    `confirming`: the next enumeration is due at once, because it confirms missing keys or a sweep, or publishes the
    records of released keys.
    `agreeing`: how many enumerations in a row allowed the sweep of a raw topic that was reset.
    `last`: the decision of the last complete enumeration about deletes.
    `acceptance`: an operator's request to accept missing keys, until an enumeration applies it.
    `faulty_in_a_row`: how many enumerations in a row ended with a fault.
    """

    due_s: float
    not_before_s: float
    confirming: bool = False
    agreeing: int = 0
    last: DeleteVerdict = field(default_factory=DeleteVerdict)
    acceptance: Acceptance | None = None
    faulty_in_a_row: int = 0

    def is_due(self, now_s: float) -> bool:
        return self.confirming or now_s >= self.due_s

    @property
    def accepted(self) -> AcceptedLoss:
        """The missing keys that the next enumeration may delete, because an operator accepted their deletion."""
        if self.acceptance is None:
            return AcceptedLoss()
        same = self.last.loss is not None and self.last.loss.digest == self.acceptance.digest
        return AcceptedLoss(self.acceptance.digest, self.last.lost if same else frozenset())

    def enumerated(self, decision: Decision, now_s: float, interval_s: float, released: bool) -> None:
        """Plan the next enumeration after one ended with `decision`. `released`: it released withheld keys.

        The next enumeration is due at once if it has to confirm suspects (keys that are missing for the first time) or
        a sweep. Suspects of a confirming enumeration wait for the next regular one; otherwise steady deletes would turn
        every listing into an enumeration. An enumeration that ends with a fault is repeated after 15 s, and after
        each further fault in twice the time.
        """
        verdict = decision.verdict
        if verdict is not None:
            self.last, self.acceptance = verdict, None
        suspected = bool(verdict and verdict.suspects) and not self.confirming
        to_sweep = decision.watermark.raw_reset is not None and verdict is not None and not verdict.fault
        self.agreeing = self.agreeing + 1 if to_sweep else 0
        self.confirming = released or suspected or to_sweep
        if decision.watermark.faults:
            interval_s = min(interval_s, RELIST_AFTER_S * 2.0 ** min(self.faulty_in_a_row, 16), RELIST_AFTER_MAX_S)
            self.faulty_in_a_row += 1
        else:
            self.faulty_in_a_row = 0
        self.due_s = now_s + interval_s
