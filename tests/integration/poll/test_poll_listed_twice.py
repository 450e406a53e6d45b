"""One key is listed twice with two contents: the published content stays, the key is a fault, and no content
alternates."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sluice.connector import Cursor, NextLink
from support.listings import Pages, after_listings, connector, reported
from support.polling import Polled
from support.scripted_source import ScriptedSource
from support.waiting import eventually

ABOUT = "shop/things listed twice"


def row(number: int, name: str, at: str = "2024-01-01T00:00:00Z") -> dict[str, Any]:
    return {"id": number, "name": name, "at": at}


def names(polled: Polled) -> dict[int, str]:
    return {json.loads(key)["id"]: json.loads(value)["name"] for key, value in polled.newest().items()}


def published(polled: Polled) -> Counter[bytes | None]:
    return Counter(message.key() for message in polled.raw())


BY_CURSOR: dict[str, Any] = {"cursor": Cursor("at", param="since", lookback=timedelta(0))}
LATER = "2024-01-02T00:00:00Z"


@pytest.mark.parametrize(
    ("second", "more"),
    [
        ([[row(1, "b"), row(2, "c")]], {}),
        ([[row(2, "c")], [row(1, "b")]], {}),
        ([[row(1, "b"), row(2, "c")]], BY_CURSOR),
        ([[row(1, "b", LATER), row(2, "c")]], BY_CURSOR),
        ([[row(2, "c")], [row(1, "b")]], BY_CURSOR),
    ],
    ids=["a page", "two pages", "a page, one cursor", "a page, two cursors", "two pages, one cursor"],
)
def test_a_key_that_is_listed_twice_keeps_what_was_published_and_is_a_fault(
    polled: Polled,
    pages: Pages,
    source: ScriptedSource,
    tmp_path: Path,
    second: list[list[dict[str, Any]]],
    more: dict[str, Any],
) -> None:
    pages.pages = [[row(1, "a"), row(2, "c")]]
    with polled.poller(tmp_path, connector(NextLink("next"), **more)) as health:
        eventually(lambda: names(polled) == {1: "a", 2: "c"})
        pages.pages = [[row(1, "A"), *second[0]], *second[1:], [row(3, "d")]]
        why = reported(health, about=ABOUT)
        after_listings(source, 4)
        assert reported(health, about=ABOUT) == why
        pages.pages = [[*second[0]], *second[1:], [row(1, "A"), row(3, "d")]]  # in another order
        after_listings(source, 3)
    assert "1 key is listed twice" in why
    assert "id" in why
    assert json.dumps(row(1, "b")["name"]) not in why
    assert published(polled)[b'{"id":1}'] <= 2
    assert names(polled)[3] == "d", "others arrive"


def test_a_key_that_is_listed_twice_from_the_first_listing_on_never_flips(
    polled: Polled, pages: Pages, source: ScriptedSource, tmp_path: Path
) -> None:
    pages.pages = [[row(1, "a"), row(1, "b"), row(2, "c")]]
    with polled.poller(tmp_path, connector(NextLink("next"))) as health:
        reported(health, about=ABOUT)
        after_listings(source, 3)
        assert names(polled) == {2: "c"}
        pages.pages = [[row(1, "b"), row(2, "c")]]
        eventually(lambda: names(polled) == {1: "b", 2: "c"}, "a listing that shows it once ends it", 30.0)
        eventually(lambda: not health.faults)
    assert published(polled) == {b'{"id":1}': 1, b'{"id":2}': 1}


def test_two_records_under_one_key_with_two_times_of_change_are_a_fault_and_do_not_flip(
    polled: Polled, pages: Pages, source: ScriptedSource, tmp_path: Path
) -> None:
    pages.pages = [[row(1, "a"), row(2, "c")], [row(1, "b", LATER)]]
    with polled.poller(tmp_path, connector(NextLink("next"), **BY_CURSOR)) as health:
        reported(health, about=ABOUT)
        after_listings(source, 4)
        reported(health, about=ABOUT)
    assert published(polled)[b'{"id":1}'] == 2


def test_a_row_that_changes_while_pages_are_read_is_published_again_and_no_fault(
    polled: Polled, pages: Pages, source: ScriptedSource, tmp_path: Path
) -> None:
    pages.pages = [[row(1, "a"), row(2, "c")], [row(1, "b", LATER)]]
    with polled.poller(tmp_path, connector(NextLink("next"), **BY_CURSOR)) as health:
        eventually(lambda: names(polled) == {1: "b", 2: "c"})
        pages.pages = [[row(2, "c")], [row(1, "b", LATER)]]
        after_listings(source, 3)
        assert not health.faults
    assert published(polled) == {b'{"id":1}': 2, b'{"id":2}': 1}


def test_the_same_record_twice_is_no_fault(
    polled: Polled, pages: Pages, source: ScriptedSource, tmp_path: Path
) -> None:
    pages.pages = [[row(1, "a"), row(1, "a")], [row(1, "a")]]
    with polled.poller(tmp_path, connector(NextLink("next"))) as health:
        eventually(lambda: names(polled) == {1: "a"})
        after_listings(source, 3)
        assert not health.faults
    assert published(polled) == {b'{"id":1}': 1}


def test_a_new_owner_does_not_flip_what_the_old_one_withheld(
    polled: Polled, pages: Pages, source: ScriptedSource, tmp_path: Path
) -> None:
    pages.pages = [[row(1, "a"), row(2, "c")]]
    with polled.poller(tmp_path, connector(NextLink("next"))) as health:
        eventually(lambda: names(polled) == {1: "a", 2: "c"})
        pages.pages = [[row(1, "b"), row(2, "c")], [row(1, "a")]]
        reported(health, about=ABOUT)
    before = published(polled)[b'{"id":1}']
    for owner in range(2):
        with polled.poller(tmp_path / str(owner), connector(NextLink("next"))) as health:
            reported(health, about=ABOUT)
            after_listings(source, 3)
    assert published(polled)[b'{"id":1}'] == before
