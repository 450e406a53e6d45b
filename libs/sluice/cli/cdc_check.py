"""`sluice cdc check`: lists everything that is missing or unfit in the sources that ingress-cdc follows.

The command needs only the source databases: it works before Kafka and the topics exist.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any, NamedTuple

import typer

from sluice.cdc.connection import Connection, connect
from sluice.cdc.followed_source import FollowedSource, followed_source
from sluice.cdc.server_facts import server_facts, table_rights
from sluice.cdc.source_check import CheckedSource, Finding, findings, risks
from sluice.cdc.table_facts import publication_facts, table_facts
from sluice.cli.command import JsonOption, PipelineOption, chosen_pipeline, print_result, require_known
from sluice.errors import EnvironmentFault, SettingsError, Transient
from sluice.pipeline import Pipeline

SourceArgument = Annotated[
    str | None, typer.Argument(help="the source's name in the pipeline file; default: every followed source")
]


class SourceReport(NamedTuple):
    """What a check of one source found."""

    findings: Sequence[Finding]
    risks: Sequence[Finding] = ()


def check(source: SourceArgument = None, pipeline: PipelineOption = None, as_json: JsonOption = False) -> None:
    """List everything that is missing or unfit in a followed source.

    The command reads the source database as the user of the source's dsn, and changes nothing. It checks the server's
    version, encoding and settings, this user's rights, the replication slot, the publication, and every table.

    Each finding says where it is and why, and has the SQL that repairs it, with who may run it. `sluice cdc setup` runs
    what this user may run about the publication.

    A risk is a setting of the server that may end the slot or fill the source's disk later. It is no finding.

    Exit codes: 0, every source can be followed; 1, something is missing or unfit, or a source could not be checked.
    """
    _, loaded = chosen_pipeline(pipeline)
    reports = {name: report_of(loaded, name) for name in chosen_sources(loaded, source)}
    facts = {name: as_facts(report) for name, report in reports.items()}
    lines = [line for name, report in reports.items() for line in _lines(name, report)]
    print_result(as_json, facts, lines, is_finding=any(report.findings for report in reports.values()))


def chosen_sources(pipeline: Pipeline, source: str | None) -> list[str]:
    """The name `source`, or the names of all followed sources. Raises SettingsError if there is none."""
    known = pipeline.cdc_sources()
    if source is not None:
        require_known(source, known, f"no source {source} that is followed by CDC")
        return [source]
    if not known:
        raise SettingsError("the pipeline file has no source with `cdc`")
    return [*known]


def report_of(pipeline: Pipeline, name: str) -> SourceReport:
    """Check source `name`. A source that cannot be read is a finding."""
    source = followed_source(pipeline, name)
    try:
        with connect(source.dsn.reveal(), source.where) as connection:
            checked = read_source(connection, source, pipeline.cdc_sources()[name].tables)
        refused = list(_refused_replication(source)) if checked.server.may_replicate else []
    except EnvironmentFault as fault:
        return SourceReport([Finding(fault.where, fault.why, fault.next_step)])
    except (SettingsError, Transient) as error:
        return SourceReport([Finding(source.where, f"it could not be checked: {error}", "correct this, then repeat")])
    return SourceReport([*findings(checked), *refused], risks(checked))


def read_source(connection: Connection, source: FollowedSource, tables: Sequence[str]) -> CheckedSource:
    """Read the facts of a source. Raises EnvironmentFault or Transient if the server does not return them."""
    where = source.where
    return CheckedSource(
        source.source,
        source.slot,
        source.publication,
        tables,
        server_facts(connection, source.slot, source.publication, where),
        publication_facts(connection, source.publication, where),
        table_facts(connection, source.publication, tables, where),
        table_rights(connection, tables, where),
    )


def _refused_replication(source: FollowedSource) -> Iterator[Finding]:
    """A finding if the server refuses replication to a role that has the right: pg_hba.conf or a pooler may."""
    where = f"{source.where}, replication connection"
    try:
        with connect(source.dsn.reveal(), where, replication=True):
            return
    except EnvironmentFault as fault:
        yield Finding(fault.where, fault.why, fault.next_step)
    except Transient as error:
        yield Finding(where, str(error), "connect to the server itself: a pooler passes on no replication")


def _lines(name: str, report: SourceReport) -> Iterator[str]:
    for finding in report.findings:
        yield from finding_lines("", finding)
    for risk in report.risks:
        yield from finding_lines("risk: ", risk)
    if not report.findings:
        yield f"source {name}: it can be followed"


def finding_lines(prefix: str, finding: Finding) -> Iterator[str]:
    """The finding for people: the cause, then the statement or the next step. `prefix`: before the cause."""
    yield f"{prefix}{finding.where}: {finding.why}"
    if finding.sql:
        yield f"    {finding.sql};"
        yield f"    (run by: {finding.run_by}{f'; {finding.next_step}' if finding.next_step else ''})"
    elif finding.next_step:
        yield f"    {finding.next_step}"


def as_facts(report: SourceReport) -> dict[str, Any]:
    """The report as members of a JSON object."""
    return {name: [asdict(finding) for finding in found] for name, found in report._asdict().items()}
