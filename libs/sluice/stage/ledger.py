"""The ledger: for each partition in each batch, one line with the outcomes of the partition's records. `sluice verify`
checks the lines for gaps."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, Literal

import orjson

Outcome = Literal["mapped", "unchanged", "superseded", "filtered", "dead", "skipped"]
OUTCOMES: tuple[Outcome, ...] = ("mapped", "unchanged", "superseded", "filtered", "dead", "skipped")


def ledger_key(group: str, topic: str, partition: int) -> bytes:
    return f"{group}/{topic}/{partition}".encode()


def ledger_line(
    from_offset: int, to_offset: int, counts: Counter[Outcome], reset: bool, versions: dict[str, int]
) -> bytes:
    """The ledger line of one partition in one batch, as JSON: the range of offsets `[from, to)`, and how many of its
    records had each outcome. `visible` is the sum of these counts."""
    line: dict[str, Any] = {
        "v": 1,
        "from": from_offset,
        "to": to_offset,
        "visible": counts.total(),
        **{outcome: counts[outcome] for outcome in OUTCOMES},
        "reset": reset,
        "versions": versions,
        "at": time.time_ns() // 1_000,
    }
    return orjson.dumps(line)
