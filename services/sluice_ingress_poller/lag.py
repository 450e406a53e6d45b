"""The lag of the groups downstream of ingress-poller, and the level of back-pressure that follows from it.

The committed offsets of a group are read by a consumer that never joins the group. `sluice.lag.groups` says why the
admin API is not used.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import structlog
from confluent_kafka import Consumer

from sluice.errors import SettingsError, SluiceError, fault_text, log_text
from sluice.ingress.backpressure import Flow, LagBounds, counted_lag, highest_committed, next_flow
from sluice.kafka import KafkaSettings, LogReader, clients
from sluice.kafka.log import Partition
from sluice.lag.groups import offsets_committed_by, stage_inputs
from sluice.names import MAPPER
from sluice.pipeline import Pipeline
from sluice.pipeline.authored import load_entities
from sluice.telemetry import Health

REQUEST_TIMEOUT_S = 5.0
BACK_PRESSURE = "lag of the downstream groups"
log = structlog.get_logger()


def downstream(pipeline: Pipeline, groups: Sequence[str]) -> dict[str, list[Partition]]:
    """The partitions that each downstream group reads, by the full name of the group.

    `groups`: the names of the groups without the pipeline's prefix. Mappings are not loaded, because a mistake in a
    mapping must not stop the poller. Raises SettingsError if the pipeline has no group of such a name.
    """
    entities = load_entities(pipeline) if set(groups) - {MAPPER} else ()
    inputs = {one.group: one.topics for one in stage_inputs(pipeline, None, entities)}
    names = {pipeline.names.group(group): group for group in groups}
    for name, group in names.items():
        if name not in inputs:
            known = ", ".join(pipeline.names.bare(one) for one in inputs)
            raise SettingsError(f"SLUICE_POLLER__DOWNSTREAM_GROUPS: {group} is not one of {known}")
    return {name: [(topic, p) for topic in inputs[name] for p in range(pipeline.partitions)] for name in names}


class DownstreamLag:
    """Measures the lag of consumer groups, in records after the highest offset that each has committed
    since this process started.

    `groups`: the partitions that each group reads, by the group's full name.
    """

    def __init__(self, settings: KafkaSettings, groups: Mapping[str, Sequence[Partition]]) -> None:
        self._reader = LogReader(settings)
        self._groups = groups
        self._settings = settings
        self._consumers: dict[str, Consumer] = {}
        self._highest: dict[str, dict[Partition, int]] = {group: {} for group in groups}

    def measure(self) -> int:
        """The greatest lag of a group, in records. Blocks. Raises Transient or EnvironmentFault if Kafka fails."""
        return max((self._of(group) for group in self._groups), default=0)

    def close(self) -> None:
        for consumer in self._consumers.values():
            consumer.close()
        self._consumers.clear()
        self._reader.close()

    def _of(self, group: str) -> int:
        highest = highest_committed(self._highest[group], self._committed(group))
        self._highest[group] = highest
        return counted_lag(self._reader.ends(list(highest), committed=True), highest)

    def _committed(self, group: str) -> dict[Partition, int]:
        if group not in self._consumers:
            self._consumers[group] = clients.group_consumer(self._settings, group, "lag")
        return offsets_committed_by(group, self._consumers[group], self._groups[group], REQUEST_TIMEOUT_S)


class BackPressure:
    """Measures the downstream lag every `interval_s` seconds, in a thread of its own. `flow`: the current level."""

    def __init__(self, lag: DownstreamLag, bounds: LagBounds, interval_s: float, health: Health | None = None) -> None:
        self.flow = Flow.FLOWING
        self._lag = lag
        self._bounds = bounds
        self._interval_s = interval_s
        self._health = health or Health()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="back-pressure", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop the measurements. Waits for a request to Kafka that is running."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(REQUEST_TIMEOUT_S * 2)
        self._lag.close()

    def measure(self) -> Flow:
        """Measure the downstream lag once; set and return the level that follows from it."""
        lag_records = self._lag.measure()
        flow = next_flow(self.flow, lag_records, self._bounds)
        if flow is not self.flow:
            log.warning("back-pressure", flow=flow.name.lower(), lag_records=lag_records)
        self.flow = flow
        return flow

    def measure_or_report(self) -> None:
        """Measure the downstream lag once, and set the level of back-pressure from it. Each error becomes a fault, and
        then the level does not change.

        An unknown lag is no reason to poll faster or slower. No error ends the thread, because the level would never
        change again.
        """
        try:
            self.measure()
        except Exception as error:
            why = f"polling stays {self.flow.name.lower()}, because the lag is not known: {fault_text(error)}"
            if self._health.faults.get(BACK_PRESSURE) != why and not isinstance(error, SluiceError):
                log.error("lag not measured", why=log_text(error))
            self._health.fault(BACK_PRESSURE, why)
        else:
            self._health.resolve(BACK_PRESSURE)

    def _run(self) -> None:
        while not self._stopped.wait(self._interval_s):
            self.measure_or_report()
