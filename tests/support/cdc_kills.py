"""A campaign of kills at the steps of ingress-cdc, and the count of what it damaged."""

from __future__ import annotations

import os
import subprocess
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson

from sluice.position import Position
from support.cdc import Raw, Source
from support.cdc_commands import resnapshot
from support.cdc_writers import Writers
from support.kill_steps import Step
from support.pace import within

STEP_WITHIN_S = 60.0
ARRIVED_WITHIN_S = 120.0
# Small batches, so that a snapshot and a large transaction are published in several Kafka transactions.
BATCH_BYTES_MAX = 20_000
Progress = Callable[[str], None]


@dataclass
class Damage:
    """What a raw topic shows about changes: `lost` and `unordered` name the keys, `doubled` is a number of records."""

    lost: list[str] = field(default_factory=list)
    doubled: int = 0
    unordered: list[str] = field(default_factory=list)


@dataclass
class StepOutcome:
    """The result of a campaign. If all is well, `not_reached` and `damage` are empty. `requested_at`: the LSNs at which
    tables were requested to be read again."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    not_reached: list[str] = field(default_factory=list)
    changes: int = 0
    requested_at: list[int] = field(default_factory=list)
    damage: Damage = field(default_factory=Damage)

    def to_json(self) -> dict[str, Any]:
        return {
            "runs": self.kills.total(),
            "lost": len(self.damage.lost),
            "doubled": self.damage.doubled,
            "unordered": len(self.damage.unordered),
            "not_reached": self.not_reached,
            "seed": self.seed,
            "kills": dict(self.kills),
            "changes": self.changes,
        }


def step_campaign(
    source: Source,
    tables: Sequence[str],
    steps: Sequence[Step],
    kills: int,
    seed: int,
    progress: Progress = lambda line: None,
) -> StepOutcome:
    """Kill the stage `kills` times while two writers change `tables`, at each of `steps` in turn. Then let it follow
    undisturbed until everything is published, and count."""
    outcome, rng = StepOutcome(seed), Random(seed)
    first_lsn = source.wal_lsn()
    with stage(source):
        source.published_up_to(first_lsn, ARRIVED_WITHIN_S)
    writers = Writers(source.dsn, tables, seed)
    try:
        for number in range(kills):
            step = steps[number % len(steps)]
            _kill_at(source, step, rng, tables, outcome)
            progress(f"kill {number + 1}: {step.phase}, {step.name}")
    finally:
        writers.end()
    outcome.changes = writers.changes
    with stage(source):
        source.published_up_to(source.wal_lsn(), ARRIVED_WITHIN_S)
    for table in tables:
        add_damage(outcome.damage, source, table, outcome.requested_at)
    return outcome


def _kill_at(source: Source, step: Step, rng: Random, tables: Sequence[str], outcome: StepOutcome) -> None:
    """Let a process run until it dies at the step. A step that is not reached in time is noted."""
    if step.phase != "stream":
        outcome.requested_at.append(source.wal_lsn())
    if step.phase == "snapshot":
        resnapshot(source)
    elif step.phase == "tables":
        resnapshot(source, "--table", f"public.{rng.choice(list(tables))}")
    call = rng.randint(1, step.calls_max)
    with stage(source, step.name, str(call)) as process:
        try:
            code = process.wait(within(STEP_WITHIN_S))
        except subprocess.TimeoutExpired:
            code = 0
    if code == -9:
        outcome.kills[step.name] += 1
    else:
        outcome.not_reached.append(f"{step.name}, call {call}: exit code {code}")


@contextmanager
def stage(
    source: Source, *step_and_call: str, batch_bytes_max: int = BATCH_BYTES_MAX
) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the stage while the block runs; it dies at a step if one is given. It is killed at the end."""
    module = ["support.kill_steps", *step_and_call] if step_and_call else ["sluice.cli.main", "run", "ingress-cdc"]
    path = {"PYTHONPATH": os.pathsep.join(sys.path), "SLUICE_BATCH_BYTES_MAX": str(batch_bytes_max)}
    with (source.folder / "stage.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *module],
            env={**source.environment(), **path},
            cwd=source.folder,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)


def differences(source: Source, table: str, found: Mapping[int, int]) -> list[str]:
    """The rows of the table that differ from the topic. `found`: the versions that the topic leaves, by id."""
    expected: dict[int, int] = dict(source.sql(f"SELECT id, version FROM {table}"))
    return [
        f"{table} {row}: version {found.get(row)} in the topic, {expected.get(row)} in the table"
        for row in sorted(found.keys() | expected.keys())
        if found.get(row) != expected.get(row)
    ]


def add_damage(total: Damage, source: Source, table: str, requested_at: Sequence[int] = ()) -> TopicCheck:
    """Add the damage of one table to the total: that of its topic, and the rows that differ. Returns the check."""
    check = checked(source.raw_records(table), requested_at)
    total.lost += [*differences(source, table, check.versions()), *(f"{table} {one}" for one in check.damage.lost)]
    total.doubled += check.damage.doubled
    total.unordered += [f"{table} {one}" for one in check.damage.unordered]
    return check


@dataclass
class _Key:
    """What the records of one key said so far. `version`: of the row; 0 after a delete, None if unknown."""

    position: Position
    version: int | None


class TopicCheck:
    """Follows the records of one raw topic. `damage`: what they show. `records`: their number, without sweep markers.

    Every write raises the version of its row by one. So a change that is missing or doubled between two others shows as
    a gap or a repeat. A row that is read again repeats the newest version. A sweep retracts keys that were deleted.

    `requested_at`: the LSNs at which tables were requested to be read again. Changes from there to the start of the
    reading are not published, so two records on both sides of such an LSN, or of two epochs, are not compared.
    """

    def __init__(self, requested_at: Sequence[int] = ()) -> None:
        self.damage, self.records = Damage(), 0
        self._requested_at = sorted(requested_at)
        self._keys: dict[tuple[int, bytes], _Key] = {}

    def feed(self, record: Raw) -> None:
        """Take the next record. Those of a partition must come in the order of the log."""
        if record.is_sweep:
            for (partition, _), key in self._keys.items():
                if partition == record.partition and key.position < record.position:
                    key.version = None
            return
        self.records += 1
        if record.value is not None:
            at = (record.partition, record.key)
            self._compare(record, self._keys.get(at))
            self._keys[at] = _Key(record.position, _version(record.body))

    def versions(self) -> dict[int, int]:
        """The versions of the rows that the topic leaves, by id."""
        return {int(orjson.loads(at[1])["id"]): key.version for at, key in self._keys.items() if key.version}

    def _compare(self, record: Raw, before: _Key | None) -> None:
        if before is None:
            return
        name = record.key.decode()
        if record.position == before.position:
            self.damage.doubled += 1
        elif record.position < before.position:
            self.damage.unordered.append(f"{name}: {record.position} after {before.position}")
        elif before.version is not None and self._follows(before.position, record.position):
            version = _version(record.body)
            right = {"r": before.version or None, "d": 0}.get(record.body["op"], before.version + 1)
            if version != right:
                self.damage.lost.append(f"{name}: version {version} after {before.version} at {record.position}")

    def _follows(self, first: Position, then: Position) -> bool:
        """Whether every change between the two positions is published."""
        place = bisect_left(self._requested_at, first.major)
        is_requested = place < len(self._requested_at) and self._requested_at[place] <= then.major
        return first.epoch == then.epoch and not is_requested


def checked(records: Iterable[Raw], requested_at: Sequence[int] = ()) -> TopicCheck:
    """The check of a whole raw topic."""
    check = TopicCheck(requested_at)
    for record in records:
        check.feed(record)
    return check


def _version(body: Mapping[str, Any]) -> int:
    return 0 if body["op"] == "d" else int(body["after"]["version"])
