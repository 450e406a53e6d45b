"""The faults of the loop. Each fault names the work that resolves it, and stays active until that work is done. The
success of other work does not resolve it.

A fault is resolved by the work that failed: offsets must be committed, partitions must finish their background work,
start or be read, or the group must be joined. A fault without any such work is resolved by the next delivery.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sluice.kafka.log import Partition
from sluice.kafka.record import End, Record
from sluice.telemetry.health import Health

# A transient error that lasts longer than this is reported as a fault.
TRANSIENT_MAX_S = 5.0
# A partition that was not assigned to us for longer than this belongs to another process. That process reports the
# faults of the partition.
LOST_AFTER_S = 30.0


class AssignmentState(NamedTuple):
    """The state of the partitions now. `assigned`: all partitions of this process, started or not. `committed`: the
    committed offset of each started partition, -1 if it has none. `blocked`: the started partitions that wait for
    background work."""

    assigned: frozenset[Partition]
    committed: Mapping[Partition, int]
    blocked: frozenset[Partition]


@dataclass(slots=True)
class ResolvedBy:
    """What resolves a fault: `offsets` are committed, the background `work` of partitions is done, partitions are
    `started`, records of partitions are `read`, the group is `joined`, or the next delivery succeeds."""

    offsets: dict[Partition, int] = field(default_factory=dict)
    work: set[Partition] = field(default_factory=set)
    started: set[Partition] = field(default_factory=set)
    read: set[Partition] = field(default_factory=set)
    joined: bool = False
    next_delivery: bool = False

    @property
    def partitions(self) -> set[Partition]:
        return self.offsets.keys() | self.work | self.started | self.read

    @property
    def nothing(self) -> bool:
        return not (self.partitions or self.joined or self.next_delivery)

    def add(self, other: ResolvedBy) -> None:
        for at, offset in other.offsets.items():
            self.offsets[at] = max(offset, self.offsets.get(at, 0))
        self.work |= other.work
        self.started |= other.started
        self.read |= other.read
        self.joined |= other.joined
        self.next_delivery |= other.next_delivery

    def drop(self, at: Partition) -> None:
        self.offsets.pop(at, None)
        for partitions in (self.work, self.started, self.read):
            partitions.discard(at)


@dataclass(slots=True)
class _Open:
    """A fault that is not resolved. `left`: the work that must still be done to resolve it. `reported`: `Health` has
    it."""

    why: str
    report_at_s: float
    transient: bool
    left: ResolvedBy = field(default_factory=ResolvedBy)
    reported: bool = False


class StageFaults:
    """Collects what failed and what succeeded in the parts of the loop. `review` resolves the faults whose work is
    done, and reports to `health`."""

    def __init__(self, health: Health) -> None:
        self.health = health
        self._open: dict[str, _Open] = {}
        self._assigned_at_s: dict[Partition, float] = {}
        self._any_assigned_at_s = 0.0

    def failed(self, about: str, why: str, resolved_by: ResolvedBy, now_s: float, transient: bool = False) -> bool:
        """Add a fault of the subject `about`. It is reported at once, or after TRANSIENT_MAX_S if it is `transient`.

        Returns True if `about` had no unresolved fault with the same `why`.
        """
        if not transient:
            # Drop transient faults that are not reported yet. If the cause of one still exists, its work fails again.
            self._open = {name: one for name, one in self._open.items() if one.reported or not one.transient}
        one = self._open.get(about)
        new = one is None or one.why != why
        if one is None:
            one = self._open[about] = _Open(why, now_s + TRANSIENT_MAX_S if transient else now_s, transient)
        one.why = why
        one.left.add(resolved_by)
        for at in one.left.partitions:
            self._assigned_at_s.setdefault(at, now_s)
        self._any_assigned_at_s = max(self._any_assigned_at_s, now_s)
        self._report(about, one, now_s)
        return new

    # ── what was done ─────────────────────────────────────────────────────────────────────────────────────────

    def delivered(self) -> None:
        for one in self._open.values():
            one.left.next_delivery = False

    def started(self, at: Partition) -> None:
        for one in self._open.values():
            one.left.started.discard(at)

    def read(self, taken: Sequence[Record | End]) -> None:
        for one in [one for one in self._open.values() if one.left.read]:
            one.left.read -= {item.at for item in taken}

    def joined(self, now_s: float) -> None:
        """Called when the group was joined. Partitions of faults count as assigned from now on for LOST_AFTER_S,
        because the coordinator needs time to assign them again."""
        for one in self._open.values():
            one.left.joined = False
        self._assigned_at_s = dict.fromkeys(self._assigned_at_s, now_s)
        self._any_assigned_at_s = now_s

    # ── what is active ────────────────────────────────────────────────────────────────────────────────────────

    def not_joined(self, now_s: float) -> None:
        """Called while the group cannot be joined. Reports transient faults that last; resolves none, because this
        process has no partitions."""
        for about, one in self._open.items():
            self._report(about, one, now_s)

    def review(self, state: AssignmentState, now_s: float) -> None:
        """Resolve the faults whose work is done, and report the transient faults that last."""
        if not self._open:
            return
        self._assigned_at_s |= dict.fromkeys(state.assigned, now_s)
        if state.assigned:
            self._any_assigned_at_s = now_s
        for about, one in list(self._open.items()):
            left = one.left
            self._remove_done(left, state, now_s)
            if left.nothing:
                del self._open[about]
                self.health.resolve(about)
            elif left.partitions & state.assigned or (left.next_delivery and state.assigned) or left.joined:
                self._report(about, one, now_s)

    def _remove_done(self, left: ResolvedBy, state: AssignmentState, now_s: float) -> None:
        for at, offset in list(left.offsets.items()):
            if state.committed.get(at, -1) >= offset:
                del left.offsets[at]
        left.work = {at for at in left.work if at in state.blocked or at not in state.committed}
        for at in left.partitions - state.assigned:
            if now_s - self._assigned_at_s.get(at, now_s) > LOST_AFTER_S:
                left.drop(at)
        if now_s - self._any_assigned_at_s > LOST_AFTER_S:
            left.next_delivery = False

    def _report(self, about: str, one: _Open, now_s: float) -> None:
        if one.reported or now_s >= one.report_at_s:
            one.reported = True
            self.health.fault(about, one.why)
