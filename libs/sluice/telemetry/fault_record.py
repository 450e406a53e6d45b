"""A active fault as a record of `sluice.faults`: key `<stage>/<instance>/<about>`, a value as JSON, null once it is
over."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from sluice.telemetry.health import ActiveFault

VERSION = 1
# So often what stands is said anew: who reads can tell a fault from one whose process is gone.
REPEATED_EVERY_S = 30.0


class FaultRecord(NamedTuple):
    """A fault that a process told. `since_us`: when it began, `at_us`: when the process last said so (Unix µs);
    `attempts`: how many times in a row something was tried by then, 0 where nobody counts."""

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
        """None for what is no fault record, or one of a newer version."""
        try:
            read = orjson.loads(value)
            if read["v"] != VERSION:
                return None
            stage, instance, about, why = (str(read[name]) for name in ("stage", "instance", "about", "why"))
            return cls(stage, instance, about, why, int(read["since"]), int(read["at"]), int(read.get("attempts", 0)))
        except (ValueError, KeyError, TypeError):
            return None


def prefix_of(stage: str, instance: str) -> str:
    """What the keys of one process begin with."""
    return f"{stage}/{instance}/"


def key_of(stage: str, instance: str, about: str) -> bytes:
    return f"{prefix_of(stage, instance)}{about}".encode()


def written(stage: str, instance: str, about: str, active: ActiveFault | None, now_us: int) -> bytes | None:
    """The record's value; None, a tombstone, where nothing stands."""
    if active is None:
        return None
    return FaultRecord(stage, instance, about, active.why, active.since_us, now_us, active.attempts).to_json()
