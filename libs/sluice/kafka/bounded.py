"""Runs calls of librdkafka with a deadline of our own, because some calls do not return at their own time-out.

`send_offsets_to_transaction` ignores its time-out while the group's coordinator is missing (librdkafka #5456, met with
2.16 after a broker's restart). The loop that waits in it would hang.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


def within(deadline_s: float, call: Callable[[], None]) -> None:
    """Run `call` on a thread of its own and raise its exception here. Raises TimeoutError after `deadline_s`.

    After a TimeoutError the thread, and the client that it uses, remain until the call returns or the process ends. It
    is a daemon thread, and nothing waits for it.
    """
    done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def run() -> None:
        try:
            call()
        except BaseException as error:
            done.put(error)
        else:
            done.put(None)

    threading.Thread(target=run, name="kafka-call", daemon=True).start()
    try:
        error = done.get(timeout=deadline_s)
    except queue.Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
