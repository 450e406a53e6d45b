"""One thread per stream: it sends the stream's requests, one at a time, and hands each result to the shard."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass

from sluice.connector import Request, Response
from sluice.connector.fetch import Fetcher
from sluice.errors import Bug

# Beyond the deadline of one exchange, because a login may take a second exchange.
HANGS_AFTER_S = 30.0


@dataclass(frozen=True, slots=True)
class FetchResult:
    """The result of a request of the stream `key`: a response of any status, or the error in its place."""

    key: str
    answer: Response | BaseException


class FetchThread:
    """`slots` bounds the pages in memory over all streams: a page keeps its slot until `consumed`.

    It is a daemon thread. A look-up of a host's name has no deadline, and a hanging one must not delay a stop.
    """

    def __init__(
        self, key: str, fetcher: Fetcher, slots: threading.Semaphore, results: queue.SimpleQueue[FetchResult]
    ) -> None:
        self._key = key
        self._fetcher = fetcher
        self._slots = slots
        self._results = results
        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._consumed = threading.Event()
        self._closed = False
        self.busy = False
        self._sent_at_s = 0.0
        self._sent: Request | None = None
        threading.Thread(target=self._run, name=f"fetch {key}", daemon=True).start()

    def send(self, request: Request) -> None:
        """Hand over a request; allowed only while not `busy`. Does not block."""
        if self.busy:  # positions rely on one request of a stream at a time
            raise Bug(f"{self._key}: two requests at a time")
        self.busy = True
        self._sent, self._sent_at_s = request, time.monotonic()
        self._consumed.clear()
        self._requests.put(request)

    def hanging(self, now_s: float) -> tuple[str, float] | None:
        """URL of the request and the seconds since it was sent, if it has no result long after its deadline."""
        waited_s = self.waited_s(now_s)
        if not self.busy or self._sent is None or waited_s < self._fetcher.deadline_s + HANGS_AFTER_S:
            return None
        return self._fetcher.url(self._sent), waited_s

    def waited_s(self, now_s: float) -> float:
        """Seconds since the newest request was sent."""
        return now_s - self._sent_at_s

    def consumed(self) -> None:
        """The shard has handled the result, so its page may leave memory."""
        self.busy = False
        self._consumed.set()

    def close(self) -> None:
        """End the thread without waiting for it. The result of a request that is still running is dropped."""
        self._closed = True
        self._requests.put(None)
        self._consumed.set()

    def _run(self) -> None:
        while (request := self._requests.get()) is not None and not self._closed:
            with self._slots:
                self._results.put(self._fetch(request))
                self._consumed.wait()

    def _fetch(self, request: Request) -> FetchResult:
        try:
            return FetchResult(self._key, self._fetcher.fetch(request))
        except (Exception, SystemExit) as error:
            # An author's login runs here; the shard decides whether the author's code or ours is at fault.
            return FetchResult(self._key, error)
