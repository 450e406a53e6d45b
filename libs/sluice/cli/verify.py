"""`sluice verify`: is anything lost, doubled or out of order?"""

from __future__ import annotations

import sys
from typing import Annotated

import orjson
import typer

from sluice.cli.command import JsonOption, PipelineOption, single
from sluice.cli.server_access import pipeline_of_servers, servers_reached
from sluice.errors import ExitCode
from sluice.verify import verify as run_verification

app = single()


@app.command()
def verify(
    pipeline: PipelineOption = None,
    wait: Annotated[float, typer.Option("--wait", help="seconds to wait in all for stages that lag behind")] = 30.0,
    sources: Annotated[
        bool, typer.Option("--sources/--no-sources", help="whether to read the followed tables at their sources")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Recompute raw records, contributions, golden records and rows from what is before them, and compare.

    Followed tables are read at a snapshot, as their sources' users let us; everything up to the ends of the raw topics,
    as they stand when it starts, is looked at. What could not be looked at is told apart from findings: what a stage
    has not done after --wait, a source that is not followed or may not be read, an alarm that stands. An API cannot be
    compared with raw; how old its last whole listing is, is told.

    It says "verified" only where all of it was looked at and is right. Exit code 0: verified, or all but what
    --no-sources leaves out; 1: a finding, or something could not be looked at or is not done yet.

    The links: source-raw, raw-contributions, contributions-canonical, canonical-table. Across them: I2, effects happen
    once; I4, nothing goes back to an older state; I5, every record that was read is accounted for; I6, every row leads
    to its raw records. Each line of the report says it in full.
    """
    settings, loaded = pipeline_of_servers(pipeline)
    with servers_reached(loaded, settings):
        report = run_verification(loaded, settings, wait_s=wait, sources=sources, progress=_tell)
    if as_json:
        print(orjson.dumps(report.to_json()).decode())
    else:
        print("\n".join(report.lines()))
    if not report.passed:
        raise typer.Exit(int(ExitCode.FINDING))


def _tell(line: str) -> None:
    print(line, file=sys.stderr)
