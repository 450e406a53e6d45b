"""Keys that are retracted without a delete of their own: below a sweep marker, or without a record in a whole pass.

Both are done in slices, because one TRUNCATE of fifty million keys does not fit a transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sluice.state import View
from sluice_mapper.key_state import KeyScan, KeyState
from sluice_mapper.record_step import RecordContext


@dataclass(slots=True)
class Sweep:
    """A sweep in progress in one partition. `marker`: what its retractions share."""

    marker: RecordContext
    scan: KeyScan = field(default_factory=KeyScan)
    retracted: int = 0

    def due(self, view: View, keys: int) -> list[tuple[bytes, KeyState]]:
        """Of the next `keys`, those to retract. A key whose newest record is parked was seen: the source has it."""
        # After a loss of the state, the end of the pass decides about a key of which no record was read yet.
        found = self.scan.read(view, keys)
        return [(key, state) for key, state in found if state.seen < self.marker.position and not state.is_only_claimed]


@dataclass(slots=True)
class Pass:
    """A second reading of a whole partition, up to `end`. `scan`: the keys checked after it got there."""

    end: int
    scan: KeyScan = field(default_factory=KeyScan)

    def unread(self, view: View, keys: int) -> list[tuple[bytes, KeyState]]:
        """Of the next `keys`, those of which the pass read no record."""
        return [(key, state) for key, state in self.scan.read(view, keys) if state.is_only_claimed]
