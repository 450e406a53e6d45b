"""Where a polled stream is: its cursor, its active faults and the owner that wrote it, as stored in
`sluice.watermarks`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec

from sluice.connector import CursorValue
from sluice.connector.cursor import as_time, order
from sluice.errors import EnvironmentFault
from sluice.ingress.deletes import Loss
from sluice.position import Position

VERSION = 1

ENUMERATION = "enumeration"
CHANGES = "changes"
LISTED_TWICE = "listed twice"
FUTURE_MAX = timedelta(days=1)


class StoredFault(msgspec.Struct, frozen=True, rename={"since_us": "since"}):
    """Why deletes, the cursor or a record of a stream are withheld. It survives a change of owner; a later listing
    resolves it. `loss`: what an operator may accept, if the fault is a loss."""

    why: str
    since_us: int
    loss: Loss | None = None


@dataclass(frozen=True, slots=True)
class Watermark:
    """`cursor`: the newest value of complete listings, None before the first.
    `enumerated_at_us`: when the last complete enumeration ended, by our clock; it only schedules the next one.
    `faults`: the active ones, by subject (`ENUMERATION`, `CHANGES`, `LISTED_TWICE`).
    `paged`: the paging that has led from one page to another; `page_records`: the records of the first of these pages.
    `accepted`: the last request to accept a loss that was used; each is used once.
    `listed`: how many keys the last complete enumeration had.
    `raw_reset`: the raw topic has no record below this position, because it was re-created or emptied; None once a
    complete enumeration has decided what to delete (`raw_topic_reset`).

    No tie-break and no list of boundary records is necessary: each listing of changes starts a lookback before the
    cursor, and records that are already published are recognised by the content hashes of the known keys.
    """

    cursor: CursorValue | None
    epoch: int
    incarnation: int
    enumerated_at_us: int | None = None
    faults: Mapping[str, StoredFault] = field(default_factory=dict)
    paged: str = ""
    page_records: int = 0
    accepted: str = ""
    listed: int | None = None
    raw_reset: Position | None = None

    def with_fault(self, about: str, why: str, now_us: int, loss: Loss | None = None) -> Watermark:
        """The same with this fault about `about`, and with none if `why` is empty."""
        faults = {name: fault for name, fault in self.faults.items() if name != about}
        if why:
            before = self.faults.get(about)
            faults[about] = StoredFault(why, before.since_us if before else now_us, loss)
        return replace(self, faults=faults)

    def dump(self, now_us: int) -> dict[str, Any]:
        optional = {
            "alarms": msgspec.to_builtins(self.faults),
            "paged": self.paged,
            "page_records": self.page_records,
            "accepted": self.accepted,
            "raw_anew": str(self.raw_reset) if self.raw_reset else "",
        }
        return {
            "v": VERSION,
            "cursor": self.cursor,
            "tie": None,
            "boundary": [],
            "epoch": self.epoch,
            "incarnation": self.incarnation,
            "enumerated_at": self.enumerated_at_us,
            "at": now_us,
            **{name: value for name, value in optional.items() if value},
            **({} if self.listed is None else {"listed": self.listed}),
        }


def taken_over(stored: Mapping[str, Any] | None, incarnation: int, where: str) -> Watermark:
    """The watermark with which the owner with `incarnation` continues; `stored` is what the topic contains.

    The epoch rises if the incarnation does not: then `sluice.shards` was re-created and its offsets restarted. So
    (epoch, incarnation) is greater than that of every earlier record. Raises EnvironmentFault for an unknown version.
    """
    if stored is None:
        return Watermark(None, 1, incarnation)
    if stored.get("v") != VERSION:
        raise EnvironmentFault(where, f"watermark version {stored.get('v')} is not known", "run a newer ingress-poller")
    return Watermark(
        cursor=stored["cursor"],
        epoch=stored["epoch"] if incarnation > stored["incarnation"] else stored["epoch"] + 1,
        incarnation=incarnation,
        enumerated_at_us=stored.get("enumerated_at"),
        faults=msgspec.convert(stored.get("alarms", {}), dict[str, StoredFault]),
        paged=stored.get("paged", ""),
        page_records=stored.get("page_records", 0),
        accepted=stored.get("accepted", ""),
        listed=stored.get("listed"),
        raw_reset=Position.parse(stored["raw_anew"].encode()) if "raw_anew" in stored else None,
    )


def newer(old: CursorValue | None, new: CursorValue | None, server_time: datetime | None) -> CursorValue | None:
    """The newer of two cursor values.

    A time more than a day ahead of the server's own clock is a typing error in the source. It does not move the cursor,
    because every change until that day would be skipped.
    """
    if new is None:
        return old
    stated = as_time(new)
    if stated is not None and server_time is not None and stated > server_time + FUTURE_MAX:
        return old
    return new if old is None or order(new) > order(old) else old
