"""How far downstream groups are behind, measured through the admin API, and the flow that follows from it."""

from __future__ import annotations

import threading

import structlog
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException
from confluent_kafka.admin import AdminClient

from sluice.errors import SluiceError
from sluice.kafka import KafkaSettings, LogReader, clients
from sluice.kafka.faults import translate
from sluice.stage.backpressure import Flow, LagBounds, Partition, counted_lag, highest_committed, next_flow

REQUEST_TIMEOUT_S = 10.0
log = structlog.get_logger()


class DownstreamLag:
    """Lag of some consumer groups in records, those beyond each group's highest commit since this process began."""

    def __init__(self, settings: KafkaSettings, groups: list[str]) -> None:
        self._admin: AdminClient = clients.admin(settings)
        self._reader = LogReader(settings)
        self._highest: dict[str, dict[Partition, int]] = {group: {} for group in groups}

    def measure(self) -> int:
        """The lag of the group that is furthest behind. Raises Transient or EnvironmentFault."""
        return max((self._of(group) for group in self._highest), default=0)

    def _of(self, group: str) -> int:
        highest = highest_committed(self._highest[group], self._committed(group))
        self._highest[group] = highest
        return counted_lag(self._reader.ends(list(highest), committed=True), highest)

    def _committed(self, group: str) -> dict[Partition, int]:
        asked = self._admin.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group)], request_timeout=REQUEST_TIMEOUT_S
        )
        try:
            found = asked[group].result(REQUEST_TIMEOUT_S + 1).topic_partitions or []
        except KafkaException as error:
            if error.args[0].name() == "GROUP_ID_NOT_FOUND":
                return {}
            raise translate(error, f"committed offsets of group {group}") from None
        return {(tp.topic, tp.partition): tp.offset for tp in found if tp.offset >= 0}


class BackPressure:
    """Measures every `interval_s` in a thread of its own; `flow` is the newest level."""

    def __init__(self, lag: DownstreamLag, bounds: LagBounds, interval_s: float) -> None:
        self.flow = Flow.FLOWING
        self._lag = lag
        self._bounds = bounds
        self._interval_s = interval_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="back-pressure", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stopped.set()

    def measure(self) -> Flow:
        """Measure once and move the level."""
        lag_records = self._lag.measure()
        flow = next_flow(self.flow, lag_records, self._bounds)
        if flow is not self.flow:
            log.warning("back-pressure", flow=flow.name.lower(), lag_records=lag_records)
        self.flow = flow
        return flow

    def _run(self) -> None:
        while not self._stopped.wait(self._interval_s):
            try:
                self.measure()
            except (SluiceError, TimeoutError) as error:
                # The level stays: not knowing the lag is no reason to flood or to starve anybody.
                log.warning("lag of downstream groups not measured", why=str(error))
