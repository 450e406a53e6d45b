"""A fault as a record of the topic `sluice.faults`. Its key is `<stage>/<instance>/<about>`, its value JSON. A
tombstone means that the fault is resolved."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from sluice.telemetry.health import ActiveFault

VERSION = 1
# An active fault is written again at this interval. If it is not, a reader concludes that the process has ended.
REPEATED_EVERY_S = 30.0


class FaultRecord(NamedTuple):
    """An active fault of a process. `about`: the part of the pipeline that it concerns. `since_us`: when the fault
    began; `at_us`: when this record was written (Unix µs). `attempts`: how many times in a row the operation had failed
    by then, 0 if this is not counted."""

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
        """Read a fault record; None if `value` is not one, or has another format version."""
        try:
            read = orjson.loads(value)
            if read["v"] != VERSION:
                return None
            stage, instance, about, why = (str(read[name]) for name in ("stage", "instance", "about", "why"))
            return cls(stage, instance, about, why, int(read["since"]), int(read["at"]), int(read.get("attempts", 0)))
        except (ValueError, KeyError, TypeError):
            return None


def key_prefix(stage: str, instance: str) -> str:
    """The prefix that the keys of all faults of one process have in common."""
    return f"{stage}/{instance}/"


def fault_key(stage: str, instance: str, about: str) -> bytes:
    return f"{key_prefix(stage, instance)}{about}".encode()


def fault_value(stage: str, instance: str, about: str, fault: ActiveFault | None, now_us: int) -> bytes | None:
    """The value of a fault's Kafka record: JSON, or None (a tombstone) if the fault is resolved."""
    if fault is None:
        return None
    return FaultRecord(stage, instance, about, fault.why, fault.since_us, now_us, fault.attempts).to_json()
