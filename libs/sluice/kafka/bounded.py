"""Runs a call of librdkafka with a deadline of Sluice's own, because some calls ignore the time-out that they are
given.

`send_offsets_to_transaction` does not return while the coordinator of the consumer group is missing (librdkafka #5456,
met with 2.16 after a restart of the broker). Without the deadline, the stage's loop would hang in this call.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


def within(deadline_s: float, call: Callable[[], None]) -> None:
    """Run `call` on a new thread and wait for its end, at most `deadline_s`.

    Raises the exception of `call`, or TimeoutError after `deadline_s`. After a TimeoutError the thread and the Kafka
    client that it uses remain until `call` returns or the process ends. The thread is a daemon, so it does not delay
    the end of the process.
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
