"""The faults of a stream in `/readyz`: those stored in its watermark, and its failing requests.

Each cause has a line of its own, and only its own subject resolves it: a fault of a listing is resolved by a listing, a
failing request by an answer to it or by a finished listing of its kind. So no success elsewhere hides a fault.
"""

from __future__ import annotations

from typing import NamedTuple

from sluice.errors import EnvironmentFault, SluiceError, fault_text
from sluice.telemetry import Health
from sluice_ingress_poller.watermark import CHANGES, ENUMERATION, LISTED_TWICE, Watermark

STORED = (ENUMERATION, CHANGES, LISTED_TWICE)
WAIT = "wait"
REQUESTS = "requests"
HANGS = "hangs"
NEXT_STEP = (
    "have the source's limit raised, or ask it less often (a longer `freshness` of its streams in the pipeline file). "
    "Sluice asks again by itself; if the source answers already, restart ingress-poller, which asks at once"
)
# The first failures are no fault: whether they pass by themselves shows within seconds.
FAULT_FROM_ATTEMPT = 3


class FailingRequest(NamedTuple):
    """The request with `fingerprint` fails because of `why`. `response_id`: the first stored response that says so, if
    any."""

    fingerprint: bytes
    why: str
    response_id: str


class StreamFaults:
    """The faults of the stream `key`, for as long as this process owns its shard."""

    def __init__(self, key: str, health: Health) -> None:
        self._key = key
        self._health = health
        self._failing: dict[str, FailingRequest] = {}
        self._hanging = False

    def report_stored(self, watermark: Watermark) -> None:
        """Report exactly the active faults of a committed `watermark`."""
        for about in STORED:
            fault = watermark.faults.get(about)
            if fault is None:
                self._health.resolve(f"{self._key} {about}")
            else:
                self._health.fault(f"{self._key} {about}", fault.why)

    def failed(self, kind: str, fingerprint: bytes, error: SluiceError, attempts: int, response_id: str = "") -> None:
        """The request with `fingerprint`, in a listing of this `kind`, failed for the `attempts`th time in a row.

        `response_id`: the stored response, if any. The fault keeps naming the first response with the same text, so
        that the same refusal is not a new fault at each attempt.
        """
        if isinstance(error, EnvironmentFault) or attempts >= FAULT_FROM_ATTEMPT:
            before, why = self._failing.get(kind), fault_text(error)
            if before is not None and before.why == why:
                response_id = before.response_id or response_id
            self._failing[kind] = FailingRequest(fingerprint, why, response_id)
            text = f"{why}. Its answer: `sluice responses show {response_id}`" if response_id else why
            self._health.fault(f"{self._key} {kind} request", text, attempts)

    def requests_unread(self, error: SluiceError) -> None:
        """Requests of operators cannot be read, while a fault waits for one."""
        why = f"requests of `sluice deletes accept` cannot be read; reading is tried again by itself: {error}"
        self._health.fault(f"{self._key} {REQUESTS}", why)

    def requests_read(self) -> None:
        self._health.resolve(f"{self._key} {REQUESTS}")

    def hangs(self, url: str, waited_s: float) -> None:
        """The request to `url` has neither an answer nor an error after `waited_s`."""
        if self._hanging:
            return
        self._hanging = True
        why = (
            f"{url}: neither an answer nor an error for {waited_s:.0f} s. Each request has a deadline; a look-up of a "
            "host's name has none, nor has a connector's own code. Next: see whether the name is found on this host "
            "(`getent hosts`), then restart ingress-poller, which asks at once"
        )
        self._health.fault(f"{self._key} {HANGS}", why)

    def request_ended(self) -> None:
        """The stream's request has a result."""
        self._hanging = False
        self._health.resolve(f"{self._key} {HANGS}")

    def waits(self, why: str) -> None:
        """The source makes the stream wait; its next answer resolves this."""
        self._health.fault(f"{self._key} {WAIT}", f"{why}. Next: {NEXT_STEP}")

    def answered(self, kind: str, fingerprint: bytes, finished: bool) -> None:
        """The answer to the request with `fingerprint` is published; `finished`: it was the last of its listing."""
        self._health.resolve(f"{self._key} {WAIT}")
        if kind in self._failing and (finished or self._failing[kind].fingerprint == fingerprint):
            del self._failing[kind]
            self._health.resolve(f"{self._key} {kind} request")

    def clear(self) -> None:
        """Another process owns the stream from now on."""
        self._hanging = False
        for about in (*STORED, WAIT, REQUESTS, HANGS, *(f"{kind} request" for kind in self._failing)):
            self._health.resolve(f"{self._key} {about}")
        self._failing.clear()
