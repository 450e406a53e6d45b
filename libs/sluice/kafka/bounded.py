"""A call into librdkafka that is given up where it outlives its own time-out.

Some calls do: `send_offsets_to_transaction` never looks at its time-out while the group's coordinator is away
(librdkafka #5456, met with 2.16 after a broker's restart). A loop that waits in one is neither alive nor dead.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


def within(deadline_s: float, call: Callable[[], None]) -> None:
    """Do `call` on a thread of its own; its exception is raised here. TimeoutError when it has not returned in time.

    The thread of a call given up stays, with what it holds, until the call returns or the process ends: it is a daemon,
    and nothing waits for it.
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
