"""The mapper's state of one raw key. The state is data and no cache: it cannot be computed from the next record.

The mapper needs it for deletes that carry only a key, for moves between entities, for columns that an update left out,
and for sweeps. Every newer record of a key advances `seen` and `carried`. Only claims and deletes advance `emitted`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any

import msgspec

from sluice.position import LOWEST, Position
from sluice.raw.raw_record import RESERVED_KEY, LeftOut
from sluice.state import View

Target = tuple[str, str, str]
"""Entity, entity id, output."""
Carried = Mapping[str, tuple[Any, Position]]
"""By column: a value that a later change can leave out, and the position of the record that stated the value."""

# Change events leave out an unchanged value only if Postgres stored the value outside of the row. Postgres does so only
# with values of more than 24 bytes. The shortest JSON text of such a value is a jsonb of five characters.
UNCHANGED_TEXT_MIN = 5


class KeyState(msgspec.Struct, frozen=True, array_like=True):
    """Immutable. `seen`: the position of the key's newest record. `deleted`: the position of the key's newest delete.

    `emitted`: by mapping, the position and mapping version of the newest claim or retraction. `targets`: by mapping,
    the targets of its current claims. `carried`: None if the values of the columns are unknown.
    """

    seen: Position = LOWEST
    deleted: Position | None = None
    emitted: Mapping[str, tuple[Position, int]] = msgspec.field(default_factory=dict)
    targets: Mapping[str, tuple[Target, ...]] = msgspec.field(default_factory=dict)
    carried: Carried | None = msgspec.field(default_factory=dict)

    @property
    def is_deleted(self) -> bool:
        """Whether the newest record of the key is a delete, and no claim of the key is current."""
        return self.deleted is not None and self.deleted >= self.seen and not any(self.targets.values())

    @property
    def is_only_claimed(self) -> bool:
        """Whether the state was restored from claims alone: no record of the key was read since."""
        return self.seen == LOWEST and bool(self.emitted)

    @property
    def newest_claimed(self) -> Position:
        return max(position for position, _ in self.emitted.values())

    def replace(self, **members: Any) -> KeyState:
        """A copy of this state in which `members` are replaced."""
        return msgspec.structs.replace(self, **members)

    def to_json(self) -> bytes:
        return _ENCODER.encode(self)

    @classmethod
    def from_json(cls, value: bytes | None) -> KeyState:
        return UNKNOWN if value is None else _DECODER.decode(value)


UNKNOWN = KeyState()
"""The state of a key of which no record was read."""
_ENCODER = msgspec.json.Encoder(decimal_format="number")
_DECODER = msgspec.json.Decoder(KeyState, float_hook=Decimal)


@dataclass(slots=True)
class KeyScan:
    """Reads the states of all keys of a partition in key order, in slices. `after`: the last key that was read."""

    after: bytes = b""
    finished: bool = False

    def read(self, view: View, keys: int) -> list[tuple[bytes, KeyState]]:
        """At most the next `keys` keys with their states. The partition record, also stored in `view`, is left out."""
        pairs = list(islice(view.scan(after=self.after), keys))
        self.finished = len(pairs) < keys
        if pairs:
            self.after = pairs[-1][0]
        return [(key, KeyState.from_json(value)) for key, value in pairs if not key.startswith(RESERVED_KEY)]


def fill(
    row: dict[str, Any], before: Carried | None, position: Position
) -> tuple[dict[str, Any], dict[str, tuple[Any, Position]], list[str]]:
    """Complete the `row` of a record at `position`: each `LeftOut` is replaced by the value that `before` carries.

    Returns the complete row, the values to carry after the record, and the columns whose value is not known. A value
    is used only if it was stated at or before `position`: the record cannot refer to a value that was stated later.
    """
    carried: dict[str, tuple[Any, Position]] = {}
    unknown: list[str] = []
    complete = row
    for column, value in row.items():
        kind = type(value)
        if kind is str:
            if len(value) >= UNCHANGED_TEXT_MIN:
                carried[column] = (value, position)
        elif kind is dict or kind is list:
            carried[column] = (value, position)
        elif kind is LeftOut:
            known = before.get(column) if before else None
            if value is LeftOut.UNKNOWN or known is None or known[1] > position:
                unknown.append(column)
            else:
                if complete is row:
                    complete = dict(row)
                complete[column] = known[0]
                carried[column] = known
    return complete, carried, unknown
