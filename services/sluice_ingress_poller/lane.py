"""A lane: one thread per stream that sends its requests, one at a time, and hands each outcome to the shard."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass

from sluice.connector import Request, Response
from sluice.connector.fetch import Fetcher
from sluice.errors import Bug

# Beyond the deadline of one exchange; a login may take another.
HANGS_AFTER_S = 30.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the request of stream `key`: a response of any status, or the error instead of one."""

    key: str
    answer: Response | BaseException


class Lane:
    """`slots` bounds the pages in memory over all lanes: a page keeps its slot until `consumed`.

    The thread is a daemon: one that hangs in a name look-up, which knows no deadline, must not hold up a stop.
    """

    def __init__(
        self, key: str, fetcher: Fetcher, slots: threading.Semaphore, outcomes: queue.SimpleQueue[Outcome]
    ) -> None:
        self._key = key
        self._fetcher = fetcher
        self._slots = slots
        self._outcomes = outcomes
        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._consumed = threading.Event()
        self._closed = False
        self.busy = False
        self._sent_at_s = 0.0
        self._sent: Request | None = None
        threading.Thread(target=self._run, name=f"lane {key}", daemon=True).start()

    def send(self, request: Request) -> None:
        """Hand over a request; allowed only while not `busy`."""
        if self.busy:  # positions rest on one request of a stream at a time
            raise Bug(f"{self._key}: two requests at a time")
        self.busy = True
        self._sent, self._sent_at_s = request, time.monotonic()
        self._consumed.clear()
        self._requests.put(request)

    def hanging(self, now_s: float) -> tuple[str, float] | None:
        """URL of a request that has no answer long after its deadline, and since how many seconds; None where all is
        well."""
        waited_s = self.waited_s(now_s)
        if not self.busy or self._sent is None or waited_s < self._fetcher.deadline_s + HANGS_AFTER_S:
            return None
        return self._fetcher.url(self._sent), waited_s

    def waited_s(self, now_s: float) -> float:
        """Since the newest request was sent."""
        return now_s - self._sent_at_s

    def consumed(self) -> None:
        """The shard is done with the outcome: its page may leave memory."""
        self.busy = False
        self._consumed.set()

    def close(self) -> None:
        """Give the lane up; what it still fetches is dropped."""
        self._closed = True
        self._requests.put(None)
        self._consumed.set()

    def _run(self) -> None:
        while (request := self._requests.get()) is not None and not self._closed:
            with self._slots:
                self._outcomes.put(self._fetch(request))
                self._consumed.wait()

    def _fetch(self, request: Request) -> Outcome:
        try:
            return Outcome(self._key, self._fetcher.fetch(request))
        except (Exception, SystemExit) as error:
            # An author's login runs in here; the shard decides whose fault it is.
            return Outcome(self._key, error)
