"""Logs: one JSON object a line, without anything that could quote a record or a secret."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import logging, structlog
from sluice.telemetry.logs import configure_logs

configure_logs("mapper")
logging.getLogger("httpx2").info("GET /token?client_secret=hunter2")
structlog.get_logger().warning("not now", why="no answer")
def work(row):
    try:
        int(row["iban"])
    except ValueError as error:
        error.add_note("of Lovelace")
        raise KeyError(f"pay of {row['name']}") from error
try:
    work({"iban": "DE95", "name": "Lovelace"})
except KeyError:
    structlog.get_logger().exception("bug")
"""


def test_logs_are_json_lines_of_the_stage_without_locals_or_query_strings() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    first, second = (json.loads(line) for line in done.stderr.splitlines())
    assert (first["event"], first["why"], first["stage"], first["level"]) == (
        "not now",
        "no answer",
        "mapper",
        "warning",
    )
    lines = second["exception"].splitlines()
    assert lines[0] == "ValueError raised at"
    assert lines[1].endswith("<string>:10, in work")
    assert "KeyError raised at" in lines
    assert lines[-1].endswith("in work")
    assert not any(word in done.stderr for word in ("hunter2", "DE95", "Lovelace"))
