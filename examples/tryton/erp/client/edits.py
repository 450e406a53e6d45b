"""Live edits through Tryton's own client: what people do in an ERP, at a given rate, from a seeded generator.

Appends one JSON line per committed change to LOG: model, id, field, value (field id with null: deleted), sent_at and
at (Unix µs before the request and after the answer). Ends after EDITS edits, at SIGTERM, or when its parent is gone.
"""

import argparse
import json
import os
import random
import signal
import sys
import time
from typing import Any, TextIO

from connect import session
from trade import ACTIONS, Change, Company

_stopping = False


def main() -> int:
    """Read the arguments, open a session, edit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", required=True)
    parser.add_argument("--rate", type=float, required=True, help="edits per second")
    parser.add_argument("--edits", type=int, help="how many; without it, until ended")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with session() as config, open(arguments.log, "a", encoding="utf-8") as log:
        edit(config, log, arguments.rate, arguments.edits, random.Random(arguments.seed))
    return 0


def edit(config: Any, log: TextIO, rate: float, edits: int | None, rng: random.Random) -> None:
    """Make edits on a fixed schedule: a slow edit is caught up with, so that the average rate is kept."""
    company = Company(config, rng)
    kinds, weights = list(ACTIONS), list(ACTIONS.values())
    parent, started_at, done = os.getppid(), time.monotonic(), 0
    while not _stopping and os.getppid() == parent and (edits is None or done < edits):
        time.sleep(max(0.0, started_at + done / rate - time.monotonic()))
        (kind,) = rng.choices(kinds, weights)
        sent_at = time.time_ns() // 1000
        changes = kind(company)
        if changes:
            record(log, changes, sent_at)
            done += 1


def record(log: TextIO, changes: list[Change], sent_at: int) -> None:
    """Write what one request committed, a line per changed value."""
    at = time.time_ns() // 1000
    for change in changes:
        line = {**change._asdict(), "sent_at": sent_at, "at": at}
        log.write(json.dumps(line, ensure_ascii=False) + "\n")
    log.flush()


def _stop(*_: object) -> None:
    global _stopping  # the one thing a signal handler can do
    _stopping = True


if __name__ == "__main__":
    sys.exit(main())
