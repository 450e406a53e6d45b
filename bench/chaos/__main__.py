"""`make chaos WHAT=poller|cdc|cdc-steps|mapper|merger|sink|all`: kills stages under load. The last line on stdout is a
JSON object with the result.

`cdc-steps` kills ingress-cdc at every step of snapshot, hand-over and stream (`tests/support/kill_steps.py`), 200 times
in all. The others kill stages of a whole pipeline at random moments. With `SLUICE_SEED`, the kills come at about the
same times as in an earlier run with this seed. The exit code is 1 if a change was lost, if a record was published
twice or in the wrong order, if a step was not reached, or if `verify` did not succeed.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys

from support.cdc import new_source
from support.cdc_kills import step_campaign
from support.cdc_writers import create_tables
from support.kill_steps import STEPS
from support.scenario import scenario
from support.scenario_kills import campaign

STAGES = {
    "poller": "ingress-poller",
    "cdc": "ingress-cdc",
    "mapper": "mapper",
    "merger": "merger",
    "sink": "sink-postgres",
}
STEPS_OF_CDC, TABLES = "cdc-steps", ["employee", "project"]
WORKERS, LEDGER_ENTRIES, PARTITIONS = 2_000, 4_000, 6


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description="Kills stages under load and counts the damage.")
    parser.add_argument("--what", choices=[*STAGES, STEPS_OF_CDC, "all"], default="all")
    parser.add_argument("--rounds", type=int, default=10, help="kills of each stage")
    parser.add_argument("--kills", type=int, default=200, help=f"kills of {STEPS_OF_CDC}")
    parser.add_argument("--only", default="", help=f"{STEPS_OF_CDC}: only steps whose name contains this text")
    args = parser.parse_args()
    seed = int(os.environ.get("SLUICE_SEED") or secrets.randbelow(2**31))
    if args.what == STEPS_OF_CDC:
        return kill_at_steps(args.kills, args.only, seed)
    stages = list(STAGES.values()) if args.what == "all" else [STAGES[args.what]]
    report(f"seed {seed}; {args.rounds} rounds of {', '.join(stages)}")
    with scenario(WORKERS, LEDGER_ENTRIES, PARTITIONS) as running:
        running.await_truth(180)
        outcome = campaign(running, stages, args.rounds, seed, report)
        for line in [*outcome.lost[:20], *outcome.report.lines()]:
            report(line)
    found = outcome.to_json()
    print(json.dumps(found), flush=True)
    return int(bool(found["lost"] or found["doubled"] or not found["verified"]))


def kill_at_steps(kills: int, only: str, seed: int) -> int:
    """The campaign `cdc-steps`. Returns the exit code."""
    steps = [step for step in STEPS if only in step.name]
    report(f"seed {seed}; {kills} kills at {len(steps)} steps")
    with new_source(TABLES) as (source, _):
        create_tables(source.dsn, TABLES)
        outcome = step_campaign(source, TABLES, steps, kills, seed, report)
    for line in [*outcome.damage.lost, *outcome.damage.unordered][:20]:
        report(line)
    found = outcome.to_json()
    print(json.dumps(found), flush=True)
    return int(bool(found["lost"] or found["doubled"] or found["unordered"] or found["not_reached"]))


def report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
