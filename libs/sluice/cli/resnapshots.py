"""Requests to ingress-cdc to read a source, or some of its tables, again."""

from __future__ import annotations

from collections.abc import Sequence

from sluice.cdc.watermarks import (
    control_key,
    requested,
    resnapshot_request,
    source_watermarks,
    watermark_key,
)
from sluice.errors import EnvironmentFault, SettingsError
from sluice.ingress.producer import IngressProducer
from sluice.kafka import KafkaSettings
from sluice.kafka.control import write_request
from sluice.names import Names


class Resnapshots:
    """Writes requests to read one source, or some of its tables, again.

    The number of a request is above the numbers of all earlier requests, whether they were carried out or not.
    """

    def __init__(self, kafka: KafkaSettings, names: Names, source: str) -> None:
        self._kafka, self._names, self._source = kafka, names, source
        self._log = IngressProducer(kafka, names, "sluice-cdc-cli")  # this producer only reads, so it fences no process

    def tables(self, tables: Sequence[str]) -> dict[str, int]:
        """Write a request to read each of `tables` again. Returns the id of each table's request."""
        marks = source_watermarks(self._source, self._log.read_watermarks(prefix=watermark_key(self._source, "")))
        keys = {name: control_key(self._source, name) for name in tables}
        before = self._log.read_control(keys.values())
        numbers = {}
        for name, key in keys.items():
            done = marks.tables[name].request if name in marks.tables else 0
            numbers[name] = 1 + max(done, requested(before.get(key)))
            write_request(self._kafka, self._names.control, key, resnapshot_request(numbers[name]))
        return numbers

    def source(self, epoch: int | None) -> int:
        """Write a request to read the whole source again. Returns the epoch under which ingress-cdc will read it.

        `epoch`: the operator's choice. Raises EnvironmentFault if no epoch is known or given, SettingsError if `epoch`
        was used or requested before.
        """
        key = control_key(self._source)
        number = self._next_epoch(requested(self._log.read_control([key]).get(key)), epoch)
        write_request(self._kafka, self._names.control, key, resnapshot_request(number))
        return number

    def _next_epoch(self, requested_before: int, epoch: int | None) -> int:
        key = watermark_key(self._source)
        watermark = self._log.read_watermarks([key]).get(key)
        if watermark is None and epoch is None and requested_before == 0:
            raise EnvironmentFault(
                f"source {self._source}",
                "it has no watermark, so the epochs in its raw topics are unknown",
                "if ingress-cdc never ran, just start it; else give --epoch N above the first number of every "
                "sluice-position header in those topics",
            )
        highest = max(int(watermark["epoch"]) if watermark else 0, requested_before)
        if epoch is not None and epoch <= highest:
            raise SettingsError(f"--epoch {epoch}: epochs up to {highest} are used or requested already")
        return epoch or highest + 1
