"""A campaign of kills: stages are killed with SIGKILL at random moments under load. Then lost and doubled records are
counted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import orjson

from sluice.verify.report import Report
from support.golden_tables import differences, golden_tables
from support.scenario import Scenario
from support.scenario_doubles import doubled_canonical, doubled_raw
from support.scenario_transactions import Killer
from support.waiting import NotInTime, eventually

LOAD_PER_S = 260.0
CALM_MAX_S = 2.0
WORKING_WITHIN_S = 120.0
ARRIVED_WITHIN_S = 180.0
Progress = Callable[[str], None]


@dataclass
class Outcome:
    """The result of a campaign. If all is well, `lost` and `doubled` are empty and `report` is verified."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    in_transaction: Counter[str] = field(default_factory=Counter)
    changes: int = 0
    seconds: float = 0.0
    lost: list[str] = field(default_factory=list)
    doubled: int = 0
    report: Report = field(default_factory=Report)

    @property
    def changes_per_s(self) -> float:
        return self.changes / max(self.seconds, 0.001)

    def to_json(self) -> dict[str, Any]:
        """The object that a campaign prints: `runs` are kills, `lost` and `doubled` records."""
        return {
            "runs": self.kills.total(),
            "lost": len(self.lost),
            "doubled": self.doubled + self.report.counts["I2"],
            "seed": self.seed,
            "kills": dict(self.kills),
            "in_open_transaction": dict(self.in_transaction),
            "in_open_transaction_total": self.in_transaction.total(),
            "verified": self.report.verified,
            "findings": dict(self.report.counts.items()),
            "pending": len(self.report.pending),
            "changes": self.changes,
            "changes_per_s": round(self.changes_per_s, 1),
        }


def campaign(
    scenario: Scenario, stages: Sequence[str], rounds: int, seed: int, progress: Progress = lambda line: None
) -> Outcome:
    """Kill each of `stages` once a round, under 260 changes a second or as many as this machine can make. Then wait
    until all records have arrived, and count. The number of changes is reported and not judged, because it depends on
    the machine.

    A stage is killed at a random moment after it has processed records since its last start. For every second kill,
    from the first on, the killer waits for a moment at which a transaction is open.
    """
    outcome, rng, killer = Outcome(seed), Random(seed), Killer(scenario)
    live = scenario.run.live(LOAD_PER_S, None, seed)
    worked = dict.fromkeys(scenario.run.stages, 0)
    for number in range(rounds):
        for place, stage in enumerate(rng.sample(list(stages), len(stages))):
            _await_work(scenario, stage, worked[stage])
            _watch(scenario, rng.uniform(0, CALM_MAX_S))
            worked[stage] = scenario.run.stages[stage].counts.records
            was_open = killer.kill(stage, aim=(number + place) % 2 == 0)
            outcome.kills[stage] += 1
            outcome.in_transaction[stage] += was_open
            progress(f"round {number + 1}: killed {stage}{', a transaction was open' if was_open else ''}")
    assert not live.done(), f"the load ended early; {live.log.with_suffix('.output').read_text()[-500:]}"
    live.stop()
    outcome.changes, outcome.seconds = _made(live.log)
    progress(f"load ended: {outcome.changes} changes, {outcome.changes_per_s:.0f} a second")
    _count(scenario, outcome, progress)
    return outcome


def _await_work(scenario: Scenario, stage: str, before: int) -> None:
    """Wait until the stage has processed more than `before` records in all, so that it works again."""

    def works() -> bool:
        scenario.run.watch()
        counts = scenario.run.stages[stage].counts
        return counts.ready and counts.records > before

    eventually(works, f"{stage} to take records again", WORKING_WITHIN_S, scenario.states, scenario.progress)


def _watch(scenario: Scenario, for_s: float) -> None:
    until = time.monotonic() + for_s
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 0.2))  # the kill is at a random moment; until then dead stages are restarted
        scenario.run.watch()


def _count(scenario: Scenario, outcome: Outcome, progress: Progress) -> None:
    """Count the differences from the truth after everything has arrived, and the doubled records."""
    run = scenario.run
    expected = run.driver.truth(run.running)

    def arrived() -> bool:
        scenario.run.watch()
        outcome.lost = differences(expected, golden_tables(run.sink_dsn, expected), at_most=1_000_000)
        return not outcome.lost

    with suppress(NotInTime):  # what is lost is reported with the outcome
        eventually(arrived, "all to arrive", ARRIVED_WITHIN_S, progress=scenario.progress)
    progress(f"{len(outcome.lost)} differences from the sources; verifying")
    outcome.report = scenario.verified(wait_s=120)
    names = run.pipeline.names
    raw = [names.raw(source, stream) for source, of in run.pipeline.poll_sources().items() for stream in of.streams]
    raw += [names.raw(source, table) for source, of in run.pipeline.cdc_sources().items() for table in of.tables]
    outcome.doubled = doubled_raw(run.settings.kafka.bootstrap_servers, raw)
    canonical = [names.canonical(entity) for entity in run.contracts]
    outcome.doubled += doubled_canonical(run.settings.kafka.bootstrap_servers, canonical)


def _made(log: Path) -> tuple[int, float]:
    """How many changes the sources committed, and within how many seconds."""
    made = [orjson.loads(line)["at"] for line in log.read_bytes().splitlines()]
    return len(made), (made[-1] - made[0]) / 1e6
