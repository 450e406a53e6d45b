"""`make chaos WHAT=poller|cdc|mapper|merger|sink|all`: kills stages under load. The last line on stdout is a JSON
object with the result.

With `SLUICE_SEED`, the kills come at about the same times as in an earlier run with this seed. The exit code is 1 if a
change was lost, if a record was published twice, or if `verify` did not succeed.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys

from support.scenario import scenario
from support.scenario_kills import campaign

STAGES = {
    "poller": "ingress-poller",
    "cdc": "ingress-cdc",
    "mapper": "mapper",
    "merger": "merger",
    "sink": "sink-postgres",
}
WORKERS, LEDGER_ENTRIES, PARTITIONS = 2_000, 4_000, 6


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description="Kills stages under load and counts the damage.")
    parser.add_argument("--what", choices=[*STAGES, "all"], default="all")
    parser.add_argument("--rounds", type=int, default=10, help="kills of each stage")
    args = parser.parse_args()
    stages = list(STAGES.values()) if args.what == "all" else [STAGES[args.what]]
    seed = int(os.environ.get("SLUICE_SEED") or secrets.randbelow(2**31))
    report(f"seed {seed}; {args.rounds} rounds of {', '.join(stages)}")
    with scenario(WORKERS, LEDGER_ENTRIES, PARTITIONS) as running:
        running.await_truth(180)
        outcome = campaign(running, stages, args.rounds, seed, report)
        for line in [*outcome.lost[:20], *outcome.report.lines()]:
            report(line)
    found = outcome.to_json()
    print(json.dumps(found), flush=True)
    return int(bool(found["lost"] or found["doubled"] or not found["verified"]))


def report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
