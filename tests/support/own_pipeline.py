"""A pipeline folder that `sluice up` runs on the tests' servers, and its removal."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import yaml

from sluice.embedded import Servers
from sluice.kafka import KafkaSettings, clients
from support.pace import within
from support.servers import drop_database


@contextmanager
def removed(servers: Servers, folder: Path) -> Iterator[Path]:
    """`folder`, its pipeline under a name that no other test has; its topics and databases go afterwards."""
    file = folder / "pipeline.yaml"
    declared = yaml.safe_load(file.read_text())
    name = f"{declared['pipeline']}_{uuid.uuid4().hex[:8]}"
    declared |= {"pipeline": name, "partitions": 2, "kafka": {"prefix": f"{name}."}}
    file.write_text(yaml.safe_dump(declared, sort_keys=False, width=1_000))
    try:
        yield folder
    finally:
        admin = clients.admin(KafkaSettings(bootstrap_servers=servers.kafka.bootstrap_servers))
        topics = [topic for topic in admin.list_topics(timeout=within(30)).topics if topic.startswith(f"{name}.")]
        for deleted in admin.delete_topics(topics).values() if topics else ():
            deleted.result(within(30))
        with psycopg.connect(servers.postgres.dsn(), autocommit=True) as connection:
            found = connection.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [name])
            databases = [str(one) for (one,) in found.fetchall()]
        for database in databases:
            drop_database(servers, database)


def up(file: Path, servers: Servers, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`sluice up --no-servers` with the tests' servers; `file` is the pipeline's or its folder, `variables` are its."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    environment |= {
        "SLUICE_KAFKA__BOOTSTRAP_SERVERS": servers.kafka.bootstrap_servers,
        "SLUICE_REGISTRY__URL": servers.registry.url,
        **variables,
    }
    command = [sys.executable, "-m", "sluice.cli.main", "up", "--no-servers", "--pipeline", str(file), *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=within(240), cwd=file.parent
    )
