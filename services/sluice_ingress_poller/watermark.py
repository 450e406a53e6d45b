"""The watermark of a polled stream in `sluice.watermarks`: its cursor, its active faults and its owner."""

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
    """A fault in a watermark: why deletes or records of a stream are withheld, or why its cursor stays.

    A new owner of the stream keeps the fault, until a later listing resolves it. `since_us`: the start of the fault.
    `loss`: the missing keys that an operator may accept, if the fault is about missing keys.
    """

    why: str
    since_us: int
    loss: Loss | None = None


@dataclass(frozen=True, slots=True)
class Watermark:
    """How far a polled stream was read.

    `cursor`: the newest cursor value of complete listings; None before the first complete listing.
    `epoch`, `incarnation`: the first two parts of the positions that the owner of this watermark gives.
    `enumerated_at_us`: when the last complete enumeration ended, by Sluice's clock; only for the schedule.
    `faults`: the active faults by subject (`ENUMERATION`, `CHANGES`, `LISTED_TWICE`).
    `paged`: the declared paging, once it has led to a second page. `page_records`: how many records the first page of
    that listing had.
    `accepted`: the id of the last applied request to accept a loss; no request is applied twice.
    `listed`: how many keys the last complete enumeration had.
    `raw_reset`: the raw topic has no record below this position, because it was re-created or emptied; None after a
    complete enumeration has swept the topic (see `raw_topic_reset`).

    The watermark needs no list of the records at the cursor: each listing of changes starts one lookback before the
    cursor, and the content hashes of the known keys show which records were published before.
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
        """This watermark with the fault `why` under the subject `about`, or without a fault under it if `why` is empty.

        A fault that replaces another one of the same subject keeps its start.
        """
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
    """The watermark with which a new owner continues. `stored`: the previous owner's watermark, None if there is none.

    `incarnation`: the new owner's. If it is not greater than the previous one, `sluice.shards` was re-created, and the
    epoch rises by one. So (epoch, incarnation) is greater than in every earlier position. Raises EnvironmentFault if
    `stored` has an unknown version.
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
    """The newer of the cursor values `old` and `new`. `server_time`: the clock of the source's server, if it is known.

    A time more than a day ahead of the server's clock is a typing error in the source. It does not move the cursor,
    because all changes before that time would be skipped.
    """
    if new is None:
        return old
    stated = as_time(new)
    if stated is not None and server_time is not None and stated > server_time + FUTURE_MAX:
        return old
    return new if old is None or order(new) > order(old) else old
