"""`sluice verify`: is anything lost, doubled or out of order?"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sluice.cli.command import JsonOption, PipelineOption, print_result, single
from sluice.cli.server_access import pipeline_of_servers, servers_reached
from sluice.verify import verify as run_verification

app = single()


@app.command()
def verify(
    pipeline: PipelineOption = None,
    wait: Annotated[float, typer.Option("--wait", help="seconds to wait in all for stages that lag")] = 30.0,
    sources: Annotated[
        bool,
        typer.Option("--sources/--no-sources", help="read the followed tables at their sources, or leave them out"),
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Check that nothing is lost, doubled or out of order.

    Raw records, contributions, golden records and rows are recomputed from their input and compared. Followed tables
    are read at a snapshot, as far as the source allows. The check covers everything up to the ends of the raw topics at
    its start.

    A finding is something wrong. What could not be looked at is listed apart: work that a stage has not done after
    --wait, a source that is not followed or may not be read, an active fault. An API is never compared with raw; the
    report shows how old its last complete listing is.

    The result is "verified" only if everything was looked at and is right. Exit codes: 0, verified, or verified but for
    what --no-sources leaves out; 1, there is a finding, or something was not looked at or is not done yet.

    The links are source-raw, raw-contributions, contributions-canonical and canonical-table. Across them: I2, effects
    happen once; I4, nothing goes back to an older state; I5, every record that was read is accounted for; I6, every row
    names its raw records. The report explains each line.
    """
    settings, loaded = pipeline_of_servers(pipeline)
    with servers_reached(loaded, settings):
        report = run_verification(loaded, settings, wait_s=wait, sources=sources, progress=_report)
    print_result(as_json, report.to_json(), report.lines(), is_finding=not report.passed)


def _report(line: str) -> None:
    print(line, file=sys.stderr)
