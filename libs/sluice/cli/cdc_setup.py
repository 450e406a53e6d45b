"""`sluice cdc setup`: prepares a source as far as this user may, and prints the SQL for an administrator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

import typer
from psycopg import sql

from sluice.cdc.connection import Connection, connect
from sluice.cdc.eligibility import ineligibilities
from sluice.cdc.followed_source import FollowedSource, followed_source
from sluice.cdc.publication import publication_fault, publication_statement
from sluice.cdc.source_check import CheckedSource, Finding, findings
from sluice.cdc.source_errors import source_errors
from sluice.cli.cdc_check import SourceArgument, chosen_sources, finding_lines, read_source
from sluice.cli.command import JsonOption, PipelineOption, chosen_pipeline, print_result
from sluice.errors import SettingsError
from sluice.pipeline import Pipeline

# The columns are those that Debezium documents for its signal table.
_SIGNAL_TABLE = (
    "CREATE TABLE IF NOT EXISTS {} (id varchar(42) PRIMARY KEY, type varchar(32) NOT NULL, data varchar(2048))"
)


def setup(
    source: SourceArgument = None,
    signal_table: Annotated[
        str | None, typer.Option(help="also create this signal table, written schema.table, and publish it")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the statements, and run none")] = False,
    pipeline: PipelineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prepare a source database as far as this user may: create the publication, and add the tables to it.

    The command runs as the user of the source's dsn. A table that cannot be followed is left out of the publication,
    because the application's writes could fail. A statement that this user may not run is printed for an administrator.
    No table of the application is altered. A second run changes nothing.

    Exit codes: 0, every source can be followed; 1, something is missing that this user may not change.
    """
    _, loaded = chosen_pipeline(pipeline)
    facts: dict[str, Any] = {}
    lines: list[str] = []
    for name in chosen_sources(loaded, source):
        done, left = _set_up(loaded, name, signal_table, dry_run=dry_run)
        facts[name] = {"would_run" if dry_run else "ran": done, "findings": [asdict(finding) for finding in left]}
        lines += _lines(name, done, left, dry_run=dry_run)
    print_result(as_json, facts, lines, is_finding=any(report["findings"] for report in facts.values()))


def _set_up(
    pipeline: Pipeline, name: str, signal_table: str | None, *, dry_run: bool
) -> tuple[list[str], list[Finding]]:
    """Run what this user may run. Returns the statements, and the findings that are left (of a dry run: all others).

    Raises EnvironmentFault or Transient if the source cannot be read or refuses a statement.
    """
    source, tables = followed_source(pipeline, name), pipeline.cdc_sources()[name].tables
    with connect(source.dsn.reveal(), source.where) as connection:
        done = _run(connection, source, [_signal_table(signal_table)] if signal_table else [], dry_run=dry_run)
        known = [*tables, signal_table] if signal_table else tables
        checked = read_source(connection, source, known)
        done += _run(connection, source, list(_statements(checked)), dry_run=dry_run)
        left = findings(checked if dry_run else read_source(connection, source, known))
    return done, [finding for finding in left if finding.sql not in done or not finding.sql]


def _run(connection: Connection, source: FollowedSource, statements: list[str], *, dry_run: bool) -> list[str]:
    if not dry_run:
        for statement in statements:
            with source_errors(source.where):
                connection.execute(statement.encode())
    return statements


def _statements(checked: CheckedSource) -> Iterator[str]:
    """The statements about the publication that this user may run."""
    server, facts = checked.server, checked.publication_facts
    followed = [checked.facts[name] for name in checked.tables if name in checked.facts]
    may_change = server.may_create_publication if facts is None else bool(server.owns_publication)
    if not may_change:
        return
    missing = [t for t in followed if t.published is None and not any(ineligibilities(t))]
    addable = [t for t in missing if checked.rights[t.name].owned]
    if addable and (facts is not None or len(addable) == len(missing)):
        yield publication_statement(checked.publication, addable, exists=facts is not None)
    wrong = None if facts is None else publication_fault(checked.publication, facts, followed, checked.where)
    if wrong is not None:
        yield wrong.next_step


def _signal_table(name: str) -> str:
    schema, dot, table = name.partition(".")
    if not (schema and dot and table):
        raise SettingsError(f"--signal-table {name}: write it as schema.table")
    return sql.SQL(_SIGNAL_TABLE).format(sql.Identifier(schema, table)).as_string(None)


def _lines(name: str, done: list[str], left: list[Finding], *, dry_run: bool) -> Iterator[str]:
    yield from (f"{'would run' if dry_run else 'ran'}: {statement}" for statement in done)
    for finding in left:
        yield from finding_lines("", finding)
    if not left:
        yield f"source {name}: it can be followed" if not dry_run else f"source {name}: nothing else is missing"
