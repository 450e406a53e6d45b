"""Whether a pass came to its end: tables of what its pages showed and what follows from it."""

from __future__ import annotations

import pytest

from sluice.connector import LinkHeader, NextLink, Offset
from sluice.connector.paging import ImplicitEnd
from sluice.connector.paging_hints import PagingHints
from sluice_ingress_poller.wholeness import Course, Doubt, doubt

NOTHING = PagingHints()
LINK = NextLink("links.next")


def course(*pages: int, size: int | None = None, end: PagingHints = NOTHING, stated: bool = False) -> Course:
    """Pages with so many records each; the last one says `end`, and by `stated` that it is the last."""
    found = Course(size)
    for number, records in enumerate(pages, 1):
        found.page(records, end if number == len(pages) else NOTHING)
    found.open = not stated
    return found


def of(
    found: Course, paging: ImplicitEnd | None = LINK, listing: bool = True, page_before: int | None = None
) -> Doubt | None:
    return doubt(found, paging, listing=listing, page_before=page_before)


@pytest.mark.parametrize(
    "whole",
    [
        of(course(0)),
        of(course(1)),
        of(course(50, 50, 30)),
        of(course(50, 30), Offset()),
        of(course(8, size=200), page_before=200),
        of(course(8), page_before=50),
        of(course(8), page_before=0),
        of(course(50, stated=True)),
        of(course(50, 50, stated=True)),
        of(course(50, 50), None),
        of(course(50, size=50, end=PagingHints(end=True))),
        of(course(50, end=PagingHints(total=("total", 50)))),
        of(course(50, 50, end=PagingHints(total=("total", 100))), Offset()),
        of(course(8, end=PagingHints(odata=True))),
        of(course(8), listing=False),
        of(course(8, end=PagingHints(total=("total", 900))), None, listing=False),
        of(course(8, end=PagingHints(more="cursor", end=True)), None),
        of(course(8, end=PagingHints(pages=("pages", 1))), None),
        of(course(8, end=PagingHints(token="cursor"), stated=True)),
        of(course(1, 1, size=1)),
        of(course(0, end=PagingHints(pages=("pages", 0)))),
    ],
)
def test_a_pass_that_ends_as_paging_ends_is_whole(whole: Doubt | None) -> None:
    assert whole is None


@pytest.mark.parametrize(
    ("doubted", "words", "again", "size"),
    [
        (of(course(8, end=PagingHints(more="next"))), "next", False, None),
        (of(course(8, end=PagingHints(token="cursor")), None), "cursor", False, None),
        (of(course(8, end=PagingHints(more="next"), stated=True)), "next", False, None),
        (of(course(8, end=PagingHints(more="the Link header")), None, listing=False), "Link header", False, None),
        (of(course(8, end=PagingHints(errors="errors"), stated=True)), "failure in errors", False, None),
        (of(course(50, 50)), "as full as any", False, None),
        (of(course(50, size=50)), "as full as any", True, 49),
        (of(course(50, 50, size=50), LinkHeader()), "as full as any", True, 49),
        (of(course(50, 50, size=200), Offset()), "as full as any", True, 49),
        (of(course(50), page_before=50), "as full as any", False, None),
        (of(course(50, size=200), page_before=50), "as full as any", True, 49),
        (of(course(50, size=50), listing=False, page_before=50), "as full as any", True, 49),
        (of(course(8)), "links.next has never led", False, None),
        (of(course(8, size=200)), "links.next has never led", True, 7),
        (of(course(2, size=200), Offset("from", "count")), "from and count has never led", True, 1),
        (of(course(50, end=PagingHints(odata=True)), page_before=50), "as full as any", False, None),
        (of(course(50, end=PagingHints(total=("total", 55))), None), "total counts 55 records", True, None),
        (of(course(50, end=PagingHints(floor=("count", 55))), None), "count counts 55 records", True, None),
        (of(course(50, end=PagingHints(pages=("total_pages", 2))), None, listing=False), "2 pages", True, None),
    ],
)
def test_a_pass_that_may_have_ended_early_is_doubted_and_says_what_it_saw(
    doubted: Doubt | None, words: str, again: bool, size: int | None
) -> None:
    assert doubted is not None
    assert words in doubted.why
    assert "Next: " in doubted.why
    assert (doubted.again, doubted.size) == (again, size)


def test_another_page_size_leaves_a_last_page_that_is_not_full() -> None:
    for records in range(2, 300):
        for size in (3, 10, 50, records):
            full = course(*[size] * (records // size), size=size)
            found = of(full) if records % size == 0 else None
            if found is not None and found.size != 1:
                assert found.size is not None
                assert found.size < size
                assert records % found.size


def test_the_lowest_total_counts_since_records_come_and_go_while_pages_are_read() -> None:
    found = Course()
    for total in (110, 100):
        found.page(50, PagingHints(total=("total", total)))
    assert of(found, None) is None
    found = Course()
    for total in (101, 101):
        found.page(50, PagingHints(total=("total", total)))
    assert of(found, None) is not None
