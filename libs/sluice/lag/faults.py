"""The active faults that the stages reported: what is wrong, since when, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from sluice.errors import EnvironmentFault
from sluice.kafka import LogReader
from sluice.kafka.log import newest_by_key
from sluice.names import STAGES, Names
from sluice.telemetry.fault_record import REPEATED_EVERY_S, FaultRecord

SILENT_AFTER_S = 3 * REPEATED_EVERY_S


class ActiveFaults(NamedTuple):
    """Faults in the order of the flow, the oldest of a stage first. `unknown`: why not all are known, else empty."""

    faults: tuple[FaultRecord, ...] = ()
    unknown: str = ""

    def to_json(self) -> list[dict[str, Any]]:
        """For programs; times in Unix seconds."""
        return [
            {
                "stage": one.stage,
                "instance": one.instance,
                "about": one.about,
                "why": one.why,
                "since_s": one.since_us / 1e6,
                "reported_s": one.at_us / 1e6,
                "attempts": one.attempts,
            }
            for one in self.faults
        ]


def active_faults(reader: LogReader, names: Names) -> ActiveFaults:
    """The faults that are now in `sluice.faults`. Blocks. Raises Transient."""
    try:
        reader.pinned([names.faults])
        return read_faults(newest_by_key(reader, names.faults).values())
    except EnvironmentFault as error:
        return ActiveFaults(unknown=str(error))


def read_faults(values: Iterable[bytes]) -> ActiveFaults:
    """Fault records, sorted by stage and time. Records of another version are only counted."""
    places = {stage: place for place, stage in enumerate(STAGES)}
    found = [FaultRecord.from_json(value) for value in values]
    read = [one for one in found if one is not None]
    read.sort(key=lambda one: (places.get(one.stage, len(places)), one.since_us, one.instance, one.about))
    unread = len(found) - len(read)
    unknown = f"{unread} in a form that this version does not read. Next: use the `sluice` that the stages run with"
    return ActiveFaults(tuple(read), unknown if unread else "")


def silent_for_s(fault: FaultRecord, now_s: float) -> float | None:
    """How long a fault was not repeated, if too long: its process ended, or cannot reach Kafka. Else None."""
    silent_s = now_s - fault.at_us / 1e6
    return silent_s if silent_s > SILENT_AFTER_S else None


def alike(faults: Iterable[FaultRecord]) -> list[tuple[str, FaultRecord]]:
    """What each fault is about, and the fault. Faults that differ only in the partition of a topic become one: the
    oldest, about `topic/0,1,2`."""
    groups: dict[tuple[str, str, str, str], list[tuple[str, FaultRecord]]] = {}
    for one in faults:
        topic, slash, number = one.about.rpartition("/")
        if not slash or not number.isdigit():
            topic, number = one.about, ""
        why = re.sub(rf"{re.escape(one.about)}(?!\d)", topic, one.why)
        groups.setdefault((one.stage, one.instance, topic, why), []).append((number, one))
    found = []
    for (_, _, topic, why), several in groups.items():
        if len(several) == 1:
            found.append((several[0][1].about, several[0][1]))
        else:
            numbers = ",".join(number for number, _ in several)
            found.append((f"{topic}/{numbers}", several[0][1]._replace(why=why.removeprefix(f"{topic}: "))))
    return found
