"""A sweep: every key of a stream that was last seen strictly below a position is gone. Done in slices, because one
TRUNCATE of fifty million keys does not fit a transaction."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from sluice.position import Position
from sluice.provenance import RawRef
from sluice.raw.source_record import RESERVED_KEY
from sluice.state import View
from sluice_mapper.key_state import KeyState
from sluice_mapper.recovery import unmet


@dataclass(slots=True)
class Sweep:
    """One sweep under way in one partition. `after`: the last key looked at; `raw`: where the marker stands."""

    stream: str
    position: Position
    raw: RawRef
    observed_at: int
    after: bytes = b""
    retracted: int = 0
    finished: bool = False


def sweep_slice(view: View, sweep: Sweep, keys: int) -> list[tuple[bytes, KeyState]]:
    """Of the next `keys`, those to retract; advances `sweep`. A parked record counts as seen: its key is alive in the
    source."""
    pairs = list(islice(view.scan(after=sweep.after), keys))
    if len(pairs) < keys:
        sweep.finished = True
    if pairs:
        sweep.after = pairs[-1][0]
    found = []
    for key, value in pairs:
        if key.startswith(RESERVED_KEY):
            continue
        state = KeyState.from_json(value)
        # A key that no record was seen of yet, after the state was lost, is for the end of the pass to judge.
        if state.seen < sweep.position and not unmet(state):
            found.append((key, state))
    return found
