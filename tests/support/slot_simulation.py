"""A simulated Postgres slot: sends transactions in commit order, and resends them after a restart as a server does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sluice.cdc.debezium import EventSource, NoRow
from sluice.cdc.pgoutput import Row
from sluice_ingress_cdc.assembler import Assembler, RereadRow, TableShape
from sluice_ingress_cdc.records import SlotTargets, TableTarget
from sluice_ingress_cdc.table_changes import TableVerdict
from support import pgoutput_wire as wire

from sluice.cdc.watermarks import Mark  # isort: skip

EPOCH = 3
START = Mark(0, 0)
COLUMNS = [("id", 23), ("name", 25)]
EMPLOYEE = wire.table(1, "employee", COLUMNS, ["id"])
MOVE = wire.table(2, "move", COLUMNS, ["id"])
UNFOLLOWED = wire.table(3, "audit", COLUMNS, ["id"])
SHAPES = [wire.relation(r) for r in (EMPLOYEE, MOVE, UNFOLLOWED)]

TARGETS = SlotTargets(
    source=EventSource("0", "raw.erp", "erp"),
    epoch=EPOCH,
    by_oid={
        oid: TableTarget(f"public.{name}", f"raw.erp.public.{name}", 2, ("id",))
        for oid, name in ((1, "employee"), (2, "move"))
    },
    dead_letter_topic="dlq.ingress-cdc",
    record_bytes_max=10_000,
)


def no_rows(*_: object) -> Row | NoRow:
    return NoRow.DELETED


def no_verdict(stream: str, verdict: TableVerdict) -> None:
    raise AssertionError(f"{stream}: {verdict}")


def assembler(
    mark: Mark = START,
    targets: SlotTargets = TARGETS,
    on_verdict: Callable[[str, TableVerdict], None] = no_verdict,
    on_truncate: Callable[[str, int], None] = lambda stream, xid: None,
    reread_row: RereadRow = no_rows,
    reread: frozenset[str] = frozenset(),
    on_ddl: Callable[[], None] = lambda: None,
    counts: Mapping[str, int] = {},
) -> Assembler:
    return Assembler(
        targets,
        mark,
        lambda stream, relation, xid: TableShape({}, reread),
        reread_row,
        on_verdict,
        on_truncate,
        on_ddl=on_ddl,
        counts=counts,
    )


@dataclass(frozen=True)
class Transaction:
    """One transaction. `events`: as pgoutput encodes them. `gap`: bytes of log from the end of the commit before to the
    commit record. `tail`: bytes of the commit record."""

    events: tuple[bytes, ...]
    gap: int
    tail: int


@dataclass
class Slot:
    """A slot with its transactions. `confirmed`: the highest confirmed LSN, which the server stores. `spans`: the start
    and the end of each commit record."""

    transactions: Sequence[Transaction]
    confirmed: int = 0
    spans: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        at = 100
        for transaction in self.transactions:
            final = at + transaction.gap
            at = final + transaction.tail
            self.spans.append((final, at))

    @property
    def end(self) -> int:
        return self.spans[-1][1] if self.spans else 100

    def sent_from(self, start: int) -> Iterator[tuple[bytes, int]]:
        """The messages that the server sends after a start at LSN `start`, each with its LSN. (b"", WAL end) is a
        keepalive. A transaction is not sent if its commit record is below the start."""
        start = max(start, self.confirmed)
        yield b"", start
        shown = False
        for transaction, (final, end) in zip(self.transactions, self.spans, strict=True):
            if final < start:
                continue
            yield wire.begin(final), final
            if not shown:
                yield from ((shape, 0) for shape in SHAPES)
                shown = True
            for number, event in enumerate(transaction.events):
                # Within a transaction the WAL end of a keepalive is still below the transaction's commit record.
                yield b"", max(start, final - 1)
                yield event, final - len(transaction.events) + number
            yield wire.commit(final, end), final
            yield b"", end


@dataclass
class Broker:
    """The durable state in Kafka: a commit stores the records and the mark of a batch together."""

    mark: Mark = START
    published: list[tuple[str, bytes | None, bool, bytes]] = field(default_factory=list)

    def commit(self, made: Assembler) -> int:
        """Publish the next batch of an assembler. Returns the LSN that may be confirmed to Postgres now."""
        batch = made.take()
        for record in batch.records:
            position = dict(record.headers)["sluice-position"]
            self.published.append((record.topic, record.key, record.value is None, position))
        assert batch.mark >= self.mark
        assert batch.mark >= Mark(batch.complete_lsn, 0)
        self.mark = batch.mark
        return batch.complete_lsn


def publish_everything(slot: Slot, broker: Broker, next_step: Callable[[], str], *, ask_from_mark: bool = True) -> None:
    """Follow `slot` to its end, with a new assembler after each crash.

    `next_step` is called after every message; it returns go, publish, confirm, crash or crash-between. A
    "crash-between" happens after the Kafka transaction and before its LSN is confirmed. `ask_from_mark`: request the
    start at the mark; otherwise the server starts at the LSN confirmed last, and resends more.
    """
    while broker.mark.lsn < slot.end:
        made = assembler(broker.mark)
        confirmable = made.complete_lsn
        crashed = False
        for payload, lsn in slot.sent_from(broker.mark.lsn if ask_from_mark else 0):
            if payload:
                made.feed(payload, lsn)
            else:
                made.idle(lsn)
            match next_step():
                case "publish":
                    confirmable = broker.commit(made)
                case "confirm":
                    assert confirmable <= broker.mark.lsn
                    slot.confirmed = max(slot.confirmed, confirmable)
                case "crash":
                    crashed = True
                    break
                case "crash-between":
                    broker.commit(made)
                    crashed = True
                    break
                case _:
                    pass
        if not crashed:
            confirmable = broker.commit(made)
            slot.confirmed = max(slot.confirmed, confirmable)
