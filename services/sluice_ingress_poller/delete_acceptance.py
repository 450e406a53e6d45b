"""Requests of `sluice deletes accept`: read only while the stream has a fault that one of them could resolve."""

from __future__ import annotations

from sluice.errors import SluiceError
from sluice.ingress.deletes import Acceptance, control_key
from sluice.ingress.producer import IngressProducer
from sluice_ingress_poller.faults import StreamFaults
from sluice_ingress_poller.watermark import ENUMERATION, Watermark

READ_INTERVAL_S = 3.0


class AcceptanceReader:
    """Reads the requests about one stream. If it cannot, it reports that to `faults`, and the stream continues."""

    def __init__(self, source: str, stream: str, faults: StreamFaults) -> None:
        self._faults = faults
        self._key = control_key(source, stream)
        self._read_at_s = 0.0

    def read(self, producer: IngressProducer, watermark: Watermark, now_s: float) -> Acceptance | None:
        """The newest request, if it is time to read one; None also if the request was already used."""
        fault = watermark.faults.get(ENUMERATION)
        if fault is None or fault.loss is None:
            self._faults.requests_read()  # no request is expected
            return None
        if now_s < self._read_at_s:
            return None
        self._read_at_s = now_s + READ_INTERVAL_S
        try:
            found = Acceptance.from_json(producer.read_control([self._key]).get(self._key))
        except SluiceError as error:
            self._faults.requests_unread(error)
            return None
        self._faults.requests_read()
        return None if found is None or found.request == watermark.accepted else found
