"""The tables of one followed source: which are followed, pending or held, and what is told of them.

Belongs to the follower's thread. What changes here is written with the next batch, in its transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import structlog

from sluice.cdc.slot_watermark import FOLLOWED, HELD, PENDING, State, TableMark
from sluice.cdc.table_facts import Bound
from sluice.errors import EnvironmentFault
from sluice.telemetry.health import Health
from sluice.telemetry.metrics import CDC_TABLES
from sluice.times import now_us
from sluice_ingress_cdc.judgement import Action, Seen, Verdict, before_the_log, judge, not_yet_bound
from sluice_ingress_cdc.settings import SlotSettings

Marks = Mapping[str, TableMark | None]
"""Watermarks of tables by name; None takes one away."""

# Of a table that is truncated more often than it is looked at, the newest are enough.
_TRUNCATIONS_MAX = 100

log = structlog.get_logger()


class Tables:
    """`stored`: what is durable. A table that the pipeline names anew is pending; one it names no more is forgotten."""

    def __init__(self, slot: SlotSettings, stored: Mapping[str, TableMark], health: Health) -> None:
        self._slot = slot
        self._health = health
        self._marks = {name: stored.get(name, TableMark()) for name in slot.tables}
        self._changed: dict[str, TableMark | None] = {name: None for name in stored if name not in self._marks}
        for name, mark in self._marks.items():
            if name not in stored:
                self._changed[name] = mark
            self._tell(name, mark)

    def __getitem__(self, name: str) -> TableMark:
        return self._marks[name]

    def in_state(self, state: State) -> list[str]:
        """Names in the pipeline's order."""
        return [name for name, mark in self._marks.items() if mark.state == state]

    @property
    def changed(self) -> bool:
        return bool(self._changed)

    def take_changes(self) -> Marks:
        """What is to be written now; the caller writes it or ends."""
        changed, self._changed = self._changed, {}
        return changed

    def command(self, name: str) -> str:
        """What makes the table whole."""
        return f"`sluice cdc resnapshot {self._slot.source} --table {_shell(name)}`"

    def seen(self, name: str, seen: Seen, *, caught_up: bool = False) -> None:
        """Judge a look at a table, unless it was bound to something else since. `caught_up`: see `before_the_log`."""
        mark = self._marks[name]
        if seen.bound is not mark.bound:
            return
        known, waits = before_the_log(seen, mark.truncations, caught_up=caught_up)
        verdict = judge(known)
        self.judged(name, verdict._replace(bound=None) if waits else verdict)

    def judged(self, name: str, verdict: Verdict) -> None:
        """Follow what a look or the log says of a followed table. A fault stays until the table is read again."""
        mark = self._marks[name]
        if mark.state != FOLLOWED or (mark.why and verdict.action is not Action.HOLD):
            return
        if verdict.action is Action.GO_ON:
            self._go_on(name, mark, verdict.bound)
            return
        mend = f"{verdict.mend}, then " if verdict.mend else ""
        command = f"{mend}{self.command(name)} reads the table again"
        state = HELD if verdict.action is Action.HOLD else FOLLOWED
        self._fault(name, replace(self._marks[name], state=state), verdict.why, command)

    def _go_on(self, name: str, mark: TableMark, bound: Bound | None) -> None:
        """Bound to what stands now. A younger `xid` alone is worth no record."""
        if bound is None or mark.bound is None:
            return
        left = not_yet_bound(mark.truncations, bound)
        if bound._replace(xid=mark.bound.xid) != mark.bound or left != mark.truncations:
            self._put(name, replace(mark, bound=bound, truncations=left))
        else:
            self._marks[name] = replace(mark, bound=bound)

    def truncated(self, name: str, xid: int) -> None:
        """Remember the transaction in the watermark: the next process sees the table's new file, but not this event. It
        is written with the batch that holds the truncation; a transaction that is read again is there already."""
        mark = self._marks[name]
        if xid in mark.truncations:
            return
        self._put(name, replace(mark, truncations=(*mark.truncations, xid)[-_TRUNCATIONS_MAX:]))

    def asked(self, requests: Mapping[str, int]) -> bool:
        """Follow operators' requests to read tables again, by number; True if there was a new one."""
        new = {name: number for name, number in requests.items() if number > self._marks[name].request}
        for name, number in new.items():
            self._put(name, TableMark(request=number))
        return bool(new)

    def waits(self, name: str, fault: EnvironmentFault) -> None:
        """A pending table cannot be read now."""
        self._fault(name, self._marks[name], fault.why, fault.next_step)

    def pend(self, name: str) -> None:
        """The table is to be read whole."""
        self._put(name, TableMark(request=self._marks[name].request))

    def followed(self, name: str, since_lsn: int, bound: Bound) -> None:
        """The table's snapshot is in the batch that is published next."""
        self._put(name, TableMark(FOLLOWED, since_lsn, self._marks[name].request, bound=bound))

    def _fault(self, name: str, mark: TableMark, why: str, next_step: str) -> None:
        before = self._marks[name]
        if (mark.state, why, next_step) == (before.state, before.why, before.next_step):
            return
        at = before.fault_at if before.why else now_us()
        self._put(name, replace(mark, why=why, next_step=next_step, fault_at=at))
        log.error("table", table=name, source=self._slot.source, state=mark.state, why=why, next=next_step)

    def _put(self, name: str, mark: TableMark) -> None:
        if mark == self._marks[name]:
            return
        self._marks[name] = self._changed[name] = mark
        self._tell(name, mark)

    def _tell(self, name: str, mark: TableMark) -> None:
        about = f"{self._slot.where}, table {name}"
        if mark.why:
            state = f"is {mark.state}, and rows may be stale" if mark.state == FOLLOWED else f"is {mark.state}"
            self._health.fault(about, str(EnvironmentFault(f"{about} {state}", mark.why, mark.next_step)))
        elif mark.state == PENDING:
            self._health.starting(about)
        else:
            self._health.resolve(about)
        for state in (PENDING, FOLLOWED, HELD):
            CDC_TABLES.labels(self._slot.source, name, state).set(state == mark.state)


def _shell(name: str) -> str:
    return name if name.replace("_", "").replace(".", "").isalnum() else f"'{name}'"
