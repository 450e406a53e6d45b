"""The values that `sluice.cdc.debezium` takes and gives: an event, its place in the log, and why there is none."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from sluice.cdc.envelope import TransactionInfo
from sluice.errors import SluiceError

NextBlock = Callable[[], bytes]
"""Gives JSON of the `transaction` of the next event."""


def no_block() -> bytes:
    """The `transaction` of an event without transaction metadata."""
    return b"null"


class NoRow(Enum):
    """Why the current row of a key could not be read from the source."""

    DELETED = auto()
    UNREADABLE = auto()


class CannotFollow(SluiceError):
    """The events of a table lack a value that its records need: the table must be blocked. `why`: a text for people."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class ChangeEvent(NamedTuple):
    """One record: its key, its envelope (None: a tombstone), and its headers (a changed key, columns without a
    value)."""

    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class Place(NamedTuple):
    """Where an event stands in the log."""

    transaction: TransactionInfo
    lsn: int
    next_block: NextBlock = no_block
