"""Runs the command that the faults of ingress-cdc name, as an operator would run it."""

from __future__ import annotations

import subprocess
import sys

import orjson

from support.cdc import Source


def resnapshot(source: Source, *more: str) -> dict[str, object]:
    """Run `sluice cdc resnapshot erp` with more arguments. Returns its JSON output."""
    done = subprocess.run(
        [sys.executable, "-m", "sluice.cli.main", "cdc", "resnapshot", "erp", "--json", *more],
        env=source.environment(),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = orjson.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer
