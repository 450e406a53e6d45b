"""What the readings of a slot mean: how far it is behind, whether it is stuck, and whether the source keeps too much
log for it. Pure."""

from __future__ import annotations

from collections import deque
from typing import Literal, NamedTuple

from sluice.cdc.slots import SlotState, format_lsn

WalLimitAction = Literal["go_on", "release"]
_READINGS_MAX = 720


class SlotReading(NamedTuple):
    """The state of a slot and the end of the source's log at one moment (`at`: monotonic seconds)."""

    at: float
    wal_end: int
    slot: SlotState

    @property
    def retained_bytes(self) -> int:
        return max(0, self.wal_end - self.slot.restart_lsn)


class WalLimits(NamedTuple):
    """How much log the source may keep for the slot. `warn_bytes`: above this a fault is active. `limit_bytes`: above
    this `action` is taken. 0 means no limit."""

    warn_bytes: int
    limit_bytes: int
    action: WalLimitAction

    def releases(self, reading: SlotReading) -> bool:
        """Whether the slot is dropped now, so that the source can remove its log."""
        return self.action == "release" and 0 < self.limit_bytes < reading.retained_bytes


def wal_fault(slot: str, reading: SlotReading, limits: WalLimits) -> str:
    """The fault of a slot that keeps too much log: why and the next step. Empty if it does not. The text is the same at
    every reading, so that it is logged once; metrics have the numbers."""
    kept = "the server keeps more log for it than"
    find = "find in the other faults of this source why it is not read, or give the source more disk"
    if limits.releases(reading):
        return (
            f"{kept} SLUICE_WAL_LIMIT_BYTES ({_size(limits.limit_bytes)}): the slot is dropped, so that the disk of "
            "the source does not fill up. Next: when the cause is gone, run `sluice cdc resnapshot` for this source"
        )
    if reading.slot.at_risk:
        return (
            f"{kept} max_slot_wal_keep_size allows: the next checkpoint may invalidate the slot. Next: raise "
            f"max_slot_wal_keep_size, then {find}"
        )
    if 0 < limits.limit_bytes < reading.retained_bytes:
        return f"{kept} SLUICE_WAL_LIMIT_BYTES ({_size(limits.limit_bytes)}); following goes on. Next: {find}"
    if 0 < limits.warn_bytes < reading.retained_bytes:
        return f"{kept} SLUICE_WAL_WARN_BYTES ({_size(limits.warn_bytes)}). Next: {find}"
    return ""


class SlotProgress:
    """The newest readings of one slot. `behind_s`: the age of the oldest log that is not confirmed, with the precision
    of the interval of the readings."""

    def __init__(self, stuck_after_s: float) -> None:
        self._stuck_after_s = stuck_after_s
        self._ends: deque[tuple[float, int]] = deque()
        self.behind_s = 0.0
        self.reset()

    def reset(self) -> None:
        """The slot does not exist, or cannot be read."""
        self._ends.clear()
        self._confirmed = (0.0, 0)
        self.behind_s = 0.0

    def add(self, reading: SlotReading) -> str:
        """Add a reading. Returns why the slot is stuck and the next step; empty if it is not stuck."""
        confirmed = reading.slot.confirmed_flush_lsn
        if confirmed != self._confirmed[1]:
            self._confirmed = (reading.at, confirmed)
        while self._ends and self._ends[0][1] <= confirmed:
            self._ends.popleft()
        if reading.wal_end > confirmed and (not self._ends or self._ends[-1][1] < reading.wal_end):
            if len(self._ends) >= _READINGS_MAX:
                self._ends = deque(list(self._ends)[::2])  # the precision halves
            self._ends.append((reading.at, reading.wal_end))
        self.behind_s = reading.at - self._ends[0][0] if self._ends else 0.0
        stuck_s = reading.at - self._confirmed[0]
        if min(self.behind_s, stuck_s) < self._stuck_after_s:
            return ""
        reader = f"server process {reading.slot.active_pid} reads" if reading.slot.active_pid else "no process reads"
        return (
            f"nothing was confirmed for {self._stuck_after_s:.0f} s, while the log grew: it is confirmed up to "
            f"{format_lsn(confirmed)}, and {reader} the slot. Next: see the other faults of this source; if there is "
            "none, look for a transaction that is open for long (pg_stat_activity), else restart the stage"
        )


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
