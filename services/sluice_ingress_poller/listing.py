"""The values that the state machine `StreamPoll` works with: a listing, and the decision about each of its pages."""

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
    """One run through a stream's pages. `enumeration`: the listed keys, or None if only changed records are requested.

    `request`: the request to send next. `newest`: the newest cursor value so far. `repeated`: the previous listing of
    this kind may have been incomplete, and this repetition decides. `requested`: the fingerprints of the requests
    before `request`. `same_pages`: how often a page with the same records arrived, by the fingerprint of the page.
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
    """What to publish for one page, and what follows. `watermark` is written in the transaction of the `changes`.

    `next`: the request for the next page, None at the end of the listing. The other fields are set only at the end.
    `incomplete`: why the listing may lack records; then it deletes nothing, and the cursor stays. `verdict`: the
    deletes of a complete enumeration. `sweep`: the position below which every record is deleted.
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
