"""A pipeline of tables and streams that a test names, with every stage running: each row of each of them becomes one
golden record that contains the whole row, so that a golden table can be compared with any source.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from typer.testing import CliRunner

from sluice.cli.main import app
from sluice.embedded import Servers
from sluice.kafka import clients
from sluice.kafka.topics import Topics, concrete, load_kinds
from sluice.local.example_run import ExampleRun
from support.cdc import Source
from support.example_pipeline import remove
from support.pace import within
from support.raw_rows import rows_stored
from support.scenario import Scenario
from support.waiting import eventually

ENTITIES = '''\
from typing import Annotated

from sluice.entities import Entity, Identity


class Row(Entity):
    """A row of a table or stream, as the text of its values."""

    at: Annotated[str, Identity()]  # table or stream, then the row's id
    row: str
'''
WHOLE_ROWS = """\
import json

from pydantic import BaseModel, ConfigDict

from .entities import Row


class AnyRow(BaseModel):
    model_config = ConfigDict(extra="allow")


def whole(place: str, raw: AnyRow) -> Row:
    values = {name: str(value) for name, value in (raw.model_extra or {}).items() if value is not None}
    row_id = values.get("id", values.get("ident"))
    return Row(at=f"{place}/{row_id}", row=json.dumps(values, sort_keys=True))
"""
MAPPINGS_HEAD = """\
from sluice.entities import mapping

from ...entities import Row
from ...whole_rows import AnyRow, whole
"""
MAPPING = """

@mapping(source="{source}.{stream}", version=1)
def {source}_{place}(raw: AnyRow) -> Row:
    return whole("{place}", raw)
"""
# Nothing starts or edits these sources but the test.
DRIVER = """\
import os

from sluice.testing.example import Running


def prepare(ctx):
    pass


def start(ctx):
    return Running(env={"ERP_DSN": os.environ["ERP_DSN"]}, processes={}, stop=lambda: None)
"""
COMMAND = re.compile(r"`(sluice (?:cdc|deletes|sink|skips) [^`]*)`")
Rows = dict[str, str]


class OneEntity:
    """The running pipeline; `scenario` is its stages."""

    def __init__(self, scenario: Scenario, dsn: str) -> None:
        self.scenario = scenario
        self.run = scenario.run
        self.source = Source(dsn, self.run.settings.kafka, self.run.pipeline, self.run.pipeline.root)

    def golden(self) -> dict[str, Rows]:
        """By table or stream: the golden records, by the row's id."""
        found: dict[str, Rows] = {}
        with psycopg.connect(self.run.sink_dsn) as connection:
            [(exists,)] = connection.execute("SELECT to_regclass('golden.row') IS NOT NULL").fetchall()
            rows = connection.execute("SELECT entity_id, row FROM golden.row").fetchall() if exists else []
        for entity_id, row in rows:
            place, _, row_id = str(entity_id).partition("/")
            found.setdefault(place, {})[row_id] = str(row)
        return found

    def stored(self, table: str) -> Rows:
        """What the golden records of a followed table must be."""
        rows = rows_stored(self.source, table).values()
        return spelled(rows)

    def make_topics_again(self, *topics: str) -> None:
        """Delete topics and create them again with `sluice topics apply`."""
        kafka = self.run.settings.kafka
        admin = clients.admin(kafka)
        for deleted in admin.delete_topics(list(topics), request_timeout=within(30)).values():
            deleted.result(within(30))
        eventually(lambda: not set(topics) & admin.list_topics(timeout=within(30)).topics.keys(), "topics are gone")
        wanted = concrete(load_kinds(self.run.settings.schemas_dir / "topics"), self.run.pipeline, ["row"])
        Topics(admin).apply(wanted)

    def faults(self, stage: str) -> dict[str, str]:
        return self.scenario.faults(stage)

    def follow_advice(self, *faults: str) -> None:
        """Run the commands that faults name, as they stand there; those that read tables again as one."""
        commands = []
        for fault in faults:
            named = COMMAND.search(fault)
            assert named, f"no command in: {fault}"
            commands.append(shlex.split(named[1])[1:])
        tables = [one for one in commands if "--table" in one]
        together = [[*tables[0][:3], *(word for one in tables for word in one[3:])]] if tables else []
        for command in [*together, *(one for one in commands if one not in tables)]:
            done = CliRunner().invoke(app, command, env=dict(self.run.env))
            assert done.exit_code == 0, f"{command}: {done.output}{done.exception}"


def spelled(rows: Iterable[Mapping[str, Any]]) -> Rows:
    """Rows as the mapping spells them, by id."""
    found: Rows = {}
    for row in rows:
        values = {name: str(value) for name, value in row.items() if value is not None}
        found[values.get("id", values.get("ident", ""))] = json.dumps(values, sort_keys=True)
    return found


@contextmanager
def one_entity(
    servers: Servers,
    directory: Path,
    tables: Sequence[str] = (),
    fill: Callable[[str], None] = lambda dsn: None,
    *,
    streams: Mapping[str, str] = {},
    connector: str = "",
    url: str = "",
    partitions: int = 2,
) -> Iterator[OneEntity]:
    """Follow `tables` (of schema public) of a database that `fill` fills, and poll `streams` (name: its members in
    pipeline.yaml) at `url` with the class `Crm` of `connector`."""
    name = f"one_{uuid.uuid4().hex[:8]}"
    servers.postgres.create_database(f"{name}_erp")
    dsn = servers.postgres.dsn(f"{name}_erp")
    fill(dsn)
    folder = directory / "pipeline"
    write_pipeline(folder, name, tables, streams, connector, url, partitions)
    with _erp_dsn(dsn):
        run = ExampleRun(folder, directory, servers)
        try:
            with run:
                run.apply()
                run.start()
                scenario = Scenario(run, servers)
                yield OneEntity(scenario, dsn)
        finally:
            remove(run, servers)


@contextmanager
def _erp_dsn(dsn: str) -> Iterator[None]:
    before = os.environ.get("ERP_DSN")
    os.environ["ERP_DSN"] = dsn
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("ERP_DSN", None)
        else:
            os.environ["ERP_DSN"] = before


def write_pipeline(
    folder: Path,
    name: str,
    tables: Sequence[str] = (),
    streams: Mapping[str, str] = {},
    connector: str = "",
    url: str = "",
    partitions: int = 2,
) -> None:
    """The files of such a pipeline; its variables are ERP_DSN and ONE_ENTITY_SINK_DSN."""
    of_sources: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    if tables:
        declared = ", ".join(f"public.{table}" for table in tables)
        text = f"{{cdc: postgres, dsn: {{env: ERP_DSN}}, tables: [{declared}]}}"
        of_sources["erp"] = text, [(f"public.{table}", table) for table in tables]
    if streams:
        declared = ", ".join(f"{stream}: {{{members}}}" for stream, members in streams.items())
        text = f'{{poll: "sources.crm.connector:Crm", settings: {{base_url: "{url}"}}, streams: {{{declared}}}}}'
        of_sources["crm"] = text, [(stream, stream) for stream in streams]
    (folder / "schemas").mkdir(parents=True)
    (folder / "entities.py").write_text(ENTITIES)
    (folder / "whole_rows.py").write_text(WHOLE_ROWS)
    (folder / "source.py").write_text(DRIVER)
    for source, (_, places) in of_sources.items():
        (folder / "sources" / source).mkdir(parents=True)
        mappings = [MAPPING.format(source=source, stream=stream, place=place) for stream, place in places]
        (folder / "sources" / source / "mapping.py").write_text(MAPPINGS_HEAD + "".join(mappings))
    if connector:
        (folder / "sources" / "crm" / "connector.py").write_text(connector)
    (folder / "pipeline.yaml").write_text(
        f"pipeline: {name}\npartitions: {partitions}\nkafka: {{prefix: {name}.}}\nsources:\n"
        + "".join(f"  {source}: {text}\n" for source, (text, _) in of_sources.items())
        + "entities: entities\nsinks: {warehouse: {postgres: {env: ONE_ENTITY_SINK_DSN}, schema: golden}}\n"
    )
