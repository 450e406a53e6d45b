"""`make endurance`: loads that take long, each on servers of its own. The last line on stdout is a JSON object with the
results. The exit code is 1 if a change was lost, doubled or out of order, if memory grew too much, or if a load was not
over in time. The tests run short forms of the same loads.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from collections.abc import Callable

from support.cdc import new_source
from support.cdc_endurance import Endured, idle_next_to_busy, kafka_away, large_transaction, many_tables
from support.cdc_writers import create_tables

# The default size of a batch is 8 MiB. One batch is collected while another one is published.
BATCH_BYTES_MAX = 8 * 2**20
GROWN_MIB_MAX = 160
TABLES = ["employee", "project"]


def transaction(size: int, seed: int) -> Endured:
    with new_source(["large"]) as (source, _):
        return large_transaction(source, "large", size, BATCH_BYTES_MAX, GROWN_MIB_MAX)


def tables(size: int, seed: int) -> Endured:
    names = [f"t{number:04d}" for number in range(size)]
    with new_source(names) as (source, _):
        return many_tables(source, names, GROWN_MIB_MAX)


def kafka(size: int, seed: int) -> Endured:
    with new_source(TABLES) as (source, servers):
        create_tables(source.dsn, TABLES)
        return kafka_away(source, TABLES, servers, size, seed, GROWN_MIB_MAX)


def idle(size: int, seed: int) -> Endured:
    with new_source(["quiet"]) as (source, servers):
        return idle_next_to_busy(source, "quiet", servers.postgres.create_database("busy"), size)


LOADS: dict[str, tuple[int, str, Callable[[int, int], Endured]]] = {
    "transaction": (2_048, "MiB of one transaction", transaction),
    "tables": (1_000, "tables", tables),
    "kafka": (600, "seconds without Kafka", kafka),
    "idle": (4_096, "MiB that another database writes", idle),
}
"""The size, its unit, and what runs the load."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make endurance", description="Loads that take long, for ingress-cdc.")
    parser.add_argument("--only", choices=LOADS, action="append", help="this load; may be repeated (default: all)")
    for name, (size, unit, _) in LOADS.items():
        parser.add_argument(f"--{name}", type=int, default=size, help=f"{unit} (default: {size})")
    given = parser.parse_args()
    seed = int(os.environ.get("SLUICE_SEED") or secrets.randbelow(2**31))
    report(f"seed {seed}")
    results = []
    for name in given.only or LOADS:
        results.append(endured(name, getattr(given, name), seed))
        report(json.dumps(results[-1].to_json()))
    print(json.dumps({"seed": seed, "loads": [one.to_json() for one in results]}), flush=True)
    return int(any(one.findings for one in results))


def endured(name: str, size: int, seed: int) -> Endured:
    """The result of a load. A load that is not over in time is a finding."""
    _, unit, load = LOADS[name]
    report(f"{name}: {size} {unit}")
    try:
        return load(size, seed)
    except AssertionError as error:
        return Endured(name, findings=[str(error)])


def report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
