"""One listing of a stream's pages, and what each page leads to: the values that `StreamPoll` works with."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from sluice.connector import CursorValue, Request
from sluice.position import Position
from sluice_ingress_poller.completeness import IncompleteListing, PagesRead
from sluice_ingress_poller.duplicate_keys import DuplicateKeys
from sluice_ingress_poller.enumeration import DeleteDecision, Enumeration
from sluice_ingress_poller.page import PageChanges
from sluice_ingress_poller.watermark import CHANGES, ENUMERATION, Watermark


@dataclass(slots=True)
class Listing:
    """One run through a stream's pages: of all records (then `enumeration` is not None), or of those that changed.

    `request`: the next one to send. `newest`: the newest cursor value so far. `repeated`: the previous listing of this
    kind may have been incomplete, and this one decides. `requested`: fingerprints of the requests before `request`;
    `same_pages`: how often each page's content came.
    """

    started_s: float
    request: Request
    enumeration: Enumeration | None
    newest: CursorValue | None
    duplicate_keys: DuplicateKeys
    pages_read: PagesRead
    repeated: bool = False
    requested: set[bytes] = field(default_factory=set)
    same_pages: Counter[bytes] = field(default_factory=Counter)

    @property
    def kind(self) -> str:
        return CHANGES if self.enumeration is None else ENUMERATION


@dataclass(frozen=True, slots=True)
class Decision:
    """What one page leads to. `watermark` is written in the same transaction, with the stream's active faults.

    `next`: the request for the next page, None at the end of the listing; then one of these may be set. `incomplete`:
    the listing may lack records, so nothing follows from it. `verdict`: the deletes that an enumeration decided.
    `sweep`: every record below this position is deleted.
    """

    changes: PageChanges
    watermark: Watermark
    next: Request | None = None
    verdict: DeleteDecision | None = None
    incomplete: IncompleteListing | None = None
    sweep: Position | None = None

    @property
    def deletes(self) -> tuple[bytes, ...]:
        return self.verdict.deletes if self.verdict is not None else ()
