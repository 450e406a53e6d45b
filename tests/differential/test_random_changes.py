"""Random changes to random tables: the events of Debezium and of Sluice are compared.

`make test` runs the same 15 workloads each time, `make differential` runs 200 new ones. `SLUICE_SEED` chooses the first
seed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import pytest

from support.debezium_differences import without_pending
from support.differential import Profile, Published, Workload
from support.differential_random import random_workload

Run = Callable[[Profile, list[Workload]], Published]
LONG = os.environ.get("SLUICE_TEST_DIFFERENTIAL") == "long"
TOGETHER = 50 if LONG else 15  # workloads of one run
RUNS = 4 if LONG else 1
FIRST_SEED = int(os.environ.get("SLUICE_SEED") or (time.time() % 1_000_000 if LONG else 1))


@pytest.mark.parametrize("number", range(RUNS))
def test_exact_events_of_random_changes_do_not_differ(published: Run, number: int) -> None:
    first = FIRST_SEED + number * TOGETHER
    sys.stdout.write(f"SLUICE_SEED={first}\n")
    workloads = [random_workload(seed) for seed in range(first, first + TOGETHER)]
    events = published(Profile(f"random_{first}"), workloads)
    found = [
        place
        for workload in workloads
        for place in without_pending(workload.name, events.differences(workload.topics, exact=True))
    ]
    assert not found, f"SLUICE_SEED={first}\n" + "\n".join(map(str, found))
