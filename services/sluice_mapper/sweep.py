"""The keys that the mapper retracts without a delete record: those below a sweep marker, and those without a record in
a whole pass.

Keys are retracted in slices: one TRUNCATE can delete fifty million keys, which do not fit a transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sluice.state import View
from sluice_mapper.key_state import KeyScan, KeyState
from sluice_mapper.record_step import RecordContext


@dataclass(slots=True)
class Sweep:
    """A sweep in progress in one partition. `marker`: the position and the time of the sweep, which its
    retractions get. `retracted`: the number of retractions so far."""

    marker: RecordContext
    scan: KeyScan = field(default_factory=KeyScan)
    retracted: int = 0

    def due(self, view: View, keys: int) -> list[tuple[bytes, KeyState]]:
        """Those of the next `keys` keys whose newest record is below the marker. Parked records count as records."""
        # After a loss of the state, a key of which no record was read yet is left to the end of the pass.
        found = self.scan.read(view, keys)
        return [
            (key, state)
            for key, state in found
            if state.seen < self.marker.origin.position and not state.is_only_claimed
        ]


@dataclass(slots=True)
class Pass:
    """A pass: a whole partition is read again up to the offset `end`. `scan`: the keys that are checked afterwards."""

    end: int
    scan: KeyScan = field(default_factory=KeyScan)

    def unread(self, view: View, keys: int) -> list[tuple[bytes, KeyState]]:
        """Those of the next `keys` keys of which the pass read no record."""
        return [(key, state) for key, state in self.scan.read(view, keys) if state.is_only_claimed]
