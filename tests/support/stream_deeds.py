"""Behaviours of source APIs, and mistakes of authors in their declarations: cases for
`tests/scenario/silence/test_streams.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from support.scripted_source import Answer, Asked

START = "2026-01-01T00:00:00Z"
LATER = "2026-02-01T00:00:00Z"
PAGED = 'paging = NextLink("next")\n    page_size = 25'
BY_CURSOR = f'{PAGED}\n    cursor = Cursor("at", param="since", lookback=timedelta(0))'

CONNECTOR = """\
from datetime import timedelta
from typing import ClassVar

from sluice.connector import Connector, ConnectorSettings, Cursor, NextLink, Offset, RestStream
{streams}

class Crm(Connector[ConnectorSettings]):
    streams: ClassVar = {{{names}}}
"""
STREAM = """

class {name}(RestStream[dict]):
    path, records, key = "/{name}", "value", "id"
    {declared}
"""


@dataclass
class Listing:
    """Records at `/<stream>`, in pages of `cap` at most, or of `limit`. `link` returns the members that link to the
    next page; `spoil` may return another answer instead."""

    rows: list[dict[str, Any]]
    cap: int = 25
    link: Callable[[str], dict[str, Any]] = lambda address: {"next": address}
    spoil: Callable[[Asked, Listing], Answer | None] = lambda asked, listing: None

    def __call__(self, asked: Asked) -> Answer:
        if (spoilt := self.spoil(asked, self)) is not None:
            return spoilt
        rows = [row for row in self.rows if row["at"] >= asked.query.get("since", "")]
        at, size = int(asked.query.get("offset", 0)), min(self.cap, int(asked.query.get("limit", self.cap)))
        page = rows[at : at + size]
        query = "".join(f"&{name}={asked.query[name]}" for name in ("limit", "since") if name in asked.query)
        more = self.link(f"{asked.path}?offset={at + size}{query}") if at + size < len(rows) else {}
        return listed({"value": page, **more})

    def change(self, number: int, **members: Any) -> None:
        self.rows[number] = {**self.rows[number], "at": LATER, **members}


def connector(streams: Mapping[str, str]) -> str:
    """A connector's text: each stream with the body of its class."""
    text = "".join(STREAM.format(name=name, declared=declared) for name, declared in streams.items())
    return CONNECTOR.format(streams=text, names=", ".join(f'"{name}": {name}' for name in streams))


def listed(body: Any) -> Answer:
    return Answer(json.dumps(body).encode(), headers={"Content-Type": "application/json"})


def people(count: int) -> list[dict[str, Any]]:
    return [{"id": number, "name": f"n{number}", "at": START} for number in range(count)]


@dataclass
class StreamDeed:
    """A stream of `rows` records, declared by the class body `declared`; then `act` changes its listing.

    Within half a minute the golden records equal the source, or a fault of the stream contains `says`. Then either the
    command that it names is run (`commanded`), or the author declares `corrected`, or the source heals (`heal`).
    Afterwards they are equal, without a fault.
    """

    what: str
    says: str = ""
    rows: int = 11
    declared: str = PAGED
    listing: dict[str, Any] = field(default_factory=dict)
    act: Callable[[Listing], None] = lambda listing: None
    commanded: bool = False
    corrected: str = ""
    heal: Callable[[Listing], None] = lambda listing: None


def _without(listing: Listing, *numbers: int) -> None:
    listing.rows = [row for row in listing.rows if row["id"] not in numbers]


def _answering(answer: Answer) -> Callable[[Listing], None]:
    def act(listing: Listing) -> None:
        listing.spoil = lambda asked, _: answer

    return act


def _whole_again(listing: Listing) -> None:
    listing.spoil = lambda asked, _: None


def _twice(listing: Listing) -> None:
    listing.rows.append({**listing.rows[1], "name": "another"})


def _once(listing: Listing) -> None:
    del listing.rows[1]


def _ids_become_texts(listing: Listing) -> None:
    for number in range(len(listing.rows)):
        listing.change(number, id=str(number))


def _lists_only_changes(listing: Listing) -> None:
    """Listings fail for ever, changes are answered."""
    listing.spoil = lambda asked, _: None if "since" in asked.query else Answer(b"Ann Smith", status=500)
    listing.change(3, name="changed")


def _shrinks_and_changes(listing: Listing) -> None:
    _without(listing, *range(5, 10))
    listing.change(3, name="changed")


DEEDS = [
    # ── what a source does ────────────────────────────────────────────────────────────────────────────────────────
    StreamDeed("a record is changed", act=lambda listing: listing.change(2, name="changed")),
    StreamDeed("a record is changed, by cursor", declared=BY_CURSOR, act=lambda it: it.change(2, name="changed")),
    StreamDeed("a record is deleted", act=lambda listing: _without(listing, 4)),
    StreamDeed("a record is deleted, by cursor", declared=BY_CURSOR, act=lambda listing: _without(listing, 4)),
    StreamDeed("ids become texts", "lists 11 of 22 known keys", act=_ids_become_texts, commanded=True),
    StreamDeed(
        "nothing is listed any more",
        "lists 0 of 11 known keys",
        act=lambda listing: _without(listing, *range(11)),
        commanded=True,
    ),
    StreamDeed(
        "less than half is listed",
        "lists 5 of 11 known keys",
        act=lambda listing: _without(listing, *range(6)),
        commanded=True,
    ),
    StreamDeed(
        "nothing is listed of two",
        "lists 0 of 2 known keys",
        rows=2,
        act=lambda listing: _without(listing, 0, 1),
        commanded=True,
    ),
    StreamDeed(
        "half is listed, while changes arrive",
        "lists 6 of 11 known keys",
        declared=BY_CURSOR,
        act=_shrinks_and_changes,
        commanded=True,
    ),
    StreamDeed(
        "a key is listed twice with two contents",
        "1 key is listed twice",
        act=_twice,
        heal=_once,
    ),
    StreamDeed(
        "an error with status 200",
        "error",
        act=_answering(listed({"error": {"message": "Ann Smith"}})),
        heal=_whole_again,
    ),
    StreamDeed(
        "a page of HTML",
        "text/html",
        act=_answering(Answer(b"<html>sign in</html>", headers={"Content-Type": "text/html"})),
        heal=_whole_again,
    ),
    StreamDeed("status 401 for ever", "401", act=_answering(Answer(status=401)), heal=_whole_again),
    StreamDeed(
        "listings fail for ever, while changes are answered",
        "500",
        declared=BY_CURSOR,
        act=_lists_only_changes,
        heal=_whole_again,
    ),
    # ── what an author gets wrong ─────────────────────────────────────────────────────────────────────────────────
    StreamDeed(
        "the name of the link is misspelt",
        "@odata.nextLink",
        rows=60,
        declared='paging = NextLink("@odata.nextlink")',
        listing={"link": lambda address: {"@odata.nextLink": address}},
        corrected='paging = NextLink("@odata.nextLink")',
    ),
    StreamDeed(
        "no paging is declared, and pages have a link",
        "nextPage",
        rows=60,
        declared="page_size = None",
        listing={"link": lambda address: {"nextPage": address}},
        corrected='paging = NextLink("nextPage")',
    ),
    StreamDeed(
        "the offset's parameter is misnamed",
        "same records",
        rows=60,
        declared='paging = Offset("skip")\n    page_size = 25',
        corrected='paging = Offset("offset")\n    page_size = 25',
    ),
    StreamDeed(
        "a link is declared, and the source's link has another, unknown name",
        "next",
        rows=60,
        listing={"link": lambda address: {"weiter": address}},
        corrected='paging = NextLink("weiter")',
    ),
]


def stream_of(number: int) -> str:
    """The stream of a case."""
    return f"s{number:02}"
