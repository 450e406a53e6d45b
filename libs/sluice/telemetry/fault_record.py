"""An active fault as a record of `sluice.faults`: key `<stage>/<instance>/<about>`, value JSON, null when resolved."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from sluice.telemetry.health import ActiveFault

VERSION = 1
# An active fault is written again at this interval. Without it, a reader takes the process for ended.
REPEATED_EVERY_S = 30.0


class FaultRecord(NamedTuple):
    """A fault that a process reported, since `since_us`, the last time at `at_us` (Unix µs). `attempts`: how many times
    in a row the operation was tried by then, 0 where this is not counted."""

    stage: str
    instance: str
    about: str
    why: str
    since_us: int
    at_us: int
    attempts: int = 0

    def to_json(self) -> bytes:
        return orjson.dumps(
            {
                "v": VERSION,
                "stage": self.stage,
                "instance": self.instance,
                "about": self.about,
                "why": self.why,
                "since": self.since_us,
                "at": self.at_us,
                "attempts": self.attempts,
            }
        )

    @classmethod
    def from_json(cls, value: bytes) -> FaultRecord | None:
        """None if `value` is no fault record, or one of a newer version."""
        try:
            read = orjson.loads(value)
            if read["v"] != VERSION:
                return None
            stage, instance, about, why = (str(read[name]) for name in ("stage", "instance", "about", "why"))
            return cls(stage, instance, about, why, int(read["since"]), int(read["at"]), int(read.get("attempts", 0)))
        except (ValueError, KeyError, TypeError):
            return None


def key_prefix(stage: str, instance: str) -> str:
    """The common prefix of the keys of one process."""
    return f"{stage}/{instance}/"


def fault_key(stage: str, instance: str, about: str) -> bytes:
    return f"{key_prefix(stage, instance)}{about}".encode()


def fault_value(stage: str, instance: str, about: str, fault: ActiveFault | None, now_us: int) -> bytes | None:
    """The value of the record; None, a tombstone, for a resolved fault."""
    if fault is None:
        return None
    return FaultRecord(stage, instance, about, fault.why, fault.since_us, now_us, fault.attempts).to_json()
