"""The faults that stages told and that are not over: what is wrong in them, since when, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from sluice.errors import EnvironmentFault
from sluice.kafka import KafkaSettings, clients, read_to_end
from sluice.kafka.topics import Topics
from sluice.names import STAGES, Names
from sluice.telemetry.fault_record import REPEATED_EVERY_S, FaultRecord

SILENT_AFTER_S = 3 * REPEATED_EVERY_S


class ActiveFaults(NamedTuple):
    """In the order of the flow, the oldest of a stage first. `unknown` says why they could not be found out."""

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
                "told_s": one.at_us / 1e6,
                "attempts": one.attempts,
            }
            for one in self.faults
        ]


def active_faults(settings: KafkaSettings, names: Names) -> ActiveFaults:
    """What stands in `sluice.faults` now. Raises Transient."""
    try:
        Topics(clients.admin(settings)).pinned([names.faults])
        newest: dict[bytes, bytes | None] = {}
        for message in read_to_end(settings, names.faults, {0: 0}):
            newest[message.key() or b""] = message.value()
    except EnvironmentFault as error:
        return ActiveFaults(unknown=str(error))
    return read_faults(value for value in newest.values() if value)


def read_faults(values: Iterable[bytes]) -> ActiveFaults:
    """The faults of these records, in the order of the flow, then of time; those of another version are counted."""
    places = {stage: place for place, stage in enumerate(STAGES)}
    found = [FaultRecord.from_json(value) for value in values]
    read = [one for one in found if one is not None]
    read.sort(key=lambda one: (places.get(one.stage, len(places)), one.since_us, one.instance, one.about))
    unread = len(found) - len(read)
    unknown = f"{unread} in a form that this version does not read. Next: use the `sluice` that the stages run with"
    return ActiveFaults(tuple(read), unknown if unread else "")


def silent_for_s(fault: FaultRecord, now_s: float) -> float | None:
    """Since when nobody repeated it, where that is too long: its process is gone, or cannot reach Kafka."""
    silent_s = now_s - fault.at_us / 1e6
    return silent_s if silent_s > SILENT_AFTER_S else None


def alike(faults: Iterable[FaultRecord]) -> list[tuple[str, FaultRecord]]:
    """What each fault is about, and the fault; those of several partitions of a topic that differ in nothing else are
    one, the oldest, about `topic/0,1,2`."""
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
