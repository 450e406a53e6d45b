"""Where a polled stream is: its cursor and the owner that wrote it, as `sluice.watermarks` holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sluice.connector import CursorValue
from sluice.connector.cursor import as_time, order
from sluice.errors import EnvironmentFault

VERSION = 1
FUTURE_MAX = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Watermark:
    """`cursor`: newest value of complete passes, None before the first. `enumerated_at_us`: when the last complete
    enumeration ended, by our clock; it only schedules the next one.

    There is no tie-break and no boundary list: each pass begins a lookback before the cursor, and what was published
    is told apart by the known keys' content hashes, which are bounded by the number of keys.
    """

    cursor: CursorValue | None
    epoch: int
    incarnation: int
    enumerated_at_us: int | None = None

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
        }


def claimed(stored: Mapping[str, Any] | None, incarnation: int, where: str) -> Watermark:
    """The watermark that the owner with `incarnation` goes on from; `stored` is what the topic holds.

    The epoch rises where the incarnation does not: then `sluice.shards` was made anew and its offsets began again.
    So (epoch, incarnation) is greater than that of every record before. Raises EnvironmentFault for an unknown form.
    """
    if stored is None:
        return Watermark(None, 1, incarnation)
    if stored.get("v") != VERSION:
        raise EnvironmentFault(where, f"watermark version {stored.get('v')} is not known", "run a newer ingress-poller")
    epoch = stored["epoch"] if incarnation > stored["incarnation"] else stored["epoch"] + 1
    return Watermark(stored["cursor"], epoch, incarnation, stored.get("enumerated_at"))


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
