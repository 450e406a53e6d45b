"""A working day in both departments: edits HR and finance at a steady rate and logs each committed change.

    HR_URL=… FINANCE_DSN=… python -m examples.workforce.live --log edits.jsonl --rate 20 --seed 7 [--edits 1000]

A line of the log names a field of a golden record that has to change: `model` (the entity), `id`, `field`, `value`
(null: the source record is gone), and when the edit was sent and answered, in Unix microseconds. Times of change only
rise: a golden record that shows a later one shows a later edit.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from threading import Event
from typing import Any, NamedTuple, TextIO
from urllib.parse import urlsplit

import psycopg

from .departments import stop_with_parent
from .finance.edits import EDITS, OPTIONAL_EDITS, Books, Change

HR_SHARE = 0.2  # of all edits


class Seen(NamedTuple):
    """What a committed change must make of a golden record."""

    model: str
    id: str
    field: str
    value: object


class HrOffice:
    """Edits through the HR API's admin paths."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)

    def edit(self) -> list[Seen]:
        self._connection.request("POST", "/_admin/step")
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"HR answers {answer.status} to an edit")
        step = json.loads(body)
        return [*_of_hr(step["changed"], gone=False), *_of_hr(step["deleted"], gone=True)]


def _of_hr(records: list[dict[str, Any]], *, gone: bool) -> Iterator[Seen]:
    for record in records:
        number = re.sub(r"\W", "", record.get("employeeNumber", "")).upper()
        changed_us = None if gone else _microseconds(datetime.fromisoformat(record["updatedAt"]))
        yield Seen("worker", number, "hr_updated_at", changed_us)


def _of_finance(changes: list[Change]) -> Iterator[Seen]:
    """The last change of each row: earlier changes of one transaction are never visible."""
    for change in {(change.table, change.key): change for change in changes}.values():
        row = change.row
        if change.table == "ledger_entry":
            corrected = row is not None and "id" not in row
            field, value = ("text", row and row["text"]) if corrected else ("entry_number", row and change.key)
            yield Seen("ledger_entry", change.key, field, value)
        else:
            payroll = change.table == "payroll"
            model, field = ("worker", "payroll_updated_at") if payroll else ("cost_centre", "updated_at")
            yield Seen(model, change.key, field, row and _microseconds(row["updated_at"]))


def _microseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def run(hr: HrOffice, books: Books, args: argparse.Namespace, log: TextIO, stop: Event) -> int:
    """Edits until `stop` or `args.edits`; how many were made."""
    began, done = time.monotonic(), 0
    while not stop.is_set() and (args.edits is None or done < args.edits):
        in_hr = Random(f"{args.seed}/department/{done}").random() < HR_SHARE
        sent_at = time.time_ns() // 1000
        seen = hr.edit() if in_hr else list(_of_finance(books.edit(done)[1]))
        at = time.time_ns() // 1000
        log.writelines(json.dumps({**one._asdict(), "sent_at": sent_at, "at": at}) + "\n" for one in seen)
        log.flush()
        done += 1
        if args.rate > 0:
            stop.wait(max(0.0, began + done / args.rate - time.monotonic()))
    return done


def main() -> int:
    parser = argparse.ArgumentParser(description="Edits both source systems of the workforce example.")
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--rate", type=float, default=20.0, help="edits a second; 0: as fast as it goes")
    parser.add_argument("--edits", type=int, help="stop after so many")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--also", action="append", default=[], choices=sorted(OPTIONAL_EDITS), help="rarer kinds")
    parser.add_argument("--parent", type=int, help="end when this process, which started us, is gone")
    args = parser.parse_args()
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    stop_with_parent(args.parent, stop.set)
    kinds = {**EDITS, **{kind: OPTIONAL_EDITS[kind] for kind in args.also}}
    with psycopg.connect(os.environ["FINANCE_DSN"], autocommit=True) as connection, args.log.open("a") as log:
        made = run(HrOffice(os.environ["HR_URL"]), Books(connection, args.seed, kinds), args, log, stop)
    sys.stdout.write(f"{made}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
