"""The faults of the loop, and what each owes: it is over when that is done, not when something beside it succeeds.

A fault owes what was under way when it came: offsets to be committed, partitions whose own work is to be done, to be
begun or to be read, or the group to be joined. One that owes none of these is over with the next delivery.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sluice.kafka.log import Partition
from sluice.kafka.record import End, Record
from sluice.telemetry.health import Health

# What is expected to pass by itself is told as a fault after so long.
TRANSIENT_MAX_S = 5.0
# A partition that is not ours for so long is another's: what is wrong with it is told there.
LOST_AFTER_S = 30.0


class AssignmentState(NamedTuple):
    """The partitions as they stand now. `ours`: owned, or being begun; `committed`: of those that are owned;
    `waiting`: owned, and held back by the process's own work."""

    ours: frozenset[Partition]
    committed: Mapping[Partition, int]
    waiting: frozenset[Partition]


class ResolvedBy(NamedTuple):
    """What ends a fault. `begun`, `read`: partitions that must be begun, or of which something must be read."""

    offsets: Mapping[Partition, int] = {}
    work: frozenset[Partition] = frozenset()
    begun: frozenset[Partition] = frozenset()
    read: frozenset[Partition] = frozenset()
    joining: bool = False

    @property
    def nothing(self) -> bool:
        return self == ResolvedBy()


@dataclass(slots=True)
class _Open:
    """A fault that is not over. `open` and `joining`: what is still owed, by partition and kind; `delivery`: whether a
    delivery is."""

    why: str
    due_s: float
    passing: bool
    offsets: dict[Partition, int] = field(default_factory=dict)
    work: set[Partition] = field(default_factory=set)
    begun: set[Partition] = field(default_factory=set)
    read: set[Partition] = field(default_factory=set)
    joining: bool = False
    delivery: bool = False
    told: bool = False

    @property
    def partitions(self) -> set[Partition]:
        return self.offsets.keys() | self.work | self.begun | self.read

    def drop(self, at: Partition) -> None:
        self.offsets.pop(at, None)
        for several in (self.work, self.begun, self.read):
            several.discard(at)


class StageFaults:
    """Told by the loop's parts what failed and what was done; tells `health`. `review` decides."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._open: dict[str, _Open] = {}
        self._ours_s: dict[Partition, float] = {}
        self._any_ours_s = 0.0

    def failed(self, about: str, why: str, debt: ResolvedBy, now_s: float, passing: bool = False) -> bool:
        """A fault, told at once; `passing`: an error that is expected to pass, told if it has not within a while.

        Returns whether this cause is new.
        """
        if not passing:
            # Drop passing faults that are not told yet: their cause may be over. If it is not, it fails again.
            self._open = {name: one for name, one in self._open.items() if one.told or not one.passing}
        one = self._open.get(about)
        new = one is None or one.why != why
        if one is None:
            one = self._open[about] = _Open(why, now_s + TRANSIENT_MAX_S if passing else now_s, passing)
        one.why = why
        for at, offset in debt.offsets.items():
            one.offsets[at] = max(offset, one.offsets.get(at, 0))
        one.work |= debt.work
        one.begun |= debt.begun
        one.read |= debt.read
        one.joining |= debt.joining
        one.delivery |= debt.nothing
        for at in one.partitions:
            self._ours_s.setdefault(at, now_s)
        self._any_ours_s = max(self._any_ours_s, now_s)
        self._tell(about, one, now_s)
        return new

    # ── what was done ─────────────────────────────────────────────────────────────────────────────────────────

    def delivered(self) -> None:
        for one in self._open.values():
            one.delivery = False

    def began(self, at: Partition) -> None:
        for one in self._open.values():
            one.begun.discard(at)

    def read(self, taken: Sequence[Record | End]) -> None:
        for one in [one for one in self._open.values() if one.read]:
            one.read -= {item.at for item in taken}

    def joined(self, now_s: float) -> None:
        """What is ours is given to us anew from here on."""
        for one in self._open.values():
            one.joining = False
        self._ours_s = dict.fromkeys(self._ours_s, now_s)
        self._any_ours_s = now_s

    # ── what stands ───────────────────────────────────────────────────────────────────────────────────────────

    def waiting_to_join(self, now_s: float) -> None:
        """Nothing is ours while we join: what is owed stays so."""
        for about, one in self._open.items():
            self._tell(about, one, now_s)

    def review(self, places: AssignmentState, now_s: float) -> None:
        """End what owes nothing any more; tell what has not passed by itself."""
        if not self._open:
            return
        self._ours_s |= dict.fromkeys(places.ours, now_s)
        if places.ours:
            self._any_ours_s = now_s
        for about, one in list(self._open.items()):
            self._settle(one, places, now_s)
            left = one.partitions
            if not (left or one.delivery or one.joining):
                del self._open[about]
                self._health.resolve(about)
            elif left & places.ours or (one.delivery and places.ours) or one.joining:
                self._tell(about, one, now_s)

    def _settle(self, one: _Open, places: AssignmentState, now_s: float) -> None:
        for at, offset in list(one.offsets.items()):
            if places.committed.get(at, -1) >= offset:
                del one.offsets[at]
        one.work = {at for at in one.work if at in places.waiting or at not in places.committed}
        for at in one.partitions - places.ours:
            if now_s - self._ours_s.get(at, now_s) > LOST_AFTER_S:
                one.drop(at)
        if now_s - self._any_ours_s > LOST_AFTER_S:
            one.delivery = False

    def _tell(self, about: str, one: _Open, now_s: float) -> None:
        if one.told or now_s >= one.due_s:
            one.told = True
            self._health.fault(about, one.why)
