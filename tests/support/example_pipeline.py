"""An example as a whole on the session's servers: names of its own, every stage running, nothing left behind."""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from confluent_kafka.admin import AdminClient
from psycopg.conninfo import conninfo_to_dict

from sluice.demo.example_run import ExampleRun
from sluice.embedded import Servers
from sluice.testing.example import load_example
from support.pace import within
from support.scenario import Scenario

# What the author wrote; everything else of the example stays where it is, and is imported from there.
AUTHORED = ("entities.py", "source.py", "sources", "schemas")
FIRST_TRUTH_WITHIN_S = 240.0


@contextmanager
def example_pipeline(
    example: Path,
    servers: Servers,
    directory: Path,
    change: Callable[[dict[str, Any]], None] = lambda pipeline: None,
    environment: dict[str, str] | None = None,
) -> Iterator[Scenario]:
    """A copy of `example` with every stage running on `servers`, its tables as the sources call for.

    `change` may change what its pipeline.yaml says; `environment` is what the example itself is told.
    """
    before, path = dict(os.environ), list(sys.path)
    os.environ.update(environment or {})
    load_example(example)  # its helpers are imported from the example itself, not from a copy that goes away
    run = ExampleRun(_copy(example, directory / "example", change), directory, servers)
    try:
        with run:
            run.apply()
            run.start()
            scenario = Scenario(run, servers)
            scenario.await_truth(FIRST_TRUTH_WITHIN_S)
            with scenario.listed():
                yield scenario
    finally:
        os.environ.clear()
        os.environ.update(before)
        sys.path[:] = path
        remove(run, servers)


def _copy(example: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    target.mkdir()
    for part in AUTHORED:
        if (example / part).is_dir():
            shutil.copytree(example / part, target / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(example / part, target / part)
    pipeline = yaml.safe_load((example / "pipeline.yaml").read_text())
    name = f"{pipeline['pipeline']}_{uuid.uuid4().hex[:8]}"
    pipeline |= {"pipeline": name, "kafka": {"prefix": f"{name}."}}
    change(pipeline)
    (target / "pipeline.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))
    return target


def remove(run: ExampleRun, servers: Servers) -> None:
    """Topics and databases: one set of servers serves many tests."""
    admin = AdminClient({"bootstrap.servers": servers.bootstrap_servers})
    prefix = run.pipeline.names.prefix
    left = [topic for topic in admin.list_topics(timeout=within(30)).topics if topic.startswith(prefix)]
    for deleted in admin.delete_topics(left).values() if left else ():
        deleted.result(within(30))
    for variable, value in getattr(run, "env", {}).items():
        if variable.endswith("_DSN"):
            servers.drop_database(str(conninfo_to_dict(value)["dbname"]))
