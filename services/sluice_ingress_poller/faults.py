"""What `/readyz` says of a stream: its alarms as the watermark holds them, and its requests that fail.

Each cause has a line of its own, and only what the line is about ends it: an alarm about a listing ends by a listing,
a request that fails by an answer to it or by a whole pass of its kind. So none is hidden by what goes well beside it.
"""

from __future__ import annotations

from typing import NamedTuple

from sluice.errors import EnvironmentFault, SluiceError, fault_text
from sluice.telemetry import Health
from sluice_ingress_poller.watermark import CHANGES, ENUMERATION, LISTED_TWICE, Watermark

ALARMS = (ENUMERATION, CHANGES, LISTED_TWICE)
WAIT = "wait"
REQUESTS = "requests"
HANGS = "hangs"
NEXT_STEP = (
    "have the source's limit raised, or ask it less often (a longer `freshness` of its streams in the pipeline file). "
    "It is asked again by itself; if it answers already, restart ingress-poller, which asks at once"
)
# A failure that passes is no fault; that one passes is shown by the next attempts, within some seconds.
TOLD_FROM_ATTEMPT = 3


class Failing(NamedTuple):
    """The request for `page` fails: `why`, and the id of the first stored response that says so, if there is one."""

    page: bytes
    why: str
    response_id: str


class StreamFaults:
    """Of the stream `key`; kept for as long as this process holds its shard."""

    def __init__(self, key: str, health: Health) -> None:
        self._key = key
        self._health = health
        self._failing: dict[str, Failing] = {}
        self._hanging = False

    def alarms(self, watermark: Watermark) -> None:
        """Show the alarms that stand in a durable `watermark`, and no others."""
        for about in ALARMS:
            alarm = watermark.alarms.get(about)
            if alarm is None:
                self._health.resolve(f"{self._key} {about}")
            else:
                self._health.fault(f"{self._key} {about}", alarm.why)

    def failed(self, doing: str, page: bytes, error: SluiceError, attempts: int, response_id: str = "") -> None:
        """The request for `page` of a pass of kind `doing` failed, for the `attempts`th time in a row.

        `response_id`: the stored response, if any. The fault names the first one with its text, so that the same
        refusal is not a new cause at each attempt.
        """
        if isinstance(error, EnvironmentFault) or attempts >= TOLD_FROM_ATTEMPT:
            before, why = self._failing.get(doing), fault_text(error)
            if before is not None and before.why == why:
                response_id = before.response_id or response_id
            self._failing[doing] = Failing(page, why, response_id)
            shown = f"{why}. Its answer: `sluice responses show {response_id}`" if response_id else why
            self._health.fault(f"{self._key} {doing} request", shown, attempts)

    def requests_unread(self, error: SluiceError) -> None:
        """What operators asked for could not be read, while an alarm waits for it."""
        why = f"what `sluice deletes accept` asked for cannot be read, which is tried again by itself: {error}"
        self._health.fault(f"{self._key} {REQUESTS}", why)

    def requests_read(self) -> None:
        self._health.resolve(f"{self._key} {REQUESTS}")

    def hangs(self, url: str, waited_s: float) -> None:
        """The request to `url` has no answer, and no error either."""
        if self._hanging:
            return
        self._hanging = True
        why = (
            f"{url}: neither an answer nor an error for {waited_s:.0f} s. Each request has a deadline; a look-up of a "
            "host's name has none, nor has a connector's own code. Next: see whether the name is found on this host "
            "(`getent hosts`), then restart ingress-poller, which asks at once"
        )
        self._health.fault(f"{self._key} {HANGS}", why)

    def came_back(self) -> None:
        """The request that was under way has an outcome."""
        self._hanging = False
        self._health.resolve(f"{self._key} {HANGS}")

    def waits(self, why: str) -> None:
        """The source keeps the stream waiting; over with its next answer."""
        self._health.fault(f"{self._key} {WAIT}", f"{why}. Next: {NEXT_STEP}")

    def answered(self, doing: str, page: bytes, finished: bool) -> None:
        """The request for `page` was answered and published; `finished`: it was the last of its pass."""
        self._health.resolve(f"{self._key} {WAIT}")
        if doing in self._failing and (finished or self._failing[doing].page == page):
            del self._failing[doing]
            self._health.resolve(f"{self._key} {doing} request")

    def clear(self) -> None:
        """The stream is another owner's from now on."""
        self._hanging = False
        for about in (*ALARMS, WAIT, REQUESTS, HANGS, *(f"{doing} request" for doing in self._failing)):
            self._health.resolve(f"{self._key} {about}")
        self._failing.clear()
