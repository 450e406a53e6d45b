"""The steps of ingress-cdc at which a test can kill it, and the process that dies at one of them.

A step is a moment directly before or after a call in the code of the stage. The stage has no hook for it: the child
process that `main` runs replaces the called function by one that kills the process with SIGKILL. To register a step,
add a line to `STEPS`; a test checks that every place exists and another one that every step is reached.
"""

from __future__ import annotations

import inspect
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal, NamedTuple

Phase = Literal["snapshot", "tables", "stream"]
Moment = Literal["before", "after"]


class Step(NamedTuple):
    """A moment at which a process dies. `phase`: what the stage must do to reach it: read the whole source, read one
    table, or stream. `place`: `module:attribute.path` of the called function, in the module that calls it. `calls_max`:
    the call that kills is a random one of the first `calls_max` ones."""

    name: str
    phase: Phase
    place: str
    moment: Moment
    calls_max: int = 1


_CDC = "sluice_ingress_cdc"
STEPS = (
    # the start of a session
    Step("earlier owners are fenced", "stream", f"{_CDC}.publisher:SlotPublisher.fence", "after"),
    Step("the start is planned", "stream", f"{_CDC}.session:plan_start", "after"),
    # the snapshot of the whole source
    Step("the tables are in the publication", "snapshot", f"{_CDC}.session:ensure_publication", "after"),
    Step("the new epoch is not stored", "snapshot", f"{_CDC}.publisher:SlotPublisher.publish", "before"),
    Step("the new epoch is stored", "snapshot", f"{_CDC}.publisher:SlotPublisher.publish", "after"),
    Step("the old slot is dropped", "snapshot", f"{_CDC}.session:drop_slot", "after"),
    Step("the new slot is created", "snapshot", f"{_CDC}.session:create_slot", "after"),
    Step("the start of a table is in memory alone", "snapshot", f"{_CDC}.tables:FollowedTables.start_reading", "after"),
    Step("a barrier is made", "snapshot", f"{_CDC}.reader_thread:make_barrier", "after", 4),
    Step("a part of a table is read", "snapshot", f"{_CDC}.reader_thread:ReaderThread._put", "after", 8),
    Step("a part of a table is in memory alone", "snapshot", f"{_CDC}.tables:FollowedTables.read_up_to", "after", 8),
    Step("a part of a table is not published", "snapshot", f"{_CDC}.publisher:SlotPublisher.publish", "before", 10),
    Step("a part of a table is published", "snapshot", f"{_CDC}.publisher:SlotPublisher.publish", "after", 10),
    # one table is read
    Step("a table is requested", "tables", f"{_CDC}.reader_thread:ReaderThread.request", "after"),
    Step("a table is found", "tables", f"{_CDC}.reader_thread:binding_of", "after"),
    Step("a part of one table is in memory alone", "tables", f"{_CDC}.tables:FollowedTables.read_up_to", "after", 4),
    Step("a part of one table is published", "tables", f"{_CDC}.publisher:SlotPublisher.publish", "after", 4),
    # from the snapshot to the stream
    Step("the stream is not requested", "snapshot", f"{_CDC}.session:ReplicationStream.start", "before"),
    Step("the stream is requested", "snapshot", f"{_CDC}.session:ReplicationStream.start", "after"),
    # the stream
    Step("frames are read", "stream", f"{_CDC}.assembler:Assembler.feed", "after", 400),
    Step("a batch is taken", "stream", f"{_CDC}.assembler:Assembler.take", "after", 10),
    Step("a batch is handed to the publisher", "stream", f"{_CDC}.stream:Streaming._hand_over", "after", 10),
    Step("a batch is not published", "stream", f"{_CDC}.publisher:SlotPublisher.publish", "before", 10),
    Step("a batch is written and not committed", "stream", "sluice.kafka:TransactionalProducer.commit", "before", 10),
    Step("a batch is committed", "stream", "sluice.kafka:TransactionalProducer.commit", "after", 10),
    Step("a batch is published", "stream", f"{_CDC}.publisher:SlotPublisher.publish", "after", 10),
    Step("an LSN is not confirmed", "stream", f"{_CDC}.stream:ReplicationStream.confirm", "before", 10),
    Step("an LSN is confirmed", "stream", f"{_CDC}.stream:ReplicationStream.confirm", "after", 10),
)
BY_NAME = {step.name: step for step in STEPS}


def owner_of(place: str) -> tuple[Any, str]:
    """The object whose attribute the place names, and the name. Raises AttributeError if there is none."""
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    owner: Any = import_module(module)
    for one in owners:
        owner = getattr(owner, one)
    inspect.getattr_static(owner, name)
    return owner, name


def die_at(step: Step, call: int) -> None:
    """Replace the function of a step, so that its call number `call` kills this process."""
    owner, name = owner_of(step.place)
    found = inspect.getattr_static(owner, name)
    if isinstance(found, classmethod):
        setattr(owner, name, classmethod(_dying(found.__func__, step.moment, call)))
    else:
        setattr(owner, name, _dying(found, step.moment, call))


def _dying(function: Callable[..., Any], moment: Moment, call: int) -> Callable[..., Any]:
    left = call

    def dying(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0 and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **kwargs)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return dying


def main() -> None:
    """Run `sluice run ingress-cdc` until the step and the call that the arguments name."""
    step, call = BY_NAME[sys.argv[1]], int(sys.argv[2])
    die_at(step, call)
    from sluice.cli.main import app

    sys.argv = ["sluice", "run", "ingress-cdc"]
    app()


if __name__ == "__main__":
    main()
