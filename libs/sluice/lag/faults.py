"""Reads the active faults that the stages reported in the topic `sluice.faults`."""

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
    """The active faults in the order of the stages in the flow, the oldest fault of a stage first.

    `unknown`: the reason if not all active faults are known, else empty.
    """

    faults: tuple[FaultRecord, ...] = ()
    unknown: str = ""

    def to_json(self) -> list[dict[str, Any]]:
        """The faults as JSON for programs, with times in Unix seconds."""
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
    """The active faults in the topic `sluice.faults`. Blocks. Raises Transient if Kafka does not answer."""
    try:
        reader.pinned([names.faults])
        return read_faults(newest_by_key(reader, names.faults).values())
    except EnvironmentFault as error:
        return ActiveFaults(unknown=str(error))


def read_faults(values: Iterable[bytes]) -> ActiveFaults:
    """Decode fault records and sort the faults by stage and time.

    Records that another version of Sluice wrote are not decoded; the result only says how many there are.
    """
    places = {stage: place for place, stage in enumerate(STAGES)}
    found = [FaultRecord.from_json(value) for value in values]
    read = [one for one in found if one is not None]
    read.sort(key=lambda one: (places.get(one.stage, len(places)), one.since_us, one.instance, one.about))
    unread = len(found) - len(read)
    unknown = f"{unread} in a form that this version does not read. Next: use the `sluice` that the stages run with"
    return ActiveFaults(tuple(read), unknown if unread else "")


def silent_for_s(fault: FaultRecord, now_s: float) -> float | None:
    """The seconds since a fault was last reported, if they are more than `SILENT_AFTER_S`; else None.

    A process repeats its active faults. If it does not, the process has ended or cannot reach Kafka.
    """
    silent_s = now_s - fault.at_us / 1e6
    return silent_s if silent_s > SILENT_AFTER_S else None


def alike(faults: Iterable[FaultRecord]) -> list[tuple[str, FaultRecord]]:
    """Join faults that differ only in the partition of a topic. Each result is a pair: what is faulty, and the fault.

    Joined faults are represented by the first of them, and what is faulty is then `topic/0,1,2`.
    """
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
