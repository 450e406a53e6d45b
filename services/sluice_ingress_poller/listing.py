"""The values that the state machine `StreamPoll` works with: a listing, and the decision about each of its pages."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field

from sluice.connector import CursorValue, Request
from sluice.errors import EnvironmentFault, Transient
from sluice.position import Position
from sluice_ingress_poller.completeness import CHECK_PAGING, IncompleteListing, PagesRead
from sluice_ingress_poller.duplicate_keys import DuplicateKeys
from sluice_ingress_poller.enumeration import DeleteVerdict, Enumeration
from sluice_ingress_poller.page import Page, PageChanges
from sluice_ingress_poller.watermark import CHANGES, ENUMERATION, Watermark

# Two pages of one listing may have the same records: an insert can move all records of a page to the next page.
SAME_PAGES_MAX = 3


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

    def refuse_repetition(self, page: Page, where: str) -> None:
        """Raises Transient if the page after `page` was read before in this listing. Raises EnvironmentFault if several
        pages have the same records. `where`: the URL of `page`."""
        if page.next is not None and fingerprint(page.next) in self.requested | {fingerprint(self.request)}:
            raise Transient(f"{where}: page refused whole: its next page is a page that this listing has read already")
        if page.items:
            self.same_pages[page.fingerprint] += 1
            if self.same_pages[page.fingerprint] >= SAME_PAGES_MAX:
                why = (
                    f"{SAME_PAGES_MAX} pages of one listing have the same records: the source does not page as declared"
                )
                raise EnvironmentFault(where, why, CHECK_PAGING)


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
    verdict: DeleteVerdict | None = None
    incomplete: IncompleteListing | None = None
    sweep: Position | None = None

    @property
    def deletes(self) -> tuple[bytes, ...]:
        return self.verdict.deletes if self.verdict is not None else ()


def fingerprint(request: Request) -> bytes:
    """A hash of a request without its headers."""
    text = f"{request.method} {request.url}\n".encode() + (request.body or b"")
    return hashlib.blake2b(text, digest_size=8).digest()
