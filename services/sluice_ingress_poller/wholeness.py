"""Whether a pass came to its end: what its pages said of more records, against what the declared paging made of it.

Most sources do not say where a listing ends; paging concludes it from a link that is missing or a page that is empty.
A wrong declaration concludes the same after the first page. So a conclusion must be proven once, by paging that led
from one page to another, and a last page that is as full as the first is doubted: the listing is asked for again with
pages of another size. If it then ends in a page that is not full, it was whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sluice.connector.paging import ImplicitEnd
from sluice.connector.paging_hints import PagingHints

NEXT_STEP = "compare the stream's paging with the source's documentation"


@dataclass(slots=True)
class Course:
    """What the pages of one pass have shown so far. `size`: records asked for a page, None if that is the source's."""

    size: int | None = None
    pages: int = 0
    records: int = 0
    first: int = 0
    last: int = 0
    errors: str = ""
    total: tuple[str, int] | None = None
    end: PagingHints = field(default_factory=PagingHints)
    open: bool = False

    def page(self, records: int, signs: PagingHints) -> None:
        """A page came; pages without a record are no evidence of paging."""
        if records:
            self.pages += 1
            self.records += records
            self.first = self.first or records
            self.last = records
        self.errors = self.errors or signs.errors
        # Records come and go while pages are read: the lowest total is what must at least arrive.
        totals = [one for one in (self.total, signs.total or signs.floor) if one is not None]
        self.total = min(totals, key=lambda one: one[1], default=None)
        self.end = signs

    @property
    def told(self) -> str:
        return f"{self.records} records on {self.pages} page{'' if self.pages == 1 else 's'}"

    @property
    def paged(self) -> bool:
        """The declared paging led from one page with records to another."""
        return self.pages > 1


@dataclass(frozen=True, slots=True)
class Doubt:
    """`why` a pass may not be whole. `again`: another look may clear it, with pages of `size` records if given."""

    why: str
    again: bool = False
    size: int | None = None


def doubt(course: Course, paging: ImplicitEnd | None, *, listing: bool, page_before: int | None = None) -> Doubt | None:
    """Why a finished pass may not have brought everything, None if it has. `page_before`: how much a page
    held when its paging was last seen to lead on, None if it never was."""
    end, seen = course.end, course.told
    if course.errors:
        return Doubt(f"{seen}, and the answer tells of a failure in {course.errors}. Next: look into the source")
    more = end.more or (end.token if paging is None or course.open else "")
    if more and not end.end:
        return Doubt(f"{seen}, and the last has {more}, as if more followed, which is not read. Next: {NEXT_STEP}")
    if end.pages is not None and end.pages[1] > max(course.pages, 1):
        return Doubt(f"{seen}, where {end.pages[0]} counts {end.pages[1]} pages. Next: {NEXT_STEP}", again=True)
    if listing and course.total is not None and course.total[1] > course.records:
        name, total = course.total
        return Doubt(f"{seen}, where {name} counts {total} records. Next: {NEXT_STEP}", again=True)
    if end.end or (listing and end.total is not None and end.total[1] == course.records):
        return None
    return _doubt_of_conclusion(course, paging, listing, page_before) if paging is not None and course.open else None


def _doubt_of_conclusion(
    course: Course, paging: ImplicitEnd, listing: bool, page_before: int | None = None
) -> Doubt | None:
    """The end was concluded: is the last page shorter than a page, and does the paging lead on where it should?"""
    if course.records <= 1:
        return None  # a page that holds less cannot be asked for
    size = _other_size(course)
    full = (course.size or course.last + 1) <= course.last or (course.paged and course.last >= course.first)
    full = full or (listing and course.pages == 1 and course.last == page_before)
    if full and course.size != 1:
        why = f"{course.told}, the last one as full as any, and then nothing more"
        return Doubt(f"{why}. Next: {_see(paging)}", size is not None, size)
    if page_before is not None or course.paged or not listing or (course.size is None and course.end.odata):
        return None
    why = f"{course.told}, and {paging.declared} has never led to a second one"
    return Doubt(f"{why}. Next: {_see(paging)}", size is not None, size)


def _see(paging: ImplicitEnd) -> str:
    return f"{NEXT_STEP}: it reads {paging.declared}; a source that lists all on one page is a SinglePage"


def _other_size(course: Course) -> int | None:
    """Pages that are a little smaller, so that all of the records do not fill them."""
    if course.size is None:
        return None
    below = min(course.size, course.first)
    return next((size for size in range(below - 1, 0, -1) if course.records % size), 1 if below > 1 else None)
