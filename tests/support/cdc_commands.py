"""Runs the command that the faults of ingress-cdc name, as an operator would run it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

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


def cdc(source: Source, *arguments: str, dsn: str | None = None) -> tuple[int, dict[str, Any]]:
    """Run `sluice cdc` with `arguments` and `--json`. `dsn`: that of another user. Returns the exit code and the JSON
    output."""
    done = cdc_text(source, *arguments, "--json", dsn=dsn)
    assert done.stdout, done.stderr
    answer = orjson.loads(done.stdout)
    assert isinstance(answer, dict)
    return done.returncode, answer


def cdc_text(source: Source, *arguments: str, dsn: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run `sluice cdc` with `arguments`, as a person would."""
    return subprocess.run(
        [sys.executable, "-m", "sluice.cli.main", "cdc", *arguments],
        env={**source.environment(), **({} if dsn is None else {"ERP_DSN": dsn})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
