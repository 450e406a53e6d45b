"""The workforce example as a whole on the session's servers: names of its own, small sources, nothing left behind.

Two partitions, so that a few thousand records make partitions longer than what a partial rewind reads again.
"""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from confluent_kafka.admin import AdminClient
from psycopg.conninfo import conninfo_to_dict

from sluice.demo.pipeline_run import PipelineRun
from sluice.embedded import Servers
from sluice.testing.example import load_example
from support.scenario import EXAMPLE, Scenario

PARTITIONS = 2
# What the author wrote; everything else of the example stays where it is, and is imported from there.
AUTHORED = ("entities.py", "source.py", "sources", "schemas")


@contextmanager
def workforce_pipeline(servers: Servers, directory: Path, workers: int, ledger_entries: int) -> Iterator[Scenario]:
    """A copy of the example with every stage running on `servers`, its tables as the sources call for."""
    before, path = dict(os.environ), list(sys.path)
    os.environ["WORKFORCE_WORKERS"], os.environ["WORKFORCE_LEDGER_ENTRIES"] = str(workers), str(ledger_entries)
    load_example(EXAMPLE)  # its helpers are imported from the example itself, not from a copy that goes away
    name = f"workforce_{uuid.uuid4().hex[:8]}"
    run = PipelineRun(_copy(directory / "example", name), directory, servers)
    try:
        with run:
            run.apply()
            run.start()
            scenario = Scenario(run, servers)
            scenario.await_truth()
            yield scenario
    finally:
        os.environ.clear()
        os.environ.update(before)
        sys.path[:] = path
        _remove(run, servers)


def _copy(target: Path, name: str) -> Path:
    target.mkdir()
    for part in AUTHORED:
        if (EXAMPLE / part).is_dir():
            shutil.copytree(EXAMPLE / part, target / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(EXAMPLE / part, target / part)
    pipeline = yaml.safe_load((EXAMPLE / "pipeline.yaml").read_text())
    pipeline |= {"pipeline": name, "partitions": PARTITIONS, "kafka": {"prefix": f"{name}."}}
    pipeline["sources"]["hr"]["streams"]["workers"] = {"freshness": "2s", "enumerate_every": "4s"}
    (target / "pipeline.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))
    return target


def _remove(run: PipelineRun, servers: Servers) -> None:
    """Topics and databases: one set of servers serves many tests."""
    admin = AdminClient({"bootstrap.servers": servers.bootstrap_servers})
    prefix = run.pipeline.names.prefix
    left = [topic for topic in admin.list_topics(timeout=10).topics if topic.startswith(prefix)]
    for deleted in admin.delete_topics(left).values() if left else ():
        deleted.result(10)
    for variable in ("SINK_DSN", "FINANCE_DSN"):
        if variable in getattr(run, "env", {}):
            servers.drop_database(str(conninfo_to_dict(run.env[variable])["dbname"]))
