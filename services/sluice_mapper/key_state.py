"""What the mapper knows of one raw key. It is data, not cache: with it deletes that carry only a key, moves between
entities, unchanged columns and sweeps work.

`seen` and `carried` advance with every record of the key, whatever its mapping says; `emitted` with what was claimed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from sluice.position import LOWEST, Position
from sluice.raw.source_record import LeftOut

Target = tuple[str, str, str]
"""Entity, entity id, output."""

_ENCODER = msgspec.json.Encoder(decimal_format="number")
_DECODER = msgspec.json.Decoder(float_hook=Decimal)

# Postgres moves a value out of the row, and may then leave it out of an update, only if it is larger than 24 bytes
# there; the shortest JSON text of such a value is a jsonb of five characters.
UNCHANGED_TEXT_MIN = 5


@dataclass(slots=True)
class KeyState:
    """`emitted`: by mapping, the position and version of its newest claim; `targets`: where that claim stands;
    `deleted`: the newest delete; `carried`: column → (value, position), None when it is unknown."""

    seen: Position = LOWEST
    deleted: Position | None = None
    emitted: dict[str, tuple[Position, int]] = field(default_factory=dict)
    targets: dict[str, list[Target]] = field(default_factory=dict)
    carried: dict[str, tuple[Any, Position]] | None = field(default_factory=dict)

    @property
    def is_gone(self) -> bool:
        """Whether the newest that is known of the key is its delete, and nothing that it claimed stands."""
        return self.deleted is not None and self.deleted >= self.seen and not any(self.targets.values())

    def to_json(self) -> bytes:
        return _ENCODER.encode(
            [self.seen, self.deleted, self.emitted, self.targets, self.carried],
        )

    @classmethod
    def from_json(cls, value: bytes | None) -> KeyState:
        if value is None:
            return cls()
        seen, deleted, emitted, targets, carried = _DECODER.decode(value)
        return cls(
            Position(*seen),
            Position(*deleted) if deleted else None,
            {name: (Position(*position), version) for name, (position, version) in emitted.items()},
            {name: [(t[0], t[1], t[2]) for t in found] for name, found in targets.items()},
            None if carried is None else {c: (value, Position(*at)) for c, (value, at) in carried.items()},
        )


def fill(
    row: dict[str, Any], state: KeyState, position: Position
) -> tuple[dict[str, Any], dict[str, tuple[Any, Position]] | None, list[str]]:
    """Complete `row`, in which a column that was left out holds a `LeftOut`.

    Returns the row, the carried values as they stand after it, and the columns whose value is not known. A carried
    value serves only if it was stated at or before `position`: a later one is not what this record left unchanged.
    """
    carried: dict[str, tuple[Any, Position]] = {}
    unknown: list[str] = []
    before = state.carried or {}
    complete = row
    for column, value in row.items():
        if isinstance(value, LeftOut):
            known = before.get(column)
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
