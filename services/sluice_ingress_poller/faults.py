"""The faults of a polled stream in `/readyz`: the faults stored in its watermark, and its failing requests.

Each cause is a fault of its own, and no success elsewhere hides it. A later listing resolves the fault of a listing.
The fault of a failing request is resolved by an answer to this request, or by a finished listing of the same kind.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from sluice.connector.redact import without
from sluice.errors import EnvironmentFault, SluiceError, fault_text
from sluice.telemetry import Health
from sluice_ingress_poller.watermark import CHANGES, ENUMERATION, LISTED_TWICE, Watermark

STORED = (ENUMERATION, CHANGES, LISTED_TWICE)
WAIT = "wait"
REQUESTS = "requests"
HANGS = "hangs"
RELIEVE_SOURCE = (
    "have the source's limit raised, or send it fewer requests (a longer `freshness` of its streams in the pipeline "
    "file). Sluice retries by itself; if the source already answers, restart ingress-poller, which retries at once"
)
# The first two failures of a request are no fault, because most failures end within seconds.
FAULT_FROM_ATTEMPT = 3


class FailingRequest(NamedTuple):
    """A request that fails: its `fingerprint` and `why` it fails. `response_id`: the first stored response with this
    failure; empty if there was none."""

    fingerprint: bytes
    why: str
    response_id: str


class StreamFaults:
    """The faults of the stream `key` (`source/stream`), while this process owns the stream's shard.

    `secrets`: returns the texts that must not be stored or logged. A source may repeat a credential anywhere, such as
    in the path of a link or in a header. So no text of a fault is reported without `safe`.
    """

    def __init__(self, key: str, health: Health, secrets: Callable[[], Collection[str]]) -> None:
        self._key = key
        self._health = health
        self._secrets = secrets
        self._failing: dict[str, FailingRequest] = {}
        self._hanging = False

    def safe(self, text: str) -> str:
        """`text` about a request of the stream or its answer, with `[removed]` in place of every secret."""
        return without(text, self._secrets())

    def report_stored(self, watermark: Watermark) -> None:
        """Report the faults of a committed `watermark`, and resolve the faults that it does not contain."""
        for about in STORED:
            fault = watermark.faults.get(about)
            if fault is None:
                self._health.resolve(f"{self._key} {about}")
            else:
                self._report(about, fault.why)

    def failed(self, kind: str, fingerprint: bytes, error: SluiceError, attempts: int, response_id: str = "") -> None:
        """Report that a request failed `attempts` times in a row: an EnvironmentFault is a fault at once.

        Every other error is a fault from the third time on. `kind`: the kind of the listing. `fingerprint`: identifies
        the request. `response_id`: the stored response, or empty. While the error text stays the same, the fault names
        the first response, so that its text does not change.
        """
        if isinstance(error, EnvironmentFault) or attempts >= FAULT_FROM_ATTEMPT:
            before, why = self._failing.get(kind), self.safe(fault_text(error))
            if before is not None and before.why == why:
                response_id = before.response_id or response_id
            self._failing[kind] = FailingRequest(fingerprint, why, response_id)
            text = f"{why}. Its answer: `sluice responses show {response_id}`" if response_id else why
            self._report(f"{kind} request", text, attempts)

    def requests_unread(self, error: SluiceError) -> None:
        """Report that operators' requests to accept deletes cannot be read, although a fault waits for one."""
        why = f"requests of `sluice deletes accept` cannot be read, and Sluice retries by itself: {error}"
        self._report(REQUESTS, why)

    def requests_read(self) -> None:
        self._health.resolve(f"{self._key} {REQUESTS}")

    def hangs(self, url: str, waited_s: float) -> None:
        """Report that the request to `url` has had neither an answer nor an error for `waited_s` seconds."""
        if self._hanging:
            return
        self._hanging = True
        why = (
            f"{url}: neither an answer nor an error for {waited_s:.0f} s. A request has a deadline, but the look-up of "
            "its host's name and the connector's own code have none. Next: check that this machine finds the name "
            "(`getent hosts`), then restart ingress-poller, which retries at once"
        )
        self._report(HANGS, why)

    def request_ended(self) -> None:
        """Resolve the fault of a hanging request, because the stream's request now has an answer or an error."""
        self._hanging = False
        self._health.resolve(f"{self._key} {HANGS}")

    def waits(self, why: str) -> None:
        """Report a wait that the source requested. The source's next answer to the stream resolves this fault."""
        self._report(WAIT, f"{why}. Next: {RELIEVE_SOURCE}")

    def answered(self, kind: str, fingerprint: bytes, finished: bool) -> None:
        """Resolve the faults that end with the published answer to a request.

        `kind`: the kind of the listing. `fingerprint`: identifies the request. `finished`: whether the listing ended.
        """
        self._health.resolve(f"{self._key} {WAIT}")
        if kind in self._failing and (finished or self._failing[kind].fingerprint == fingerprint):
            del self._failing[kind]
            self._health.resolve(f"{self._key} {kind} request")

    def clear(self) -> None:
        """Resolve all faults of the stream here, because another process owns the stream from now on."""
        self._hanging = False
        for about in (*STORED, WAIT, REQUESTS, HANGS, *(f"{kind} request" for kind in self._failing)):
            self._health.resolve(f"{self._key} {about}")
        self._failing.clear()

    def _report(self, about: str, why: str, attempts: int = 0) -> None:
        self._health.fault(f"{self._key} {about}", self.safe(why), attempts)
