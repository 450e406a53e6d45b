"""A whole example on the session's servers: every stage runs, its names are unique, and everything is removed at the
end."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from confluent_kafka.admin import AdminClient
from psycopg.conninfo import conninfo_to_dict

from sluice.embedded import Servers
from sluice.local.example_run import ExampleRun
from support.example_copy import example_copy
from support.pace import within
from support.scenario import Scenario
from support.servers import drop_database

FIRST_TRUTH_WITHIN_S = 240.0


@contextmanager
def example_pipeline(
    example: Path,
    servers: Servers,
    directory: Path,
    change: Callable[[dict[str, Any]], None] = lambda pipeline: None,
    environment: Mapping[str, str] = MappingProxyType({}),
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Scenario]:
    """Run a copy of `example` on `servers`: every stage runs, and the golden tables equal the sources. `change` may
    edit the content of pipeline.yaml. `environment` contains variables of the example, `settings` variables of the
    stages."""
    before = dict(os.environ)
    os.environ.update(environment)

    def renamed(pipeline: dict[str, Any]) -> None:
        name = f"{pipeline['pipeline']}_{uuid.uuid4().hex[:8]}"
        pipeline |= {"pipeline": name, "kafka": {"prefix": f"{name}."}}
        change(pipeline)

    run = ExampleRun(example_copy(example, directory / "example", renamed), directory, servers)
    try:
        with run:
            run.apply()
            run.env.update(settings)
            run.start()
            scenario = Scenario(run, servers)
            scenario.await_truth(FIRST_TRUTH_WITHIN_S)
            with scenario.listed():
                yield scenario
    finally:
        os.environ.clear()
        os.environ.update(before)
        remove(run, servers)


def remove(run: ExampleRun, servers: Servers) -> None:
    """Delete the topics and databases of the run, because one set of servers serves many tests."""
    admin = AdminClient({"bootstrap.servers": servers.kafka.bootstrap_servers})
    prefix = run.pipeline.names.prefix
    left = [topic for topic in admin.list_topics(timeout=within(30)).topics if topic.startswith(prefix)]
    for deleted in admin.delete_topics(left).values() if left else ():
        deleted.result(within(30))
    for variable, value in getattr(run, "env", {}).items():
        if variable.endswith("_DSN"):
            drop_database(servers, str(conninfo_to_dict(value)["dbname"]))
