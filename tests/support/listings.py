"""Sources that list people in ways that an author may declare wrongly: how pages are cut, and where the link is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from sluice.connector import Connector, ConnectorSettings, Paging, RestStream
from sluice.connector.paging import SinglePage
from sluice.telemetry import Health
from support.scripted_source import Answer, Asked, Raw, ScriptedSource
from support.waiting import eventually

ENUMERATION = "shop/things enumeration"
Link = Callable[[str], Mapping[str, Any]]


@dataclass
class People:
    """A source of `count` people. A page has at most `cap` people, or fewer if the request's `limit` is lower. `link`
    returns the members that link to the next page; the last page has none of them. `more` are members of every page.
    `spoil` may return another answer instead."""

    count: int
    cap: int = 50
    link: Link = lambda address: {"next": address}
    more: dict[str, Any] = field(default_factory=dict)
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    heeds_limit: bool = True
    spoil: Callable[[Asked], Answer | Raw | None] = lambda asked: None

    def __post_init__(self) -> None:
        for number in range(self.count):
            self.rows[number] = {"id": number, "name": f"n{number}"}

    def __call__(self, asked: Asked) -> Answer | Raw:
        if (spoiled := self.spoil(asked)) is not None:
            return spoiled
        limit = int(asked.query.get("limit", self.cap)) if self.heeds_limit else self.cap
        at = int(asked.query.get("offset", 0))
        rows = [row for _, row in sorted(self.rows.items())]
        page = rows[at:][: min(limit, self.cap)]
        body: dict[str, Any] = {**self.more, "value": page}
        if at + len(page) < len(rows):
            body |= self.link(f"/people?offset={at + len(page)}&limit={min(limit, self.cap)}")
        return listed(body)

    def as_published(self) -> dict[bytes, bytes]:
        return {b'{"id":%d}' % number: json.dumps(row).encode() for number, row in self.rows.items()}


class Pages:
    """A listing whose pages a test writes. A request for changes lists the same records."""

    def __init__(self, *pages: list[dict[str, Any]]) -> None:
        self.pages = list(pages)

    def __call__(self, asked: Asked) -> Any:
        at, since = int(asked.query.get("page", 0)), asked.query.get("since")
        pages = self.pages
        if since is not None:
            pages = [[row for page in pages for row in page if row["at"] >= since]]
        following = f"/people?page={at + 1}" if at + 1 < len(pages) else None
        return listed({"value": pages[at], "next": following})


def listed(body: Any, **headers: str) -> Answer:
    return Answer(json.dumps(body).encode(), headers={"Content-Type": "application/json", **headers})


class PeopleStream(RestStream[dict[str, Any]]):
    path, records, key = "/people", "value", "id"


def connector(
    paging: Paging | None = None, page_size: int | None = None, kind: type[PeopleStream] = PeopleStream, **more: Any
) -> type[Connector[ConnectorSettings]]:
    """A connector whose one stream `things` pages as given; `more` are class attributes of the stream."""
    declared = {"paging": paging or SinglePage(), "page_size": page_size, **more}
    stream = type("People", (kind,), declared)

    class OfPeople(Connector[ConnectorSettings]):
        streams: ClassVar = {"things": stream}

    return OfPeople


def listings(source: ScriptedSource) -> int:
    """How many listings of all records were started: requests for a first page, and not for changes."""
    first = (None, "0")
    return sum(
        "since" not in asked.query and asked.query.get("offset") in first and asked.query.get("page") in first
        for asked in source.asked
    )


def after_listings(source: ScriptedSource, count: int) -> None:
    """Wait until `count` more listings were started."""
    before = listings(source)
    eventually(lambda: listings(source) >= before + count, f"{count} more listings")


def reported(health: Health, words: str = "", about: str = ENUMERATION) -> str:
    """Wait for an active fault about `about` whose text contains `words`; returns the text."""

    def text() -> str:
        why = health.faults.get(about, "")
        return why if words in why else ""

    return eventually(text, f"a fault about {about}: {words}", 30.0, lambda: str(health.faults))
