"""`sluice deletes accept`, as the poller reads it: only while an alarm stands that it could be about."""

from __future__ import annotations

import structlog

from sluice.errors import SluiceError
from sluice.stage.deletes import Acceptance, control_key
from sluice.stage.ingress import IngressProducer
from sluice_ingress_poller.watermark import ENUMERATION, Watermark

LOOK_EVERY_S = 3.0
log = structlog.get_logger()


class Acceptances:
    """Requests about one stream."""

    def __init__(self, source: str, stream: str) -> None:
        self._key = control_key(source, stream)
        self._look_at_s = 0.0

    def look(self, producer: IngressProducer, watermark: Watermark, now_s: float) -> Acceptance | None:
        """The newest request, where it is time to look for one; None also where it was used already."""
        alarm = watermark.alarms.get(ENUMERATION)
        if alarm is None or alarm.loss is None or now_s < self._look_at_s:
            return None
        self._look_at_s = now_s + LOOK_EVERY_S
        try:
            found = Acceptance.from_json(producer.read_control([self._key]).get(self._key))
        except SluiceError as error:
            # It can wait; what stands in the way of reading is told where the stream's own work meets it.
            log.warning("requests not read", key=self._key, why=str(error))
            return None
        return None if found is None or found.request == watermark.accepted else found
