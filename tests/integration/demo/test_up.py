"""`sluice up`: one's own pipeline, all of it in one command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sluice.embedded import Servers
from sluice.kafka import KafkaSettings, clients
from support.one_entity import write_pipeline
from support.pace import within


@pytest.fixture
def folder(servers: Servers, tmp_path: Path) -> Iterator[Path]:
    """A pipeline of one followed table with three rows; its databases and topics go afterwards."""
    name = f"up_{uuid.uuid4().hex[:8]}"
    for database in ("erp", "sink"):
        servers.create_database(f"{name}_{database}")
    with psycopg.connect(servers.postgres_dsn(f"{name}_erp")) as connection:
        connection.execute("CREATE TABLE person (id int PRIMARY KEY, name text)")
        connection.execute("INSERT INTO person VALUES (1, 'Ada'), (2, 'Alan'), (3, 'Grace')")
    write_pipeline(tmp_path / name, name, ["person"])
    yield tmp_path / name
    admin = clients.admin(KafkaSettings(bootstrap_servers=servers.bootstrap_servers))
    topics = [topic for topic in admin.list_topics(timeout=within(30)).topics if topic.startswith(f"{name}.")]
    for deleted in admin.delete_topics(topics).values() if topics else ():
        deleted.result(within(30))
    for database in ("erp", "sink"):
        servers.drop_database(f"{name}_{database}")


def up(folder: Path, servers: Servers, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command with given servers; `variables` are the pipeline's."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    environment |= {
        "SLUICE_KAFKA__BOOTSTRAP_SERVERS": servers.bootstrap_servers,
        "SLUICE_REGISTRY__URL": servers.registry_url,
        **variables,
    }
    command = [sys.executable, "-m", "sluice.cli.main", "up", "--no-servers", "--pipeline", str(folder), *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=within(240), cwd=folder
    )


def test_a_pipeline_runs_from_nothing_to_golden_rows_and_ends_verified(folder: Path, servers: Servers) -> None:
    erp, sink = (servers.postgres_dsn(f"{folder.name}_{name}") for name in ("erp", "sink"))
    done = up(folder, servers, "--seconds", "0", "--json", ERP_DSN=erp, ONE_ENTITY_SINK_DSN=sink)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["ending"], told["golden_rows"]) == ("verified", {"row": 3})
    assert told["first_golden_record_s"] > 0
    assert set(told["stages"]) == {"ingress-cdc", "mapper", "merger", "sink-postgres"}
    assert "nothing is lost" in done.stderr
    assert "step 1 of 2: topics and schemas" in done.stderr


def test_variables_that_are_not_set_are_all_named_before_anything_starts(folder: Path, servers: Servers) -> None:
    done = up(folder, servers, "--seconds", "0")
    assert done.returncode == 2
    assert "refers to variables that are not set. Next: export ERP_DSN=… ONE_ENTITY_SINK_DSN=…" in done.stderr


def test_a_stage_that_the_pipeline_has_no_use_for_is_refused(folder: Path, servers: Servers) -> None:
    done = up(folder, servers, "--stage", "ingress-poller")
    assert done.returncode == 2
    assert "pipeline.yaml: gives ingress-poller nothing to do" in done.stderr
    done = up(folder, servers, "--stage", "poller")
    assert done.returncode == 2
    assert "no stage poller; there are ingress-poller" in done.stderr
