"""Whether a listing is complete: what its pages say of more records, compared with where the declared paging ended.

Most sources do not mark the end of a listing. Paging concludes it from a missing link or an empty page, and a wrong
declaration concludes the same after the first page. So paging needs evidence once: it must have led from one page to
another. And a last page that is as full as the first is not trusted: the listing is repeated with another page size. If
it then ends with a page that is not full, it was complete.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sluice.connector.paging import ImplicitEnd
from sluice.connector.paging_hints import PagingHints

NEXT_STEP = "compare the stream's paging with the source's documentation"


@dataclass(slots=True)
class PagesRead:
    """What the pages of one listing showed so far.

    `size`: the requested page size, None if the source decides. `first`, `last`: records of the first and last page
    that has any. `total`: the member that counts all records, with the lowest count. `implicit_end`: the last page
    itself does not say that it is the last.
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
        """A page with so many `records` was read; a page without records is no evidence of paging."""
        if records:
            self.pages += 1
            self.records += records
            self.first = self.first or records
            self.last = records
        self.errors = self.errors or hints.errors
        # Records are added and deleted while pages are read: at least the lowest total must arrive.
        totals = [one for one in (self.total, hints.total or hints.floor) if one is not None]
        self.total = min(totals, key=lambda one: one[1], default=None)
        self.hints = hints

    @property
    def summary(self) -> str:
        return f"{self.records} records on {self.pages} page{'' if self.pages == 1 else 's'}"

    @property
    def paged(self) -> bool:
        """The declared paging led from one page with records to another."""
        return self.pages > 1


@dataclass(frozen=True, slots=True)
class IncompleteListing:
    """`why` a listing may lack records. `retry`: a repetition may refute it, with `page_size` records a page if
    given."""

    why: str
    retry: bool = False
    page_size: int | None = None


def why_incomplete(
    read: PagesRead, paging: ImplicitEnd | None, *, everything: bool, page_before: int | None = None
) -> IncompleteListing | None:
    """Why a finished listing may lack records; None if it is complete.

    `everything`: it is an enumeration. `page_before`: the records of a page when this paging last led to another page,
    None if it never did.
    """
    hints, summary = read.hints, read.summary
    if read.errors:
        return IncompleteListing(
            f"{summary}, and the answer reports a failure in {read.errors}. Next: check the source"
        )
    more = hints.more or (hints.token if paging is None or read.implicit_end else "")
    if more and not hints.end:
        why = f"{summary}, and the last has {more}, which says that more follows and is not read"
        return IncompleteListing(f"{why}. Next: {NEXT_STEP}")
    if hints.pages is not None and hints.pages[1] > max(read.pages, 1):
        return IncompleteListing(
            f"{summary}, but {hints.pages[0]} counts {hints.pages[1]} pages. Next: {NEXT_STEP}", retry=True
        )
    if everything and read.total is not None and read.total[1] > read.records:
        name, total = read.total
        return IncompleteListing(f"{summary}, but {name} counts {total} records. Next: {NEXT_STEP}", retry=True)
    if hints.end or (everything and hints.total is not None and hints.total[1] == read.records):
        return None
    if paging is None or not read.implicit_end:
        return None
    return _why_end_is_not_trusted(read, paging, everything, page_before)


def _why_end_is_not_trusted(
    read: PagesRead, paging: ImplicitEnd, everything: bool, page_before: int | None
) -> IncompleteListing | None:
    """The end is only concluded: is the last page shorter than a page, and did the paging ever lead on?"""
    if read.records <= 1:
        return None  # no smaller page can be requested
    size = _other_size(read)
    full = (read.size or read.last + 1) <= read.last or (read.paged and read.last >= read.first)
    full = full or (everything and read.pages == 1 and read.last == page_before)
    if full and read.size != 1:
        why = f"{read.summary}, the last one as full as any, and then nothing more"
        return IncompleteListing(f"{why}. Next: {_check(paging)}", size is not None, size)
    if page_before is not None or read.paged or not everything or (read.size is None and read.hints.odata):
        return None
    why = f"{read.summary}, and {paging.declared} has never led to a second one"
    return IncompleteListing(f"{why}. Next: {_check(paging)}", size is not None, size)


def _check(paging: ImplicitEnd) -> str:
    return f"{NEXT_STEP}: it reads {paging.declared}; a source that lists all on one page is a SinglePage"


def _other_size(read: PagesRead) -> int | None:
    """A slightly smaller page size, such that the records do not fill the last page; None if the source decides."""
    if read.size is None:
        return None
    below = min(read.size, read.first)
    return next((size for size in range(below - 1, 0, -1) if read.records % size), 1 if below > 1 else None)
