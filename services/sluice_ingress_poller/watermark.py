"""Where a polled stream is: its cursor and the owner that wrote it, as `sluice.watermarks` holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sluice.connector import CursorValue
from sluice.connector.cursor import as_time, order
from sluice.errors import EnvironmentFault
from sluice.ingress.deletes import Loss
from sluice.position import Position

VERSION = 1

ENUMERATION = "enumeration"
CHANGES = "changes"
LISTED_TWICE = "listed twice"


@dataclass(frozen=True, slots=True)
class Alarm:
    """Why something of a stream is withheld. It outlives its owner: only a pass that looks at the same ends it.
    `loss`: what an operator may accept, if that is what it is about."""

    why: str
    since_us: int
    loss: Loss | None = None

    def to_json(self) -> dict[str, Any]:
        return {"why": self.why, "since": self.since_us, "loss": self.loss.to_json() if self.loss else None}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Alarm:
        loss = stored.get("loss")
        return cls(stored["why"], stored["since"], Loss.from_json(loss) if loss else None)


FUTURE_MAX = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Watermark:
    """`cursor`: newest value of complete passes, None before the first. `enumerated_at_us`: when the last complete
    enumeration ended, by our clock; it only schedules the next one. `alarms`: those that stand, by what they are about
    (`ENUMERATION`, `CHANGES`, `LISTED_TWICE`). `paged`: the paging that was seen to lead from one page to another;
    `page_records`: what the first of these held. `accepted`: the last request to accept a loss that was used, so that
    each is used once. `listed`: how many keys the last complete enumeration had. `raw_anew`: since when the raw topic
    holds nothing of before, until a complete enumeration has said what is gone (`raw_anew.py`).

    There is no tie-break and no boundary list: each pass begins a lookback before the cursor, and what was published
    is told apart by the known keys' content hashes, which are bounded by the number of keys.
    """

    cursor: CursorValue | None
    epoch: int
    incarnation: int
    enumerated_at_us: int | None = None
    alarms: Mapping[str, Alarm] = field(default_factory=dict)
    paged: str = ""
    page_records: int = 0
    accepted: str = ""
    listed: int | None = None
    raw_anew: Position | None = None

    def with_alarm(self, about: str, why: str, now_us: int, loss: Loss | None = None) -> Watermark:
        """The same with the alarm about `about` as given; none where `why` is empty."""
        alarms = {name: alarm for name, alarm in self.alarms.items() if name != about}
        if why:
            before = self.alarms.get(about)
            alarms[about] = Alarm(why, before.since_us if before else now_us, loss)
        return replace(self, alarms=alarms)

    def dump(self, now_us: int) -> dict[str, Any]:
        return {
            "v": VERSION,
            "cursor": self.cursor,
            "tie": None,
            "boundary": [],
            "epoch": self.epoch,
            "incarnation": self.incarnation,
            "enumerated_at": self.enumerated_at_us,
            "at": now_us,
            **self._optional(),
        }

    def _optional(self) -> dict[str, Any]:
        alarms = {about: alarm.to_json() for about, alarm in self.alarms.items()}
        paged = {"paged": self.paged, "page_records": self.page_records}
        anew = str(self.raw_anew) if self.raw_anew else ""
        members = {"alarms": alarms, **paged, "accepted": self.accepted, "raw_anew": anew}
        found = {name: value for name, value in members.items() if value}
        return found if self.listed is None else {**found, "listed": self.listed}


def taken_over(stored: Mapping[str, Any] | None, incarnation: int, where: str) -> Watermark:
    """The watermark that the owner with `incarnation` goes on from; `stored` is what the topic holds.

    The epoch rises where the incarnation does not: then `sluice.shards` was made anew and its offsets began again.
    So (epoch, incarnation) is greater than that of every record before. Raises EnvironmentFault for an unknown form.
    """
    if stored is None:
        return Watermark(None, 1, incarnation)
    if stored.get("v") != VERSION:
        raise EnvironmentFault(where, f"watermark version {stored.get('v')} is not known", "run a newer ingress-poller")
    epoch = stored["epoch"] if incarnation > stored["incarnation"] else stored["epoch"] + 1
    alarms = {about: Alarm.from_json(alarm) for about, alarm in stored.get("alarms", {}).items()}
    return Watermark(
        stored["cursor"],
        epoch,
        incarnation,
        stored.get("enumerated_at"),
        alarms,
        stored.get("paged", ""),
        stored.get("page_records", 0),
        stored.get("accepted", ""),
        stored.get("listed"),
        Position.parse(stored["raw_anew"].encode()) if "raw_anew" in stored else None,
    )


def newer(old: CursorValue | None, seen: CursorValue | None, server_time: datetime | None) -> CursorValue | None:
    """The newer of two cursor values.

    A time more than a day ahead of the server's own clock is somebody's typing error: following it would skip every
    change until that day, so it moves nothing.
    """
    if seen is None:
        return old
    stated = as_time(seen)
    if stated is not None and server_time is not None and stated > server_time + FUTURE_MAX:
        return old
    return seen if old is None or order(seen) > order(old) else old
