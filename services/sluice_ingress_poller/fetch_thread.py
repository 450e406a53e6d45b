"""The thread of a stream that sends the stream's requests, one at a time, and passes each result to the shard."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass

from sluice.connector import Request, Response
from sluice.connector.fetch import Fetcher
from sluice.errors import Bug

# A request hangs if it has no result this long after the deadline of one exchange; a login may add a second exchange.
HANGS_AFTER_S = 30.0


@dataclass(frozen=True, slots=True)
class FetchResult:
    """The result of a request of the stream `key`: a response of any status, or the error that prevented a response."""

    key: str
    answer: Response | BaseException


class FetchThread:
    """The thread that sends the requests of the stream `key`, and puts each result into `results`.

    `page_permits`: bounds the pages in memory over all streams; a page keeps its permit until `consumed`. `busy`:
    whether a request has no result yet, or its result is not handled yet. It is a daemon thread, because a look-up of a
    host's name has no deadline, and must not delay the end of the process.
    """

    def __init__(
        self, key: str, fetcher: Fetcher, page_permits: threading.Semaphore, results: queue.SimpleQueue[FetchResult]
    ) -> None:
        self._key = key
        self._fetcher = fetcher
        self._page_permits = page_permits
        self._results = results
        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._consumed = threading.Event()
        self._closed = False
        self.busy = False
        self._sent_at_s = 0.0
        self._sent: Request | None = None
        threading.Thread(target=self._run, name=f"fetch {key}", daemon=True).start()

    def send(self, request: Request) -> None:
        """Pass a request to the thread, and return at once. Call it only while not `busy`; otherwise it raises Bug."""
        if self.busy:  # positions rise in the order of pages only with one request at a time
            raise Bug(f"{self._key}: two requests at a time")
        self.busy = True
        self._sent, self._sent_at_s = request, time.monotonic()
        self._consumed.clear()
        self._requests.put(request)

    def hanging(self, now_s: float) -> tuple[str, float] | None:
        """The URL of a request that is long after its deadline, and the seconds since it was sent; else None."""
        waited_s = self.waited_s(now_s)
        if not self.busy or self._sent is None or waited_s < self._fetcher.deadline_s + HANGS_AFTER_S:
            return None
        return self._fetcher.url(self._sent), waited_s

    def waited_s(self, now_s: float) -> float:
        """The seconds since the newest request was sent; `now_s` is monotonic."""
        return now_s - self._sent_at_s

    def consumed(self) -> None:
        """Release the slot of a page after the shard has handled it."""
        self.busy = False
        self._consumed.set()

    def close(self) -> None:
        """Request the thread to end, without waiting. A request to the source that is still running continues."""
        self._closed = True
        self._requests.put(None)
        self._consumed.set()

    def _run(self) -> None:
        while (request := self._requests.get()) is not None and not self._closed:
            with self._page_permits:
                self._results.put(self._fetch(request))
                self._consumed.wait()

    def _fetch(self, request: Request) -> FetchResult:
        try:
            return FetchResult(self._key, self._fetcher.fetch(request))
        except (Exception, SystemExit) as error:
            # A connector's own login runs here, and may raise any error. The shard turns it into a fault of the stream.
            return FetchResult(self._key, error)
