"""Whether a listing is complete: whether its pages say that more records follow where the declared paging ended.

Most sources do not mark the end of a listing. The declared paging infers the end from a missing link or an empty page.
A wrong declaration infers the same after the first page. So a declared paging must have led from one page to another
once. A last page that is as full as the first page is no evidence of the end: the listing is repeated with another page
size. If the repetition ends with a page that is not full, it is complete.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sluice.connector.paging import ImplicitEnd
from sluice.connector.paging_hints import PagingHints

CHECK_PAGING = "compare the stream's paging with the source's documentation"


@dataclass(slots=True)
class PagesRead:
    """What the pages of one listing showed so far. Pages without records are not counted.

    `size`: the requested page size, None if the source decides. `pages`, `records`: how many arrived. `first`, `last`:
    how many records the first and the last page had. `errors`: the member that reports a failure. `total`: the member
    that counts all records, with its lowest count. `hints`: those of the last page. `implicit_end`: the last page does
    not say itself that it is the last.
    """

    size: int | None = None
    pages: int = 0
    records: int = 0
    first: int = 0
    last: int = 0
    errors: str = ""
    total: tuple[str, int] | None = None
    hints: PagingHints = field(default_factory=PagingHints)
    implicit_end: bool = False

    def add(self, records: int, hints: PagingHints) -> None:
        """Add a page with this number of `records`. A page without records is no evidence that the paging works."""
        if records:
            self.pages += 1
            self.records += records
            self.first = self.first or records
            self.last = records
        self.errors = self.errors or hints.errors
        # The stated total may change while pages are read. At least as many records as its lowest value must arrive.
        totals = [one for one in (self.total, hints.total or hints.floor) if one is not None]
        self.total = min(totals, key=lambda one: one[1], default=None)
        self.hints = hints

    @property
    def summary(self) -> str:
        return f"{self.records} records on {self.pages} page{'' if self.pages == 1 else 's'}"

    @property
    def paged(self) -> bool:
        """Whether the declared paging led from one page with records to another one."""
        return self.pages > 1


@dataclass(frozen=True, slots=True)
class IncompleteListing:
    """`why` a listing may lack records. `retry`: a repetition of the listing may show that it is complete. `page_size`:
    the records a page to request in the repetition; None: the usual number."""

    why: str
    retry: bool = False
    page_size: int | None = None


def why_incomplete(
    read: PagesRead, paging: ImplicitEnd | None, *, everything: bool, page_before: int | None = None
) -> IncompleteListing | None:
    """Why a finished listing may lack records; None if the listing is complete.

    `paging`: the declared paging, None if its end is never implicit. `everything`: whether the listing is an
    enumeration. `page_before`: how many records the first page had when this paging last led to a second page; None if
    it never did.
    """
    hints, summary = read.hints, read.summary
    if read.errors:
        return IncompleteListing(
            f"{summary}, and the answer reports a failure in {read.errors}. Next: check the source"
        )
    more = hints.more or (hints.token if paging is None or read.implicit_end else "")
    if more and not hints.end:
        why = f"{summary}; the last page has {more}, which says that more records follow, but the paging ignores it"
        return IncompleteListing(f"{why}. Next: {CHECK_PAGING}")
    if hints.pages is not None and hints.pages[1] > max(read.pages, 1):
        return IncompleteListing(
            f"{summary}, but {hints.pages[0]} counts {hints.pages[1]} pages. Next: {CHECK_PAGING}", retry=True
        )
    if everything and read.total is not None and read.total[1] > read.records:
        name, total = read.total
        return IncompleteListing(f"{summary}, but {name} counts {total} records. Next: {CHECK_PAGING}", retry=True)
    if hints.end or (everything and hints.total is not None and hints.total[1] == read.records):
        return None
    if paging is None or not read.implicit_end:
        return None
    return _why_end_is_not_trusted(read, paging, everything, page_before)


def _why_end_is_not_trusted(
    read: PagesRead, paging: ImplicitEnd, everything: bool, page_before: int | None
) -> IncompleteListing | None:
    """Why a listing whose last page does not say that it is the last may lack records; None if it is complete.

    It is complete if the last page has fewer records than a full page, and the paging has led to a second page once.
    """
    if read.records <= 1:
        return None  # trusted, because no smaller page can be requested
    size = _other_size(read)
    full = (read.size or read.last + 1) <= read.last or (read.paged and read.last >= read.first)
    full = full or (everything and read.pages == 1 and read.last == page_before)
    if full and read.size != 1:
        why = f"{read.summary}; the last one is as full as any, but no page follows"
        return IncompleteListing(f"{why}. Next: {_check(paging)}", size is not None, size)
    if page_before is not None or read.paged or not everything or (read.size is None and read.hints.odata):
        return None
    why = f"{read.summary}, and {paging.declared} has never led to a second page"
    return IncompleteListing(f"{why}. Next: {_check(paging)}", size is not None, size)


def _check(paging: ImplicitEnd) -> str:
    return f"{CHECK_PAGING}: the paging reads {paging.declared}; declare SinglePage() if the source has only one page"


def _other_size(read: PagesRead) -> int | None:
    """A slightly smaller page size, so that the same records do not fill the last page; None if the source decides."""
    if read.size is None:
        return None
    below = min(read.size, read.first)
    return next((size for size in range(below - 1, 0, -1) if read.records % size), 1 if below > 1 else None)
