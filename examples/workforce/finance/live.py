"""Life in finance: a process that edits, books and deletes until signalled, from a seed.

    python -m examples.workforce.finance.live --dsn … --edits-per-second 20 --seed 7 [--edits 1000]

Prints one JSON object at the end: what it did, by kind. Content follows from the seed and the state of the tables;
only the times come from the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections import Counter
from threading import Event

import psycopg

from .edits import EDITS, OPTIONAL_EDITS, Books


def run(books: Books, edits_per_second: float, edits: int | None, stop: Event) -> Counter[str]:
    """Makes edits at a steady rate until `stop`, or `edits` of them; how many of each kind."""
    done: Counter[str] = Counter()
    began = time.monotonic()
    while not stop.is_set() and (edits is None or done.total() < edits):
        done[books.edit(done.total())[0]] += 1
        if edits_per_second > 0:
            stop.wait(max(0.0, began + done.total() / edits_per_second - time.monotonic()))
    return done


def main() -> int:
    parser = argparse.ArgumentParser(description="Edits the finance database of the workforce example.")
    parser.add_argument("--dsn", default=os.environ.get("FINANCE_DSN"), help="default: FINANCE_DSN")
    parser.add_argument("--edits-per-second", type=float, default=20.0, help="0: as fast as it goes")
    parser.add_argument("--edits", type=int, help="stop after so many")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--also", action="append", default=[], choices=sorted(OPTIONAL_EDITS), help="rarer kinds")
    args = parser.parse_args()
    if not args.dsn:
        parser.error("say --dsn or set FINANCE_DSN")
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    kinds = {**EDITS, **{kind: OPTIONAL_EDITS[kind] for kind in args.also}}
    with psycopg.connect(args.dsn, autocommit=True) as connection:
        done = run(Books(connection, args.seed, kinds), args.edits_per_second, args.edits, stop)
    sys.stdout.write(json.dumps(dict(sorted(done.items()))) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
