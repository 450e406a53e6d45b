"""`sluice deletes accept`, as the poller reads it: only while an alarm stands that it could be about."""

from __future__ import annotations

from sluice.errors import SluiceError
from sluice.ingress.deletes import Acceptance, control_key
from sluice.ingress.producer import IngressProducer
from sluice_ingress_poller.faults import StreamFaults
from sluice_ingress_poller.watermark import ENUMERATION, Watermark

LOOK_EVERY_S = 3.0


class Acceptances:
    """Requests about one stream. That they cannot be read is told by `faults`; the stream itself goes on."""

    def __init__(self, source: str, stream: str, faults: StreamFaults) -> None:
        self._faults = faults
        self._key = control_key(source, stream)
        self._look_at_s = 0.0

    def look(self, producer: IngressProducer, watermark: Watermark, now_s: float) -> Acceptance | None:
        """The newest request, where it is time to look for one; None also where it was used already."""
        alarm = watermark.alarms.get(ENUMERATION)
        if alarm is None or alarm.loss is None:
            self._faults.requests_read()  # nobody waits for one
            return None
        if now_s < self._look_at_s:
            return None
        self._look_at_s = now_s + LOOK_EVERY_S
        try:
            found = Acceptance.from_json(producer.read_control([self._key]).get(self._key))
        except SluiceError as error:
            self._faults.requests_unread(error)
            return None
        self._faults.requests_read()
        return None if found is None or found.request == watermark.accepted else found
