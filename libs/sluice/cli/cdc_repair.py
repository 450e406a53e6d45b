"""`sluice cdc repair`: finds out why a source or its tables are not followed, and requests the one repair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from sluice.cdc.connection import connect
from sluice.cdc.followed_source import followed_source, read_state, why_not_resumed
from sluice.cdc.slots import wal_end
from sluice.cdc.table_facts import publication_facts
from sluice.cdc.watermarks import BLOCKED, SourceWatermarks, source_watermarks
from sluice.cli.cdc_check import report_of
from sluice.cli.command import JsonOption, PipelineOption, chosen_pipeline, print_result, require_known
from sluice.cli.resnapshots import Resnapshots
from sluice.cli.server_access import kafka_watched
from sluice.errors import SettingsError
from sluice.kafka import KafkaSettings, LogReader
from sluice.lag.sources import read_watermarks
from sluice.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong with a source. `why`: why its slot cannot be resumed; "" if it can. `tables`: the cause of each
    table that must be read again, if the slot can be resumed. `first`: statements that an operator must run first."""

    why: str
    tables: Mapping[str, str]
    first: list[str]

    @property
    def repair(self) -> str:
        """The repair in words; "" if there is nothing to repair."""
        if self.why:
            return "drop the slot, create it again, and read every table as a new epoch"
        return f"read {', '.join(self.tables)} again" if self.tables else ""


def repair(
    source: Annotated[str, typer.Argument(help="the source's name in the pipeline file")],
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only show what is wrong and what would be done")] = False,
    pipeline: PipelineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find out why a source cannot be resumed or a table has a fault, and request the repair.

    The source is compared with its watermark, as ingress-cdc does at its start. If changes were lost (a slot that was
    dropped, moved or invalidated, another server or timeline, a log that was set back, a dropped publication), the
    repair is a new epoch: a new slot, a publication that is created again, and a snapshot of every table. Else each
    table that is blocked or has a fault is read again. Deleted rows are retracted, and unchanged rows are not written
    again.

    The command shows the repair and asks before it requests it. ingress-cdc carries it out within seconds if it runs,
    else at its next start.

    Exit codes: 0, there was nothing to repair, or the repair is requested; 1, a statement must be run first, or
    --dry-run found something.
    """
    settings, loaded = chosen_pipeline(pipeline)
    require_known(source, loaded.cdc_sources(), f"no source {source} that is followed by CDC")
    with kafka_watched(settings):
        found = _diagnosed(settings.kafka, loaded, source)
        for line in _lines(source, found):
            typer.echo(line, err=True)
        asked = bool(found.repair) and not found.first and not dry_run
        if asked and not yes and not typer.confirm(f"{found.repair}?", err=True):
            raise SettingsError("nothing was changed: answer y, or give --yes")
        requested = _request(settings.kafka, loaded, source, found) if asked else {}
    facts = {"source": source, "why": found.why, "tables": found.tables, "run_first": found.first, **requested}
    open_end = bool(found.first) or (dry_run and bool(found.repair))
    print_result(as_json, facts, [f"requested: {found.repair}"] if requested else [], is_finding=open_end)


def _diagnosed(kafka: KafkaSettings, pipeline: Pipeline, name: str) -> Diagnosis:
    """Compare the source with its watermarks. Raises EnvironmentFault or Transient if Kafka or the source cannot be
    read."""
    source = followed_source(pipeline, name)
    # A running stage moves its watermark, then the slot. The slot is therefore read before the watermark, and the end
    # of the log after it.
    state = read_state(source)
    with LogReader(kafka) as reader:
        marks = source_watermarks(name, read_watermarks(reader, pipeline.names))
    with connect(source.dsn.reveal(), source.where) as connection:
        state = state._replace(wal_end=wal_end(connection, source.where))
        has_publication = publication_facts(connection, source.publication, source.where) is not None
    why = ""
    if marks.slot is not None and marks.slot.lsn:
        why = why_not_resumed(source, marks.slot, state, has_publication=has_publication)
    tables = {} if why or marks.slot is None else _faulty(pipeline, name, marks)
    # A new slot repairs a slot's own finding. All other findings would stop the repair itself.
    found = [f for f in report_of(pipeline, name).findings if not f.where.startswith(f"{source.where}, slot ")]
    concerned = {f"{source.where}, table {table}" for table in tables}
    first = [f.sql or f"{f.where}: {f.next_step}" for f in found if ", table " not in f.where or f.where in concerned]
    return Diagnosis(why, tables, first)


def _faulty(pipeline: Pipeline, name: str, marks: SourceWatermarks) -> dict[str, str]:
    listed = pipeline.cdc_sources()[name].tables
    found = {table: marks.tables[table] for table in listed if table in marks.tables}
    return {table: mark.why for table, mark in found.items() if mark.why or mark.state == BLOCKED}


def _request(kafka: KafkaSettings, pipeline: Pipeline, name: str, found: Diagnosis) -> dict[str, Any]:
    requests = Resnapshots(kafka, pipeline.names, name)
    if found.why:
        return {"resnapshot_epoch": requests.source(None)}
    return {"requests": requests.tables([*found.tables])}


def _lines(source: str, found: Diagnosis) -> list[str]:
    causes = [f"source {source}: {found.why}"] if found.why else []
    causes += [f"source {source}, table {table}: {why}" for table, why in found.tables.items()]
    causes += [f"  run first: {statement}" for statement in found.first]
    return causes or [f"source {source}: nothing to repair"]
