"""The state of each table of one followed source (pending, followed or blocked), and its fault.

Only the follower's thread uses this object. A changed state is written in the transaction of the next batch.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace

import structlog

from sluice.cdc.table_facts import TableBinding
from sluice.cdc.watermarks import BLOCKED, FOLLOWED, PENDING, State, TableReading, TableWatermark
from sluice.errors import EnvironmentFault
from sluice.telemetry.health import Health
from sluice.telemetry.metrics import CDC_TABLES
from sluice.times import now_us
from sluice_ingress_cdc.settings import SlotSettings
from sluice_ingress_cdc.table_changes import (
    ROW_TOO_LARGE,
    TableCheck,
    TableOutcome,
    TableVerdict,
    explain_by_log,
    table_verdict,
    truncations_since,
)

TableChanges = Mapping[str, TableWatermark | None]
"""The new watermark of each changed table, by name; None deletes the watermark of the table."""

# The number of truncating transactions that a watermark keeps, the newest ones. A table may be truncated more often
# than it is checked.
_TRUNCATIONS_MAX = 100

log = structlog.get_logger()


class FollowedTables:
    """The tables of one source. `stored`: their durable watermarks, by name. A table that is new in the pipeline is
    pending. The watermark of a table that the pipeline no longer names is deleted."""

    def __init__(self, slot: SlotSettings, stored: Mapping[str, TableWatermark], health: Health) -> None:
        self._slot = slot
        self._health = health
        self._watermarks = {name: stored.get(name, TableWatermark()) for name in slot.tables}
        self._changed: dict[str, TableWatermark | None] = {name: None for name in stored if name not in slot.tables}
        for name, watermark in self._watermarks.items():
            if name not in stored:
                self._changed[name] = watermark
            self._report(name, watermark)

    def __getitem__(self, name: str) -> TableWatermark:
        return self._watermarks[name]

    def in_state(self, state: State) -> list[str]:
        """The names of the tables in `state`, in the order of the pipeline file."""
        return [name for name, watermark in self._watermarks.items() if watermark.state == state]

    @property
    def bounds(self) -> dict[str, TableBinding]:
        """The bindings of the tables whose changes are published, by name."""
        tables = self._watermarks.items()
        return {name: table.bound for name, table in tables if table.is_streamed and table.bound is not None}

    @property
    def changed(self) -> bool:
        return bool(self._changed)

    def take_changes(self) -> TableChanges:
        """The changed watermarks since the last call. The caller must write them, or end the session."""
        changed, self._changed = self._changed, {}
        return changed

    def apply_check(self, name: str, check: TableCheck, *, caught_up: bool = False) -> None:
        """Decide the state of table `name` by `check`, unless the table's binding has changed since the check.
        `caught_up`: see `explain_by_log`."""
        watermark = self._watermarks[name]
        if check.bound is not watermark.bound:
            return
        explained, undecided = explain_by_log(check, watermark.truncations, caught_up=caught_up)
        verdict = table_verdict(explained)
        self.apply(name, verdict._replace(bound=None) if undecided else verdict)

    def apply(self, name: str, verdict: TableVerdict) -> None:
        """Apply a verdict to a table whose changes are published. The fault of a followed table stays active until the
        table is read again. A table that is being read is read from its beginning again."""
        watermark = self._watermarks[name]
        blocks = verdict.outcome is TableOutcome.BLOCK
        if watermark.reading is not None:
            self._apply_while_read(name, watermark, watermark.reading, verdict)
            return
        if watermark.state != FOLLOWED or (watermark.why and not blocks):
            return
        if verdict.outcome is TableOutcome.FOLLOW:
            self._bind(name, watermark, verdict.bound)
            return
        fix = f"{verdict.fix}, then " if verdict.fix else ""
        next_step = (
            f"{fix}`sluice cdc resnapshot {self._slot.source} --table {shlex.quote(name)}` reads the table again"
        )
        self._fault(name, replace(watermark, state=BLOCKED if blocks else FOLLOWED), verdict.why, next_step)

    def _apply_while_read(
        self, name: str, watermark: TableWatermark, reading: TableReading, verdict: TableVerdict
    ) -> None:
        if verdict.outcome is TableOutcome.FOLLOW:
            self._bind(name, watermark, verdict.bound)
        elif verdict.about_a_row:
            self._put(name, replace(watermark, reading=reading._replace(too_large=True)))
        else:
            log.warning("table is read again", table=name, source=self._slot.source, why=verdict.why)
            self.set_pending(name)

    def _bind(self, name: str, watermark: TableWatermark, bound: TableBinding | None) -> None:
        """Replace the binding of a table. If only its `xid` changed, the watermark is not written again."""
        if bound is None or watermark.bound is None:
            return
        left = truncations_since(watermark.truncations, bound)
        if bound._replace(xid=watermark.bound.xid) != watermark.bound or left != watermark.truncations:
            self._put(name, replace(watermark, bound=bound, truncations=left))
        else:
            self._watermarks[name] = replace(watermark, bound=bound)

    def truncated(self, name: str, xid: int) -> None:
        """Add transaction `xid`, which truncated the whole table, to the table's watermark.

        A later process finds the table's new file, but does not receive the TRUNCATE again; the watermark explains the
        file. The watermark is written with the batch of the TRUNCATE. A resent transaction is not added twice.
        """
        watermark = self._watermarks[name]
        if xid not in watermark.truncations:
            self._put(name, replace(watermark, truncations=(*watermark.truncations, xid)[-_TRUNCATIONS_MAX:]))

    def apply_requests(self, requests: Mapping[str, int]) -> bool:
        """Apply operators' requests to read tables again (newest number by table). True if a request was new."""
        new = {name: number for name, number in requests.items() if number > self._watermarks[name].request}
        for name, number in new.items():
            self._put(name, TableWatermark(request=number))
        return bool(new)

    def cannot_read(self, name: str, fault: EnvironmentFault) -> None:
        """Record the fault because of which a pending table cannot be read now."""
        self._fault(name, self._watermarks[name], fault.why, fault.next_step)

    def set_pending(self, name: str) -> None:
        self._put(name, TableWatermark(request=self._watermarks[name].request))

    def start_reading(self, name: str, since_lsn: int, bound: TableBinding) -> None:
        """Record that the changes of table `name` are published from `since_lsn` on, while it is read."""
        request = self._watermarks[name].request
        self._put(name, TableWatermark(PENDING, since_lsn, request, bound=bound, reading=TableReading()))

    def read_up_to(self, name: str, reading: TableReading) -> None:
        """Record that the rows up to `reading` are in the next published batch. After the last one the table is
        followed."""
        before = self._watermarks[name]
        too_large = reading.too_large or (before.reading is not None and before.reading.too_large)
        after = replace(before, reading=reading._replace(too_large=too_large), why="", next_step="", fault_at=0)
        if reading.is_complete:
            after = replace(after, state=FOLLOWED, reading=None)
        self._put(name, after)
        if reading.is_complete and too_large:
            self.apply(name, ROW_TOO_LARGE)

    def _fault(self, name: str, watermark: TableWatermark, why: str, next_step: str) -> None:
        before = self._watermarks[name]
        if (watermark.state, why, next_step) == (before.state, before.why, before.next_step):
            return
        at = before.fault_at if before.why else now_us()
        self._put(name, replace(watermark, why=why, next_step=next_step, fault_at=at))
        log.error(
            "table has a fault", table=name, source=self._slot.source, state=watermark.state, why=why, next=next_step
        )

    def _put(self, name: str, watermark: TableWatermark) -> None:
        if watermark == self._watermarks[name]:
            return
        self._watermarks[name] = self._changed[name] = watermark
        self._report(name, watermark)

    def _report(self, name: str, watermark: TableWatermark) -> None:
        about = f"{self._slot.where}, table {name}"
        if watermark.why:
            state = f"is {watermark.state}"
            if watermark.state == FOLLOWED:
                state += ", and rows may be stale"
            self._health.fault(about, str(EnvironmentFault(f"{about} {state}", watermark.why, watermark.next_step)))
        elif watermark.state == PENDING:
            self._health.starting(about)
        else:
            self._health.resolve(about)
        for state in (PENDING, FOLLOWED, BLOCKED):
            CDC_TABLES.labels(self._slot.source, name, state).set(state == watermark.state)
