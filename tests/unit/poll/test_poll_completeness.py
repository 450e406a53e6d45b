"""Whether a listing is complete: tables of what its pages showed and what follows from it."""

from __future__ import annotations

import pytest

from sluice.connector import LinkHeader, NextLink, Offset
from sluice.connector.paging import ImplicitEnd
from sluice.connector.paging_hints import PagingHints
from sluice_ingress_poller.completeness import IncompleteListing, PagesRead, why_incomplete

NOTHING = PagingHints()
LINK = NextLink("links.next")


def read(*pages: int, size: int | None = None, end: PagingHints = NOTHING, stated: bool = False) -> PagesRead:
    """Pages with so many records each; the last one has the hints `end`. `stated`: it says that it is the last."""
    found = PagesRead(size)
    for number, records in enumerate(pages, 1):
        found.add(records, end if number == len(pages) else NOTHING)
    found.implicit_end = not stated
    return found


def of(
    found: PagesRead, paging: ImplicitEnd | None = LINK, everything: bool = True, page_before: int | None = None
) -> IncompleteListing | None:
    return why_incomplete(found, paging, everything=everything, page_before=page_before)


@pytest.mark.parametrize(
    "complete",
    [
        of(read(0)),
        of(read(1)),
        of(read(50, 50, 30)),
        of(read(50, 30), Offset()),
        of(read(8, size=200), page_before=200),
        of(read(8), page_before=50),
        of(read(8), page_before=0),
        of(read(50, stated=True)),
        of(read(50, 50, stated=True)),
        of(read(50, 50), None),
        of(read(50, size=50, end=PagingHints(end=True))),
        of(read(50, end=PagingHints(total=("total", 50)))),
        of(read(50, 50, end=PagingHints(total=("total", 100))), Offset()),
        of(read(8, end=PagingHints(odata=True))),
        of(read(8), everything=False),
        of(read(8, end=PagingHints(total=("total", 900))), None, everything=False),
        of(read(8, end=PagingHints(more="cursor", end=True)), None),
        of(read(8, end=PagingHints(pages=("pages", 1))), None),
        of(read(8, end=PagingHints(token="cursor"), stated=True)),
        of(read(1, 1, size=1)),
        of(read(0, end=PagingHints(pages=("pages", 0)))),
    ],
)
def test_a_listing_that_ends_as_its_paging_ends_is_complete(complete: IncompleteListing | None) -> None:
    assert complete is None


@pytest.mark.parametrize(
    ("incomplete", "words", "retry", "size"),
    [
        (of(read(8, end=PagingHints(more="next"))), "next", False, None),
        (of(read(8, end=PagingHints(token="cursor")), None), "cursor", False, None),
        (of(read(8, end=PagingHints(more="next"), stated=True)), "next", False, None),
        (of(read(8, end=PagingHints(more="the Link header")), None, everything=False), "Link header", False, None),
        (of(read(8, end=PagingHints(errors="errors"), stated=True)), "failure in errors", False, None),
        (of(read(50, 50)), "as full as any", False, None),
        (of(read(50, size=50)), "as full as any", True, 49),
        (of(read(50, 50, size=50), LinkHeader()), "as full as any", True, 49),
        (of(read(50, 50, size=200), Offset()), "as full as any", True, 49),
        (of(read(50), page_before=50), "as full as any", False, None),
        (of(read(50, size=200), page_before=50), "as full as any", True, 49),
        (of(read(50, size=50), everything=False, page_before=50), "as full as any", True, 49),
        (of(read(8)), "links.next has never led", False, None),
        (of(read(8, size=200)), "links.next has never led", True, 7),
        (of(read(2, size=200), Offset("from", "count")), "from and count has never led", True, 1),
        (of(read(50, end=PagingHints(odata=True)), page_before=50), "as full as any", False, None),
        (of(read(50, end=PagingHints(total=("total", 55))), None), "total counts 55 records", True, None),
        (of(read(50, end=PagingHints(floor=("count", 55))), None), "count counts 55 records", True, None),
        (of(read(50, end=PagingHints(pages=("total_pages", 2))), None, everything=False), "2 pages", True, None),
    ],
)
def test_a_listing_that_may_have_ended_early_is_incomplete_and_says_why(
    incomplete: IncompleteListing | None, words: str, retry: bool, size: int | None
) -> None:
    assert incomplete is not None
    assert words in incomplete.why
    assert "Next: " in incomplete.why
    assert (incomplete.retry, incomplete.page_size) == (retry, size)


def test_another_page_size_leaves_a_last_page_that_is_not_full() -> None:
    for records in range(2, 300):
        for size in (3, 10, 50, records):
            full = read(*[size] * (records // size), size=size)
            found = of(full) if records % size == 0 else None
            if found is not None and found.page_size != 1:
                assert found.page_size is not None
                assert found.page_size < size
                assert records % found.page_size


def test_the_lowest_total_counts_because_records_change_while_pages_are_read() -> None:
    found = PagesRead()
    for total in (110, 100):
        found.add(50, PagingHints(total=("total", total)))
    assert of(found, None) is None
    found = PagesRead()
    for total in (101, 101):
        found.add(50, PagingHints(total=("total", total)))
    assert of(found, None) is not None
