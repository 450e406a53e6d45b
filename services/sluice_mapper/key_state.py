"""The mapper's state of one raw key. It is data, not cache: deletes that carry only a key, moves between entities,
unchanged columns and sweeps depend on it.

`seen` and `carried` advance with every record of the key, whatever its mapping says; `emitted` with each claim.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any

import msgspec

from sluice.position import LOWEST, Position
from sluice.raw.source_record import RESERVED_KEY, LeftOut
from sluice.state import View

Target = tuple[str, str, str]
"""Entity, entity id, output."""
Carried = Mapping[str, tuple[Any, Position]]
"""By column: a value that a later change can leave out, and the position that stated it."""

# Postgres moves a value out of the row, and may then leave it out of an update, only if it is larger than 24 bytes
# there; the shortest JSON text of such a value is a jsonb of five characters.
UNCHANGED_TEXT_MIN = 5


class KeyState(msgspec.Struct, frozen=True, array_like=True):
    """A value: a change of it is another one. `emitted`: by mapping, the position and version of its newest claim;
    `targets`: what that claim is about; `deleted`: the newest delete; `carried`: None when it is unknown."""

    seen: Position = LOWEST
    deleted: Position | None = None
    emitted: Mapping[str, tuple[Position, int]] = msgspec.field(default_factory=dict)
    targets: Mapping[str, tuple[Target, ...]] = msgspec.field(default_factory=dict)
    carried: Carried | None = msgspec.field(default_factory=dict)

    @property
    def is_deleted(self) -> bool:
        """Whether the newest record of the key is its delete, and none of its claims is current."""
        return self.deleted is not None and self.deleted >= self.seen and not any(self.targets.values())

    @property
    def is_only_claimed(self) -> bool:
        """Whether everything known of the key comes from its claims: no record of it was read."""
        return self.seen == LOWEST and bool(self.emitted)

    @property
    def newest_claimed(self) -> Position:
        return max(position for position, _ in self.emitted.values())

    def replace(self, **members: Any) -> KeyState:
        """The same state with other `members`."""
        return msgspec.structs.replace(self, **members)

    def to_json(self) -> bytes:
        return _ENCODER.encode(self)

    @classmethod
    def from_json(cls, value: bytes | None) -> KeyState:
        return KeyState() if value is None else _DECODER.decode(value)


_ENCODER = msgspec.json.Encoder(decimal_format="number")
_DECODER = msgspec.json.Decoder(KeyState, float_hook=Decimal)


@dataclass(slots=True)
class KeyScan:
    """Reads the states of a partition's keys, in key order. `after`: the last key read."""

    after: bytes = b""
    finished: bool = False

    def read(self, view: View, keys: int) -> list[tuple[bytes, KeyState]]:
        """The next `keys` at most. The partition record, which `view` contains as well, is left out."""
        pairs = list(islice(view.scan(after=self.after), keys))
        self.finished = len(pairs) < keys
        if pairs:
            self.after = pairs[-1][0]
        return [(key, KeyState.from_json(value)) for key, value in pairs if not key.startswith(RESERVED_KEY)]


def fill(
    row: dict[str, Any], before: Carried | None, position: Position
) -> tuple[dict[str, Any], dict[str, tuple[Any, Position]], list[str]]:
    """Complete `row`, in which a column that was left out contains a `LeftOut`, from the values carried `before`.

    Returns the row, the carried values after it, and the columns whose value is not known. A carried value serves only
    if it was stated at or before `position`: this record cannot have left a later value unchanged.
    """
    carried: dict[str, tuple[Any, Position]] = {}
    unknown: list[str] = []
    complete = row
    for column, value in row.items():
        if isinstance(value, LeftOut):
            known = before.get(column) if before else None
            if value is LeftOut.UNKNOWN or known is None or known[1] > position:
                unknown.append(column)
            else:
                if complete is row:
                    complete = dict(row)
                complete[column] = known[0]
                carried[column] = known
        elif type(value) is str:
            if len(value) >= UNCHANGED_TEXT_MIN:
                carried[column] = (value, position)
        elif isinstance(value, list | dict):
            carried[column] = (value, position)
    return complete, carried, unknown
