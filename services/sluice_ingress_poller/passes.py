"""One walk over a stream's pages, and what each page leads to: the values that `StreamPoll` works with."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from sluice.connector import CursorValue, Request
from sluice.position import Position
from sluice_ingress_poller.enumeration import Enumeration, Verdict
from sluice_ingress_poller.page import News
from sluice_ingress_poller.sightings import Sightings
from sluice_ingress_poller.watermark import CHANGES, ENUMERATION, Watermark
from sluice_ingress_poller.wholeness import Course, Doubt


@dataclass(slots=True)
class Pass:
    """One walk over a stream's pages: of everything (`enumeration` is there), or of what changed.

    `again`: a pass of this kind left a doubt, which this one must clear.
    """

    began_s: float
    request: Request
    enumeration: Enumeration | None
    newest: CursorValue | None
    sightings: Sightings
    course: Course
    again: bool = False
    asked: set[bytes] = field(default_factory=set)
    pages: Counter[bytes] = field(default_factory=Counter)

    @property
    def about(self) -> str:
        return CHANGES if self.enumeration is None else ENUMERATION


@dataclass(frozen=True, slots=True)
class Decision:
    """What one page leads to; `watermark` is written in the same transaction, the alarms that stand in it. `doubt`: the
    pass is over, and another of its kind must clear this before anything follows from it. `sweep`: what stands below
    it is gone.
    """

    news: News
    deletes: tuple[bytes, ...]
    watermark: Watermark
    next: Request | None
    verdict: Verdict | None = None
    doubt: Doubt | None = None
    sweep: Position | None = None
